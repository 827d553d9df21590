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
  Pid peer = 0;
  std::string lane;  ///< "shm", "zmq-ipc" or "zmq-tcp"
  bool encrypted = false;
  std::uint64_t messages_sent = 0, messages_received = 0, bytes_sent = 0, bytes_received = 0;
};
/// The connections of that process. A call to it.
std::vector<LinkInfo> links(Pid pid);

}  // namespace muster::debug
