/// @file
/// The sizes of every workload, shared by ours, the floors and the C++ peers (common/peers.py has the same for Python).
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

namespace bench {

inline constexpr int task_count = 20'000;      ///< `tasks` and `map_overhead`
inline constexpr int map_batch = 100;          ///< `map_overhead`, the batched variant
inline constexpr int balance_tasks = 400;      ///< `balance`
inline constexpr int round_trip_calls = 3000;  ///< `round_trip`: at most this many calls a round
inline constexpr int round_trip_warm_up = 200;
inline constexpr double round_trip_limit = 0.5;  ///< `round_trip`: seconds of calls a round at most

/// One array of `bandwidth`.
struct ArraySize {
  std::string name;
  std::size_t doubles;
  int calls;  ///< a round
  std::size_t bytes() const { return doubles * sizeof(double); }
};

/// 64 KiB, 1 MiB and 64 MiB of doubles.
inline std::array<ArraySize, 3> array_sizes() {
  return {ArraySize{"64KiB", 8U << 10U, 500}, ArraySize{"1MiB", 128U << 10U, 100}, ArraySize{"64MiB", 8U << 20U, 5}};
}

/// Milliseconds of work of each task of `balance`: the quantiles of a bounded Pareto distribution (0.1 to 20 ms,
/// exponent 0.7), so that the sum is the same in every run, in an order scattered by the golden ratio.
inline std::vector<double> balance_costs_ms() {
  constexpr double low = 0.1, high = 20.0, exponent = 0.7;
  constexpr int step = 247;  // coprime to 400 and next to 400 / 1.618...
  const double tail = std::pow(low / high, exponent);
  std::vector<double> costs;
  for (int i = 0; i < balance_tasks; ++i) {
    const double quantile = ((i + 1) * step % balance_tasks + 0.5) / balance_tasks;
    costs.push_back(low / std::pow(1.0 - quantile * (1.0 - tail), 1.0 / exponent));
  }
  return costs;
}

}  // namespace bench
