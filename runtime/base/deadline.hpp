/// @file
/// Times to come.
#pragma once

#include <algorithm>
#include <chrono>

namespace muster::runtime {

/// The time so long from now: now at the earliest; and where the clock's numbers would not hold it, in a hundred years,
/// which is for ever.
inline std::chrono::steady_clock::time_point deadline_after(std::chrono::nanoseconds delay) {
  constexpr std::chrono::nanoseconds longest = std::chrono::hours(24 * 365 * 100);
  return std::chrono::steady_clock::now() + std::clamp(delay, std::chrono::nanoseconds::zero(), longest);
}

}  // namespace muster::runtime
