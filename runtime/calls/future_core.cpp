#include "runtime/base/deadline.hpp"
#include "runtime/base/failure.hpp"
#include "runtime/calls/calls.hpp"
#include "runtime/exec/executor.hpp"

#include <muster/detail/future_core.hpp>

#include <algorithm>
#include <future>

namespace muster::detail {

namespace {

std::optional<runtime::Clock::time_point> deadline_of(Timeout timeout) {
  const auto current = runtime::current_deadline();
  if (!timeout) return current;
  return runtime::earlier(current, runtime::deadline_after(*timeout));
}

std::string name_of(const FutureCore& core) {
  std::string text =
      "the value of future " + std::to_string(core.id().creator) + ":" + std::to_string(core.id().number);
  if (core.owner() != 0) text += " of process " + std::to_string(core.owner());
  return text;
}

}  // namespace

runtime::Calls& Anchor::get() const {
  if (runtime::Calls* const calls = calls_) return *calls;
  throw NoSession(
      "The session that this handle belongs to has ended: only values that were fetched before can be read. Keep the "
      "muster::Session alive as long as its futures are used.");
}

FutureCore::~FutureCore() {
  while (continuations_) continuations_ = std::move(continuations_->next);  // however many there are
  if (!counted && !known) return;                                           // most never leave this process
  anchor_->with([this](runtime::Calls& calls) { calls.release(*this); });
}

// -- how it gets its value --------------------------------------------------------------------------------------------

void FutureCore::settle(State state, std::unique_lock<SmallMutex>& lock) {
  state_.store(state);  // in one order with value_wanted, see Calls::pursue
  Waiter* woken = nullptr;
  for (Waiter** place = &waiters_; *place != nullptr;) {
    Waiter& waiter = **place;
    if (settled(waiter.needs_value)) {
      *place = waiter.next;
      waiter.wakeup->begin_wake();
      waiter.next = std::exchange(woken, &waiter);
    } else {
      place = &waiter.next;
    }
  }
  std::unique_ptr<Continuation> now;  // the oldest first
  for (auto* place = &continuations_; *place;) {
    if (settled((*place)->needs_value)) {
      auto one = std::move(*place);
      *place = std::move(one->next);
      one->next = std::move(now);
      now = std::move(one);
    } else {
      place = &(*place)->next;
    }
  }
  lock.unlock();
  while (woken != nullptr) {
    const Waiter& waiter = *std::exchange(woken, woken->next);
    waiter.wakeup->finish_wake();  // its thread goes on, and with it the waiter
  }
  for (; now; now = std::move(now->next)) now->run();
}

bool FutureCore::set_value(Payload&& value) {
  std::unique_lock lock(mutex_);
  if (settled(true)) return false;
  value_ = std::move(value);
  settle(State::here, lock);
  return true;
}

bool FutureCore::set_remote() {
  std::unique_lock lock(mutex_);
  if (settled(false)) return false;
  settle(State::remote, lock);
  return true;
}

bool FutureCore::set_failure(std::vector<std::byte> encoded, std::exception_ptr failure) {
  std::unique_lock lock(mutex_);
  if (settled(true)) return false;
  outcome_ = std::make_shared<Failure>(std::move(failure), std::move(encoded));
  settle(State::failed, lock);
  return true;
}

// -- who waits --------------------------------------------------------------------------------------------------------

bool FutureCore::add_waiter(Waiter& waiter) {
  const std::lock_guard lock(mutex_);
  if (settled(waiter.needs_value)) return false;
  waiter.next = std::exchange(waiters_, &waiter);
  return true;
}

void FutureCore::remove_waiter(const Waiter& waiter) {
  const std::lock_guard lock(mutex_);
  Waiter** place = &waiters_;
  while (*place != nullptr && *place != &waiter) place = &(*place)->next;
  if (*place != nullptr) *place = waiter.next;
}

void FutureCore::when_settled(bool needs_value, std::function<void()> f) {
  {
    const std::lock_guard lock(mutex_);
    if (!settled(needs_value)) {
      continuations_ = std::make_unique<Continuation>(std::move(f), needs_value, std::move(continuations_));
      return;
    }
  }
  f();
}

// -- the value --------------------------------------------------------------------------------------------------------

void FutureCore::decode_once(std::shared_ptr<void> (*decode)(const Payload&)) {
  if (taken_) throw std::future_error(std::future_errc::no_state);
  if (outcome_) return;
  outcome_ = decode(value_);
  if (!keep_encoded_) value_ = {};
}

std::shared_ptr<void> FutureCore::decoded(std::shared_ptr<void> (*decode)(const Payload&)) {
  const std::lock_guard lock(mutex_);
  decode_once(decode);
  return outcome_;
}

std::shared_ptr<void> FutureCore::take_decoded(std::shared_ptr<void> (*decode)(const Payload&)) {
  const std::lock_guard lock(mutex_);
  decode_once(decode);
  taken_ = true;
  return std::move(outcome_);
}

bool FutureCore::take_encoded(Payload& value) {
  const std::lock_guard lock(mutex_);
  if (taken_) throw std::future_error(std::future_errc::no_state);
  if (outcome_ || keep_encoded_) return false;
  taken_ = true;
  value = std::move(value_);
  return true;
}

bool FutureCore::copy_encoded(Payload& value) {
  const std::lock_guard lock(mutex_);
  if (taken_) throw std::future_error(std::future_errc::no_state);
  if (outcome_ && !keep_encoded_) return false;
  value = value_;
  return true;
}

Payload FutureCore::take_payload() {
  const std::lock_guard lock(mutex_);
  return std::move(value_);
}

Payload FutureCore::encoded_value() {
  const std::lock_guard lock(mutex_);
  return value_;
}

FutureCore::State FutureCore::prepare_to_send() {
  const std::lock_guard lock(mutex_);
  const State now = state();
  if (now == State::pending) keep_encoded_ = true;
  if (now != State::here && now != State::failed) ++stands_encoded;
  return now;
}

void FutureCore::throw_failure() const { std::rethrow_exception(failure()); }

// -- free functions of future_core.hpp --------------------------------------------------------------------------------

void check_not_moved_from(const CorePointer& core) {
  if (!core) throw std::future_error(std::future_errc::no_state);
}

namespace {

/// Whether there is nothing to wait for. @throws NoSession where the value was left behind with its owner
bool needs_no_wait(const CorePointer& core, bool needs_value) {
  check_not_moved_from(core);
  if (!core->settled(needs_value)) return false;
  if (core->state() == FutureCore::State::remote) (void)core->anchor().get();
  return true;
}

}  // namespace

void wait_settled(const CorePointer& core, bool needs_value, Timeout timeout) {
  if (needs_no_wait(core, needs_value)) return;
  runtime::Calls& calls = core->anchor().get();
  const auto deadline = deadline_of(timeout);
  calls.pursue(core, needs_value);
  if (!calls.block_until_settled(core, needs_value, deadline))
    throw TimeoutError("Waited in vain for " + name_of(*core) +
                       ": its deadline ended. Give it more time, or see what keeps the process busy.");
}

void require_value(const CorePointer& core, Timeout timeout) {
  wait_settled(core, true, timeout);
  if (core->state() == FutureCore::State::failed) core->throw_failure();
}

bool wait_settled_for(const CorePointer& core, std::chrono::nanoseconds timeout) {
  if (needs_no_wait(core, false)) return true;
  runtime::Calls& calls = core->anchor().get();
  const auto own = runtime::deadline_after(timeout);
  const auto scope = runtime::current_deadline();
  calls.pursue(core, false);
  if (calls.block_until_settled(core, false, runtime::earlier(scope, own))) return true;
  if (scope && *scope < own)
    throw TimeoutError("Waited in vain for " + name_of(*core) + ": the scope's deadline ended");
  return false;
}

bool is_ready(const CorePointer& core) {
  check_not_moved_from(core);
  // A future made by hand fails when its owner is gone: it is not ready then, as a task that failed is.
  if (!core->task && core->state() == FutureCore::State::failed) core->throw_failure();
  return needs_no_wait(core, false) || core->anchor().get().is_ready(core);
}

void fulfil(const CorePointer& core, Payload&& value) {
  check_not_moved_from(core);
  core->anchor().get().fulfil(core, std::move(value));
}

bool cancel(const CorePointer& core) {
  check_not_moved_from(core);
  return !core->settled(false) && core->anchor().get().cancel(core);
}

void on_settled(const CorePointer& core, bool needs_value, std::function<void()> f) {
  check_not_moved_from(core);
  if (!core->settled(needs_value)) core->anchor().get().pursue(core, needs_value);
  core->when_settled(needs_value, std::move(f));
}

void complete_local(const CorePointer& core, Payload&& value) {
  value.own();
  core->set_value(std::move(value));
}

void fail_local(const CorePointer& core, const std::exception_ptr& failure) {
  auto encoded = runtime::encode_failure(failure, core->owner(), runtime::FailureOrigin::task);
  auto seen = runtime::decode_failure(encoded);
  core->set_failure(std::move(encoded), std::move(seen));
}

void pass_failure(const CorePointer& core, const std::exception_ptr& failure) {
  core->set_failure(runtime::encode_failure(failure, core->owner()), failure);
}

void pass_failure_of(const CorePointer& core, const FutureCore& failed) {
  core->set_failure(failed.encoded_failure(), failed.failure());
}

}  // namespace muster::detail
