#include "runtime/session/everywhere.hpp"

#include <muster/task.hpp>

#include <algorithm>
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

}  // namespace

void Everywhere::run_on(Calls& calls, const std::vector<Pid>& targets, detail::Thunk thunk, const Payload& arguments,
                        const std::vector<Pid>& may_be_gone) {
  std::vector<CorePointer> cores(targets.size());
  std::vector<std::exception_ptr> failures(targets.size());
  const auto attempt = [&](std::size_t i, auto&& what) {
    try {
      what();
    } catch (const ProcessExitedException&) {
      if (!std::binary_search(may_be_gone.begin(), may_be_gone.end(), targets[i]))
        failures[i] = std::current_exception();
    } catch (...) {
      failures[i] = std::current_exception();
    }
  };
  // The others first: they run while this process runs its own.
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] == calls.self()) continue;
    attempt(i, [&] {
      Payload copy = arguments;
      cores[i] = calls.start(targets[i], thunk, std::move(copy), Returns::value);
    });
  }
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] != calls.self()) continue;
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
  run_on(calls, pids.empty() ? known : pids, thunk, arguments, {});
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
  run_on(calls, targets, thunk, arguments, joining);
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
