/// @file
/// The slot of a running task, for those that wait for something else than muster.
#pragma once

#include <memory>

namespace muster::detail {

/// A stretch in which this thread's task does not need its slot: its worker may run another task. Does nothing outside
/// of tasks. Of the thread it is made on, as SlotAgain.
class WithoutSlot {
 public:
  WithoutSlot();
  ~WithoutSlot();
  WithoutSlot(const WithoutSlot&) = delete;
  WithoutSlot& operator=(const WithoutSlot&) = delete;

 private:
  class State;
  std::unique_ptr<State> state_;
};

/// Within a WithoutSlot: waits for a slot, and has it for a scope. Does nothing where the thread has one, or runs no
/// task.
class SlotAgain {
 public:
  SlotAgain();
  ~SlotAgain();
  SlotAgain(const SlotAgain&) = delete;
  SlotAgain& operator=(const SlotAgain&) = delete;

 private:
  bool taken_ = false;
};

}  // namespace muster::detail
