#include "runtime/exec/executor.hpp"

#include "runtime/exec/core_sharing.hpp"

#include <muster/errors.hpp>

#include <pthread.h>
#include <sched.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace muster::runtime {

namespace {

/// A leader looks at its other duties after so many messages in a row.
constexpr int messages_at_once = 16;

struct ThreadState {
  TaskState* task = nullptr;
  bool holds_slot = false;
  const Executor* leads_for = nullptr;  ///< this pool thread leads, and looks for jobs itself afterwards
  const Wakeup* leads_until = nullptr;  ///< this blocked thread leads, and looks at that itself
  bool receiving = false;
  std::optional<Clock::time_point> scope_deadline;
  CoreSharing core_sharing;
};
thread_local ThreadState this_thread;

}  // namespace

void Executor::Lock::unlock() {
  if (executor_.told_.empty() && !executor_.kicks_) {
    lock_.unlock();
    return;
  }
  const auto told = std::exchange(executor_.told_, {});
  MessageSource* const kicked = std::exchange(executor_.kicks_, false) ? executor_.source_ : nullptr;
  lock_.unlock();
  for (const SleeperPointer& sleeper : told) sleeper->wake();
  if (kicked != nullptr) kicked->kick();
}

template <class Ready>
void Executor::Lock::wait(Clock::time_point deadline, Ready ready) {
  for (bool in_time = true; in_time && !ready();) {
    unlock();
    in_time = Sleeper::own()->sleep(deadline);
    lock();
  }
}

TaskState* current_task() { return this_thread.task; }

std::optional<Clock::time_point> earlier(std::optional<Clock::time_point> a, std::optional<Clock::time_point> b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

std::optional<Clock::time_point> current_deadline() {
  const ThreadState& here = this_thread;
  return here.task == nullptr ? here.scope_deadline : earlier(here.scope_deadline, here.task->deadline());
}

std::optional<Clock::time_point> exchange_scope_deadline(std::optional<Clock::time_point> deadline) {
  return std::exchange(this_thread.scope_deadline, deadline);
}

void Wakeup::begin_wake() {
  if (this_thread.leads_until != this) wakers_.fetch_add(1, std::memory_order_relaxed);
}

void Wakeup::finish_wake() { executor_.wake(*this); }

void Wakeup::await_wakers() const {
  while (wakers_.load(std::memory_order_acquire) != 0) (void)sched_yield();
}

bool Executor::receiving_here() { return this_thread.receiving; }

Executor::ReceivingScope::ReceivingScope() : before_(std::exchange(this_thread.receiving, true)) {}

Executor::ReceivingScope::~ReceivingScope() { this_thread.receiving = before_; }

bool Executor::drain(int most) {
  const ReceivingScope receiving;
  return source_->drain(most);
}

TaskScope::TaskScope(TaskState* task, bool holds_slot) {
  ThreadState& here = this_thread;
  before_ = std::exchange(here.task, task);
  held_slot_before_ = std::exchange(here.holds_slot, holds_slot);
  scope_deadline_before_ = std::exchange(here.scope_deadline, std::nullopt);
}

TaskScope::~TaskScope() {
  ThreadState& here = this_thread;
  here.task = before_;
  here.holds_slot = held_slot_before_;
  here.scope_deadline = scope_deadline_before_;
}

Executor::Executor(int slots, std::chrono::nanoseconds spin)
    : spinning_(spin),
      free_slots_(slots),
      slots_(slots),
      watchdog_timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) {
  if (!watchdog_timer_)
    throw Error(std::string("Cannot create a timer: ") + std::strerror(errno) +
                ". Raise the limit of open files (ulimit -n).");
}

Executor::~Executor() { stop(); }

void Executor::start(MessageSource& source) {
  source_ = &source;
  watchdog_ = std::thread([this] { watchdog_main(); });
  const Lock lock(*this);
  create_thread();
}

bool Executor::run_one() {
  Lock lock(*this);
  if (stopping_ || !runnable()) return false;
  run(lock, next_job());
  return true;
}

