/// @file
/// What a worker reads on its standard input before anything else.
#pragma once

#include "runtime/cluster/handshake.hpp"

#include <muster/session.hpp>

#include <chrono>
#include <cstdint>
#include <string>

namespace muster::runtime {

/// Secrets and settings of a worker about to start. They travel on its standard input only: command lines and
/// environments can be read by others, and files stay.
struct StartRecord {
  std::string cookie;
  std::string bind_address = "127.0.0.1";
  std::chrono::milliseconds timeout{60000};  ///< until the master must have connected
  std::uint64_t max_message = 0;             ///< bytes
  Encryption encryption = Encryption::Auto;  ///< of links over ZeroMQ
  std::string link_secret;                   ///< what their keys follow from
  std::string log_level = "info";
  long master_os_pid = 0;   ///< watched where the master is on the same host
  std::string master_host;  ///< its host_identity()
  CallBack call_back = {};  ///< for a worker that connects to the master by itself
};

/// One line, without its newline.
std::string write_record(const StartRecord& record);
/// @throws Error saying what is wrong with it and how workers are meant to be started.
StartRecord read_record(const std::string& line);
/// Reads a line of standard input, no byte beyond it, within the limit. @throws Error
std::string read_line_of_stdin(std::chrono::milliseconds limit);

}  // namespace muster::runtime
