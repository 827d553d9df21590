/// @file
/// The state behind Future: one object per value and process, without the value's type.
#pragma once

#include <muster/detail/payload.hpp>
#include <muster/detail/small_mutex.hpp>
#include <muster/errors.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <vector>

namespace muster::runtime {
class Calls;
class Wakeup;
}  // namespace muster::runtime

namespace muster::detail {

using Timeout = std::optional<std::chrono::nanoseconds>;

/// What handles keep of their process: it is emptied when the process's session ends, and they outlive that.
class Anchor {
 public:
  explicit Anchor(runtime::Calls& calls) : calls_(&calls) {}
  /// Calls f(calls) where the session still is. It does not end meanwhile: f must be short.
  template <class F>
  void with(F&& f) {
    const std::shared_lock lock(mutex_);
    if (runtime::Calls* const calls = calls_) f(*calls);
  }
  /// @throws NoSession after the session's end.
  runtime::Calls& get() const;
  void release() {
    const std::unique_lock lock(mutex_);
    calls_ = nullptr;
  }

 private:
  mutable std::shared_mutex mutex_;  ///< held while calls_ becomes null, and while it may not
  std::atomic<runtime::Calls*> calls_;
};

/// One value to come.
/// Threads: every function from any.
class FutureCore : public Handle {
 public:
  enum class State : std::uint8_t {
    pending,    ///< a call of this process; its answer will come here
    elsewhere,  ///< its owner knows
    remote,     ///< ready; the value is at its owner
    here,
    failed
  };

  FutureCore(std::shared_ptr<Anchor> anchor, RemoteRefId id, Pid owner, State state)
      : Handle(HandleKind::future, id, owner), state_(state), anchor_(std::move(anchor)) {}
  ~FutureCore() override;

  State state() const { return state_.load(); }
  /// Whether a waiter has what it wants: that it is ready, or the value as well.
  bool settled(bool needs_value) const {
    const State now = state();
    return now == State::here || now == State::failed || (now == State::remote && !needs_value);
  }
  Anchor& anchor() const { return *anchor_; }

  // -- how it gets its value ---------------------------------------------------
  // The first counts; each says whether it was that.
  bool set_value(Payload&& value);
  bool set_remote();
  bool set_failure(std::vector<std::byte> encoded, std::exception_ptr failure);

  // -- who waits -----------------------------------------------------------------
  /// A blocked thread; on its stack.
  struct Waiter {
    runtime::Wakeup* wakeup = nullptr;
    bool needs_value = false;
    Waiter* next = nullptr;
  };
  /// Wakes it when settled, and forgets it. It must stay where it is as long as its wakeup.
  /// @returns false when it is settled already: it is not waited for.
  bool add_waiter(Waiter& waiter);
  /// When this returns, nobody begins any more to wake that thread for this.
  void remove_waiter(const Waiter& waiter);
  /// Calls f when settled; at once, on this thread, where it is already. f must be quick, and not throw.
  void when_settled(bool needs_value, std::function<void()> f);

  // -- the value -----------------------------------------------------------------
  /// The value, decoded once; `decode(payload)` makes a shared_ptr<void> of it. State must be here.
  /// @throws std::future_error(no_state) when it was taken away.
  std::shared_ptr<void> decoded(std::shared_ptr<void> (*decode)(const Payload&));
  /// Takes the value away. State must be here. @throws as decoded
  std::shared_ptr<void> take_decoded(std::shared_ptr<void> (*decode)(const Payload&));
  /// Takes the value away as it came. State must be here.
  /// @returns false where it was decoded, or others may need it encoded. @throws as decoded
  bool take_encoded(Payload& value);
  /// Gives the value as it came, which stays. State must be here.
  /// @returns false where it was decoded. @throws as decoded
  bool copy_encoded(Payload& value);
  /// Takes the encoded value. State must be here, and the value never decoded.
  Payload take_payload();
  /// The encoded value of a core that was sent before it was settled. State must be here.
  Payload encoded_value();
  /// To be asked before a handle is written into a message: where the value is still to come, its encoded form is kept
  /// from now on, since others may need it. @returns the state
  State prepare_to_send();
  /// Throws the failure. State must be failed.
  [[noreturn]] void throw_failure() const;
  std::exception_ptr failure() const {
    failure_seen_.store(true, std::memory_order_relaxed);
    return state() == State::failed ? failed_with().exception : nullptr;
  }
  /// Whether anybody asked for the failure.
  bool failure_seen() const { return failure_seen_.load(std::memory_order_relaxed); }
  /// The failure as it came over the wire. State must be failed.
  const std::vector<std::byte>& encoded_failure() const { return failed_with().encoded; }

