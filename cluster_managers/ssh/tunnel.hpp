/// @file
/// What leads, through an SSH connection, to a port of another host.
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
  /// @param address,port where it leads to, as the other host sees it
  Tunnel(SshConnection& connection, std::string address, int port);

  /// Lets in whoever connects here to a port of 127.0.0.1. @returns the port  @throws Error
  int listen();
  /// Leads that socket, which does not block, to the other end. @returns false where that can't be reached
  bool carry(UniqueFd socket);
  /// Takes in who connected, and moves what can be moved without waiting. @returns whether anything was
  bool pump();
  /// Appends what it waits for; the connection itself is the caller's to watch.
  void watch(std::vector<pollfd>& watched) const;
  /// Nobody new is let in. @returns whether nobody is left
  bool close();
  /// Of the connection: it is about to go.
  void end() { streams_.clear(); }

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
  std::list<Stream> streams_;
};

}  // namespace muster::runtime::ssh
