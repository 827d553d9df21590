/// @file
/// Messages of which a receiver that sleeps was not told, and a timer for them: to be told costs it tens of
/// microseconds, which several may share; but who waits for one is not to wait for the end of somebody's long task.
#pragma once

#include "runtime/base/unique_fd.hpp"

#include <atomic>

namespace muster::runtime {

class Unheard {
 public:
  /// @throws std::system_error
  Unheard();
  /// A message was left so. Any thread.
  void note() {
    if (!any_.exchange(true) && !timer_runs_.exchange(true)) start_timer();
  }
  /// Whether there is one. The caller tells of it.
  bool take() { return any_.exchange(false); }
  /// Becomes readable, in the sense of an edge, some milliseconds after one was left. take() is to be asked then, told
  /// or not.
  int timer_fd() const { return timer_.get(); }
  /// It became readable.
  void timer_ended() { timer_runs_ = false; }

 private:
  void start_timer();

  UniqueFd timer_;
  std::atomic<bool> any_{false}, timer_runs_{false};
};

}  // namespace muster::runtime
