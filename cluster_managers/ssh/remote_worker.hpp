/// @file
/// One worker at the other end of an SSH connection.
#pragma once

#include "cluster_managers/ssh/ssh_connection.hpp"
#include "runtime/base/unique_fd.hpp"
#include "runtime/cluster/startup_output.hpp"

#include <libssh/callbacks.h>

#include <functional>
#include <mutex>
#include <optional>
#include <string>

namespace muster::runtime::ssh {

class SshHost;

/// Carries what it prints into two pipes, and tells of its end. A host's thread drives it.
class RemoteWorker {
 public:
  /// Its shell says this and its process number, before it becomes the worker.
  static constexpr const char* tag = "muster_process:";

  /// @param channel on which nothing was started yet, since its end may come at once
  /// @param output,errors where what it prints goes; made non-blocking
  RemoteWorker(Channel channel, UniqueFd output, UniqueFd errors);
  ~RemoteWorker();
  RemoteWorker(const RemoteWorker&) = delete;
  RemoteWorker& operator=(const RemoteWorker&) = delete;

  /// Any thread. Calls f once, with a status as waitpid gives it, or -1.
  void when_ended(std::function<void(int wait_status)> f);
  /// Any thread. Its process there; -1 while that is not known.
  long os_pid() const;

  // The host's thread:
  ssh_channel channel() const { return channel_.get(); }
  /// Before anything is pumped: where it says that it listens, it shall say what this makes of it.
  void replace_address(std::function<WorkerAddress(const WorkerAddress&)> replace) { replace_ = std::move(replace); }
  /// Moves what can be moved without waiting. @returns whether anything was
  bool pump();
  /// What waits for its pipes, to be polled for POLLOUT; negative: nothing does.
  int waiting_output() const { return out_.pending.empty() ? -1 : out_.pipe.get(); }
  int waiting_errors() const { return err_.pending.empty() ? -1 : err_.pipe.get(); }
  /// It has ended, though some of its output may still be on the way.
  bool is_ending() const { return wait_status_.has_value(); }
  bool has_ended() const { return ended_; }
  /// The connection is gone.
  void lose(const std::string& why);
  /// Nobody is interested any more.
  void forget() { end(wait_status_.value_or(-1)); }
  /// By the server, where no command can be run.
  void signal(const char* name) { (void)ssh_channel_request_send_signal(channel_.get(), name); }

  std::weak_ptr<SshHost> host;

 private:
  struct Stream {
    UniqueFd pipe;
    std::string pending = {};  ///< read, and not written yet
    bool ended = false;        ///< nothing more will be read
    bool done() const { return ended && pending.empty(); }
  };

  bool move(Stream& stream, bool of_errors);
  bool flush(Stream& stream);
  void find_pid();
  void find_address();
  void end(int wait_status);
  static void on_exit_status(ssh_session session, ssh_channel channel, int status, void* self);
  static void on_exit_signal(ssh_session session, ssh_channel channel, const char* signal, int core, const char* text,
                             const char* language, void* self);

  ssh_channel_callbacks_struct callbacks_{};  ///< outlives the channel
  Channel channel_;
  Stream out_, err_;
  bool pid_found_ = false;
  std::function<WorkerAddress(const WorkerAddress&)> replace_;  ///< until it was done
  std::optional<int> wait_status_;
  Clock::time_point exited_at_{};
  bool ended_ = false;

  mutable std::mutex mutex_;  ///< guards the following
  long os_pid_ = -1;
  std::optional<int> told_;
  std::function<void(int)> tell_;
};

}  // namespace muster::runtime::ssh