void Executor::stop() {
  std::deque<std::shared_ptr<Job>> dropped;  // destroyed without the lock
  {
    const Lock lock(*this);
    if (stopping_.exchange(true)) return;
    dropped.swap(queue_);
    queued_.store(0, std::memory_order_relaxed);
    for (PoolThread* thread : idle_) {
      ++coming_;
      thread->poked = true;
      tell(thread->sleeper);
    }
    for (Wakeup* follower : followers_) tell(follower->sleeper_);
    for (Resuming* resuming : resuming_) tell(resuming->sleeper);
    set_timer(std::chrono::nanoseconds(1));  // the watchdog sees that it is over
  }
  if (source_ != nullptr) source_->kick();
  for (PoolThread& thread : threads_)
    if (thread.thread.joinable()) thread.thread.join();
  if (watchdog_.joinable()) watchdog_.join();
  Lock lock(*this);
  stopper_ = Sleeper::own();
  lock.wait(Clock::time_point::max(), [this] { return blocking_ == 0; });
}

void Executor::set_slots(int slots) {
  const Lock lock(*this);
  free_slots_ += slots - slots_;
  slots_ = slots;
  if (source_ != nullptr && this_thread.leads_for != this && runnable()) ensure_runner();
}

void Executor::submit(std::shared_ptr<Job> job) {
  // Most tasks come alone to an idle worker: the leader keeps that one, and nobody has to be asked.
  const bool leads = this_thread.leads_for == this;
  if (leads && !in_hand_ && !any_queued()) {
    in_hand_ = std::move(job);
    return;
  }
  const Lock lock(*this);
  if (stopping_) return;
  // Another thread may take the next one from the queue at any time, and must not find it before the first.
  if (leads && in_hand_) queue_.push_back(std::exchange(in_hand_, nullptr));
  queue_.push_back(std::move(job));
  queued_.store(queue_.size(), std::memory_order_relaxed);
  if (this_thread.leads_for != this && runnable()) ensure_runner();
}

bool Executor::withdraw(const Job* job) {
  std::shared_ptr<Job> dropped;  // destroyed after the lock is gone
  if (this_thread.leads_for == this && in_hand_.get() == job) {
    dropped = std::move(in_hand_);
    return true;
  }
  const Lock lock(*this);
  const auto found =
      std::find_if(queue_.begin(), queue_.end(), [job](const auto& queued) { return queued.get() == job; });
  if (found == queue_.end()) return false;
  dropped = std::move(*found);
  queue_.erase(found);
  queued_.store(queue_.size(), std::memory_order_relaxed);
  return true;
}

std::size_t Executor::jobs() const {
  const std::lock_guard lock(mutex_);
  return queue_.size() + static_cast<std::size_t>(running_);
}

// -- pool threads -----------------------------------------------------------------------------------------------------

std::shared_ptr<Job> Executor::next_job() {
  auto job = std::move(queue_.front());
  queue_.pop_front();
  queued_.store(queue_.size(), std::memory_order_relaxed);
  return job;
}

void Executor::create_thread() {
  PoolThread& thread = threads_.emplace_back();
  ++coming_;
  thread.thread = std::thread([this, &thread] { pool_main(thread); });
}

void Executor::pool_main(PoolThread& self) {
  (void)pthread_setname_np(pthread_self(), "muster-task");
  Lock lock(*this);
  self.sleeper = Sleeper::own();
  --coming_;
  while (!stopping_) {
    if (runnable()) {
      run(lock, next_job());
    } else if (leader_ == Leader::none && !lead_wanted_) {
      lead_as_pool(lock);
    } else {
      idle_.push_back(&self);
      lock.wait(Clock::time_point::max(), [&] { return self.poked; });
      self.poked = false;
      --coming_;
    }
  }
}

void Executor::run(Lock& lock, std::shared_ptr<Job> job) {
  --free_slots_;
  ++running_;
  if (runnable()) ensure_runner();  // slots for more than one: others run at once
  if (leader_ == Leader::none) arm_watchdog();
  lock.unlock();
  {
    const TaskScope scope(job->task(), true);
    job->run();
    job.reset();
  }
  lock.lock();
  --running_;
  free_slot();
}

void Executor::poke_or_create() {
  if (stopping_) return;  // stop() joins the threads there are
  if (idle_.empty()) {
    create_thread();
    return;
  }
  PoolThread* thread = idle_.back();
  idle_.pop_back();
  ++coming_;
  thread->poked = true;
  tell(thread->sleeper);
}

