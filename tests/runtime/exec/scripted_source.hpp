/// @file
/// Messages that tests make: functions, run by whoever receives.
#pragma once

#include "runtime/exec/executor.hpp"

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace muster::runtime {

class ScriptedSource final : public MessageSource {
 public:
  bool drain(int most) override {
    int count = 0;
    for (; count < most; ++count) {
      std::function<void()> message;
      {
        const std::lock_guard lock(mutex_);
        if (messages_.empty()) break;
        message = std::move(messages_.front());
        messages_.pop_front();
        receivers_.push_back(std::this_thread::get_id());
      }
      message();
    }
    return count != 0;
  }
  void wait(Clock::time_point until) override {
    std::unique_lock lock(mutex_);
    const auto something = [this] { return kicked_ || !messages_.empty(); };
    if (until == Clock::time_point::max())
      changed_.wait(lock, something);
    else
      changed_.wait_until(lock, until, something);
    kicked_ = false;
  }
  void kick() override {
    const std::lock_guard lock(mutex_);
    kicked_ = true;
    changed_.notify_all();
  }

  void arrive(std::function<void()> message) {
    const std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
    changed_.notify_all();
  }
  /// Who received each message so far.
  std::vector<std::thread::id> receivers() const {
    const std::lock_guard lock(mutex_);
    return receivers_;
  }

 private:
  mutable std::mutex mutex_;  ///< guards everything below
  std::condition_variable changed_;
  bool kicked_ = false;
  std::deque<std::function<void()>> messages_;
  std::vector<std::thread::id> receivers_;
};

/// A state that lives as long as somebody holds it.
class OwnedTask final : public TaskState, public std::enable_shared_from_this<OwnedTask> {
 public:
  using TaskState::TaskState;
  std::shared_ptr<TaskState> shared_state() override { return shared_from_this(); }
};

class TestJob final : public Job {
 public:
  explicit TestJob(std::function<void()> f, std::shared_ptr<TaskState> task = std::make_shared<OwnedTask>())
      : f_(std::move(f)), task_(std::move(task)) {}
  void run() noexcept override { f_(); }
  TaskState* task() override { return task_.get(); }

 private:
  std::function<void()> f_;
  std::shared_ptr<TaskState> task_;
};

}  // namespace muster::runtime
