/// @file
/// A worker that leaves by itself, gracefully.
#pragma once

#include "runtime/session/process.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

namespace muster::runtime {

/// While it lives, SIGTERM (and, where standard output is a terminal, SIGINT) makes this worker leave: it tells the
/// master that it is to be given no more work, waits until its tasks have ended, for half a minute at most, and then
/// has itself removed. A second signal ends the waiting. One that is no member yet may become one just then: it is
/// given a moment for that, and else ends of the signal. One per process, since signals have but one handler.
class LeavingOnSignal {
 public:
  /// Whether this worker is a member, for which it waits so long.
  using Joins = std::function<bool(std::chrono::milliseconds)>;
  LeavingOnSignal(Process& process, Joins joins);
  ~LeavingOnSignal();
  LeavingOnSignal(const LeavingOnSignal&) = delete;
  LeavingOnSignal& operator=(const LeavingOnSignal&) = delete;

 private:
  bool on_signal();
  void leave();

  Process& process_;
  const Joins joins_;
  WatchId watch_{};
  std::atomic<int> signals_{0};
  std::atomic<bool> over_{false};
  std::thread thread_;
};

}  // namespace muster::runtime
