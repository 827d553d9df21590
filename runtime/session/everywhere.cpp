#include "runtime/session/everywhere.hpp"

#include <muster/task.hpp>

#include <algorithm>
#include <optional>
#include <stdexcept>

namespace muster::runtime {

using detail::CorePointer;
using detail::Payload;
using detail::Returns;

namespace {

/// @throws what a call to it would: it is not in the list of members.
void refuse(Cluster& cluster, Pid pid) {
  (void)cluster.link_to(pid);
  throw std::invalid_argument("muster: there is no process " + std::to_string(pid) + " in this cluster");
}

/// To whom large arguments go from here: also to joining processes, which others may not know.
std::vector<Pid> served_directly(const Cluster& cluster, Pid self, const std::vector<Pid>& joining) {
  std::vector<Pid> direct = Handout::served_directly(cluster, self);
  direct.insert(direct.end(), joining.begin(), joining.end());
  std::sort(direct.begin(), direct.end());
  return direct;
}

}  // namespace

void Everywhere::run_on(Calls& calls, const Cluster& cluster, const std::vector<Pid>& targets, detail::Thunk thunk,
                        const Payload& arguments, const std::vector<Pid>& joining) {
  const Pid self = calls.self();
  std::vector<CorePointer> cores(targets.size());
  std::vector<std::exception_ptr> failures(targets.size());
  const auto attempt = [&](std::size_t i, auto&& what) {
    try {
      what();
    } catch (const ProcessExitedException&) {
      if (!std::binary_search(joining.begin(), joining.end(), targets[i])) failures[i] = std::current_exception();
    } catch (...) {
      failures[i] = std::current_exception();
    }
  };
  // The others first: they run while this process runs its own.
  std::optional<Handout> handout;
  const std::vector<Pid> direct = served_directly(cluster, self, joining);
  const std::vector<Pid> handed = Handout::others_in(targets, self, direct);
  if (Handout::pays(cluster, arguments, handed.size())) {
    handout.emplace(calls, arguments);
    const auto each_of = [&](Pid pid, auto&& what) {
      for (std::size_t i = 0; i < targets.size(); ++i)
        if (targets[i] == pid) attempt(i, [&] { what(i); });
    };
    try {
      handout->give(
          handed, [&](Pid pid) { each_of(pid, [&](std::size_t i) { cores[i] = handout->call(pid, thunk); }); },
          [&](Pid pid, const std::exception_ptr& failure) {
            each_of(pid, [&](std::size_t) { std::rethrow_exception(failure); });
          });
    } catch (...) {  // this task must stop
      for (const CorePointer& core : cores)
        if (core) (void)detail::cancel(core);
      throw;
    }
  }
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] == self || (handout && !std::binary_search(direct.begin(), direct.end(), targets[i]))) continue;
    attempt(i, [&] {
      Payload copy = arguments;
      cores[i] = calls.start(targets[i], thunk, std::move(copy), Returns::value);
    });
  }
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] != self) continue;
    attempt(i, [&] {
      Payload copy = arguments;
      (void)detail::call_here(thunk, std::move(copy));
    });
  }
  for (std::size_t i = 0; i < targets.size(); ++i)
    if (cores[i]) attempt(i, [&] { detail::wait_or_cancel(cores[i], [&] { detail::require_value(cores[i], {}); }); });
  std::erase(failures, nullptr);
  if (failures.empty()) return;
  this_task::check();  // what failed since is of its own making
  throw CompositeException(std::move(failures));
}

void Everywhere::call(Calls& calls, Cluster& cluster, const std::vector<Pid>& pids, detail::Thunk thunk,
                      Payload&& arguments) {
  const auto known = cluster.procs();
  for (const Pid pid : pids)
    if (!std::binary_search(known.begin(), known.end(), pid)) refuse(cluster, pid);
  arguments.own();
  run_on(calls, cluster, pids.empty() ? known : pids, thunk, arguments, {});
}

void Everywhere::always(Calls& calls, Cluster& cluster, detail::Thunk thunk, Payload&& arguments) {
  arguments.own();
  std::vector<Pid> targets = cluster.procs();
  std::vector<Pid> joining;
  {
    const std::lock_guard lock(mutex_);
    registered_.push_back({thunk, arguments});
    for (const Pid pid : targets) initiated_.erase(pid);
    joining.assign(initiated_.begin(), initiated_.end());
  }
  targets.insert(targets.end(), joining.begin(), joining.end());
  run_on(calls, cluster, targets, thunk, arguments, joining);
}

bool Everywhere::initiate(Calls& calls, Pid pid, bool may_wait) {
  for (std::size_t done = 0;; ++done) {
    Registered next;
    {
      const std::lock_guard lock(mutex_);
      if (done == registered_.size()) {
        initiated_.insert(pid);  // what is registered from now on, `always` runs there
        return true;
      }
      if (!may_wait) return false;
      next = registered_[done];
    }
    detail::require_value(calls.start(pid, next.thunk, std::move(next.arguments), Returns::value), {});
  }
}

}  // namespace muster::runtime
