/// @file
/// `tasks` by Open MPI (mpirun -n 3): integers sent to two workers in turn, all by MPI_Isend before the first reply.
#include "../common/mpi_peer.hpp"
#include "../common/statistics.hpp"
#include "../common/workload.hpp"

namespace {

constexpr int workers = 2;

void serve() {
  for (int value = 0; bench::mpi_receive(&value, 1, MPI_INT, 0).MPI_TAG == bench::work_tag;) {
    bench::mpi_send(&value, 1, MPI_INT, 0);
  }
}

void run_all(int count) {
  const auto length = static_cast<std::size_t>(count);
  std::vector<int> values(length);
  std::vector<int> results(length);
  std::vector<MPI_Request> sends(length);
  std::vector<MPI_Request> receives(length);
  for (std::size_t i = 0; i < length; ++i) {
    const int worker = 1 + static_cast<int>(i) % workers;
    values[i] = static_cast<int>(i);
    MPI_Irecv(&results[i], 1, MPI_INT, worker, bench::work_tag, MPI_COMM_WORLD, &receives[i]);
    MPI_Isend(&values[i], 1, MPI_INT, worker, bench::work_tag, MPI_COMM_WORLD, &sends[i]);
  }
  MPI_Waitall(count, sends.data(), MPI_STATUSES_IGNORE);
  MPI_Waitall(count, receives.data(), MPI_STATUSES_IGNORE);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Mpi mpi(argc, argv);
  if (bench::Mpi::rank() > 0) {
    serve();
    return 0;
  }
  run_all(bench::task_count / 10);  // warm up
  const double seconds = bench::seconds_of([] { run_all(bench::task_count); });
  bench::emit("tasks", 1e6 * seconds / bench::task_count, "us/task");
  bench::mpi_stop(workers);
}
