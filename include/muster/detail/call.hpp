/// @file
/// Calls without their types: what spawn.hpp's templates hand to the runtime, and what a worker runs.
#pragma once

#include <muster/callable.hpp>
#include <muster/detail/parameters.hpp>
#include <muster/detail/typed_value.hpp>
#include <muster/task.hpp>

#include <cstdint>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace muster {
class WorkerPool;
}

namespace muster::detail {

/// What the caller wants back.
enum class Returns : std::uint8_t {
  small,    ///< the value where it is small, else it stays
  value,    ///< the value
  stays,    ///< only word that it is there
  nothing,  ///< no answer at all
};

/// A call that arrived. Completed once, from any thread.
class TaskRun : public std::enable_shared_from_this<TaskRun> {
 public:
  TaskRun() = default;
  TaskRun(const TaskRun&) = delete;
  TaskRun& operator=(const TaskRun&) = delete;
  virtual ~TaskRun() = default;
  virtual const Payload& arguments() = 0;
  /// The arguments were decoded: their memory may go.
  virtual void arguments_done() = 0;
  virtual void complete(Payload&& result) = 0;
  virtual void fail(const std::exception_ptr& failure) = 0;
};

/// Code that decodes a call's arguments, runs it and completes it.
using Thunk = void (*)(TaskRun&);

/// `pid` any_process: the least loaded worker.
/// @throws as API: std::invalid_argument, ProcessExitedException, Error, SerializationError
CorePointer start_call(Pid pid, Thunk thunk, Payload&& arguments, Returns returns);
/// Calls another process and waits for the value. A wait that ends without it cancels the call.
/// @throws as start_call and API's remotecall_fetch
Payload fetch_call(Pid pid, Thunk thunk, Payload&& arguments);
/// The answer that fetch_call returned was not sent to its end. @throws ProcessExitedException, or Error
[[noreturn]] void throw_loss_of(Pid pid);
/// Calls each pid with the same arguments; `pids` empty: every process. Waits; CompositeException.
void call_everywhere(const std::vector<Pid>& pids, Thunk thunk, Payload&& arguments);
/// As call_everywhere, and on each worker that joins later.
void call_everywhere_always(Thunk thunk, Payload&& arguments);
/// Runs the call in this thread, as remotecall_fetch to oneself does. @returns the encoded result; throws
/// RemoteException.
Payload call_here(Thunk thunk, Payload&& arguments);
/// Whether that is this process.
bool is_here(Pid pid);

template <class T>
struct is_task : std::false_type {};
template <class T>
struct is_task<Task<T>> : std::true_type {};

template <class F, class Arrivals>
struct CallResult {
  using type = void;  // check_call says what is wrong
};
template <class F, class... A>
  requires std::is_invocable_v<F, A...>
struct CallResult<F, TypeList<A...>> {
  using type = unwrap_task_t<std::invoke_result_t<F, A...>>;
};
/// What a call of f with these arguments gives its caller.
template <class F, class... A>
using call_result_t = typename CallResult<F, arrivals_t<F, A...>>::type;

struct RunCompleter {
  std::shared_ptr<TaskRun> run;
  std::shared_ptr<void> keep;  ///< the function and its arguments: a coroutine may refer to them until it ends
  void complete(Payload&& value) const { run->complete(std::move(value)); }
  void fail(const std::exception_ptr& failure) const { run->fail(failure); }
};

/// How a task ends whose result comes later than its return. Specialized for such result types.
template <class R>
struct LaterResult : std::false_type {};
template <class T>
struct LaterResult<Task<T>> : std::true_type {
  static void start(Task<T>&& task, RunCompleter completer) { drive(std::move(task), std::move(completer)); }
};

/// A function and the arguments it is called with.
template <class F, class... A>
struct DecodedCall {
  F f;
  std::tuple<A...> arguments;
  decltype(auto) operator()() {
    return std::apply([&](A&... each) -> decltype(auto) { return std::invoke(std::move(f), std::move(each)...); },
                      arguments);
  }
};

template <class F, class... A>
DecodedCall<F, A...> decode_call(TaskRun& run) {
  reader_for<F, A...> reader(run.arguments());
  F f = decode<F>(reader);
  DecodedCall<F, A...> call{std::move(f), std::tuple<A...>{decode<A>(reader)...}};
  reader.finish();
  run.arguments_done();
  return call;
}

/// Runs a decoded call, and completes it.
template <class Call>
void run_call(TaskRun& run, Call&& decoded) {
  using R = decltype(decoded());
  if constexpr (LaterResult<std::decay_t<R>>::value) {
    auto call = std::make_shared<std::decay_t<Call>>(std::forward<Call>(decoded));
    auto later = (*call)();
    LaterResult<std::decay_t<R>>::start(std::move(later), {run.shared_from_this(), std::move(call)});
  } else if constexpr (std::is_void_v<R>) {
    decoded();
    run.complete(Payload{});
  } else {
    run.complete(to_payload(std::decay_t<R>(decoded())));
  }
}

/// The code a call names: one for each function type and its arguments.
template <class F, class... A>
void invoke(TaskRun& run) {
  run_call(run, decode_call<F, A...>(run));
}

template <class F, class... A>
constexpr Thunk find_thunk(TypeList<A...>) {
  return &invoke<F, A...>;
}
/// The code that a call of f with these arguments, as given, names.
template <class F, class... A>
inline constexpr Thunk thunk_of = find_thunk<F>(arrivals_t<F, A...>{});

template <class... A>
constexpr void check_values(TypeList<A...>) {
  (check_value<A>(), ...);
}

/// What is checked at compile time of every call. A are the arguments' types as given, references included.
template <class F, class... A>
constexpr void check_call() {
  check_callable<F>();
  check_values(arrivals_t<F, A...>{});
  static_assert(
      callable_with<F, A...>,
      "muster: the function can't be called with these arguments. It is called with decayed rvalues, as std::thread "
      "does: take parameters by value or by const reference, not by lvalue reference.");
  if constexpr (callable_with<F, A...>) {
    if constexpr (!std::is_void_v<call_result_t<F, A...>>) check_value<call_result_t<F, A...>>();
  }
}

template <class... Arrival, class F, class... A>
Payload encode_call_as(TypeList<Arrival...> arrivals, const F& f, const A&... arguments) {
  Payload payload;
  writer_for<F, Arrival...> writer(payload);
  encode(writer, f);
  encode_arguments(arrivals, writer, arguments...);
  return payload;
}

template <class F, class... A>
Payload encode_call(const F& f, const A&... arguments) {
  return encode_call_as(arrivals_t<F, const A&...>{}, f, arguments...);
}

/// Waits for a call whose future nobody else has: a caller that gives up takes its task along.
template <class Wait>
void wait_or_cancel(const CorePointer& core, const Wait& wait) {
  try {
    wait();
  } catch (...) {
    (void)cancel(core);  // of no effect where the task's own failure was thrown
    throw;
  }
}

template <class F, class... A>
CorePointer start(Pid pid, Returns returns, const F& f, A&&... arguments) {
  check_call<F, A...>();
  if constexpr (callable_with<F, A...>)
    return start_call(pid, thunk_of<F, A...>, encode_call(f, arguments...), returns);
  else
    return nullptr;  // refused by check_call
}

/// Calls another process, and waits for the value.
template <class F, class... A>
call_result_t<F, A...> call_and_wait(Pid pid, const F& f, A&&... arguments) {
  using R = call_result_t<F, A...>;
  check_call<F, A...>();
  if constexpr (callable_with<F, A...>) {
    const Payload answer = fetch_call(pid, thunk_of<F, A...>, encode_call(f, arguments...));
    try {
      if constexpr (!std::is_void_v<R>) return from_payload<R>(answer);
    } catch (const SenderLost&) {
      throw_loss_of(pid);
    }
  }
}

}  // namespace muster::detail
