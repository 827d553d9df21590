// Who sees to it that somebody receives, whatever the tasks do.

#include "runtime/exec/executor.hpp"

#include <pthread.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>

namespace muster::runtime {

namespace {

/// How long nobody may lead.
constexpr auto leaderless_limit = std::chrono::milliseconds(1);

}  // namespace

/// Every task that starts while nobody leads comes here, most of them for microseconds: a timer that runs already will
/// do, and to set one wakes nobody.
void Executor::arm_watchdog() {
  if (watchdog_armed_.load(std::memory_order_relaxed)) return;
  watchdog_armed_.store(true, std::memory_order_relaxed);
  set_timer(leaderless_limit);
}

/// Somebody leads, and is about to sleep: the watchdog would wake for nothing.
void Executor::disarm_watchdog() {
  if (!watchdog_armed_.load(std::memory_order_relaxed)) return;
  const Lock lock(*this);
  if (stopping_) return;  // it is being woken to end
  set_timer(std::chrono::nanoseconds(0));
  watchdog_armed_ = false;
}

void Executor::set_timer(std::chrono::nanoseconds time) {
  const itimerspec once{{}, {0, static_cast<long>(time.count())}};
  (void)::timerfd_settime(watchdog_timer_.get(), 0, &once, nullptr);
}

void Executor::ensure_leader() {
  if (!followers_.empty())
    tell(followers_.back()->sleeper_);
  else
    poke_or_create();
}

void Executor::watchdog_main() {
  (void)pthread_setname_np(pthread_self(), "muster-watchdog");
  std::uint64_t seen = 0;
  for (;;) {
    std::uint64_t expirations = 0;
    if (::read(watchdog_timer_.get(), &expirations, sizeof expirations) < 0 && errno != EINTR) return;
    const Lock lock(*this);
    if (stopping_) return;
    if (leader_ != Leader::none) {
      watchdog_armed_ = false;
    } else if (seen == leaderless_) {  // for all that time
      watchdog_armed_ = false;
      lead_wanted_ = false;
      ensure_leader();
    } else {
      seen = leaderless_;
      set_timer(leaderless_limit);
    }
  }
}

}  // namespace muster::runtime
