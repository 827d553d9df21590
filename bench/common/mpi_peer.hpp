/// @file
/// What the Open MPI peers share: messages between rank 0 (the master) and its workers.
#pragma once

#include "emit.hpp"

#include <mpi.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace bench {

/// MPI from construction to destruction.
class Mpi {
 public:
  Mpi(int& argc, char**& argv) { MPI_Init(&argc, &argv); }
  Mpi(const Mpi&) = delete;
  Mpi& operator=(const Mpi&) = delete;
  ~Mpi() { MPI_Finalize(); }

  /// 0 is the master, the others are workers.
  static int rank() {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
  }
};

/// Tag of a message after which a worker leaves; all others are work.
inline constexpr int work_tag = 1, stop_tag = 2;

/// Sends `count` elements of `type`.
template <class T>
void mpi_send(const T* data, std::size_t count, MPI_Datatype type, int to, int tag = work_tag) {
  MPI_Send(data, static_cast<int>(count), type, to, tag, MPI_COMM_WORLD);
}

/// Receives at most `count` elements of `type`. The status tells sender and tag.
template <class T>
MPI_Status mpi_receive(T* data, std::size_t count, MPI_Datatype type, int from) {
  MPI_Status status{};
  MPI_Recv(data, static_cast<int>(count), type, from, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
  return status;
}

/// Tells workers 1 to `workers` to leave.
inline void mpi_stop(int workers) {
  for (int worker = 1; worker <= workers; ++worker) mpi_send("", 0, MPI_BYTE, worker, stop_tag);
}

/// The master of a demand-driven map over `items` (of `type`, `chunk` a message): keeps `depth` chunks with each of
/// `workers` workers and sends the next one where a reply comes from. `results` gets the replies, in order of arrival.
template <class T>
void mpi_map(const std::vector<T>& items, std::vector<T>& results, MPI_Datatype type, std::size_t chunk, int workers,
             int depth) {
  std::size_t sent = 0;
  std::size_t received = 0;
  const auto send_next = [&](int worker) {
    if (sent == items.size()) return;
    const std::size_t count = std::min(chunk, items.size() - sent);
    mpi_send(items.data() + sent, count, type, worker);
    sent += count;
  };
  for (int i = 0; i < depth; ++i) {
    for (int worker = 1; worker <= workers; ++worker) send_next(worker);
  }
  while (received < items.size()) {
    const MPI_Status status = mpi_receive(results.data() + received, results.size() - received, type, MPI_ANY_SOURCE);
    int count = 0;
    MPI_Get_count(&status, type, &count);
    received += static_cast<std::size_t>(count);
    send_next(status.MPI_SOURCE);
  }
}

}  // namespace bench
