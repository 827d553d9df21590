/// @file
/// `start_up` by Open MPI (mpirun -n 1): MPI_Comm_spawn of four processes of this program that answer one message each.
#include "../common/mpi_peer.hpp"
#include "../common/statistics.hpp"

namespace {

constexpr int processes = 4;

void start_and_call_each(const char* program, MPI_Comm& children) {
  MPI_Comm_spawn(program, MPI_ARGV_NULL, processes, MPI_INFO_NULL, 0, MPI_COMM_SELF, &children, MPI_ERRCODES_IGNORE);
  for (int child = 0; child < processes; ++child) {
    int value = child;
    MPI_Send(&value, 1, MPI_INT, child, bench::work_tag, children);
    MPI_Recv(&value, 1, MPI_INT, child, bench::work_tag, children, MPI_STATUS_IGNORE);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Mpi mpi(argc, argv);
  MPI_Comm other = MPI_COMM_NULL;
  MPI_Comm_get_parent(&other);
  if (other != MPI_COMM_NULL) {
    int value = 0;
    MPI_Recv(&value, 1, MPI_INT, 0, bench::work_tag, other, MPI_STATUS_IGNORE);
    MPI_Send(&value, 1, MPI_INT, 0, bench::work_tag, other);
  } else {
    bench::emit("start_up", bench::seconds_of([&] { start_and_call_each(argv[0], other); }), "s");
  }
  MPI_Comm_disconnect(&other);
}
