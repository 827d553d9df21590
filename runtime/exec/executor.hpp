/// @file
/// Runs tasks, and lends waiting threads to receive messages: leader/follower.
///
/// One thread at a time, the *leader*, receives. A pool thread that leads and gets a task for a free slot stops leading
/// and runs the task itself, so a short call costs no thread hand-over. Nobody leads meanwhile; if that lasts a
/// millisecond, the watchdog makes another thread the leader. A thread that blocks (fetch, take, ...) gives its slot
/// up, and leads by itself where nobody does, so that it wakes without a hand-over when its answer comes; tasks that
/// arrive then go to other threads, since running them on its stack could deadlock.
#pragma once

#include "runtime/base/unique_fd.hpp"
#include "runtime/exec/sleeper.hpp"
#include "runtime/exec/spinning.hpp"
#include "runtime/exec/task_state.hpp"

#include <muster/detail/small_mutex.hpp>

#include <atomic>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace muster::runtime {

/// Where messages come from. The executor's leader calls drain and wait; anybody kick.
class MessageSource {
 public:
  virtual ~MessageSource() = default;
  /// Receives and dispatches what is there, at most so many messages, without waiting.
  /// @returns whether there was anything.
  virtual bool drain(int most) = 0;
  /// Whether what comes is put there by who sends it, and not by another thread of this process.
  virtual bool direct() const { return false; }
  /// Whether drain may find something, from a look that costs next to nothing.
  virtual bool anything() const { return true; }
  /// Waits until something may be there, kick() was called, or the time came.
  virtual void wait(Clock::time_point until) = 0;
  virtual void kick() = 0;
};

/// Something to run in a slot.
class Job {
 public:
  virtual ~Job() = default;
  virtual void run() noexcept = 0;
  /// What this_task speaks of while it runs; may be null.
  virtual TaskState* task() = 0;
};

class Executor;

/// The event one blocked thread waits for.
class Wakeup {
 public:
  explicit Wakeup(Executor& executor) : executor_(executor) {}
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;
  ~Wakeup() { await_wakers(); }

  /// The event happened. Any thread, also the receiving one; it may take a system call.
  void wake() {
    begin_wake();
    finish_wake();
  }
  /// Half of that, for who finds the waiter under a lock, without which it may go: it stays until the other half, to be
  /// done by the same thread without the lock.
  void begin_wake();
  void finish_wake();
  /// Returns once no other thread is between the two.
  void await_wakers() const;
  bool happened() const { return happened_.load(std::memory_order_acquire); }

 private:
  friend class Executor;
  Executor& executor_;
  std::atomic<int> wakers_{0};  ///< between the halves
  std::atomic<bool> happened_{false};
  std::shared_ptr<Sleeper> sleeper_;  ///< while its thread follows; guarded by the executor's mutex
};

class Executor {
 public:
  /// @param slots how many jobs run at once
  /// @param spin how long a leader may look for messages, yielding, before it sleeps
  Executor(int slots, std::chrono::nanoseconds spin);
  ~Executor();

  /// Starts receiving. Before it, nothing but set_slots may be called; where it is never called, run_one as well.
  void start(MessageSource& source);
  /// For simulations: of an executor that is never started, and so has no threads, runs the oldest job on this thread,
  /// if a slot is free. The job must not wait. @returns false when there is none
  bool run_one();
  /// Ends all threads; running jobs are waited for, queued ones dropped. Blocked threads wake, and leave before it
  /// returns.
  void stop();
  /// Whether stop was called.
  bool stopped() const { return stopping_.load(std::memory_order_acquire); }
  void set_slots(int slots);

  /// Runs a job when a slot is free; in order of submission with one slot. Any thread.
  void submit(std::shared_ptr<Job> job);
  /// Takes a job that has not started out of the queue.
  /// @returns false when it runs already, or ran.
  bool withdraw(const Job* job);
  /// Whether a job waits for a slot.
  bool any_queued() const { return queued_.load(std::memory_order_relaxed) != 0; }
  /// Jobs that run now or wait for a slot.
  std::size_t jobs() const;

  /// `ended`: the executor was stopped. It may be destroyed as soon as block has returned, like all of its process.
  enum class Woken { event, deadline, stop, ended };
  /// Whether a request to stop the task ends its waiting.
  enum class Stops { heeded, ignored };
  /// Blocks the calling thread until wakeup.wake(), the deadline, or a stop request of its task. Gives up the task's
  /// slot meanwhile. The wakeup must live as long as anybody may wake it.
  Woken block(Wakeup& wakeup, std::optional<Clock::time_point> deadline, Stops stops = Stops::heeded);
  /// Whether this thread is just receiving for some executor: then it must not block.
  static bool receiving_here();

  /// Makes this thread one that must not block, for a scope.
  class ReceivingScope {
   public:
    ReceivingScope();
    ~ReceivingScope();
    ReceivingScope(const ReceivingScope&) = delete;
    ReceivingScope& operator=(const ReceivingScope&) = delete;

   private:
    bool before_;
  };

  /// Waits for a slot for the task of this thread. @returns false when it has one
  bool take_slot_here();
  void give_slot_up_here();

