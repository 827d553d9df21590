/// @file
/// `balance` by Open MPI (mpirun -n 3): a demand-driven map, two tasks kept with each of two workers. The master waits
/// busily beside them.
#include "../common/burn.hpp"
#include "../common/mpi_peer.hpp"
#include "../common/statistics.hpp"
#include "../common/workload.hpp"

#include <cstdint>

namespace {

constexpr int workers = 2;
constexpr int depth = 2;

void serve() {
  for (std::uint64_t task = 0; bench::mpi_receive(&task, 1, MPI_UINT64_T, 0).MPI_TAG == bench::work_tag;) {
    const std::uint64_t result = bench::burn(task);
    bench::mpi_send(&result, 1, MPI_UINT64_T, 0);
  }
}

double serial_cpu_seconds(const std::vector<std::uint64_t>& tasks) {
  volatile std::uint64_t sink = 0;
  const double start = bench::thread_cpu_seconds();
  for (const std::uint64_t task : tasks) sink = bench::burn(task);
  static_cast<void>(sink);
  return bench::thread_cpu_seconds() - start;
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Mpi mpi(argc, argv);
  if (bench::Mpi::rank() > 0) {
    serve();
    return 0;
  }
  const std::vector<std::uint64_t> tasks = bench::burn_iterations(bench::balance_costs_ms());
  std::vector<std::uint64_t> results(tasks.size());
  const double ideal = serial_cpu_seconds(tasks) / workers;
  const double seconds = bench::seconds_of([&] { bench::mpi_map(tasks, results, MPI_UINT64_T, 1, workers, depth); });
  bench::emit("balance", seconds, "s", ", \"ratio_ideal\": " + std::to_string(seconds / ideal));
  bench::mpi_stop(workers);
}
