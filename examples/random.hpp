/// @file
/// Random numbers that need no state: number `index` of the sequence is a function of `index` alone. Whoever computes
/// it, in whatever order, gets the same number, so a simulation gives the same result on any number of workers.
#pragma once

#include <cstdint>

namespace example {

/// Returns 64 random bits, number `index` of the sequence. This is SplitMix64 (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014) started at 0; a few nanoseconds.
constexpr std::uint64_t random_bits(std::uint64_t index) {
  std::uint64_t bits = (index + 1) * 0x9e3779b97f4a7c15ULL;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9ULL;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebULL;
  return bits ^ (bits >> 31);
}

/// Returns a number in [0, 1), every one of 2^53 steps equally likely.
constexpr double random_unit(std::uint64_t index) { return static_cast<double>(random_bits(index) >> 11) * 0x1.0p-53; }

static_assert(random_bits(0) == 0xe220a8397b1dcdafULL);  // the published first output for seed 0

}  // namespace example
