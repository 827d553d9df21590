/// @file
/// The steward: one thread that looks after timers, descriptors and child processes.
#pragma once

#include "runtime/base/timers.hpp"

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace muster::runtime {

/// Name of a watched descriptor of one Steward. Never used twice; the default names none.
enum class WatchId : std::uint64_t {};

/// Runs callbacks on one thread of its own, one after the other: posted ones, timers, readable descriptors, ended
/// children.
///
/// Every member may be called from any thread, callbacks included. What a callback throws is logged. A callback should
/// be short, as all others wait for it. `cancel` and `unwatch` called on another thread wait for the callback if it is
/// just running, so the caller must hold no lock which that callback takes; after they return it will not run. Called
/// on the steward's own thread they return at once.
class Steward final : public Timers {
 public:
  /// Starts the thread.
  /// @param thread_name as debuggers show it; cut to 15 bytes
  /// @throws std::system_error when no thread or descriptor is left.
  explicit Steward(const std::string& thread_name = "muster-steward");
  /// Waits for the callback that is running, and drops all others unrun. Not on the steward's own thread. Destructors
  /// of dropped callbacks may still call members, which then do nothing.
  ~Steward() override;
  Steward(const Steward&) = delete;
  Steward& operator=(const Steward&) = delete;

  /// Runs `f` soon, after all that were posted before.
  void post(std::function<void()> f);

  TimerId after(std::chrono::nanoseconds delay, std::function<void()> f) override;
  /// Runs `f` each `period`, first one period from now. Beats missed because callbacks took long are left out. A beat
  /// that throws does not stop the following ones.
  /// @throws std::invalid_argument for a period that is not positive.
  TimerId every(std::chrono::nanoseconds period, std::function<void()> f);
  /// Ends a timer. Ids of ended timers are ignored.
  void cancel(TimerId timer);

  /// Runs `f` whenever `fd` can be read or its other end is closed, until `f` returns false or throws. The descriptor
  /// stays the caller's, who may close it once `unwatch` has returned, or in a callback posted by the `f` that returns
  /// false; it is made non-blocking. A descriptor may be watched only once at a time.
  /// @throws std::system_error where the kernel can't watch it.
  WatchId watch_readable(int fd, std::function<bool()> f);
  /// Stops watching. Ids no longer in use are ignored.
  void unwatch(WatchId watch);

  /// Runs `f` once, when the process `os_pid` has ended: with its status as waitpid gives it, having reaped it, where
  /// it is a child of this process; with -1 where it is not (or was reaped by others), or does not exist. No other
  /// child is touched.
  void watch_child(pid_t os_pid, std::function<void(int wait_status)> f);

  /// Whether the caller is a callback.
  bool on_own_thread() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace muster::runtime
