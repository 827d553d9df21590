// The public face of the cluster, for the session's process.

#include "runtime/base/deadline.hpp"
#include "runtime/base/log.hpp"
#include "runtime/session/process.hpp"

#include <muster/cluster.hpp>
#include <muster/cluster_manager.hpp>
#include <muster/future.hpp>
#include <muster/spawn.hpp>

#include <algorithm>
#include <stdexcept>
#include <thread>

namespace muster {

namespace {

using runtime::current_process;

std::vector<Pid> without(std::vector<Pid> pids, Pid one) {
  std::erase(pids, one);
  return pids;
}

runtime::Launcher& launcher() { return current_process().launcher(); }

void nothing() {}

/// On a worker of an eager cluster: calls those that came before it. Both ends have the link when that was answered.
void meet_those_before() {
  std::vector<Future<void>> met;
  for (const Pid pid : other_workers()) {
    if (pid > myid()) break;
    try {
      met.push_back(spawnat(pid, &nothing));
    } catch (const Error& kept_apart) {
      runtime::log::debug(kept_apart.what());
    }
  }
  for (const auto& each : met) each.wait();
}

/// Links that are made at once are there when addprocs returns.
void await_links(const std::vector<Pid>& added, std::chrono::nanoseconds limit) {
  const auto deadline = runtime::deadline_after(limit);
  std::vector<Future<void>> met;
  for (const Pid pid : added) {
    try {
      met.push_back(spawnat(pid, &meet_those_before));
    } catch (const ProcessExitedException& gone) {
      runtime::log::debug(gone.what());
    }
  }
  for (const auto& each : met) (void)each.wait_for(deadline - runtime::Clock::now());
}

}  // namespace

Pid myid() { return current_process().pid(); }

int nprocs() { return static_cast<int>(procs().size()); }

int nworkers() { return static_cast<int>(workers().size()); }

std::vector<Pid> procs() { return current_process().cluster().procs(); }

std::vector<Pid> procs(Pid on_same_host_as) { return current_process().cluster().procs_on_host_of(on_same_host_as); }

std::vector<Pid> workers() {
  auto pids = without(procs(), 1);
  if (pids.empty()) pids.push_back(1);
  return pids;
}

std::vector<Pid> other_procs() { return without(procs(), myid()); }

std::vector<Pid> other_workers() { return without(without(procs(), 1), myid()); }

bool check_same_host(const std::vector<Pid>& pids) { return current_process().cluster().one_host(pids); }

std::vector<Pid> addprocs() { return addprocs(static_cast<int>(std::max(1U, std::thread::hardware_concurrency()))); }

std::vector<Pid> addprocs(int n, AddprocsOptions options) {
  return addprocs(std::make_shared<LocalManager>(n), std::move(options));
}

std::vector<Pid> addprocs(const std::vector<Machine>& machines, SshOptions options) {
  (void)launcher();  // refuses on a worker, before anything else
  AddprocsOptions common;
  common.exename = options.exename;
  common.exeflags = options.exeflags;
  common.dir = options.dir;
  common.env = options.env;
  common.topology = options.topology;
  common.lazy = options.lazy;
  common.threads = options.threads;
  common.launch_timeout = options.launch_timeout;
  common.threaded_blas = options.threaded_blas;
  return addprocs(std::make_shared<SshManager>(machines, std::move(options)), std::move(common));
}

std::vector<Pid> addprocs(std::shared_ptr<ClusterManager> manager, AddprocsOptions options) {
  try {
    const auto limit = options.launch_timeout;
    const bool eager = !options.lazy || options.topology == Topology::custom;
    auto added = launcher().add(std::move(manager), std::move(options));
    if (eager) await_links(added, limit);
    return added;
  } catch (const LaunchError& error) {
    if (const auto limit = runtime::current_deadline(); limit && runtime::Clock::now() >= *limit)
      throw TimeoutError("addprocs: the deadline of this task or scope ended. " + std::string(error.what()));
    throw;
  }
}

void rmprocs(Pid pid, RmprocsOptions options) { rmprocs(std::vector<Pid>{pid}, options); }

void rmprocs(const std::vector<Pid>& pids, RmprocsOptions options) {
  auto& leaving = launcher();
  leaving.remove(pids);
  const auto limit = runtime::deadline_after(options.waitfor);
  const auto there = leaving.wait_until_gone(pids, std::min(limit, runtime::current_deadline().value_or(limit)));
  if (there.empty()) return;
  std::string names;
  for (const Pid pid : there) names += (names.empty() ? "" : ", ") + std::to_string(pid);
  throw TimeoutError("rmprocs: processes " + names + " were not gone after " +
                     std::to_string(std::chrono::duration<double>(options.waitfor).count()) +
                     " s. Their removal goes on; RmprocsOptions::waitfor gives it more time.");
}

Future<void> rmprocs_async(Pid pid) { return rmprocs_async(std::vector<Pid>{pid}); }

Future<void> rmprocs_async(const std::vector<Pid>& pids) {
  auto& leaving = launcher();
  auto gone = detail::make_local_core();
  leaving.remove(pids);
  leaving.when_gone(pids, [gone] { detail::complete_local(gone, {}); });
  return Future<void>(std::move(gone));
}

void interrupt() { interrupt(without(procs(), 1)); }

void interrupt(Pid pid) { interrupt(std::vector<Pid>{pid}); }

void interrupt(const std::vector<Pid>& pids) {
  if (!current_process().is_master()) throw std::logic_error("Only process 1 can interrupt workers");
  launcher().interrupt(pids);
}

CallbackHandle on_worker_added(std::function<void(Pid)> f) {
  return runtime::current_process().life_callbacks().on_added(std::move(f));
}

CallbackHandle on_worker_removed(std::function<void(const WorkerExit&)> f) {
  return runtime::current_process().life_callbacks().on_removed(std::move(f));
}

}  // namespace muster
