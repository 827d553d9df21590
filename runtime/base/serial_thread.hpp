/// @file
/// Jobs one after the other on a named thread of their own, which is started with the first and joined in the end.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace muster::runtime {

/// Any thread.
class SerialThread {
 public:
  explicit SerialThread(std::string name) : name_(std::move(name)) {}
  SerialThread(const SerialThread&) = delete;
  SerialThread& operator=(const SerialThread&) = delete;
  ~SerialThread() { stop(); }

  /// Runs f after those before it; what it throws is logged. Nothing after stop.
  void run(std::function<void()> f);
  /// Runs what waits, and ends the thread. Not from a job.
  void stop();

 private:
  void main();

  const std::string name_;
  std::mutex mutex_;  ///< guards everything below
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace muster::runtime
