/// @file
/// A port of this host's loopback that leads, through an SSH connection, to one of another host's.
#pragma once

#include "cluster_managers/ssh/ssh_connection.hpp"
#include "runtime/base/unique_fd.hpp"

#include <poll.h>

#include <list>
#include <string>
#include <vector>

namespace muster::runtime::ssh {

/// Driven by the thread of its connection, which does not block meanwhile. libssh's own connectors break off under
/// load, so this moves the bytes itself.
class Tunnel {
 public:
  /// Listens at once. @param address,port where it leads to, as the other host sees it  @throws Error
  Tunnel(SshConnection& connection, std::string address, int port);

  /// Here, on 127.0.0.1.
  int local_port() const { return local_port_; }
  /// Takes in who connected, and moves what can be moved without waiting. @returns whether anything was
  bool pump();
  /// Appends what it waits for; the connection itself is the caller's to watch.
  void watch(std::vector<pollfd>& watched) const;
  /// Nobody new is let in. @returns whether nobody is left
  bool close();

 private:
  struct Stream {
    UniqueFd socket;
    Channel channel;
    std::string to_channel = {}, to_socket = {};
    bool socket_ended = false;   ///< nothing more comes from there
    bool channel_ended = false;  ///< likewise
    bool channel_told = false;   ///< that nothing more comes from the socket
    bool over = false;
  };
  bool accept_one();
  bool pump(Stream& stream);
  static bool read_socket(Stream& stream);
  static bool write_channel(Stream& stream);
  static bool read_channel(Stream& stream);
  static bool write_socket(Stream& stream);

  SshConnection& connection_;
  const std::string address_;
  const int port_;
  UniqueFd listener_;
  int local_port_ = 0;
  std::list<Stream> streams_;
};

}  // namespace muster::runtime::ssh
