#include "runtime/exec/executor.hpp"

#include <muster/detail/stop_scope.hpp>

#include <memory>

namespace muster::detail {

class StopScope::State : public runtime::TaskState, public std::enable_shared_from_this<State> {
 public:
  std::shared_ptr<runtime::TaskState> shared_state() override { return shared_from_this(); }
  void enter() { scope_ = std::make_unique<runtime::TaskScope>(this, false); }
  void leave() { scope_.reset(); }

 private:
  std::unique_ptr<runtime::TaskScope> scope_;
};

StopScope::StopScope() : state_(std::make_shared<State>()) { state_->enter(); }
StopScope::~StopScope() { state_->leave(); }
void StopScope::stop() { state_->request_stop(runtime::StopReason::interrupted); }

}  // namespace muster::detail
