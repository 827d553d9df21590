#include "runtime/exec/task_state.hpp"

#include <muster/errors.hpp>

#include <algorithm>

namespace muster::runtime {

void TaskState::request_stop(StopReason reason) {
  int none = 0;
  if (!stop_.compare_exchange_strong(none, static_cast<int>(reason), std::memory_order_acq_rel)) return;
  std::optional<std::stop_source> source;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [watch, wake] : watches_) wake();  // under the lock, so that clear_on_stop can promise
    source = source_;
  }
  if (source) source->request_stop();
}

void TaskState::check() const {
  switch (stop_reason()) {
    case StopReason::none: return;
    case StopReason::cancelled: throw CancelledError("The task was cancelled");
    case StopReason::interrupted: throw InterruptedError("The task was interrupted");
  }
}

std::stop_token TaskState::stop_token() {
  const std::lock_guard lock(mutex_);
  if (!source_) {
    source_.emplace();
    if (stop_reason() != StopReason::none) source_->request_stop();
  }
  return source_->get_token();
}

TaskState::StopWatch TaskState::on_stop(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  watches_.emplace_back(++last_watch_, std::move(wake));
  if (stop_reason() != StopReason::none) watches_.back().second();
  return last_watch_;
}

void TaskState::clear_on_stop(StopWatch watch) {
  std::function<void()> dropped;  // destroyed without the lock
  const std::lock_guard lock(mutex_);
  const auto found =
      std::find_if(watches_.begin(), watches_.end(), [watch](const auto& one) { return one.first == watch; });
  if (found == watches_.end()) return;
  dropped = std::move(found->second);
  watches_.erase(found);
}

}  // namespace muster::runtime