void Executor::ensure_runner() {
  if (source_ == nullptr) return;                                                 // whoever calls run_one does
  if (coming_ >= std::min(free_slots_, static_cast<int>(queue_.size()))) return;  // they will find the jobs
  if (idle_.empty() && leader_ == Leader::pool)
    kick_source();  // the leading pool thread is the only idle one: it stops leading, and runs
  else
    poke_or_create();
}

// -- slots ------------------------------------------------------------------------------------------------------------

void Executor::free_slot() {
  ++free_slots_;
  if (!resuming_.empty() && free_slots_ > 0) {
    Resuming* next = resuming_.front();
    resuming_.pop_front();
    --free_slots_;
    next->granted = true;
    tell(next->sleeper);
  }
}

void Executor::take_slot(Lock& lock) {
  if (free_slots_ > 0 && resuming_.empty()) {
    --free_slots_;
  } else {
    Resuming self{.sleeper = Sleeper::own()};
    resuming_.push_back(&self);
    lock.wait(Clock::time_point::max(), [&] { return self.granted || stopping_; });
    if (!self.granted) std::erase(resuming_, &self);
  }
  this_thread.holds_slot = true;
}

bool Executor::give_slot_up() {
  if (!this_thread.holds_slot) return false;
  this_thread.holds_slot = false;
  free_slot();
  if (runnable()) ensure_runner();
  return true;
}

bool Executor::take_slot_here() {
  Lock lock(*this);
  if (this_thread.holds_slot) return false;
  take_slot(lock);
  return true;
}

void Executor::give_slot_up_here() {
  const Lock lock(*this);
  (void)give_slot_up();
}

Executor::WithoutSlot::WithoutSlot(Executor& executor) : executor_(&executor) {
  const Lock lock(executor);
  if (!executor.give_slot_up()) executor_ = nullptr;
}

Executor::WithoutSlot::~WithoutSlot() {
  if (executor_ == nullptr) return;
  Lock lock(*executor_);
  executor_->take_slot(lock);
}

// -- leading ----------------------------------------------------------------------------------------------------------

void Executor::leave_lead(Lock& /*lock*/) {
  leader_ = Leader::none;
  ++leaderless_;
  if (lead_wanted_ && !followers_.empty()) {
    tell(followers_.back()->sleeper_);
    return;
  }
  arm_watchdog();
}

/// What a leader does where nothing came: it looks again soon, or sleeps.
void Executor::rest(Quiet& quiet, Clock::time_point deadline) {
  quiet.until = Clock::now();
  if (quiet.since == Clock::time_point{}) quiet.since = quiet.until;
  const auto looked = quiet.until - quiet.since;
  if (looked < spinning_.budget()) {
    if (source_->direct() && this_thread.core_sharing.may_keep_core(looked)) {
      (void)look_briefly([this] { return source_->anything(); });
      return;
    }
    const bool begins = !std::exchange(quiet.yielded, true);
    const auto losses = [this] { return source_->direct() ? cores_lost() : CoreSharing::unknown; };
    const CoreSharing::Advice advice = this_thread.core_sharing.advice(begins, losses);
    if (advice == CoreSharing::Advice::leave) leave_this_core();
    if (advice == CoreSharing::Advice::yield) sched_yield();
    if (advice != CoreSharing::Advice::sleep) return;
  } else {
    this_thread.core_sharing.sleeps();
  }
  disarm_watchdog();
  source_->wait(deadline);
  quiet.until = Clock::now();
}

/// Something came: about when it was looked for last, as whoever waits for it is not to wait for the clock.
void Executor::end_rest(Quiet& quiet) {
  if (quiet.since == Clock::time_point{}) return;
  spinning_.waited(quiet.until - quiet.since);
  quiet = {};
}

void Executor::lead_as_pool(Lock& lock) {
  leader_ = Leader::pool;
  this_thread.leads_for = this;
  Quiet quiet;
  while (!stopping_ && !in_hand_ && !runnable() && !lead_wanted_) {
    lock.unlock();
    if (drain(messages_at_once))
      end_rest(quiet);
    else
      rest(quiet, Clock::time_point::max());
    lock.lock();
  }
  this_thread.leads_for = nullptr;
  leave_lead(lock);
  if (in_hand_) run_in_hand(lock);
}

