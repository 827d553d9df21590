/// @file
/// Futures: handles to one value to come, wherever it is computed.
#pragma once

#include <muster/detail/copyable.hpp>
#include <muster/detail/typed_value.hpp>
#include <muster/errors.hpp>
#include <muster/ids.hpp>

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace muster {

template <class T>
class Future;
template <class T>
class Task;
template <class T>
class RemoteChannel;

namespace detail {

template <class T>
struct is_future : std::false_type {};
template <class T>
struct is_future<Future<T>> : std::true_type {};
template <class T>
struct is_remote_channel : std::false_type {};
template <class T>
struct is_remote_channel<RemoteChannel<T>> : std::true_type {};

/// What a continuation returns: Task<U> counts as U.
template <class R>
struct unwrap_task {
  using type = std::decay_t<R>;
};
template <class U>
struct unwrap_task<Task<U>> {
  using type = U;
};
template <class R>
using unwrap_task_t = typename unwrap_task<std::remove_cv_t<R>>::type;

/// What all futures share.
class FutureBase {
 public:
  FutureBase() : core_(make_promise(any_process)) {}
  explicit FutureBase(Pid where) : core_(make_promise(where)) {}
  explicit FutureBase(CorePointer core) : core_(std::move(core)) {}

  /// Waits until the value or failure is there, without fetching the value; throws the failure.
  void wait() const { wait_and_throw({}); }
  /// @throws TimeoutError when it is not there after the duration.
  void wait(std::chrono::nanoseconds timeout) const { wait_and_throw(timeout); }
  /// Whether the value or failure is there within the duration.
  bool wait_for(std::chrono::nanoseconds timeout) const { return wait_settled_for(core_, timeout); }
  /// Whether the value or failure is there. Asks the owner, a round trip, where this process does not know.
  bool isready() const { return is_ready(core_); }
  /// Process that computes or keeps the value.
  Pid where() const { return core_->owner(); }
  /// Its name, the same everywhere.
  RemoteRefId id() const { return core_->id(); }
  /// Removes a task that has not started, and requests stop of one that has; waiting fetches throw CancelledError.
  /// @returns false when the value or failure was already there.
  bool cancel() const { return detail::cancel(core_); }

  friend bool operator==(const FutureBase& a, const FutureBase& b) { return a.id() == b.id(); }

  /// For muster's own use.
  const CorePointer& core() const { return core_; }

 protected:
  void wait_and_throw(Timeout timeout) const {
    wait_settled(core_, false, timeout);
    if (core_->state() == FutureCore::State::failed) core_->throw_failure();
  }
  CorePointer core_;
};

/// Completes `core` with what f returns or throws. Runs as a task.
template <class F>
void complete_with(const CorePointer& core, F&& f) {
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
      std::forward<F>(f)();
      complete_local(core, {});
    } else {
      complete_local(core, to_payload(std::forward<F>(f)()));
    }
  } catch (...) {
    fail_local(core, std::current_exception());
  }
}

/// Settles `result` with what continue_with(source's value) gives, once that is there.
template <class F>
void chain(const CorePointer& source, const CorePointer& result, F&& continue_with) {
  on_settled(source, true, [source, result, next = std::make_shared<std::decay_t<F>>(std::forward<F>(continue_with))] {
    if (source->state() == FutureCore::State::failed) {
      pass_failure_of(result, *source);
    } else {
      run_here([source, result, next] {
        if (!result->settled(false)) complete_with(result, [&] { return (*next)(source); });
      });
    }
  });
}

/// Calls g; where that makes a Task, runs it to its end.
template <class R, class G, class... A>
R invoke_to_end(G&& g, A&&... arguments) {
  if constexpr (requires { std::invoke(std::forward<G>(g), std::forward<A>(arguments)...).run_and_wait(); })
    return std::invoke(std::forward<G>(g), std::forward<A>(arguments)...).run_and_wait();
  else
    return std::invoke(std::forward<G>(g), std::forward<A>(arguments)...);
}

/// Awaits a future in a coroutine task; no thread is held meanwhile.
template <class T>
class FutureAwaiter;

enum class FutureForm : std::uint8_t { handle, value, failure, task_handle };

/// Writes what every form of a future starts with.
template <class Archive>
void save_future_head(Archive& archive, FutureForm form, const CorePointer& core) {
  archive(static_cast<std::uint8_t>(form), core->id().creator, core->id().number, core->owner());
}

/// Writes the handle itself.
template <class Archive>
void save_future_handle(Archive& archive, const CorePointer& core) {
  save_future_head(archive, core->task ? FutureForm::task_handle : FutureForm::handle, core);
  archive(archive.add_handle(core));
}

