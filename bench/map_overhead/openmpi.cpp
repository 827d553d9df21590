/// @file
/// `map_overhead` by Open MPI (mpirun -n 3): a demand-driven map over integers, two messages kept with each of two
/// workers, one element a message and 100.
#include "../common/mpi_peer.hpp"
#include "../common/statistics.hpp"
#include "../common/workload.hpp"

namespace {

constexpr int workers = 2;
constexpr int depth = 2;

void serve() {
  std::vector<int> values(bench::map_batch);
  for (;;) {
    const MPI_Status status = bench::mpi_receive(values.data(), values.size(), MPI_INT, 0);
    if (status.MPI_TAG == bench::stop_tag) return;
    int count = 0;
    MPI_Get_count(&status, MPI_INT, &count);
    bench::mpi_send(values.data(), static_cast<std::size_t>(count), MPI_INT, 0);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Mpi mpi(argc, argv);
  if (bench::Mpi::rank() > 0) {
    serve();
    return 0;
  }
  const std::vector<int> values(bench::task_count, 1);
  std::vector<int> results(values.size());
  for (const int batch : {1, bench::map_batch}) {
    const auto map = [&] { bench::mpi_map(values, results, MPI_INT, static_cast<std::size_t>(batch), workers, depth); };
    map();  // warm up
    const double seconds = bench::seconds_of(map);
    bench::emit(batch == 1 ? "map_overhead/unbatched" : "map_overhead/batched", 1e6 * seconds / bench::task_count,
                "us/element");
  }
  bench::mpi_stop(workers);
}
