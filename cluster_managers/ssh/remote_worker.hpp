/// @file
/// One worker at the other end of an SSH connection.
#pragma once

#include "runtime/base/unique_fd.hpp"
#include "runtime/base/worker_group.hpp"
#include "runtime/cluster/startup_output.hpp"

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace muster::runtime::ssh {

class SshHost;

/// Carries what it prints into two pipes, and tells of its end. A host's thread drives it, through a WorkerChannel.
class RemoteWorker {
 public:
  /// What it prints first: this, its process number and a newline.
  static constexpr std::string_view tag = worker_process_tag;
  enum Stream : std::size_t { output, errors };

  /// @param to_output,to_errors where what it prints goes; made non-blocking
  RemoteWorker(UniqueFd to_output, UniqueFd to_errors);
  RemoteWorker(const RemoteWorker&) = delete;
  RemoteWorker& operator=(const RemoteWorker&) = delete;

  /// Any thread. Calls f once, with a status as waitpid gives it, or -1.
  void when_ended(std::function<void(int wait_status)> f);
  /// Any thread. Its process there; -1 while that is not known.
  long os_pid() const;

  // The host's thread:
  /// Before anything was taken: where it says that it listens, it shall say what this makes of it.
  void replace_address(std::function<WorkerAddress(const WorkerAddress&)> replace) { replace_ = std::move(replace); }
  /// Whether whoever reads its pipe keeps up; no more should be taken otherwise.
  bool has_room(Stream which) const { return of(which).pending.size() < most_pending; }
  /// It printed that.
  void take(Stream which, std::string_view text);
  /// It prints nothing more.
  void close(Stream which) { of(which).ended = true; }
  /// Its process is gone, though some of its output may still be on the way. What is said first counts.
  /// @param wait_status as waitpid gives it; -1: unknown
  void exited(int wait_status);
  /// Moves what can be moved without waiting, and ends with the last of it. @returns whether anything was moved
  bool flush();
  /// What waits for its pipe, to be polled for POLLOUT; negative: nothing does.
  int waiting(Stream which) const { return of(which).pending.empty() ? -1 : of(which).pipe.get(); }
  bool is_ending() const { return wait_status_.has_value(); }
  bool has_ended() const { return ended_; }
  /// The connection is gone.
  void lose(const std::string& why);
  /// Nobody is interested any more.
  void forget() { end(); }

  std::weak_ptr<SshHost> host;

 private:
  using Clock = std::chrono::steady_clock;
  /// No more than this is read ahead of whoever reads a pipe; the host then waits.
  static constexpr std::size_t most_pending = std::size_t{256} * 1024;

  struct Printed {
    UniqueFd pipe;
    std::string pending = {};  ///< taken, and not written yet
    bool ended = false;        ///< nothing more will be taken
    bool done() const { return ended && pending.empty(); }
  };

  Printed& of(Stream which) { return printed_[which]; }
  const Printed& of(Stream which) const { return printed_[which]; }
  bool flush(Stream which);
  void find_pid();
  void find_address();
  void end();

  std::array<Printed, 2> printed_;
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
