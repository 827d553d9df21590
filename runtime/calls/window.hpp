/// @file
/// How many calls one worker should have waiting, learned from its completions. No I/O, no clock: time is handed in.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>

namespace muster::runtime {

/// A window holds about a fixed *time* of work: the call that runs (one per thread of the worker) and enough behind it
/// to fill the target time and the round trip, so that the worker never waits for its caller, yet nothing waits long
/// behind something else: hundreds of tiny calls, or one long and two waiting. Not thread-safe; everything is O(1).
///
/// The time a call takes is estimated from the intervals between completions during which the worker can't have been
/// idle, as an exponentially weighted mean (weight 1/8; the plain mean of the first eight). The first call, which found
/// the worker idle, tells of the way there and back as well; it is believed until four intervals are known, since four
/// answers may come together. The way is what the quickest call took beyond that. Calls are taken to complete in the
/// order in which they were sent; where they don't, the estimate is a little off and nothing else.
///
/// Where the way there and back is told, it is short, and the time of a call is estimated also from answers that came
/// together: a caller that shares its processor with workers looks late, and finds many.
class Window {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t most = 1024;

  /// @param target time of work that should wait at the worker
  /// @param threads calls that the worker runs at once
  explicit Window(std::chrono::nanoseconds target = std::chrono::microseconds(500), std::size_t threads = 1);

  /// What a message there and back takes at most where nobody is late; estimated unless told.
  void round_trip(std::chrono::nanoseconds time) { round_trip_ = time; }

  void sent(Clock::time_point now);
  void completed(Clock::time_point now);
  /// A call sent came back without having run.
  void withdrew();

  /// How many calls may be outstanding: threads + 8 to begin with, and where a call takes the target time or longer
  /// (four answers may come together, and the worker has work meanwhile); at most 1024.
  std::size_t size() const { return size_; }
  std::size_t outstanding() const { return sent_.size(); }
  bool room() const { return outstanding() < size(); }
  /// Mean time between completions of a busy worker; 0 before the first completion.
  std::chrono::nanoseconds service_time() const { return std::chrono::nanoseconds(static_cast<long long>(estimate())); }

 private:
  /// Intervals that are needed to go by them alone.
  static constexpr int trusted = 4;

  double estimate() const { return samples_ >= trusted ? service_ : std::max(service_, guess_); }
  void completed_nearby(Clock::time_point sent, Clock::time_point now);
  void resize();

  std::chrono::nanoseconds target_;
  std::chrono::nanoseconds round_trip_{0};
  std::size_t threads_;
  std::size_t size_;
  std::deque<Clock::time_point> sent_;  ///< of the calls outstanding, oldest first
  Clock::time_point last_completed_{};  ///< meaningful while busy_
  bool busy_ = false;                   ///< calls have been outstanding ever since last_completed_
  std::chrono::nanoseconds least_latency_ = std::chrono::nanoseconds::max();
  double guess_ = 0;    ///< nanoseconds, as the first call took it
  double service_ = 0;  ///< nanoseconds, by the intervals
  int samples_ = 0;
  // Where the way is told:
  Clock::time_point burst_began_{};  ///< when the worker can have begun with what came together last
  int burst_ = 0;                    ///< how many came together; 0: none ever
  double before_burst_ = 0;          ///< the estimate before them
  double weight_before_burst_ = 1;   ///< and what it still counts
};

}  // namespace muster::runtime
