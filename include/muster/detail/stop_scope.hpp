/// @file
/// A stretch of a thread's life that others can end, as they can a task.
#pragma once

#include <memory>

namespace muster::detail {

/// As long as this lives, the thread it was made on is stoppable as a task is: once stop() was called, every blocking
/// muster call of it and `this_task::check()` throw InterruptedError. What the prompt's Ctrl-C does.
class StopScope {
 public:
  StopScope();
  ~StopScope();
  StopScope(const StopScope&) = delete;
  StopScope& operator=(const StopScope&) = delete;

  /// Any thread; not in a signal handler.
  void stop();

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace muster::detail
