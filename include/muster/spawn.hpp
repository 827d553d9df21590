/// @file
/// Remote calls: running functions in other processes.
///
/// A function is a function pointer; a lambda or function object that is plain bytes, or has a cereal `serialize`; or
/// `bind_front(f, captured...)`. It is called with decayed rvalues, as std::thread does. Arguments and results are
/// whatever cereal serializes, plain aggregates, functions, Future, RemoteChannel and WorkerPool.
///
/// Thrown by the call itself, not through the future: std::invalid_argument for an unknown pid, ProcessExitedException
/// for a removed one, Error for one that the topology forbids, SerializationError for an argument that does not
/// serialize or is too large, UnsafeCapture for a closure that holds an address.
/// @par Thread safety
/// Every function from any thread of any process of the cluster.
#pragma once

#include <muster/cluster.hpp>
#include <muster/detail/call.hpp>
#include <muster/future.hpp>
#include <muster/task.hpp>

#include <utility>
#include <vector>

namespace muster {

/// Runs f on the least loaded worker, ties in turn. Without workers: on this process.
template <class F, class... A>
auto spawn(F f, A&&... arguments) {
  using R = detail::call_result_t<F, A...>;
  Future<R> future(detail::start(detail::any_process, detail::Returns::small, f, arguments...));
  detail::note_for_sync(future.core());
  return future;
}

/// Runs f on process `pid`. One message each way; a small value comes with the answer, a large one stays until fetched.
template <class F, class... A>
auto spawnat(Pid pid, F f, A&&... arguments) {
  using R = detail::call_result_t<F, A...>;
  Future<R> future(detail::start(pid, detail::Returns::small, f, arguments...));
  detail::note_for_sync(future.core());
  return future;
}

/// spawnat in Julia's order of arguments.
template <class F, class... A>
auto remotecall(F f, Pid pid, A&&... arguments) {
  return spawnat(pid, std::move(f), std::forward<A>(arguments)...);
}

/// Runs f on process `pid` and returns its value: one message each way. To the own pid it runs in this thread.
/// @throws RemoteException, ProcessExitedException, TimeoutError, CancelledError
template <class F, class... A>
auto remotecall_fetch(F f, Pid pid, A&&... arguments) -> detail::call_result_t<F, A...> {
  using R = detail::call_result_t<F, A...>;
  if (detail::is_here(pid)) {
    detail::check_call<F, A...>();
    const auto result = detail::call_here(detail::thunk_of<F, A...>, detail::encode_call(f, arguments...));
    if constexpr (!std::is_void_v<R>) return detail::from_payload<R>(result);
  } else {
    return detail::call_and_wait(pid, f, arguments...);
  }
}

/// Runs f on process `pid` and waits for its end; the value stays there. @throws as remotecall_fetch
template <class F, class... A>
auto remotecall_wait(F f, Pid pid, A&&... arguments) {
  Future<detail::call_result_t<F, A...>> future(detail::start(pid, detail::Returns::stays, f, arguments...));
  detail::wait_or_cancel(future.core(), [&] { future.wait(); });
  return future;
}

/// Runs f on process `pid`, without any answer. A failure is logged where it happens.
template <class F, class... A>
void remote_do(F f, Pid pid, A&&... arguments) {
  (void)detail::start(pid, detail::Returns::nothing, f, arguments...);
}

/// remotecall_fetch with the pid first.
template <class F, class... A>
auto fetchfrom(Pid pid, F f, A&&... arguments) -> detail::call_result_t<F, A...> {
  return remotecall_fetch(std::move(f), pid, std::forward<A>(arguments)...);
}

/// Runs f on every process at once, this one included, and waits. A caller whose task must stop, or whose deadline
/// ends, takes the tasks along. @throws CompositeException of all failures
template <class F, class... A>
  requires(!std::is_same_v<std::remove_cvref_t<F>, std::vector<Pid>> && !std::is_same_v<F, std::initializer_list<Pid>>)
void everywhere(F f, A&&... arguments) {
  detail::check_call<F, A...>();
  detail::call_everywhere({}, detail::thunk_of<F, A...>, detail::encode_call(f, arguments...));
}

/// Runs f on the processes named, once per mention, and waits. An unknown pid is refused before anything runs.
template <class F, class... A>
void everywhere(const std::vector<Pid>& pids, F f, A&&... arguments) {
  detail::check_call<F, A...>();
  if (!pids.empty()) detail::call_everywhere(pids, detail::thunk_of<F, A...>, detail::encode_call(f, arguments...));
}

/// As everywhere, and also on each worker that joins later, in order of registration, before any other call there;
/// where it throws, that worker fails to join.
template <class F, class... A>
void everywhere_always(F f, A&&... arguments) {
  detail::check_call<F, A...>();
  detail::call_everywhere_always(detail::thunk_of<F, A...>, detail::encode_call(f, arguments...));
}

}  // namespace muster
