/// @file
/// Telling the program when workers come and go.
#pragma once

#include <muster/cluster.hpp>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace muster::runtime {

/// Calls what was registered with on_worker_added and on_worker_removed, one after the other, on a thread of its own,
/// which is started when there is something to call. What they throw is logged, and keeps nobody else from being
/// called. Any thread.
class LifeCallbacks {
 public:
  LifeCallbacks();
  ~LifeCallbacks();
  LifeCallbacks(const LifeCallbacks&) = delete;
  LifeCallbacks& operator=(const LifeCallbacks&) = delete;

  /// Registers f. Destroying the handle, on another thread, waits for f where it is just running; it may outlive this.
  CallbackHandle on_added(std::function<void(Pid)> f);
  CallbackHandle on_removed(std::function<void(const WorkerExit&)> f);

  /// Calls what is registered now, after all that was posted before.
  void added(Pid pid);
  void removed(const WorkerExit& exit);
  /// Runs f on the thread, after all that was posted before.
  void post(std::function<void()> f);
  /// Runs what was posted, and ends the thread; what is posted later is dropped.
  void stop();

 private:
  class Registered;

  void main();

  const std::shared_ptr<Registered> registered_;
  std::mutex mutex_;  ///< guards all below
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace muster::runtime
