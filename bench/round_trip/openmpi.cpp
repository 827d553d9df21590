/// @file
/// `round_trip` by Open MPI (mpirun -n 2): ping-pong of 64 bytes. Both ranks wait busily.
#include "../common/mpi_peer.hpp"
#include "../common/statistics.hpp"
#include "../common/workload.hpp"

#include <array>

int main(int argc, char** argv) {
  const bench::Mpi mpi(argc, argv);
  std::array<char, 64> message{};
  const auto receive = [&](int from) { return bench::mpi_receive(message.data(), message.size(), MPI_BYTE, from); };
  const auto send = [&](int to) { bench::mpi_send(message.data(), message.size(), MPI_BYTE, to); };
  if (bench::Mpi::rank() > 0) {
    while (receive(0).MPI_TAG == bench::work_tag) send(0);
    return 0;
  }
  const double seconds = bench::median_call(
      [&] {
        send(1);
        receive(1);
      },
      bench::round_trip_calls, bench::round_trip_limit, bench::round_trip_warm_up);
  bench::emit("round_trip", 1e6 * seconds, "us");
  bench::mpi_stop(1);
}