/// What came to the leader before all that is queued.
void Executor::run_in_hand(Lock& lock) {
  auto job = std::exchange(in_hand_, nullptr);
  if (stopping_) {
    lock.unlock();
    job.reset();
    lock.lock();
  } else if (free_slots_ > 0 && resuming_.empty()) {
    run(lock, std::move(job));
  } else {
    queue_.push_front(std::move(job));
    queued_.store(queue_.size(), std::memory_order_relaxed);
  }
}

void Executor::lead_as_blocked(Lock& lock, Wakeup& wakeup, Clock::time_point deadline, const TaskState* task) {
  leader_ = Leader::blocked;
  leading_ = &wakeup;
  lead_wanted_ = false;
  lock.unlock();
  const Wakeup* const before = std::exchange(this_thread.leads_until, &wakeup);
  const auto done = [&] {
    return wakeup.happened() || stopping_.load(std::memory_order_relaxed) ||
           (task != nullptr && task->stop_reason() != StopReason::none) ||
           (deadline != Clock::time_point::max() && Clock::now() >= deadline);
  };
  Quiet quiet;
  for (;;) {
    const bool any = drain(1);  // the first may be what it waits for
    if (any) end_rest(quiet);
    if (done()) break;
    if (!any) rest(quiet, deadline);
  }
  this_thread.leads_until = before;
  lock.lock();
  leading_ = nullptr;
  leave_lead(lock);
}

/// Waits until it happened, or until this thread is to lead.
void Executor::follow(Lock& lock, Wakeup& wakeup, Clock::time_point deadline) {
  if (leader_ == Leader::pool && !lead_wanted_) {
    lead_wanted_ = true;  // its answer then comes to this thread without a hand-over
    kick_source();
  }
  wakeup.sleeper_ = Sleeper::own();
  followers_.push_back(&wakeup);
  lock.wait(deadline, [&] { return wakeup.happened() || stopping_ || leader_ == Leader::none; });
  std::erase(followers_, &wakeup);
  wakeup.sleeper_ = nullptr;
}

Executor::Woken Executor::block(Wakeup& wakeup, std::optional<Clock::time_point> until, Stops stops) {
  TaskState* const task = stops == Stops::heeded ? this_thread.task : nullptr;
  const auto deadline = until.value_or(Clock::time_point::max());
  TaskState::StopWatch watch = 0;
  if (task != nullptr) watch = task->on_stop([&wakeup] { wakeup.wake(); });
  Lock lock(*this);
  ++blocking_;
  const bool had_slot = give_slot_up();
  while (!wakeup.happened() && !stopping_ && (deadline == Clock::time_point::max() || Clock::now() < deadline)) {
    if (leader_ == Leader::none)
      lead_as_blocked(lock, wakeup, deadline, task);
    else
      follow(lock, wakeup, deadline);
  }
  if (followers_.empty()) lead_wanted_ = false;
  if (leader_ == Leader::none) {
    if (!followers_.empty())
      tell(followers_.back()->sleeper_);
    else
      arm_watchdog();
  }
  if (task != nullptr) {
    // A late stop request may still call wake(wakeup): it has to be over before the wakeup goes.
    lock.unlock();
    task->clear_on_stop(watch);
    lock.lock();
  }
  if (had_slot) take_slot(lock);
  if (--blocking_ == 0 && stopper_ != nullptr) tell(stopper_);
  if (task != nullptr && task->stop_reason() != StopReason::none) return Woken::stop;
  if (wakeup.happened()) return Woken::event;
  return stopping_ ? Woken::ended : Woken::deadline;
}

void Executor::wake(Wakeup& wakeup) {
  if (this_thread.leads_until == &wakeup) {  // it looks as soon as it has taken in what came
    wakeup.happened_.store(true, std::memory_order_relaxed);
    return;
  }
  const Lock lock(*this);
  wakeup.happened_.store(true, std::memory_order_release);
  if (leading_ == &wakeup) kick_source();
  if (wakeup.sleeper_ != nullptr) tell(wakeup.sleeper_);
  wakeup.wakers_.fetch_sub(1, std::memory_order_release);  // its thread needs the lock to go
}

}  // namespace muster::runtime
