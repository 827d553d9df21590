/// @file
/// `bandwidth` by Open MPI (mpirun -n 2): an array sent and answered by 8 bytes, and an array asked for by 8 bytes.
/// Both sides keep their arrays.
#include "../common/mpi_peer.hpp"
#include "../common/statistics.hpp"
#include "../common/workload.hpp"

#include <cstdint>

namespace {

std::vector<double> kept_array() { return std::vector<double>(bench::array_sizes().back().doubles, 1.0); }

// A message of one double asks for an array of so many doubles; a longer one is an array and is answered by its length.
void serve() {
  std::vector<double> array = kept_array();
  std::vector<double> received(array.size());
  for (;;) {
    const MPI_Status status = bench::mpi_receive(received.data(), received.size(), MPI_DOUBLE, 0);
    if (status.MPI_TAG == bench::stop_tag) return;
    int count = 0;
    MPI_Get_count(&status, MPI_DOUBLE, &count);
    if (count == 1) {
      bench::mpi_send(array.data(), static_cast<std::size_t>(received[0]), MPI_DOUBLE, 0);
    } else {
      const double length = count;
      bench::mpi_send(&length, 1, MPI_DOUBLE, 0);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Mpi mpi(argc, argv);
  if (bench::Mpi::rank() > 0) {
    serve();
    return 0;
  }
  const std::vector<double> array = kept_array();
  std::vector<double> received(array.size());
  for (const bench::ArraySize& size : bench::array_sizes()) {
    const auto rate = [&](auto call) {
      return static_cast<double>(size.bytes()) / bench::median_call(call, size.calls, 2.0) * 1e-9;
    };
    const auto argument = [&] {
      double length = 0;
      bench::mpi_send(array.data(), size.doubles, MPI_DOUBLE, 1);
      bench::mpi_receive(&length, 1, MPI_DOUBLE, 1);
    };
    const auto result = [&] {
      const auto length = static_cast<double>(size.doubles);
      bench::mpi_send(&length, 1, MPI_DOUBLE, 1);
      bench::mpi_receive(received.data(), size.doubles, MPI_DOUBLE, 1);
    };
    bench::emit("bandwidth_argument/" + size.name, rate(argument), "GB/s");
    bench::emit("bandwidth_result/" + size.name, rate(result), "GB/s");
  }
  bench::mpi_stop(1);
}
