/// @file
/// What a thread sleeps on, while others hold no lock to wake it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>

namespace muster::runtime {

/// One thread sleeps, any thread wakes it; shared, since who wakes may do so late, when it has ended.
class Sleeper {
 public:
  /// The calling thread's.
  static const std::shared_ptr<Sleeper>& own() {
    thread_local const auto sleeper = std::make_shared<Sleeper>();
    return sleeper;
  }

  void wake() {
    {
      const std::lock_guard lock(mutex_);
      woken_ = true;
    }
    condition_.notify_one();
  }
  /// Returns at once where it was woken since it slept last.
  /// @returns false: the time came, and nobody woke it
  bool sleep(std::chrono::steady_clock::time_point until) {
    std::unique_lock lock(mutex_);
    const auto woken = [this] { return woken_; };
    if (until == std::chrono::steady_clock::time_point::max())
      condition_.wait(lock, woken);
    else if (!condition_.wait_until(lock, until, woken))
      return false;
    woken_ = false;
    return true;
  }

 private:
  std::mutex mutex_;  ///< guards woken_
  std::condition_variable condition_;
  bool woken_ = false;
};

}  // namespace muster::runtime
