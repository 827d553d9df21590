#include "runtime/session/process.hpp"

#include <muster/detail/task_slot.hpp>

namespace muster::detail {

class WithoutSlot::State {
 public:
  explicit State(runtime::Executor& executor) : without_(executor) {}

 private:
  runtime::Executor::WithoutSlot without_;
};

WithoutSlot::WithoutSlot() {
  if (runtime::current_task() != nullptr) state_ = std::make_unique<State>(runtime::current_process().executor());
}

WithoutSlot::~WithoutSlot() = default;

SlotAgain::SlotAgain()
    : taken_(runtime::current_task() != nullptr && runtime::current_process().executor().take_slot_here()) {}

SlotAgain::~SlotAgain() {
  if (taken_) runtime::current_process().executor().give_slot_up_here();
}

}  // namespace muster::detail