/// Reads what add_handle wrote.
template <class Archive>
CorePointer load_future_handle(Archive& archive, FutureForm form) {
  std::uint32_t index = 0;
  archive(index);
  auto core = std::dynamic_pointer_cast<FutureCore>(archive.handle(index));
  if (!core) throw SerializationError("A future in a message names a handle of another kind");
  if (form == FutureForm::task_handle) core->task = true;
  return core;
}

/// Writes a future of T: its value or failure where that is to travel with it, else the handle.
/// @throws std::future_error(no_state) for one that was moved from
template <class T, class Archive>
void save_future(Archive& archive, const CorePointer& core) {
  check_not_moved_from(core);
  const auto state = core->prepare_to_send();
  if (state == FutureCore::State::here) {
    save_future_head(archive, FutureForm::value, core);
    if constexpr (read_in_place<T>)
      encode(archive, view_of<T>(core));
    else if constexpr (!std::is_void_v<T>)
      encode(archive, value_of<T>(core));
  } else if (state == FutureCore::State::failed) {
    save_future_head(archive, FutureForm::failure, core);
    archive(core->encoded_failure());
  } else {
    save_future_handle(archive, core);
  }
}

/// Reads what save_future wrote.
template <class T, class Archive>
CorePointer load_future(Archive& archive) {
  std::uint8_t written_form = 0;
  RemoteRefId id;
  Pid owner = 0;
  archive(written_form, id.creator, id.number, owner);
  const auto form = static_cast<FutureForm>(written_form);
  if (form == FutureForm::value) {
    Payload value;
    if constexpr (!std::is_void_v<T>) value = to_payload(decode<in_place_t<T>>(archive));
    return make_settled_core(id, owner, std::move(value));
  }
  if (form == FutureForm::failure) {
    std::vector<std::byte> failure;
    archive(failure);
    return make_failed_core(id, owner, std::move(failure));
  }
  return load_future_handle(archive, form);
}

}  // namespace detail

/// A handle to one value to come. Copies name the same value; it can be sent anywhere as an argument, result, captured
/// value or container element, and be fetched by whichever process it reaches.
///
/// The value lives where it was computed until somebody fetches it, unless it is small (at most 64 KiB), when it
/// travels at once.
/// @par Thread safety
/// Every member from any thread.
template <class T>
class Future : public detail::FutureBase {
 public:
  using value_type = T;  ///< what it is a future of
  /// An empty future of this process, to be filled with put. @throws NoSession
  Future() = default;
  /// An empty future that will live at `where`. Costs nothing there until first used.
  explicit Future(Pid where) : FutureBase(where) {}
  /// (For muster's own use.)
  explicit Future(detail::CorePointer core) : FutureBase(std::move(core)) {}

  /// Waits for the value and returns a copy of it; throws what the task threw. A second fetch is local.
  T fetch() const { return fetch_within({}); }
  /// @throws TimeoutError when it is not there after the duration.
  T fetch(std::chrono::nanoseconds timeout) const { return fetch_within(timeout); }
  /// As fetch, of a future of a std::vector of plain elements: its elements where they arrived, as a View, without a
  /// copy.
  auto fetch_view() const
    requires detail::read_in_place<T>
  {
    detail::require_value(core_, {});
    return detail::view_of<T>(core_);
  }
  /// @throws TimeoutError when the value is not there after the duration.
  auto fetch_view(std::chrono::nanoseconds timeout) const
    requires detail::read_in_place<T>
  {
    detail::require_value(core_, timeout);
    return detail::view_of<T>(core_);
  }
  /// As fetch, and moves the value out where this is its only handle here (a type that can't be copied always): it
  /// can't be fetched from it again, which throws std::future_error(no_state).
  T take() && { return take_within({}); }
  /// @throws TimeoutError when it is not there after the duration.
  T take(std::chrono::nanoseconds timeout) && { return take_within(timeout); }
  /// Fulfils a future made empty. @throws std::future_error(promise_already_satisfied) where it has a value already, or
  /// is a task's.
  void put(T value) const { detail::fulfil(core_, detail::to_payload(std::move(value))); }

  /// Runs g(value) in this process when the value is there; a failure passes through. @returns a future of its result.
  template <class G>
  auto then(G g) const {
    using R = detail::unwrap_task_t<std::invoke_result_t<G, T>>;
    auto result = detail::make_local_core();
    detail::chain(core_, result, [g = std::move(g)](const detail::CorePointer& core) mutable -> R {
      return detail::invoke_to_end<R>(std::move(g), detail::copy_or_take<T>(core));
    });
    return Future<R>(std::move(result));
  }
  /// Awaits it in a coroutine task.
  auto operator co_await() const { return detail::FutureAwaiter<T>(core_); }

