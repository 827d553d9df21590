/// @file
/// Estimates pi by throwing darts at a square and counting those that hit the quarter circle in it.
///
/// As in coin_toss.cpp the workers are given blocks; here each block's result is a plain struct, and the reduction uses
/// that struct's own `+`. Neither needs a line of code to travel between processes.
#include "example.hpp"
#include "random.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <numbers>

namespace {

constexpr std::size_t darts_per_block = 10'000;

struct Tally {
  std::uint64_t hits = 0;
  std::uint64_t darts = 0;

  bool operator==(const Tally&) const = default;
};

Tally operator+(const Tally& a, const Tally& b) { return {a.hits + b.hits, a.darts + b.darts}; }

Tally throw_block(std::size_t block) {
  Tally tally{.hits = 0, .darts = darts_per_block};
  const std::uint64_t first = block * darts_per_block;
  for (std::uint64_t dart = first; dart < first + darts_per_block; ++dart) {
    const double x = example::random_unit(2 * dart);
    const double y = example::random_unit(2 * dart + 1);
    if (x * x + y * y < 1) ++tally.hits;
  }
  return tally;
}

}  // namespace

int main(int argc, char** argv) {
  const muster::Session session(argc, argv);
  CLI::App app("Estimates pi with random numbers");
  const example::Options options(app);
  CLI11_PARSE(app, argc, argv);

  const std::size_t blocks = options.quick ? 200 : 20'000;

  const auto [expected, serial_seconds] = example::timed([blocks] {
    Tally total;
    for (std::size_t block = 0; block < blocks; ++block) total = total + throw_block(block);
    return total;
  });

  example::start_workers(options);
  const auto [tally, parallel_seconds] = example::timed([blocks] {
    return muster::distributed_reduce(std::plus<>{}, Tally{}, muster::IndexRange{0, blocks}, throw_block);
  });

  const auto darts = static_cast<double>(tally.darts);
  const double hit_rate = static_cast<double>(tally.hits) / darts;
  const double error = 4 * std::sqrt(hit_rate * (1 - hit_rate) / darts);
  std::printf("pi is %.6f, give or take %.6f (%.0f darts)\n", 4 * hit_rate, error, darts);
  const bool plausible = std::abs(4 * hit_rate - std::numbers::pi) < 5 * error;
  return example::conclude(serial_seconds, parallel_seconds, tally == expected && plausible);
}
