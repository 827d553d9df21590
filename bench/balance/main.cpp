/// @file
/// `balance`: pmap over 400 tasks of 0.1 to 20 ms of busy work (heavy-tailed, fixed computation) on two local workers.
/// Floors: `ideal`, half the CPU time that the same tasks take one after the other in the same round; `threads`, the
/// wall time of two threads of this process that take the tasks in the same order from a shared counter: what this
/// machine gives two processors at this moment.
#include "../common/burn.hpp"
#include "../common/floor_child.hpp"
#include "../common/report.hpp"
#include "../common/workload.hpp"

#include <muster/muster.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace {

constexpr int workers = 2;

std::uint64_t work(std::uint64_t iterations) { return bench::burn(iterations); }

double serial_cpu_seconds(const std::vector<std::uint64_t>& tasks) {
  const double start = bench::thread_cpu_seconds();
  for (const std::uint64_t iterations : tasks) benchmark::DoNotOptimize(work(iterations));
  return bench::thread_cpu_seconds() - start;
}

void run_in_threads(const std::vector<std::uint64_t>& tasks) {
  std::atomic<std::size_t> next = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < workers; ++i) {
    threads.emplace_back([&] {
      for (std::size_t task = next++; task < tasks.size(); task = next++) benchmark::DoNotOptimize(work(tasks[task]));
    });
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (bench::was_floor_child(argc, argv)) return 0;
  muster::Session session(argc, argv);
  const int rounds = bench::take_rounds(argc, argv);
  muster::addprocs(workers);
  const std::vector<std::uint64_t> tasks = bench::burn_iterations(bench::balance_costs_ms());

  muster::pmap(&work, std::vector<std::uint64_t>(100, 1000));  // warm up
  bench::add("balance", "s", rounds, [&] {
    const double ideal = serial_cpu_seconds(tasks) / workers;
    const double ours = bench::seconds_of([&] { muster::pmap(&work, tasks); });
    const double threads = bench::seconds_of([&] { run_in_threads(tasks); });
    return bench::Round{ours, {{"ideal", ideal}, {"threads", threads}}};
  });
  return bench::run(argc, argv);
}
