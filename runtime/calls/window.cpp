#include "runtime/calls/window.hpp"

#include <algorithm>
#include <cmath>

namespace muster::runtime {

namespace {
// Answers of maps wake their caller four at a time; when all processors work it wakes late, and as many again last
// until it has sent more.
constexpr std::size_t least_waiting = 8;

// Answers less apart than that are one burst. Longer than a caller takes to look at the next of several.
constexpr std::chrono::microseconds burst_gap{50};
// A stream of tiny calls is taken for bursts of so many, so that it is seen when they change.
constexpr int longest_burst = 64;
}  // namespace

Window::Window(std::chrono::nanoseconds target, std::size_t threads)
    : target_(target),
      threads_(std::clamp<std::size_t>(threads, 1, most - least_waiting)),
      size_(threads_ + least_waiting) {}

void Window::sent(Clock::time_point now) { sent_.push_back(now); }

void Window::completed(Clock::time_point now) {
  if (sent_.empty()) return;
  const Clock::time_point sent = sent_.front();
  sent_.pop_front();
  if (round_trip_.count() != 0) {
    completed_nearby(sent, now);
    return;
  }
  least_latency_ = std::min(least_latency_, now - sent);
  // The quickest call's own time is in its latency, and those sent together with it were sent a little later.
  const std::chrono::nanoseconds way = least_latency_ - least_latency_ / 4;
  const bool kept_busy = busy_ && sent + way <= last_completed_;
  if (kept_busy) {
    const auto interval = std::chrono::nanoseconds(now - last_completed_);
    samples_ = std::min(samples_ + 1, 8);
    service_ += (static_cast<double>(interval.count()) - service_) / samples_;
  } else if (samples_ == 0) {
    guess_ = static_cast<double>(std::chrono::nanoseconds(now - sent).count());
  }
  resize();
  last_completed_ = now;
  busy_ = !sent_.empty();
}

// Answers that come right after each other may have waited for a caller that was kept from looking: what is known is
// the time that all of them took together.
void Window::completed_nearby(Clock::time_point sent, Clock::time_point now) {
  const bool together = burst_ != 0 && burst_ < longest_burst && now - last_completed_ < burst_gap;
  if (!together) {
    const bool kept_busy = busy_ && sent + round_trip_ <= last_completed_;
    burst_began_ = kept_busy ? last_completed_ : std::min(sent + round_trip_, now);
    burst_ = 0;
    before_burst_ = service_;
    weight_before_burst_ = 1;
  }
  ++burst_;
  samples_ = std::min(samples_ + 1, 8);
  weight_before_burst_ *= 1 - 1.0 / samples_;
  const double each = static_cast<double>(std::chrono::nanoseconds(now - burst_began_).count()) / burst_;
  service_ = each + (before_burst_ - each) * weight_before_burst_;
  resize();
  last_completed_ = now;
  busy_ = !sent_.empty();
}

void Window::resize() {
  const auto threads = static_cast<double>(threads_);
  const double service = std::max(estimate(), 1.0);
  // What a call took at least is the way and its own time.
  const double way = round_trip_.count() != 0 ? static_cast<double>(round_trip_.count())
                     : samples_ >= trusted    ? static_cast<double>(least_latency_.count()) - threads * service
                                              : 0;
  const double waiting = (static_cast<double>(target_.count()) + std::max(way, 0.0)) / service;
  const double wanted = threads + std::max(std::ceil(waiting), static_cast<double>(least_waiting));
  size_ = static_cast<std::size_t>(std::min(wanted, static_cast<double>(most)));
}

void Window::withdrew() {
  // It is the calls sent last that have not started.
  if (!sent_.empty()) sent_.pop_back();
  busy_ = busy_ && !sent_.empty();
}

}  // namespace muster::runtime
