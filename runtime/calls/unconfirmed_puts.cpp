#include "runtime/calls/unconfirmed_puts.hpp"

#include <algorithm>

namespace muster::runtime {

void UnconfirmedPuts::sent(Pid owner, const RemoteRefId& channel) {
  const std::lock_guard lock(mutex_);
  ++last_;
  for (Mark& mark : marks_) {
    if (mark.owner != owner) continue;
    mark.channel = channel;
    mark.sent = last_;
    return;
  }
  marks_.push_back({owner, channel, last_});
  settle_only();
}

std::vector<UnconfirmedPuts::Mark> UnconfirmedPuts::marks_elsewhere(Pid receiver) const {
  const std::lock_guard lock(mutex_);
  std::vector<Mark> marks;
  std::copy_if(marks_.begin(), marks_.end(), std::back_inserter(marks),
               [receiver](const Mark& mark) { return mark.owner != receiver; });
  return marks;
}

UnconfirmedPuts::Mark UnconfirmedPuts::mark(Pid owner) const {
  if (only_.load(std::memory_order_relaxed) == nobody) return {};
  const std::lock_guard lock(mutex_);
  for (const Mark& mark : marks_)
    if (mark.owner == owner) return mark;
  return {};
}

void UnconfirmedPuts::confirmed(const Mark& mark) {
  if (mark.sent == 0) return;
  const std::lock_guard lock(mutex_);
  std::erase_if(marks_, [&](const Mark& one) { return one.owner == mark.owner && one.sent <= mark.sent; });
  settle_only();
}

void UnconfirmedPuts::forget(Pid owner) {
  const std::lock_guard lock(mutex_);
  std::erase_if(marks_, [owner](const Mark& mark) { return mark.owner == owner; });
  settle_only();
}

/// With the mutex.
void UnconfirmedPuts::settle_only() {
  only_.store(marks_.empty() ? nobody : marks_.size() == 1 ? marks_.front().owner : several, std::memory_order_release);
}

}  // namespace muster::runtime
