/// @file
/// Tasks that are coroutines, and what a running task may ask about itself.
#pragma once

#include <muster/future.hpp>

#include <chrono>
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>
#include <variant>

namespace muster {

/// What a running task may ask about itself. Outside a task: never stopped, no deadline but a scope's, sleep_for
/// sleeps.
namespace this_task {
/// Requested when the task is cancelled or interrupted.
std::stop_token stop_token();
/// Throws CancelledError or InterruptedError where the task was asked to stop, TimeoutError after its deadline.
void check();
/// Sleeps, and lets this worker run other tasks meanwhile. Throws as check does, as soon as that is so.
void sleep_for(std::chrono::nanoseconds duration);
/// By when the task must end, where it must.
std::optional<std::chrono::steady_clock::time_point> deadline();
}  // namespace this_task

/// Every muster call in the scope, and in the tasks it starts, ends within the duration: with TimeoutError where it is
/// not done. Scopes nest; the earliest deadline holds. Of the thread it is made in.
struct DeadlineScope {
  /// @param duration from now
  explicit DeadlineScope(std::chrono::nanoseconds duration);
  ~DeadlineScope();
  DeadlineScope(const DeadlineScope&) = delete;
  DeadlineScope& operator=(const DeadlineScope&) = delete;

 private:
  std::optional<std::chrono::steady_clock::time_point> before_;
};

namespace detail {

/// Waiting for a future without a thread.
class Suspension;
/// For the task of this thread. @param go_on called once, by any thread, in start_suspension or after it; must be quick
std::shared_ptr<Suspension> make_suspension(std::function<void(std::shared_ptr<Suspension>)> go_on);
/// Goes on when the core is settled, or the task must stop or has no more time.
void start_suspension(Suspension& suspension, const CorePointer& core);
/// Goes on now.
void cut_suspension_short(Suspension& suspension);
/// What who went on does first: when this returns go_on has returned, and nothing watches any more.
void end_suspension(Suspension& suspension);
/// What it does next, as the task that waited: throws where it must stop and the core is not settled, or the core's
/// failure.
void check_resumed(const CorePointer& core);
/// Resumes the coroutine as a job of this process, as part of this thread's task.
void resume_when_settled(const CorePointer& core, std::coroutine_handle<> coroutine);

template <class T>
class FutureAwaiter {
 public:
  explicit FutureAwaiter(CorePointer core) : core_(std::move(core)) {}
  bool await_ready() const { return core_->settled(true); }
  void await_suspend(std::coroutine_handle<> coroutine) const { resume_when_settled(core_, coroutine); }
  T await_resume() const {
    check_resumed(core_);
    return copy_or_take<T>(core_);
  }

 private:
  CorePointer core_;
};

}  // namespace detail

inline detail::FutureAwaiter<void> Future<void>::operator co_await() const {
  return detail::FutureAwaiter<void>(core_);
}

namespace detail {

class TaskPromiseBase {
 public:
  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) const noexcept {
      const auto next = self.promise().continuation_;
      return next ? next : std::noop_coroutine();
    }
    void await_resume() const noexcept {}
  };
  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { failure_ = std::current_exception(); }
  void set_continuation(std::coroutine_handle<> continuation) { continuation_ = continuation; }

 protected:
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  std::coroutine_handle<> continuation_;
  std::exception_ptr failure_;
};

template <class T>
class TaskPromise : public TaskPromiseBase {
 public:
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T result() {
    rethrow();
    return std::move(*value_);
  }

 private:
  std::optional<T> value_;
};

template <>
class TaskPromise<void> : public TaskPromiseBase {
 public:
  Task<void> get_return_object();
  void return_void() const noexcept {}
  void result() const { rethrow(); }
};

}  // namespace detail

/// A task written as a coroutine: `Task<int> f(Future<int> a) { co_return co_await a + 1; }`. It starts when it is
/// awaited, or run by a worker; while it awaits, it holds neither thread nor slot.
template <class T>
class [[nodiscard]] Task {
 public:
  /// @cond what the language asks of a coroutine type
  using promise_type = detail::TaskPromise<T>;
  using value_type = T;

  explicit Task(std::coroutine_handle<promise_type> coroutine) : coroutine_(coroutine) {}
  Task(Task&& other) noexcept : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (coroutine_) coroutine_.destroy();
      coroutine_ = std::exchange(other.coroutine_, nullptr);
    }
    return *this;
  }
  ~Task() {
    if (coroutine_) coroutine_.destroy();
  }
  /// @endcond

  /// Awaits it from another coroutine task.
  auto operator co_await() && {
    struct Awaiter {
      std::coroutine_handle<promise_type> task;
      bool await_ready() const { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiting) const {
        task.promise().set_continuation(waiting);
        return task;
      }
      T await_resume() const { return task.promise().result(); }
    };
    return Awaiter{coroutine_};
  }

  /// Runs it to its end, blocking this thread.
  T run_and_wait() &&;

 private:
  std::coroutine_handle<promise_type> coroutine_;
};

namespace detail {

template <class T>
Task<T> TaskPromise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}
inline Task<void> TaskPromise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}

/// A coroutine nobody awaits; it frees itself.
struct Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

/// Starts the task; when it ends, calls completer.complete(payload) or completer.fail(exception).
template <class T, class Completer>
Detached drive(Task<T> task, Completer completer) {
  std::exception_ptr failure;
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(task);
      completer.complete(Payload{});
    } else {
      completer.complete(to_payload(co_await std::move(task)));
    }
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) completer.fail(failure);
}

struct CoreCompleter {
  CorePointer core;
  void complete(Payload&& value) const { complete_local(core, std::move(value)); }
  void fail(const std::exception_ptr& failure) const { pass_failure(core, failure); }
};

}  // namespace detail

template <class T>
T Task<T>::run_and_wait() && {
  auto core = detail::make_local_core();
  detail::drive(std::move(*this), detail::CoreCompleter{core});
  detail::require_value(core, {});
  if constexpr (!std::is_void_v<T>) return detail::take_value<T>(core);
}

}  // namespace muster
