/// @file
/// For users of Boost.Asio (1.81 or newer): futures in `boost::asio::awaitable`, and tasks that are such coroutines.
/// @code
/// boost::asio::awaitable<int> sum(muster::Future<int> a, muster::Future<int> b) {
///   co_return co_await muster::as_awaitable(a) + co_await muster::as_awaitable(b);
/// }
/// muster::Future<int> c = muster::spawnat(2, &sum, a, b);
/// @endcode
#pragma once

#include <boost/version.hpp>
#if BOOST_VERSION < 108100
#error \
    "muster/asio.hpp needs Boost 1.81 or newer: the coroutines of older Boost.Asio do not work with current compilers"
#endif

#include <muster/detail/call.hpp>
#include <muster/detail/task_slot.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/require.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>
#include <variant>

namespace muster {

/// Awaits a future inside a coroutine of Boost.Asio, on whatever executor that runs; no thread waits.
/// @throws as Future::fetch does: the failure; inside a task CancelledError, InterruptedError and TimeoutError as well
template <class T>
boost::asio::awaitable<T> as_awaitable(Future<T> future);

namespace detail {

/// Ends when the core is settled, or its task must stop or has no more time; a cancellation of Boost.Asio's cuts it
/// short.
inline boost::asio::awaitable<void> settled_awaitable(const CorePointer& core) {
  namespace asio = boost::asio;
  return asio::async_initiate<const asio::use_awaitable_t<>&, void(boost::system::error_code)>(
      [core](auto handler) {
        auto slot = asio::get_associated_cancellation_slot(handler);
        const auto kept = std::make_shared<decltype(handler)>(std::move(handler));
        // Until the handler runs, its executor has work.
        const auto executor =
            asio::prefer(asio::get_associated_executor(*kept), asio::execution::outstanding_work.tracked);
        const auto aborted = std::make_shared<std::atomic<bool>>(false);
        const auto suspension = make_suspension([kept, executor, aborted](std::shared_ptr<Suspension> ready) {
          asio::post(executor, [kept, aborted, ready = std::move(ready)] {
            end_suspension(*ready);
            std::move (*kept)(*aborted ? asio::error::operation_aborted : boost::system::error_code());
          });
        });
        if (slot.is_connected())
          slot.assign([aborted, watched = std::weak_ptr(suspension)](asio::cancellation_type) {
            *aborted = true;
            if (const auto cut = watched.lock()) cut_suspension_short(*cut);
          });
        start_suspension(*suspension, core);
      },
      asio::use_awaitable);
}

}  // namespace detail

template <class T>
boost::asio::awaitable<T> as_awaitable(Future<T> future) {
  const detail::CorePointer core = future.core();
  if (!core->settled(true)) {
    auto settled = detail::settled_awaitable(core);  // a name, since GCC 12 destroys some temporaries of co_await twice
    co_await std::move(settled);
  }
  detail::check_resumed(core);
  co_return detail::copy_or_take<T>(core);
}

namespace detail {

/// An executor of Boost.Asio whose functions run in the slot of the task: what waits for them holds none.
template <class Inner>
class SlotExecutor {
 public:
  explicit SlotExecutor(Inner inner) : inner_(std::move(inner)) {}

  template <class Property>
    requires boost::asio::can_query_v<const Inner&, Property>
  auto query(const Property& property) const -> decltype(boost::asio::query(std::declval<const Inner&>(), property)) {
    return boost::asio::query(inner_, property);
  }
  template <class Property>
    requires boost::asio::can_require_v<const Inner&, Property>
  auto require(const Property& property) const {
    using Required = std::decay_t<decltype(boost::asio::require(inner_, property))>;
    return SlotExecutor<Required>(boost::asio::require(inner_, property));
  }
  template <class Property>
    requires boost::asio::can_prefer_v<const Inner&, Property>
  auto prefer(const Property& property) const {
    using Preferred = std::decay_t<decltype(boost::asio::prefer(inner_, property))>;
    return SlotExecutor<Preferred>(boost::asio::prefer(inner_, property));
  }
  template <class F>
  void execute(F&& f) const {
    inner_.execute([function = std::decay_t<F>(std::forward<F>(f))]() mutable {
      const SlotAgain slot;
      std::move(function)();
    });
  }
  friend bool operator==(const SlotExecutor& a, const SlotExecutor& b) noexcept { return a.inner_ == b.inner_; }
  friend bool operator!=(const SlotExecutor& a, const SlotExecutor& b) noexcept { return !(a == b); }

 private:
  Inner inner_;
};

/// Runs an awaitable, and what it starts on its executor, on this thread to the end. Of its task a stop request or
/// deadline cancels what it awaits.
template <class T>
class AwaitableRun {
 public:
  /// @throws what it throws; as this_task::check does, where that ended it
  T run(boost::asio::awaitable<T> task) {
    namespace asio = boost::asio;
    const SlotExecutor executor(context_.get_executor());
    if (const auto deadline = this_task::deadline()) {
      timer_.expires_at(*deadline);
      timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error) cancel();
      });
    }
    asio::co_spawn(executor, std::move(task),
                   asio::bind_cancellation_slot(cancelled_.slot(), [this](auto&&... outcome) {
                     ended(std::forward<decltype(outcome)>(outcome)...);
                     timer_.cancel();
                   }));
    {
      const std::stop_callback stop(this_task::stop_token(), [this] { asio::post(context_, [this] { cancel(); }); });
      const WithoutSlot others;
      context_.run();
    }
    if (failure_) {
      if (asked_to_end_) this_task::check();
      std::rethrow_exception(failure_);
    }
    if constexpr (!std::is_void_v<T>) return std::move(*value_);
  }

 private:
  using Value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

  void cancel() {
    asked_to_end_ = true;
    cancelled_.emit(boost::asio::cancellation_type::terminal);
  }
  void ended(std::exception_ptr failure) { failure_ = std::move(failure); }
  template <class U>
  void ended(std::exception_ptr failure, U&& value) {
    failure_ = std::move(failure);
    if (!failure_) value_.emplace(std::forward<U>(value));
  }

  std::exception_ptr failure_;
  std::optional<Value> value_;
  bool asked_to_end_ = false;
  boost::asio::cancellation_signal cancelled_;
  boost::asio::io_context context_{1};
  boost::asio::steady_timer timer_{context_};
};

template <class T>
struct unwrap_task<boost::asio::awaitable<T>> {
  using type = T;
};

/// A task that returns an awaitable is run on its thread, which gives its slot up while nothing of it can run.
template <class T>
struct LaterResult<boost::asio::awaitable<T>> : std::true_type {
  static void start(boost::asio::awaitable<T>&& task, RunCompleter completer) {
    if constexpr (std::is_void_v<T>) {
      AwaitableRun<T>().run(std::move(task));
      completer.complete(Payload{});
    } else {
      completer.complete(to_payload(AwaitableRun<T>().run(std::move(task))));
    }
  }
};

}  // namespace detail
}  // namespace muster
