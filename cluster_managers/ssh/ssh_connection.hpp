/// @file
/// One SSH connection, made and proved with libssh.
#pragma once

#include "cluster_managers/ssh/lent_socket.hpp"

#include <muster/cluster.hpp>

#include <libssh/libssh.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace muster::runtime::ssh {

using Clock = std::chrono::steady_clock;

struct SessionEnd {
  void operator()(ssh_session session) const;
};
using Session = std::unique_ptr<ssh_session_struct, SessionEnd>;

struct ChannelEnd {
  void operator()(ssh_channel channel) const { ssh_channel_free(channel); }
};
using Channel = std::unique_ptr<ssh_channel_struct, ChannelEnd>;

/// `[user@]host[:port]`, as the machine was given.
std::string name_of(const Machine& machine);

/// What a finished command left.
struct CommandResult {
  std::string output;  ///< its standard output
  std::string errors;  ///< its standard error
  int status = -1;     ///< it exited with; -1: a signal ended it, or the server does not say
};

class Jump;

/// Blocking; a connection and its channels belong to one thread at a time. Only abort() is for any.
class SshConnection {
 public:
  /// Connects, checks the host's key and logs in. Reads `~/.ssh/config` and `/etc/ssh/ssh_config`, with `~` the
  /// environment's HOME where it has one.
  /// @param known_hosts held while the file of known hosts is used
  /// @throws Error saying what failed there and what to do, also at the deadline or when a stop is requested.
  SshConnection(const Machine& machine, const SshOptions& options, Clock::time_point deadline, std::stop_token stop,
                std::mutex& known_hosts);
  ~SshConnection();
  SshConnection(const SshConnection&) = delete;
  SshConnection& operator=(const SshConnection&) = delete;

  ssh_session session() const { return session_.get(); }
  /// Readable when libssh is to be asked for more.
  int descriptor() const { return ssh_get_fd(session_.get()); }
  /// Bytes that came over it so far. When it has grown, any channel may have something new, whichever was asked.
  std::uint64_t received() const { return counter_.in_bytes; }
  /// For one command. @throws Error
  Channel open();
  /// Runs the command there; its standard streams are the channel's. @throws Error
  void start(ssh_channel channel, const char* command) const;
  /// Runs a script in a shell there, to its end. @param input its standard input
  /// @param sent told how many bytes of the input have been taken since it was told last
  /// @throws Error, also at the deadline
  CommandResult run(std::string_view script, Clock::time_point deadline, std::string_view input = {},
                    const std::function<void(std::size_t)>& sent = {});
  /// What the command says up to that, or all that it said where it ended before. @throws Error, also at the deadline
  std::string hear(ssh_channel channel, std::string_view last, Clock::time_point deadline) const;
  /// Writes it to the command's standard input, which must have room for it. @throws Error
  void write(ssh_channel channel, std::string_view text) const;
  /// The connection breaks: whatever waits for it fails at once.
  void abort() const noexcept;
  /// What libssh said last.
  std::string last_error() const { return ssh_get_error(session_.get()); }
  const std::string& name() const { return name_; }

 private:
  void configure(const Machine& machine, const SshOptions& options);
  void set_patience(Clock::time_point deadline);
  void check_host_key(const SshOptions& options, std::mutex& known_hosts_file);
  void check_fingerprint(const std::vector<std::string>& expected);
  void log_in(const std::string& identity_file);
  int log_in_with(const std::string& identity_file);
  std::size_t send_some(ssh_channel channel, std::string_view input) const;
  bool take(ssh_channel channel, CommandResult& result) const;
  void wait(Clock::time_point deadline) const;

  std::string name_, host_;
  int port_ = 22;
  std::unique_ptr<Jump> jump_;  ///< where the host is reached through another one
  std::optional<LentSocket> socket_;
  ssh_counter_struct counter_{};
  Session session_;
};

}  // namespace muster::runtime::ssh
