// The public face of channels, for the session's process.

#include "runtime/base/deadline.hpp"
#include "runtime/session/process.hpp"

#include <muster/detail/channel_core.hpp>
#include <muster/detail/local_event.hpp>

namespace muster::detail {

ChannelPointer make_channel(std::size_t capacity, Pid where) {
  return runtime::current_process().calls().make_channel(capacity, where);
}

ChannelPointer make_channel(std::unique_ptr<ItemStore> store) {
  return runtime::current_process().calls().make_channel(std::move(store));
}

void LocalEvent::set() {
  const std::lock_guard lock(mutex_);
  happened_ = true;
  if (wakeup_ != nullptr) wakeup_->wake();
  condition_.notify_all();
}

bool LocalEvent::wait(Timeout timeout, const std::function<void()>& gave_up) {
  auto deadline = runtime::current_deadline();
  if (timeout) deadline = runtime::earlier(deadline, runtime::deadline_after(*timeout));
  // A task gives its slot up, and hears of stop requests. (Its thread ends before its executor does; others' may not.)
  if (auto* const process = runtime::current_process_or_null();
      process != nullptr && runtime::current_task() != nullptr) {
    runtime::Wakeup wakeup(process->executor());
    {
      const std::lock_guard lock(mutex_);
      if (happened_) return true;
      wakeup_ = &wakeup;
    }
    const runtime::Executor::WithoutSlot waiting(process->executor());
    (void)process->executor().block(wakeup, deadline);
    {
      const std::lock_guard lock(mutex_);
      wakeup_ = nullptr;
      if (happened_) return true;
    }
    gave_up();
    return false;
  }
  std::unique_lock lock(mutex_);
  const auto happened = [this] { return happened_; };
  if (deadline) return condition_.wait_until(lock, *deadline, happened);
  condition_.wait(lock, happened);
  return true;
}

void throw_waited_in_vain() {
  check_stop();
  if (auto* const process = runtime::current_process_or_null();
      runtime::current_task() != nullptr && (process == nullptr || process->executor().stopped()))
    throw NoSession("The session ended while a channel was being waited for");
  throw TimeoutError("Waited in vain for a channel of this process: the deadline ended");
}

void check_stop() {
  if (const runtime::TaskState* task = runtime::current_task()) task->check();
}

}  // namespace muster::detail
