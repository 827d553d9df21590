/// @file
/// A command's channel, through which one worker speaks, or a group of them (runtime/base/worker_group.hpp).
#pragma once

#include "cluster_managers/ssh/group_output.hpp"
#include "cluster_managers/ssh/remote_worker.hpp"
#include "cluster_managers/ssh/ssh_connection.hpp"

#include <libssh/callbacks.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace muster::runtime::ssh {

/// A host's thread drives it. Ends with the last of its workers.
class WorkerChannel {
 public:
  enum class Kind { one, group };

  /// @param channel of a shell that waits for the script which starts them
  /// @param workers as their start records will come; one, where it is no group
  WorkerChannel(Channel channel, Kind kind, std::vector<std::shared_ptr<RemoteWorker>> workers);
  ~WorkerChannel();
  WorkerChannel(const WorkerChannel&) = delete;
  WorkerChannel& operator=(const WorkerChannel&) = delete;

  ssh_channel channel() const { return channel_.get(); }
  const std::vector<std::shared_ptr<RemoteWorker>>& workers() const { return workers_; }
  /// Moves what can be moved without waiting. @returns whether anything was
  /// @throws Error where what the leader of the group says is none of what leaders say
  bool pump();
  bool is_over() const { return !channel_; }
  /// The connection is gone.
  void lose(const std::string& why);
  /// Asks the leader of a group to do that to one of its workers. @returns false where it is no group
  bool ask(const RemoteWorker& worker, GroupFrame::Kind what) const;
  /// By the server, where no command can be run; of no effect on a group.
  void signal(const char* name) const;

 private:
  using Stream = RemoteWorker::Stream;

  bool read(Stream which);
  void end_if_all_have();
  static void on_exit_status(ssh_session session, ssh_channel channel, int status, void* self);
  static void on_exit_signal(ssh_session session, ssh_channel channel, const char* signal, int core, const char* text,
                             const char* language, void* self);

  ssh_channel_callbacks_struct callbacks_{};  ///< outlives the channel
  Channel channel_;
  const std::vector<std::shared_ptr<RemoteWorker>> workers_;
  std::optional<GroupOutput> group_output_;  ///< none: one worker, whose streams are the channel's
  std::array<bool, 2> stream_ended_{};
  std::optional<int> wait_status_;  ///< of the worker, or of the leader
};

}  // namespace muster::runtime::ssh
