/// @file
/// What every example shares: its command line, a stopwatch and the closing line.
#pragma once

#include <muster/muster.hpp>

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>
#include <utility>

namespace example {

/// The options every example understands.
struct Options {
  int workers = 4;     ///< worker processes to start
  bool quick = false;  ///< solve a smaller problem

  /// Offers the options on the command line of `app`; they hold their values once `app` has parsed it.
  explicit Options(CLI::App& app) {
    app.add_option("--workers", workers, "worker processes to start")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_flag("--quick", quick, "solve a smaller problem, as the tests do");
  }
  Options(const Options&) = delete;  // `app` writes into this object
  Options& operator=(const Options&) = delete;
};

/// Starts the workers asked for, unless `--muster-procs` or `--muster-machine-file` has started some already.
inline void start_workers(const Options& options) {
  if (muster::nprocs() == 1) muster::addprocs(options.workers);
}

/// Returns what `f()` returns and the seconds that took.
template <class F>
auto timed(F f) {
  const auto start = std::chrono::steady_clock::now();
  auto value = f();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return std::pair(std::move(value), elapsed.count());
}

/// Prints times, speed-up and whether the workers' result is the serial one. Returns the status for `main`: 0 if it is.
inline int conclude(double serial_seconds, double parallel_seconds, bool same) {
  std::printf("1 process: %.3f s; %d worker%s: %.3f s; speed-up %.2f\n", serial_seconds, muster::nworkers(),
              muster::nworkers() == 1 ? "" : "s", parallel_seconds, serial_seconds / parallel_seconds);
  std::printf("same as the serial result: %s\n", same ? "yes" : "NO");
  return same ? 0 : 1;
}

}  // namespace example
