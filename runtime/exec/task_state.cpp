#include "runtime/exec/task_state.hpp"

#include <muster/errors.hpp>

#include <algorithm>

namespace muster::runtime {

void TaskState::request_stop(StopReason reason) {
  int none = 0;
  if (!stop_.compare_exchange_strong(none, static_cast<int>(reason), std::memory_order_acq_rel)) return;
  std::unique_lock lock(mutex_);
  runner_ = std::this_thread::get_id();
  while (!watches_.empty()) {
    auto [watch, wake] = std::move(watches_.back());
    watches_.pop_back();
    running_ = watch;
    lock.unlock();
    wake();
    wake = nullptr;
    lock.lock();
    running_ = 0;
    running_.notify_all();
  }
  const std::optional<std::stop_source> source = source_;
  lock.unlock();
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
  {
    const std::lock_guard lock(mutex_);
    const StopWatch watch = ++last_watch_;
    if (stop_reason() == StopReason::none) {
      watches_.emplace_back(watch, std::move(wake));
      return watch;
    }
  }
  wake();
  return 0;
}

void TaskState::clear_on_stop(StopWatch watch) {
  if (watch == 0) return;
  std::function<void()> dropped;  // destroyed without the lock
  std::unique_lock lock(mutex_);
  const auto found =
      std::find_if(watches_.begin(), watches_.end(), [watch](const auto& one) { return one.first == watch; });
  if (found != watches_.end()) {
    dropped = std::move(found->second);
    watches_.erase(found);
  } else if (running_ == watch && runner_ != std::this_thread::get_id()) {
    lock.unlock();
    running_.wait(watch);
  }
}

}  // namespace muster::runtime
