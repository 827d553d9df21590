/// @file
/// What needs to be called later, without knowing by what: the steward of a process, or the virtual time of a
/// simulation.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

namespace muster::runtime {

/// Name of a timer of one Timers. Never used twice; the default names none.
enum class TimerId : std::uint64_t {};

/// Any thread.
class Timers {
 public:
  virtual ~Timers() = default;
  /// Runs `f` once, `delay` from now (at once where negative). O(log timers).
  virtual TimerId after(std::chrono::nanoseconds delay, std::function<void()> f) = 0;
};

}  // namespace muster::runtime
