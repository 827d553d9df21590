/// @file
/// Tosses 200 million coins and counts the heads: the smallest useful distributed reduction.
///
/// One toss is far too little work for a call, so the workers are given blocks of ten thousand. What travels are two
/// numbers per worker (the first and the last block) and one number back.
#include "example.hpp"
#include "random.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>

namespace {

constexpr std::size_t tosses_per_block = 10'000;

std::uint64_t heads_in_block(std::size_t block) {
  std::uint64_t heads = 0;
  const std::uint64_t first = block * tosses_per_block;
  for (std::uint64_t toss = first; toss < first + tosses_per_block; ++toss) heads += example::random_bits(toss) >> 63;
  return heads;
}

}  // namespace

int main(int argc, char** argv) {
  const muster::Session session(argc, argv);
  CLI::App app("Counts the heads in many tosses of a coin");
  const example::Options options(app);
  CLI11_PARSE(app, argc, argv);

  const std::size_t blocks = options.quick ? 200 : 20'000;
  const auto tosses = static_cast<double>(blocks * tosses_per_block);

  const auto [expected, serial_seconds] = example::timed([blocks] {
    std::uint64_t heads = 0;
    for (std::size_t block = 0; block < blocks; ++block) heads += heads_in_block(block);
    return heads;
  });

  example::start_workers(options);
  const auto [heads, parallel_seconds] = example::timed(
      [blocks] { return muster::distributed_reduce(std::plus<>{}, muster::IndexRange{0, blocks}, heads_in_block); });

  // A fair coin strays from the middle by half a square root of the number of tosses.
  const double strayed = (static_cast<double>(heads) - tosses / 2) / (std::sqrt(tosses) / 2);
  std::printf("%llu heads in %.0f tosses, %+.2f standard deviations from half of them\n",
              static_cast<unsigned long long>(heads), tosses, strayed);
  return example::conclude(serial_seconds, parallel_seconds, heads == expected && std::abs(strayed) < 5);
}
