/// @file
/// Waiting within one process, in tasks and outside, with a session or without.
#pragma once

#include <muster/detail/future_core.hpp>

#include <condition_variable>
#include <functional>
#include <mutex>

namespace muster::detail {

/// What one thread waits for.
/// @par Thread safety
/// set from any thread. Whoever sets it sees to it that it lives that long.
class LocalEvent {
 public:
  LocalEvent() = default;
  LocalEvent(const LocalEvent&) = delete;
  LocalEvent& operator=(const LocalEvent&) = delete;

  void set();
  /// Waits until it is set, its task must stop, or time is over. A task gives its slot up meanwhile.
  /// @param gave_up called where it is not set, before the task waits for its slot, which may be another's for long
  /// @returns whether it is set
  bool wait(Timeout timeout, const std::function<void()>& gave_up);

 private:
  std::mutex mutex_;  ///< guards everything below
  std::condition_variable condition_;
  bool happened_ = false;
  runtime::Wakeup* wakeup_ = nullptr;  ///< of the waiting thread, where it runs a task
};

/// Throws what ended a wait in vain: CancelledError, InterruptedError, NoSession or TimeoutError.
[[noreturn]] void throw_waited_in_vain();
/// Throws where this thread's task must stop.
void check_stop();

}  // namespace muster::detail
