#include "runtime/transport/shm/unheard.hpp"

#include <sys/timerfd.h>

#include <cerrno>
#include <system_error>

namespace muster::runtime {

namespace {
// As good as at once for who waits, and so seldom that it costs nothing.
constexpr long longest_unheard_ns = 10'000'000;
}  // namespace

Unheard::Unheard() : timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
  if (!timer_) throw std::system_error(errno, std::generic_category(), "timerfd_create");
}

void Unheard::start_timer() {
  const itimerspec once{{}, {0, longest_unheard_ns}};
  (void)::timerfd_settime(timer_.get(), 0, &once, nullptr);
}

}  // namespace muster::runtime
