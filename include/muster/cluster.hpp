/// @file
/// The processes of the cluster: adding, listing, interrupting and removing them.
#pragma once

#include <muster/auto.hpp>
#include <muster/errors.hpp>
#include <muster/ids.hpp>

#include <chrono>
#include <concepts>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace muster {

class ClusterManager;
template <class T>
class Future;

/// Which processes may call each other: every pair, only the master with each worker, or as the manager's
/// `connect_idents` say.
enum class Topology { all_to_all, master_worker, custom };

/// Options of addprocs.
struct AddprocsOptions {
  std::string exename = {};                                            ///< program to start; empty: this one
  std::vector<std::string> exeflags = {};                              ///< its further arguments
  std::string dir = {};                                                ///< working directory; empty: the current one
  std::map<std::string, std::string> env = {};                         ///< added to the inherited environment
  Topology topology = Topology::all_to_all;                            ///< which workers may call each other
  bool lazy = true;                                                    ///< workers connect to each other on first use
  int threads = 1;                                                     ///< tasks a worker runs at once
  std::chrono::nanoseconds launch_timeout = std::chrono::seconds(60);  ///< for every worker to answer
  bool threaded_blas = false;                                          ///< leave OMP/OPENBLAS/MKL_NUM_THREADS alone
};

/// Whether hosts must be known before their first connection.
enum class KnownHosts { Strict, AcceptNew, Off };
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"  // `Auto` the number and `Ship::Auto` never meet
/// Whether the program is copied to hosts.
enum class Ship { Auto, Always, Never };
#pragma GCC diagnostic pop

/// Options of addprocs over SSH: those of AddprocsOptions in that order, and its own.
struct SshOptions {
  std::string exename = {};                                            ///< program to start; empty: this one
  std::vector<std::string> exeflags = {};                              ///< its further arguments
  std::string dir = {};                                                ///< working directory; empty: the current one
  std::map<std::string, std::string> env = {};                         ///< added to the environment there
  Topology topology = Topology::all_to_all;                            ///< which workers may call each other
  bool lazy = true;                                                    ///< workers connect to each other on first use
  int threads = 1;                                                     ///< tasks a worker runs at once
  std::chrono::nanoseconds launch_timeout = std::chrono::seconds(60);  ///< for every worker to answer
  bool threaded_blas = false;                                          ///< leave OMP/OPENBLAS/MKL_NUM_THREADS alone
  bool tunnel = false;                                                 ///< connect through the SSH session
  int max_parallel = 10;                                               ///< sessions being opened at once
  std::string identity_file = {};                                      ///< private key; empty: agent and defaults
  KnownHosts known_hosts = KnownHosts::Strict;                         ///< what an unknown host key means
  Ship ship = Ship::Auto;                                              ///< whether the program is copied there
  /// Host keys as `SHA256:...`, as `ssh-keygen -lf` shows them: where there are any, every host, one on the way there
  /// included, must have one of them, and `known_hosts` is neither asked nor changed.
  std::vector<std::string> fingerprints = {};
};

/// How many workers on a machine: a number, or Auto for its hardware threads.
using Count = NumberOrAuto<struct CountTag>;

/// A machine that workers are started on, as text: `"[user@]host[:port] [bind_addr[:port]]"` (IPv6 addresses in
/// brackets), with `"4*"` before it for four workers, `"auto*"` for as many as it has hardware threads.
class Machine {
 public:
  /// @throws std::invalid_argument for malformed text, naming it and what is wrong.
  Machine(const char* text);  // NOLINT(google-explicit-constructor)
  /// @copydoc Machine(const char*)
  Machine(std::string text);         // NOLINT(google-explicit-constructor)
  Machine(std::string text, Count);  ///< text without a count, and how many

  std::string user;          ///< empty: the one SSH is configured with
  std::string host;          ///< name or address, IPv6 without brackets
  int port = 0;              ///< of SSH there; 0: the default
  std::string bind_address;  ///< where its workers listen; empty: chosen
  int bind_port = 0;         ///< 0: any
  Count count = 1;           ///< workers
};

