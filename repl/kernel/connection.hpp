/// @file
/// The file by which Jupyter tells a kernel where to listen.
#pragma once

#include <string>

namespace muster::repl {

/// What is in it.
struct Connection {
  std::string transport = {};  ///< tcp or ipc
  std::string ip = {};         ///< with ipc: the start of the sockets' paths
  std::string key = {};        ///< of the signatures; empty: messages are not signed
  int shell = 0, control = 0, iopub = 0, standard_input = 0, heartbeat = 0;

  /// Where ZeroMQ listens for one of these ports.
  std::string endpoint(int port) const;
};

/// @throws std::runtime_error saying what is wrong with it
Connection read_connection(const std::string& path);

}  // namespace muster::repl
