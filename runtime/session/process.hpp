/// @file
/// The composition root: everything of one process of a cluster, built and taken down in order.
#pragma once

#include "runtime/base/steward.hpp"
#include "runtime/calls/calls.hpp"
#include "runtime/cluster/cluster.hpp"
#include "runtime/cluster/launcher.hpp"
#include "runtime/exec/executor.hpp"
#include "runtime/session/changes.hpp"
#include "runtime/session/everywhere.hpp"
#include "runtime/session/handouts.hpp"
#include "runtime/session/kept_functions.hpp"
#include "runtime/session/worker_pools.hpp"
#include "runtime/transport/transport.hpp"

#include <muster/session.hpp>

#include <functional>
#include <memory>
#include <optional>

namespace muster::runtime {

/// How a process is put together.
struct ProcessSettings {
  std::unique_ptr<Lane> lane;
  std::string cookie;
  bool master = true;
  std::chrono::nanoseconds heartbeat_interval = std::chrono::seconds(1), heartbeat_timeout = std::chrono::seconds(10);
  TransportOptions transport;
  std::function<std::string(Pid, std::string_view)> worker_output;
  std::function<std::string(std::chrono::nanoseconds, const CallBack&)> start_record;  ///< master
  std::function<void(const std::string&)> on_master_lost;                              ///< worker
  std::function<void()> on_exit_request;                                               ///< worker
  std::function<void()> on_joined;                         ///< worker: it belongs to a cluster now
  std::function<void(const std::string&)> on_not_reached;  ///< worker that knocks: the master is not there
  std::function<void(const std::string&)> on_turned_away;  ///< worker that knocks: and never will be taken in
};

class Process final : private TransportSink, private MessageSource {
 public:
  explicit Process(ProcessSettings settings);
  /// The master's workers are removed first; threads end; handles lose their process.
  ~Process() override;

  Pid pid() const { return cluster_->self(); }
  bool is_master() const { return launcher_ != nullptr; }
  Calls& calls() { return *calls_; }
  Cluster& cluster() { return *cluster_; }
  Executor& executor() { return executor_; }
  Steward& steward() { return *steward_; }
  Transport& transport() { return *transport_; }
  Everywhere& everywhere() { return everywhere_; }
  WorkerPools& pools() { return pools_; }
  KeptFunctions& kept_functions() { return kept_functions_; }
  Handouts& handouts() { return handouts_; }
  /// Of the members of the cluster and of pools.
  Changes& changes() { return changes_; }
  LifeCallbacks& life_callbacks() { return life_callbacks_; }
  /// @throws std::logic_error on a worker: only the master adds and removes workers.
  Launcher& launcher();
  /// Ends heartbeats, receiving and running; called by the destructor.
  void stop();

 private:
  // TransportSink
  void on_message(Incoming message) override;
  bool takes_plain(MessageKind kind) const override { return Calls::takes_plain(kind); }
  void on_plain(PlainMessage& message) override { calls_->on_plain(message); }
  void on_lost(const std::shared_ptr<Link>& link, const std::string& reason) override;
  void on_behind(Link& link) override;
  // MessageSource
  bool drain(int most) override;
  bool direct() const override { return transport_->direct(); }
  bool anything() const override { return transport_->anything(); }
  void wait(Clock::time_point until) override { transport_->wait(until); }
  void kick() override { transport_->kick(); }

  void beat(std::chrono::nanoseconds interval, std::chrono::nanoseconds timeout);

  std::unique_ptr<Steward> steward_ = std::make_unique<Steward>();
  Executor executor_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Calls> calls_;
  WorkerPools pools_;
  KeptFunctions kept_functions_;
  Handouts handouts_;
  Everywhere everywhere_;
  Changes changes_;
  LifeCallbacks life_callbacks_;
  std::unique_ptr<Launcher> launcher_;
  std::atomic<TimerId> heartbeat_{};
  bool stopped_ = false;
};

/// The process the calling thread belongs to: the session's, or the one set for this thread (tests hold several).
/// @throws NoSession
Process& current_process();
/// Null where there is none.
Process* current_process_or_null();
/// Makes it the one of the session. Null: none any more. @throws std::logic_error when there is another
void set_session_process(Process* process);

}  // namespace muster::runtime
