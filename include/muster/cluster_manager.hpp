/// @file
/// Cluster managers: what starts, watches and kills worker processes.
#pragma once

#include <muster/cluster.hpp>

#include <any>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

namespace muster {

/// What a manager knows of one worker it started.
struct WorkerConfig {
  int output_fd = -1;      ///< the worker's stdout (and stderr), which muster reads and closes
  std::string host = {};   ///< where it runs; with a port, where it listens, as the manager read in its address line
  int port = 0;            ///< there; 0: muster reads that line
  long os_pid = -1;        ///< its process on this host, where it has one
  std::string ident = {};  ///< name for `connect_idents`
  std::vector<std::string> connect_idents = {};         ///< with Topology::custom: whom it connects to
  std::map<std::string, std::string> environment = {};  ///< what was added to its environment
  std::any userdata = {};                               ///< the manager's own
  std::uint64_t caller = 0;                             ///< Caller::id of a worker that called by itself
};

/// A worker that connected to the master by itself, with the start record of an Invitation, and waits to be taken in:
/// `context.launched({.caller = id, ...})` does that, within half a minute, or it is turned away.
struct Caller {
  std::uint64_t id = 0;                           ///< for WorkerConfig::caller
  std::string host = {};                          ///< its name there
  long os_pid = 0;                                ///< its process there
  std::map<std::string, std::string> facts = {};  ///< variables of its environment that the invitation asked for
};

/// Where workers that connect by themselves find the master.
struct InviteOptions {
  std::string bind_address = {};            ///< where the master listens for them; empty: on all its interfaces
  int port = 0;                             ///< there; 0: any free one
  std::vector<std::string> addresses = {};  ///< in numbers; tried first, in this order, then the interfaces' own
  std::vector<std::string> asked = {};      ///< names of environment variables that they tell
  /// SIGTERM asks a worker to leave when its tasks have ended. False: it ends the worker at once, which is a death.
  bool leaves_on_sigterm = true;
};

/// Lets workers connect to the master by themselves, as long as it lives.
class Invitation {
 public:
  virtual ~Invitation() = default;
  /// What they read on standard input: one line (newline not included), secret, the same for any number of them.
  virtual std::string start_record() const = 0;
  /// Where they find the master, `ADDRESS:PORT`, in the order in which they try.
  virtual std::vector<std::string> endpoints() const = 0;
};

/// Why manage is called.
enum class ManageOp { Register, Interrupt, Deregister };

/// One addprocs, as its manager sees it.
class LaunchContext {
 public:
  virtual ~LaunchContext() = default;
  /// The options of this addprocs.
  virtual const AddprocsOptions& options() const = 0;
  /// Arguments that start one worker on a machine that has this program. It listens where the master does; on another
  /// host, append `--muster-bind` and `ADDRESS[:PORT]`, an address of that host's that others can reach.
  virtual std::vector<std::string> worker_command() const = 0;
  /// What a worker must read on its standard input: one line (newline not included), secret, a different one per
  /// worker. A stdin closed after it means nothing.
  virtual std::string start_record() const = 0;
  /// For workers that connect to the master, in place of the master to them: nothing need be known of where they run,
  /// and nothing they print matters. From now on the master listens where other hosts reach it, encrypted unless
  /// SessionOptions::encryption is Off.
  /// @param called told of each that came, on a thread of muster's, in which it must not wait; calls `launched` of the
  /// context it is given, at once or later. It may come for as long as the invitation lives, after launch returned too.
  /// @throws Error where the master can't listen there, std::logic_error from contexts that know nothing of it
  virtual std::unique_ptr<Invitation> invite(InviteOptions options, std::function<void(LaunchContext&, Caller)> called);
  /// Reports a started process. May be called from any thread.
  virtual void launched(WorkerConfig config) = 0;
  /// Reports one that could not be started: where, and why.
  virtual void failed(std::string where, std::string why) = 0;
  /// The launch waits for something that has a time of its own, a queue: launch_timeout counts anew from now.
  virtual void postpone() {}
  /// Requested when the addprocs ends early.
  virtual std::stop_token stop_token() const = 0;
};

/// Starts, watches and kills worker processes. Derive from it to run workers anywhere.
class ClusterManager {
 public:
  virtual ~ClusterManager() = default;
  /// Starts processes and reports each with `context.launched(config)`; returns when all are reported. Runs on a thread
  /// of its own; what it throws becomes the addprocs's failure.
  virtual void launch(LaunchContext& context) = 0;
  /// Told of a worker's registration and deregistration, and asked to interrupt it. The default sends SIGINT to
  /// `os_pid` for Interrupt, where that process is on this host.
  virtual void manage(Pid pid, WorkerConfig& config, ManageOp op);
  /// Last resort, after the exit request: ends the process. The default sends SIGTERM, then SIGKILL, to `os_pid` on
  /// this host.
  virtual void kill(Pid pid, const WorkerConfig& config);
  /// What it is, in messages: `LocalManager(4)`. The default gives its class and nothing else: `MyManager()`.
  virtual std::string to_string() const;
};

/// Writes `manager.to_string()`.
std::ostream& operator<<(std::ostream& out, const ClusterManager& manager);

/// Starts workers on this host.
class LocalManager : public ClusterManager {
 public:
  /// @throws std::invalid_argument for a negative n.
  explicit LocalManager(int n);
  void launch(LaunchContext& context) override;
  /// With the number of workers.
  std::string to_string() const override;

 private:
  int n_;
};

/// Starts workers on other hosts, over SSH; no ssh program is needed, here or there. One connection to a host starts up
/// to eight workers; they end when it does. What addprocs(machines, options) uses.
class SshManager : public ClusterManager {
 public:
  /// @param machines those alike are taken together
  /// @param options those that AddprocsOptions has too hold where the addprocs has none of its own
  /// @throws std::invalid_argument for `max_parallel` below 1, or a bind address together with `tunnel`
  explicit SshManager(std::vector<Machine> machines, SshOptions options = {});
  /// Closes the connections.
  ~SshManager() override;
  void launch(LaunchContext& context) override;
  void manage(Pid pid, WorkerConfig& config, ManageOp op) override;
  void kill(Pid pid, const WorkerConfig& config) override;
  /// With the machines: `SshManager(node1, 4*user@node2:2222)`.
  std::string to_string() const override;

 private:
  class Hosts;
  std::vector<Machine> machines_;
  SshOptions options_;
  std::unique_ptr<Hosts> hosts_;
};

}  // namespace muster

// The managers that need more than a line, each with its options.
#include <muster/elastic_manager.hpp>
#include <muster/kubernetes_manager.hpp>
#include <muster/mpi_manager.hpp>
#include <muster/script_manager.hpp>
