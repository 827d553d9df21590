/// @file
/// `metg`: the minimum effective task granularity (Slaughter et al., "Task Bench: A Parameterized Benchmark for
/// Evaluating Parallel Runtime Performance", 2020): the smallest length of tasks at which half of the ideal rate is
/// kept. Tasks of equal length by `pmap`, unbatched, on as many workers as there are processors (at most two); ideal is
/// that many threads that do the same work and share nothing. Floor: two threads and a shared counter, for which the
/// same is measured.
#include "../common/burn.hpp"
#include "../common/report.hpp"

#include <muster/muster.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <thread>
#include <vector>

namespace {

constexpr int threads = 2;
/// What one measurement is to take, in seconds.
constexpr double measure_seconds = 0.1;

std::uint64_t work(std::uint64_t iterations) { return bench::burn(iterations); }

/// Seconds in which `threads` threads do all of it, each its half.
double ideal_seconds(int tasks, std::uint64_t iterations) {
  return bench::seconds_of([&] {
    std::vector<std::jthread> all;
    for (int t = 0; t < threads; ++t) {
      all.emplace_back([&] {
        std::vector<std::uint64_t> results(static_cast<std::size_t>(tasks / threads));
        for (std::uint64_t& result : results) result = work(iterations);
        benchmark::DoNotOptimize(results.data());
      });
    }
  });
}

double shared_counter_seconds(int tasks, std::uint64_t iterations) {
  return bench::seconds_of([&] {
    std::atomic<int> next{0};
    std::vector<std::uint64_t> results(static_cast<std::size_t>(tasks));
    std::vector<std::jthread> all;
    for (int t = 0; t < threads; ++t) {
      all.emplace_back([&] {
        for (int i = next++; i < tasks; i = next++) results[static_cast<std::size_t>(i)] = work(iterations);
      });
    }
  });
}

double pmap_seconds(int tasks, std::uint64_t iterations) {
  const std::vector<std::uint64_t> all(static_cast<std::size_t>(tasks), iterations);
  return bench::seconds_of([&] {
    if (muster::pmap(&work, all).size() != all.size()) throw std::runtime_error("results are missing");
  });
}

/// The part of the ideal rate that is reached with tasks of that length: the median of three.
double efficiency(const std::function<double(int, std::uint64_t)>& run, double task_us, double per_us) {
  const int tasks = std::clamp(static_cast<int>(measure_seconds * threads / (task_us * 1e-6)), 2 * threads, 50'000);
  const auto iterations = static_cast<std::uint64_t>(task_us * per_us);
  std::vector<double> parts;
  for (int i = 0; i < 3; ++i) parts.push_back(ideal_seconds(tasks, iterations) / run(tasks, iterations));
  return bench::median(parts);
}

/// Between 0.05 and 1000 us, by halving the interval of the logarithm.
double metg_us(const std::function<double(int, std::uint64_t)>& run, double per_us) {
  double low = std::log(0.05), high = std::log(1000.0);
  for (int i = 0; i < 8; ++i) {
    const double middle = (low + high) / 2;
    (efficiency(run, std::exp(middle), per_us) >= 0.5 ? high : low) = middle;
  }
  return std::exp(high);
}

}  // namespace

int main(int argc, char** argv) {
  muster::Session session(argc, argv);
  const int rounds = bench::take_rounds(argc, argv);
  muster::addprocs(threads);
  (void)pmap_seconds(10'000, 1);  // warm up
  bench::add("metg", "us", rounds, [] {
    const double per_us = bench::burn_iterations_per_ms() / 1000.0;
    const double threads_us = metg_us(shared_counter_seconds, per_us);
    return bench::Round{metg_us(pmap_seconds, per_us), {{"threads", threads_us}}};
  });
  return bench::run(argc, argv);
}
