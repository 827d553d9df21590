/// @file
/// What a running task knows of itself: whether it was asked to stop, by when it must end, whether it holds a slot.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace muster::runtime {

using Clock = std::chrono::steady_clock;

/// Why a task was asked to stop.
enum class StopReason : int { none = 0, cancelled, interrupted };

/// State of one task, shared by the thread that runs it and those that stop it. Any thread.
class TaskState {
 public:
  explicit TaskState(std::optional<Clock::time_point> deadline = {}) : deadline_(deadline) {}
  TaskState(const TaskState&) = delete;
  TaskState& operator=(const TaskState&) = delete;
  virtual ~TaskState() = default;

  /// For those that watch it beyond its run: a coroutine goes on in other jobs.
  virtual std::shared_ptr<TaskState> shared_state() = 0;

  /// Asks the task to stop; the first reason stays. Wakes it where it waits.
  void request_stop(StopReason reason);
  StopReason stop_reason() const { return static_cast<StopReason>(stop_.load(std::memory_order_acquire)); }
  /// Throws CancelledError or InterruptedError where stop was requested.
  void check() const;

  std::optional<Clock::time_point> deadline() const { return deadline_; }
  std::stop_token stop_token();

  /// What on_stop gave.
  using StopWatch = std::uint64_t;
  /// Calls `wake` when stop is requested, at once where it was. Several at a time: a coroutine of the task may be
  /// suspended while a thread of it blocks. `wake` must be quick; it is called without any lock of this task's.
  [[nodiscard]] StopWatch on_stop(std::function<void()> wake);
  /// When this returns the function is not running and will not run.
  void clear_on_stop(StopWatch watch);

 private:
  std::atomic<int> stop_{0};
  const std::optional<Clock::time_point> deadline_;
  std::atomic<StopWatch> running_{0};  ///< whose function request_stop is in; changed with mutex_
  std::mutex mutex_;                   ///< guards everything below
  std::thread::id runner_;             ///< the thread of request_stop
  StopWatch last_watch_ = 0;
  std::vector<std::pair<StopWatch, std::function<void()>>> watches_;
  std::optional<std::stop_source> source_;  ///< made when asked for: most tasks never do
};

/// Does something when a task is asked to stop, at once where it was, as long as this lives.
class StopAction {
 public:
  /// @param task null: never  @param act as for TaskState::on_stop
  StopAction(TaskState* task, std::function<void()> act) : task_(task) {
    if (task_ != nullptr) watch_ = task_->on_stop(std::move(act));
  }
  ~StopAction() {
    if (task_ != nullptr) task_->clear_on_stop(watch_);
  }
  StopAction(const StopAction&) = delete;
  StopAction& operator=(const StopAction&) = delete;

 private:
  TaskState* const task_;
  TaskState::StopWatch watch_ = 0;
};

}  // namespace muster::runtime
