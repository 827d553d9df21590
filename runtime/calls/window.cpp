#include "runtime/calls/window.hpp"

#include <algorithm>
#include <cmath>

namespace muster::runtime {

namespace {
constexpr std::size_t least_waiting = 4;
}

Window::Window(std::chrono::nanoseconds target, std::size_t threads)
    : target_(target),
      threads_(std::clamp<std::size_t>(threads, 1, most - least_waiting)),
      size_(threads_ + least_waiting) {}

void Window::sent(Clock::time_point now) { sent_.push_back(now); }

void Window::completed(Clock::time_point now) {
  if (sent_.empty()) return;
  const Clock::time_point reached_worker = sent_.front() + round_trip_;
  sent_.pop_front();
  // A call that was sent when the worker had nothing tells of the way there and back as well: good enough for a first
  // guess.
  const bool kept_busy = busy_ && reached_worker <= last_completed_;
  if (kept_busy || samples_ == 0) {
    const auto interval = std::max(now - (kept_busy ? last_completed_ : reached_worker), Clock::duration::zero());
    const double sample = static_cast<double>(std::chrono::nanoseconds(interval).count());
    samples_ = std::min(samples_ + 1, 8);
    service_ += (sample - service_) / samples_;
    const double waiting = static_cast<double>((target_ + round_trip_).count()) / std::max(service_, 1.0);
    const double wanted =
        static_cast<double>(threads_) + std::max(std::ceil(waiting), static_cast<double>(least_waiting));
    size_ = static_cast<std::size_t>(std::min(wanted, static_cast<double>(most)));
  }
  last_completed_ = now;
  busy_ = !sent_.empty();
}

void Window::withdrew() {
  // It is the calls sent last that have not started.
  if (!sent_.empty()) sent_.pop_back();
  busy_ = busy_ && !sent_.empty();
}

}  // namespace muster::runtime
