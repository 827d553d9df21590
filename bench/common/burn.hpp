/// @file
/// Busy work of a fixed amount of computation, calibrated once by CPU time.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace bench {

/// CPU seconds this thread has used: unlike the wall clock it does not count time in which others had the processor.
inline double thread_cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// Runs `iterations` steps of a xorshift generator (Marsaglia, "Xorshift RNGs", 2003). Returns its state, so that no
/// compiler can leave the loop out. The same computation wherever and under whatever load it runs.
inline std::uint64_t burn(std::uint64_t iterations) {
  std::uint64_t state = 88172645463325252ULL;
  for (std::uint64_t i = 0; i < iterations; ++i) {
    state ^= state << 13U;
    state ^= state >> 7U;
    state ^= state << 17U;
  }
  return state;
}

/// Steps of `burn` in a millisecond of CPU time here: the best of several trials, as disturbance only slows down.
inline double burn_iterations_per_ms() {
  constexpr std::uint64_t trial = 5'000'000;
  double best = 0.0;
  volatile std::uint64_t sink = 0;
  for (int i = 0; i < 10; ++i) {
    const double start = thread_cpu_seconds();
    sink = burn(trial);
    best = std::max(best, static_cast<double>(trial) / (thread_cpu_seconds() - start) * 1e-3);
  }
  static_cast<void>(sink);
  return best;
}

/// Milliseconds to steps of `burn`.
inline std::vector<std::uint64_t> burn_iterations(const std::vector<double>& milliseconds) {
  const double per_ms = burn_iterations_per_ms();
  std::vector<std::uint64_t> iterations;
  for (const double cost : milliseconds) iterations.push_back(static_cast<std::uint64_t>(cost * per_ms));
  return iterations;
}

}  // namespace bench