  // -- for muster's own use -------------------------------------------------------------------------------------------
  /// @cond
  template <class Archive>
  void save([[maybe_unused]] Archive& archive) const {
    if constexpr (detail::carries_handles<Archive>) detail::save_future<T>(archive, core_);
  }
  template <class Archive>
  void load([[maybe_unused]] Archive& archive) {
    if constexpr (detail::carries_handles<Archive>)
      core_ = detail::load_future<T>(archive);
    else
      core_.reset();
  }
  /// @endcond

 private:
  T fetch_within(detail::Timeout timeout) const {
    static_assert(detail::is_copyable_v<T>,
                  "muster: fetch() returns a copy, and this type can't be copied: use std::move(future).take(), or "
                  "remotecall_fetch");
    detail::require_value(core_, timeout);
    return detail::copy_of<T>(core_);
  }
  T take_within(detail::Timeout timeout) {
    detail::require_value(core_, timeout);
    if constexpr (detail::is_copyable_v<T>) {
      if (core_.use_count() > 1) return detail::copy_of<T>(core_);  // others want it too
    }
    return detail::take_value<T>(core_);
  }
};

/// A future without a value: it tells of an end.
template <>
class Future<void> : public detail::FutureBase {
 public:
  using value_type = void;  ///< nothing
  /// An empty future of this process, to be filled with put. @throws NoSession
  Future() = default;
  /// An empty future that will live at `where`. Costs nothing there until first used.
  explicit Future(Pid where) : FutureBase(where) {}
  /// (For muster's own use.)
  explicit Future(detail::CorePointer core) : FutureBase(std::move(core)) {}

  /// Waits for the end; throws what the task threw.
  void fetch() const { detail::require_value(core_, {}); }
  /// @throws TimeoutError when it has not come after the duration.
  void fetch(std::chrono::nanoseconds timeout) const { detail::require_value(core_, timeout); }
  /// As fetch.
  void take() && { fetch(); }  // NOLINT(readability-make-member-function-const): as of any other future
  /// As fetch with a duration.
  // NOLINTNEXTLINE(readability-make-member-function-const): as of any other future
  void take(std::chrono::nanoseconds timeout) && { fetch(timeout); }
  /// Fulfils a future made empty. @throws std::future_error(promise_already_satisfied) where it is fulfilled already,
  /// or is a task's.
  void put() const { detail::fulfil(core_, {}); }

  /// Runs g() in this process after the end; a failure passes through. @returns a future of its result.
  template <class G>
  auto then(G g) const {
    using R = detail::unwrap_task_t<std::invoke_result_t<G>>;
    auto result = detail::make_local_core();
    detail::chain(core_, result, [g = std::move(g)](const detail::CorePointer&) mutable -> R {
      return detail::invoke_to_end<R>(std::move(g));
    });
    return Future<R>(std::move(result));
  }
  /// Awaits it in a coroutine task.
  detail::FutureAwaiter<void> operator co_await() const;

  // -- for muster's own use -------------------------------------------------------------------------------------------
  /// @cond
  template <class Archive>
  void save([[maybe_unused]] Archive& archive) const {
    if constexpr (detail::carries_handles<Archive>) detail::save_future<void>(archive, core_);
  }
  template <class Archive>
  void load([[maybe_unused]] Archive& archive) {
    if constexpr (detail::carries_handles<Archive>)
      core_ = detail::load_future<void>(archive);
    else
      core_.reset();
  }
  /// @endcond
};

/// The future's value. @see Future::fetch
template <class T>
T fetch(const Future<T>& future) {
  return future.fetch();
}
/// A plain value is itself.
template <class T>
  requires(!detail::is_future<T>::value && !detail::is_remote_channel<T>::value)
T fetch(T plain) {
  return plain;
}
/// Waits for the future; throws its failure.
template <class T>
void wait(const Future<T>& future) {
  future.wait();
}

}  // namespace muster

/// Handles to the same value have the same hash.
template <class T>
struct std::hash<muster::Future<T>> {
  /// The future's. O(1).
  std::size_t operator()(const muster::Future<T>& future) const noexcept {
    return std::hash<muster::RemoteRefId>{}(future.id());
  }
};

// Several futures at once.
#include <muster/when_all.hpp>