  /// A stretch in which the running task does not need its slot, because it waits for something else than muster.
  class WithoutSlot {
   public:
    explicit WithoutSlot(Executor& executor);
    ~WithoutSlot();
    WithoutSlot(const WithoutSlot&) = delete;
    WithoutSlot& operator=(const WithoutSlot&) = delete;

   private:
    Executor* executor_;
  };

 private:
  friend class Wakeup;
  void wake(Wakeup& wakeup);
  bool drain(int most);

  using SleeperPointer = std::shared_ptr<Sleeper>;
  struct PoolThread {
    SleeperPointer sleeper;
    bool poked = false;
    std::thread thread;
  };
  enum class Leader : std::uint8_t { none, pool, blocked };

  /// Holds mutex_. Who is to be woken is noted meanwhile (tell, kick_source), and woken once it is let go.
  class Lock {
   public:
    explicit Lock(Executor& executor) : executor_(executor), lock_(executor.mutex_) {}
    ~Lock() {
      if (lock_.owns_lock()) unlock();
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

    void lock() { lock_.lock(); }
    void unlock();
    /// Lets it go until this thread is told, and `ready`, or until the deadline.
    template <class Ready>
    void wait(Clock::time_point deadline, Ready ready);

   private:
    Executor& executor_;
    std::unique_lock<detail::SmallMutex> lock_;
  };
  void tell(const SleeperPointer& sleeper) { told_.push_back(sleeper); }
  void kick_source() { kicks_ = true; }

  void pool_main(PoolThread& self);
  void watchdog_main();
  void run(Lock& lock, std::shared_ptr<Job> job);
  void lead_as_pool(Lock& lock);
  void lead_as_blocked(Lock& lock, Wakeup& wakeup, Clock::time_point deadline, const TaskState* task);
  void follow(Lock& lock, Wakeup& wakeup, Clock::time_point deadline);
  /// A leader's time without messages.
  struct Quiet {
    Clock::time_point since{}, until{};  ///< the latter as it looked last; both unset: something came just now
    bool yielded = false;
  };
  void rest(Quiet& quiet, Clock::time_point deadline);
  void end_rest(Quiet& quiet);
  void leave_lead(Lock& lock);
  std::shared_ptr<Job> next_job();
  void run_in_hand(Lock& lock);
  bool runnable() const { return free_slots_ > 0 && resuming_.empty() && !queue_.empty(); }
  void ensure_runner();
  void ensure_leader();
  void poke_or_create();
  void create_thread();
  void free_slot();
  void take_slot(Lock& lock);
  bool give_slot_up();
  void arm_watchdog();
  void disarm_watchdog();
  void set_timer(std::chrono::nanoseconds time);

  Spinning spinning_;             ///< the leader's
  std::shared_ptr<Job> in_hand_;  ///< the pool's leader's: it came alone
  MessageSource* source_ = nullptr;
  std::atomic<bool> stopping_{false};

  mutable detail::SmallMutex mutex_;  ///< guards everything below
  std::vector<SleeperPointer> told_;  ///< to be woken without it
  bool kicks_ = false;                ///< and the source to be kicked
  int free_slots_;
  int slots_;
  int running_ = 0;
  int blocking_ = 0;        ///< threads in block
  SleeperPointer stopper_;  ///< waits until they have left
  std::deque<std::shared_ptr<Job>> queue_;
  std::atomic<std::size_t> queued_{0};  ///< how many, to be looked at without the lock
  struct Resuming {
    SleeperPointer sleeper;
    bool granted = false;
  };
  std::deque<Resuming*> resuming_;  ///< tasks that waited and want their slot back; they go before new ones
  std::list<PoolThread> threads_;
  std::vector<PoolThread*> idle_;
  int coming_ = 0;  ///< threads made or poked that have not looked for work yet
  Leader leader_ = Leader::none;
  Wakeup* leading_ = nullptr;                ///< the blocked thread that leads
  std::vector<Wakeup*> followers_;           ///< blocked threads that do not lead
  bool lead_wanted_ = false;                 ///< a blocked thread asks the pool's leader to step back
  std::uint64_t leaderless_ = 0;             ///< counts the times nobody led
  std::atomic<bool> watchdog_armed_{false};  ///< its timer runs; changed with the lock, also looked at without
  UniqueFd watchdog_timer_;                  ///< which is set without waking it
  std::thread watchdog_;
};

/// By when whatever this thread does must end: its task's deadline or its innermost scope's, the earlier one.
std::optional<Clock::time_point> current_deadline();
/// Sets the scope's deadline of this thread. @returns the one before
std::optional<Clock::time_point> exchange_scope_deadline(std::optional<Clock::time_point> deadline);
/// The earlier of two deadlines, where there are any.
std::optional<Clock::time_point> earlier(std::optional<Clock::time_point> a, std::optional<Clock::time_point> b);

/// The task this thread runs, or null.
TaskState* current_task();
/// Makes `task` the one this thread runs, for a scope; it starts without any scope's deadline.
class TaskScope {
 public:
  TaskScope(TaskState* task, bool holds_slot);
  ~TaskScope();
  TaskScope(const TaskScope&) = delete;
  TaskScope& operator=(const TaskScope&) = delete;

 private:
  TaskState* before_;
  bool held_slot_before_;
  std::optional<Clock::time_point> scope_deadline_before_;
};

}  // namespace muster::runtime
