/// @file
/// Calls on every process, and those repeated on each that joins later.
#pragma once

#include "runtime/calls/calls.hpp"
#include "runtime/cluster/cluster.hpp"
#include "runtime/session/handouts.hpp"

#include <muster/detail/call.hpp>

#include <mutex>
#include <set>
#include <vector>

namespace muster::runtime {

/// Any thread.
class Everywhere {
 public:
  /// @see muster::everywhere. No pids: all.
  void call(Calls& calls, Cluster& cluster, const std::vector<Pid>& pids, detail::Thunk thunk,
            detail::Payload&& arguments);
  /// The master's: from now on also on each worker that joins.
  void always(Calls& calls, Cluster& cluster, detail::Thunk thunk, detail::Payload&& arguments);
  /// Runs on a worker that joins what was registered.
  /// @param may_wait else only where nothing is registered
  /// @returns whether all ran. @throws what they throw
  bool initiate(Calls& calls, Pid pid, bool may_wait);

 private:
  struct Registered {
    detail::Thunk thunk;
    detail::Payload arguments;
  };
  /// @param joining among the targets, but no members yet: gone ones are no failure
  void run_on(Calls& calls, const Cluster& cluster, const std::vector<Pid>& targets, detail::Thunk thunk,
              const detail::Payload& arguments, const std::vector<Pid>& joining);

  std::mutex mutex_;  ///< guards both
  std::vector<Registered> registered_;
  std::set<Pid> initiated_;  ///< workers on which all that is registered ran, and which may not be listed yet
};

}  // namespace muster::runtime
