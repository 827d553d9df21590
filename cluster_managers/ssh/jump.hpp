/// @file
/// The way to a host that is reached through another one (ProxyJump).
#pragma once

#include "cluster_managers/ssh/ssh_connection.hpp"
#include "cluster_managers/ssh/tunnel.hpp"
#include "runtime/base/unique_fd.hpp"

#include <muster/cluster.hpp>

#include <optional>
#include <string>
#include <thread>

namespace muster::runtime::ssh {

/// The host to go through, where that is what the proxy command means: libssh makes `ssh -W '[%h]:%p' HOST` of
/// ProxyJump. None for any other command, and for a way through several hosts.
std::optional<Machine> jump_host(const std::string& proxy_command);

/// A connection to the host in between, and a thread that carries bytes through it.
class Jump {
 public:
  /// Connects there, and from there on to the host meant. @throws Error
  Jump(const Machine& between, const SshOptions& options, Clock::time_point deadline, std::stop_token stop,
       std::mutex& known_hosts, const std::string& host, int port);
  /// Breaks the connection.
  ~Jump();
  Jump(const Jump&) = delete;
  Jump& operator=(const Jump&) = delete;

  /// What leads to the host meant, once.
  UniqueFd take_socket() { return std::move(near_); }

 private:
  void carry();

  SshConnection connection_;
  Tunnel tunnel_;
  UniqueFd near_;
  std::thread thread_;
};

}  // namespace muster::runtime::ssh
