#include "runtime/session/everywhere.hpp"

#include <algorithm>
#include <stdexcept>

namespace muster::runtime {

using detail::CorePointer;
using detail::Payload;
using detail::Returns;

void Everywhere::call(Calls& calls, Cluster& cluster, const std::vector<Pid>& pids, detail::Thunk thunk, Payload&& arguments) {
  const auto known = cluster.procs();
  for (const Pid pid : pids)
    if (!std::binary_search(known.begin(), known.end(), pid))
      throw std::invalid_argument("muster: everywhere names process " + std::to_string(pid) +
                                  ", which is not in this cluster; nothing was run");
  const auto& targets = pids.empty() ? known : pids;
  arguments.own();
  std::vector<CorePointer> cores(targets.size());
  std::vector<std::exception_ptr> failures(targets.size());
  const auto start = [&](std::size_t i) {
    try {
      Payload copy = arguments;
      cores[i] = calls.start(targets[i], thunk, std::move(copy), Returns::value);
    } catch (...) {
      failures[i] = std::current_exception();
    }
  };
  // The others first: they run while this process runs its own.
  for (std::size_t i = 0; i < targets.size(); ++i)
    if (targets[i] != calls.self()) start(i);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] != calls.self()) continue;
    try {
      Payload copy = arguments;
      (void)calls.call_here(thunk, std::move(copy));
    } catch (...) {
      failures[i] = std::current_exception();
    }
  }
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (!cores[i]) continue;
    try {
      detail::require_value(cores[i], {});
    } catch (...) {
      failures[i] = std::current_exception();
    }
  }
  std::erase(failures, nullptr);
  if (!failures.empty()) throw CompositeException(std::move(failures));
}

void Everywhere::always(Calls& calls, Cluster& cluster, detail::Thunk thunk, Payload&& arguments) {
  arguments.own();
  {
    const std::lock_guard lock(mutex_);
    registered_.push_back({thunk, arguments});
  }
  call(calls, cluster, {}, thunk, std::move(arguments));
}

void Everywhere::initiate(Calls& calls, Pid pid) {
  std::vector<Registered> registered;
  {
    const std::lock_guard lock(mutex_);
    registered = registered_;
  }
  for (Registered& one : registered)
    detail::require_value(calls.start(pid, one.thunk, std::move(one.arguments), Returns::value), {});
}

}  // namespace muster::runtime
