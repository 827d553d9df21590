/// @file
/// A connection to one host, and the workers started over it.
#pragma once

#include "cluster_managers/ssh/shipment.hpp"
#include "cluster_managers/ssh/ssh_connection.hpp"
#include "cluster_managers/ssh/tunnel.hpp"
#include "cluster_managers/ssh/worker_channel.hpp"

#include <muster/cluster_manager.hpp>

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace muster::runtime::ssh {

/// What was found on a host before anything is started there.
struct HostFacts {
  bool directory = false;  ///< the working directory is there
  bool program = false;    ///< the program is there, and may be run
  int threads = 0;         ///< hardware threads, where they were counted
  std::string address;     ///< of its own, as its SSH server is reached
  std::string system;      ///< as uname -sm says
  ShippedProgram shipped;  ///< where workers are started from
};

/// Commands that ask a host for its facts. Each program that they start there costs the start of the first worker.
std::string facts_question(const std::string& directory, const std::string& program, bool count_processors);
/// Reads what they printed, beside whatever a login shell printed.
HostFacts read_facts(const std::string& output);

/// One addprocs over SSH, as all of its hosts see it.
struct SshLaunch {
  LaunchContext& context;
  SshOptions options;  ///< with those of the context
  bool own_program;    ///< workers run this program: no exename was given
  Clock::time_point deadline;
  std::mutex& known_hosts;
  /// Opens another connection to that host, for workers that one does not hold.
  std::function<void(const Machine& machine, HostFacts facts, int first, int last)> continue_elsewhere;

  std::once_flag files_found = {};  ///< by the first host that asks for them
  std::vector<ProgramFile> files = {};

  std::mutex mutex = {};  ///< guards the following
  std::condition_variable_any changed = {};
  int connecting = 0;  ///< hosts that are being connected to, of at most options.max_parallel
  int starting = 0;    ///< hosts that have not reported all of their workers

  /// Waits for its turn to connect. @returns false when a stop was requested
  bool begin_connecting();
  void end_connecting();
};

/// Owns a thread, which connects, starts workers, and carries what they print until all have ended.
class SshHost : public std::enable_shared_from_this<SshHost> {
 public:
  /// Which of the machine's workers are started here; all of them where nothing is known of the host yet.
  struct Share {
    HostFacts facts;
    int first, last;  ///< half-open
  };
  SshHost(Machine machine, std::optional<Share> share);
  /// Breaks the connection and waits for the thread.
  ~SshHost();
  SshHost(const SshHost&) = delete;
  SshHost& operator=(const SshHost&) = delete;

  /// Starts the thread. @param launch until its `starting` was counted down
  void run(SshLaunch& launch);
  /// Whether the thread has nothing left to do.
  bool is_over() const;

  // Any thread; of no effect when the connection is gone.
  /// Ends its process: SIGTERM, and SIGKILL two seconds later.
  void kill(const std::shared_ptr<RemoteWorker>& worker);
  void interrupt(const std::shared_ptr<RemoteWorker>& worker);
  /// Nothing more is wanted of it.
  void forget(const std::shared_ptr<RemoteWorker>& worker);

 private:
  // starting (ssh_host_start.cpp)
  void start_workers(SshLaunch& launch);
  void connect(SshLaunch& launch);
  Channel open_shell() const;
  HostFacts look_around(SshLaunch& launch, ssh_channel shell);
  void start_together(SshLaunch& launch, const HostFacts& facts, Channel shell, int first, int last);
  std::string script(SshLaunch& launch, const HostFacts& facts, int first, int last) const;
  void hand_over(SshLaunch& launch, const std::shared_ptr<RemoteWorker>& worker, UniqueFd output, UniqueFd errors);
  // serving (ssh_host.cpp)
  void serve();
  bool serve_once();
  void wait();
  void post(std::function<void()> command);
  void run_commands();
  void post_to(const std::shared_ptr<RemoteWorker>& worker, std::function<void(WorkerChannel&)> command);
  void run_quietly(const WorkerChannel& channel, const std::string& script, const char* signal);
  void wake() const;

  const Machine machine_;
  const std::optional<Share> share_;
  std::list<WorkerChannel> channels_;  ///< the thread's, as is the next
  struct TunnelOf {
    std::shared_ptr<RemoteWorker> worker;
    Tunnel tunnel;
  };
  std::list<TunnelOf> tunnels_;
  UniqueFd wakeup_;

  mutable std::mutex mutex_;                   ///< guards the following
  std::unique_ptr<SshConnection> connection_;  ///< used by the thread; abort() by all
  std::vector<std::function<void()>> commands_;
  bool stopping_ = false;
  bool over_ = false;

  std::thread thread_;
};

}  // namespace muster::runtime::ssh