  // -- for the calls room ----------------------------------------------------------
  /// Its owner counts this process as a holder. Changed by the calls room with a lock of its own.
  std::atomic<bool> counted{false};
  std::atomic<bool> known{false};            ///< the calls room finds it by its name: it was sent, or came
  std::atomic<bool> task{false};             ///< a task's result: nobody can put it
  std::atomic<bool> value_wanted{false};     ///< somebody waits for it, wherever it will be
  std::atomic<bool> value_requested{false};  ///< a request for it is under way
  std::atomic<bool> wait_requested{false};   ///< a request for word of it is under way
  int questions = 0;                   ///< to its owner, unanswered: until then it stays counted; guarded as counted
  std::atomic<int> stands_encoded{0};  ///< in so much that may be sent again: meanwhile it stays counted

 private:
  struct Continuation {
    std::function<void()> run;
    bool needs_value;
    std::unique_ptr<Continuation> next;
  };
  struct Failure {
    std::exception_ptr exception;
    std::vector<std::byte> encoded;  ///< as it came over the wire
  };
  const Failure& failed_with() const { return *static_cast<const Failure*>(outcome_.get()); }
  void settle(State state, std::unique_lock<SmallMutex>& lock);
  void decode_once(std::shared_ptr<void> (*decode)(const Payload&));

  // There may be millions: what few of them need is apart, and the order leaves no gaps.
  mutable std::atomic<bool> failure_seen_{false};
  std::atomic<State> state_;  ///< changes with mutex_
  bool keep_encoded_ = false;
  bool taken_ = false;
  SmallMutex mutex_;  ///< guards everything but anchor_
  const std::shared_ptr<Anchor> anchor_;
  Waiter* waiters_ = nullptr;
  std::unique_ptr<Continuation> continuations_;  ///< the youngest first
  /// The value once it was decoded; or the Failure, set before state_ becomes failed and never changed after.
  std::shared_ptr<void> outcome_;
  Payload value_;
};

using CorePointer = std::shared_ptr<FutureCore>;

/// As a std::future does. @throws std::future_error(no_state)
void check_not_moved_from(const CorePointer& core);
/// Blocks until the core is settled.
/// @throws TimeoutError after the timeout or the scope's deadline, CancelledError or InterruptedError when the task is
/// asked to stop; NoSession.
void wait_settled(const CorePointer& core, bool needs_value, Timeout timeout);
/// As wait_settled, and throws the failure.
void require_value(const CorePointer& core, Timeout timeout);
/// False when the timeout ends first.
bool wait_settled_for(const CorePointer& core, std::chrono::nanoseconds timeout);
/// Asks the owner where this process does not know.
bool is_ready(const CorePointer& core);
/// Fulfils a future made by hand. @throws std::future_error when it has its value.
void fulfil(const CorePointer& core, Payload&& value);
bool cancel(const CorePointer& core);
/// Calls f when settled; requests the value from its owner where needed. f runs on a runtime thread: quick, no
/// throwing.
void on_settled(const CorePointer& core, bool needs_value, std::function<void()> f);
/// In place of a pid: whichever is meant there.
inline constexpr Pid any_process = std::numeric_limits<Pid>::min();

/// Runs f as a task of this process.
void run_here(std::function<void()> f);
/// A future to be filled by hand, owned by `where` (any_process: this one). @throws std::invalid_argument for no pid
CorePointer make_promise(Pid where);
/// A future of this process that continuations fill: nobody can put into it.
CorePointer make_local_core();
/// Fills it.
void complete_local(const CorePointer& core, Payload&& value);
/// Fills it with what user code threw here: as a RemoteException of this process, as from any task.
void fail_local(const CorePointer& core, const std::exception_ptr& failure);
/// Fills it with that very exception.
void pass_failure(const CorePointer& core, const std::exception_ptr& failure);
/// Fills it with the failure of another.
void pass_failure_of(const CorePointer& core, const FutureCore& failed);
/// A future that was sent with its value or failure.
CorePointer make_settled_core(RemoteRefId id, Pid owner, Payload&& value);
CorePointer make_failed_core(RemoteRefId id, Pid owner, std::vector<std::byte> encoded_failure);

}  // namespace muster::detail