/// Options of rmprocs.
struct RmprocsOptions {
  std::chrono::nanoseconds waitfor = std::chrono::seconds(30);  ///< until TimeoutError; removal then goes on
};

/// This process's number.
Pid myid();
/// How many processes there are, the master included.
int nprocs();
/// How many workers there are; 1 when there is only the master.
int nworkers();
/// All processes, sorted.
std::vector<Pid> procs();
/// All processes on the host of the one given, sorted.
std::vector<Pid> procs(Pid on_same_host_as);
/// All workers, sorted; `{1}` when there is only the master.
std::vector<Pid> workers();
/// All processes but this one, sorted.
std::vector<Pid> other_procs();
/// All workers but this process, sorted; empty when there are none.
std::vector<Pid> other_workers();
/// Whether all of these processes are on one host.
bool check_same_host(const std::vector<Pid>& pids);

/// Starts one local worker per hardware thread. @see addprocs(int, AddprocsOptions)
std::vector<Pid> addprocs();
/// Starts n workers on this host, and returns their pids, sorted, once each answers calls. Master only.
/// @throws LaunchError when some could not be started, std::invalid_argument for a negative n or options that clash
/// with the living workers', std::logic_error on a worker.
std::vector<Pid> addprocs(int n, AddprocsOptions options = {});
/// Starts workers on other hosts over SSH, and returns their pids, sorted, once each answers calls. Master only.
/// @throws as addprocs(int, AddprocsOptions)
std::vector<Pid> addprocs(const std::vector<Machine>& machines, SshOptions options = {});
/// Starts workers through a manager. Master only.
std::vector<Pid> addprocs(std::shared_ptr<ClusterManager> manager, AddprocsOptions options = {});
/// Machines as strings. A template, so that `addprocs({"a", "b"})` is not ambiguous.
template <class String>
  requires std::same_as<String, std::string>
std::vector<Pid> addprocs(const std::vector<String>& machines, SshOptions options = {}) {
  return addprocs(std::vector<Machine>(machines.begin(), machines.end()), std::move(options));
}

/// Removes a worker: asks it to exit, and kills it where it does not. Master only.
/// @throws TimeoutError naming the pids that are still there after `waitfor`.
void rmprocs(Pid pid, RmprocsOptions options = {});
/// Removes workers. Pid 1 is left alone with a warning; unknown ones are ignored.
void rmprocs(const std::vector<Pid>& pids, RmprocsOptions options = {});
/// Removes a worker; the future is ready when it is gone. Master only.
Future<void> rmprocs_async(Pid pid);
/// Removes workers; the future is ready when all are gone. Master only.
Future<void> rmprocs_async(const std::vector<Pid>& pids);

/// Requests stop of every task running on all workers. Master only.
void interrupt();
/// Requests stop of every task running there. Its fetchers get a RemoteException that is an InterruptedError.
void interrupt(Pid pid);
/// Requests stop of every task running on those.
void interrupt(const std::vector<Pid>& pids);

/// Unregisters a callback when it is destroyed.
class [[nodiscard]] CallbackHandle {
 public:
  CallbackHandle() = default;
  /// @param unregister what its end does
  explicit CallbackHandle(std::function<void()> unregister) : unregister_(std::move(unregister)) {}
  /// The other one no longer unregisters anything.
  CallbackHandle(CallbackHandle&& other) noexcept : unregister_(std::exchange(other.unregister_, nullptr)) {}
  /// Unregisters its own first.
  CallbackHandle& operator=(CallbackHandle&& other) noexcept {
    if (this != &other) {
      reset();
      unregister_ = std::exchange(other.unregister_, nullptr);
    }
    return *this;
  }
  ~CallbackHandle() { reset(); }

 private:
  void reset() noexcept {
    if (unregister_) std::exchange(unregister_, nullptr)();
  }
  std::function<void()> unregister_;
};

/// Calls f(pid) after each worker that joins is listed. Callbacks run on a thread of their own, and may call muster;
/// what they throw is logged.
CallbackHandle on_worker_added(std::function<void(Pid)> f);
/// Calls f(exit) after each worker that ended has left the lists.
CallbackHandle on_worker_removed(std::function<void(const WorkerExit&)> f);

}  // namespace muster
