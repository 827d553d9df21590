/// @file
/// Looking into the processes of the cluster.
#pragma once

#include <muster/ids.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace muster::debug {

/// Values, channels and used slots that process keeps because other processes hold handles. A call to it.
std::size_t values_owned(Pid pid);
/// Requests that process has sent and that were not answered yet. A call to it, which does not count.
std::size_t calls_in_flight(Pid pid);

/// One connection of a process.
struct LinkInfo {
  Pid peer = 0;                         ///< the process at its other end
  std::string lane;                     ///< "shm", "zmq-ipc" or "zmq-tcp"
  bool encrypted = false;               ///< whether others could read along
  std::uint64_t messages_sent = 0;      ///< heartbeats and credit included
  std::uint64_t messages_received = 0;  ///< likewise
  std::uint64_t bytes_sent = 0;         ///< headers included
  std::uint64_t bytes_received = 0;     ///< likewise
};
/// The connections of that process. A call to it.
std::vector<LinkInfo> links(Pid pid);

}  // namespace muster::debug
