/// @file
/// The master's part of the cluster: starting workers through their managers, and seeing them off.
#pragma once

#include "runtime/base/crew.hpp"
#include "runtime/base/steward.hpp"
#include "runtime/cluster/cluster.hpp"
#include "runtime/cluster/life_callbacks.hpp"
#include "runtime/cluster/worker_output.hpp"

#include <muster/cluster_manager.hpp>

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace muster::runtime {

/// What the composition root tells the launcher.
struct LauncherSettings {
  std::vector<std::string> program;  ///< argv of this program, as far as workers need it
  std::chrono::nanoseconds heartbeat_interval{}, heartbeat_timeout{};
  std::function<std::string(std::chrono::nanoseconds launch_timeout, const CallBack&)> start_record;
  std::function<std::string(Pid, std::string_view)> worker_output;
};

/// One worker, from its start to its end. Its members are the launcher's, guarded by its mutex.
struct WorkerRecord {
  enum class Stage : std::uint8_t { starting, greeted, welcomed, listed, leaving, gone };

  Pid pid = 0;
  Stage stage = Stage::starting;
  std::shared_ptr<ClusterManager> manager;
  WorkerConfig config;
  AddprocsOptions options;
  std::shared_ptr<WorkerOutput> output;
  std::shared_ptr<Link> link;
  Nonce nonce{};
  Member member;
  bool expected = false;       ///< it was asked to leave
  bool output_ended = true;    ///< nothing more will be printed
  bool has_process = false;    ///< whose end will be told
  bool process_ended = false;  ///< its status is known, or never will be
  bool link_lost = false;
  bool killing = false;
  bool finishing = false;  ///< its manager is asked for the cause of its end
  std::optional<int> exit_status, signal;
  std::optional<LaunchFailure> failure;  ///< of its start
};

class Launch;

/// Threads: every function from any.
class Launcher {
 public:
  Launcher(LauncherSettings settings, Cluster& cluster, Calls& calls, Transport& transport, Steward& steward,
           LifeCallbacks& callbacks);
  /// All workers are gone by then (see remove_all), stop was called, and the steward runs no more.
  ~Launcher();
  /// Ends its threads: callbacks, managers at work. What the steward still reports is dealt with.
  void stop();

  /// @see muster::addprocs
  std::vector<Pid> add(std::shared_ptr<ClusterManager> manager, AddprocsOptions options);
  /// Asks workers to leave; those that do not are killed. Returns at once.
  /// @param grace before the manager kills it
  void remove(const std::vector<Pid>& pids, std::chrono::nanoseconds grace = std::chrono::seconds(2));
  /// Waits until none of them is there. @returns those still there at the deadline
  std::vector<Pid> wait_until_gone(const std::vector<Pid>& pids, Clock::time_point deadline);
  /// Calls f when they are all gone.
  void when_gone(const std::vector<Pid>& pids, std::function<void()> f);
  /// The session ends.
  void remove_all(std::chrono::nanoseconds grace);
  /// @see muster::interrupt
  void interrupt(const std::vector<Pid>& pids);

  /// Run for each worker that joins before it is listed; a throw is its launch failure.
  /// @param initiation called first with may_wait false, on the receiving thread: there it returns false where it would
  /// have to wait, and is called again on a thread of its own
  void set_initiation(std::function<bool(Pid, bool may_wait)> initiation) { initiation_ = std::move(initiation); }

  // from the cluster
  void on_handshake(const Incoming& message);
  void on_handshake_lost(const std::shared_ptr<Link>& link, const std::string& reason);
  void on_knock(const std::shared_ptr<Link>& link, Knock&& knock);
  void on_program_request(const std::shared_ptr<Link>& link, ProgramRequest&& request);
  void on_worker_lost(Pid pid, const std::string& reason);

 private:
  friend class Launch;
  using Record = std::shared_ptr<WorkerRecord>;

  // starting (launcher_start.cpp)
  void run_manager(Launch& launch);
  void wait_until_settled(Launch& launch);
  std::vector<Pid> outcome_of(const Launch& launch) const;
  void launched(Launch& launch, WorkerConfig&& config);
  void watch(const Record& record);
  void read_output(const Record& record, UniqueFd output, UniqueFd standard_error, bool find_address);
  void on_started(const Record& record, const StartupOutput& output);
  void greet(const Record& record, const std::string& endpoint);
  void greet_caller(const Record& record);
  void say_hello(const Record& record, const std::function<std::shared_ptr<Link>()>& connect);
  void fail_late(const Record& record);

  // workers that connect by themselves (launcher_callers.cpp)
  using Called = std::function<void(LaunchContext&, Caller)>;
  class OpenInvitation;
  std::unique_ptr<Invitation> invite(std::shared_ptr<LaunchContext> context, const AddprocsOptions& options,
                                     const InviteOptions& invitation, Called called);
  struct Invited {
    std::shared_ptr<LaunchContext> context;
    Called called;
  };
  Invited withdraw(const std::string& ticket);
  /// @throws HandshakeError where there is none any more
  Invited invited_by(const std::string& ticket) const;
  void give_program(Link& link, const ProgramRequest& request, const LaunchContext& context);
  const std::vector<ListedFile>& program_files();
  void fail(const Record& record, LaunchCause cause, const std::string& message, std::exception_ptr error);
  void initiate(const Record& record);
  void list(const Record& record);

  // ending (launcher_end.cpp)
  void on_process_ended(const Record& record, int wait_status);
  void on_output_ended(const Record& record);
  void consider(const Record& record);
  void conclude_soon(const Record& record, const std::string& reason);
  void conclude(const Record& record, const std::string& reason);
  void finish(const Record& record);
  void finish_with(const Record& record, std::string cause);
  void kill(const Record& record);
  Record find(Pid pid) const;

  const LauncherSettings settings_;
  Cluster& cluster_;
  Calls& calls_;
  Transport& transport_;
  Steward& steward_;
  const std::shared_ptr<OutputPrinter> printer_;
  std::function<bool(Pid, bool may_wait)> initiation_;
  std::mutex adding_;  ///< one addprocs at a time
  LifeCallbacks& callbacks_;
  /// Of its own: printing may wait for whoever reads our output. Outlives the records, whose output it reads.
  Steward output_steward_{"muster-output"};

  mutable std::mutex mutex_;  ///< guards the records and everything below
  std::condition_variable changed_;
  Pid last_pid_ = 1;
  std::map<Pid, Record> records_;
  std::map<LinkId, Record> greeted_;                 ///< by the link their welcome will come over
  std::map<std::string, Invited> invited_;           ///< by ticket
  std::map<LinkId, std::shared_ptr<Link>> callers_;  ///< not taken in yet
  struct Departure {
    std::vector<Pid> pids;
    std::function<void()> tell;
  };
  std::vector<Departure> departures_;

  std::mutex program_mutex_;               ///< guards program_files_ until they are there
  std::vector<ListedFile> program_files_;  ///< of this program; empty until somebody asks for them

  /// What managers may call when the launcher is gone.
  struct Door {
    std::mutex mutex;
    Launcher* launcher;  ///< null: it is
  };
  const std::shared_ptr<Door> door_ = std::make_shared<Door>();

  Crew crew_;
};

}  // namespace muster::runtime
