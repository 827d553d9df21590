/// @file
/// Delays between retries that grow.
#pragma once

#include <chrono>
#include <vector>

namespace muster {

/// n delays, as Julia's iterator of that name gives them: the first is first_delay, each further one the one before
/// times factor, times a random number between 1 - jitter and 1 + jitter; none is above max_delay. Converts to what
/// `PmapOptions::retry_delays` takes: `.retry_delays = ExponentialBackOff{.n = 5}`.
struct ExponentialBackOff {
  int n = 1;                                                             ///< how many delays, so how many retries
  std::chrono::nanoseconds first_delay = std::chrono::milliseconds(50);  ///< before the first retry
  std::chrono::nanoseconds max_delay = std::chrono::seconds(10);         ///< none is longer
  double factor = 5.0;                                                   ///< from each to the next
  double jitter = 0.1;  ///< keeps many that failed together from coming back together

  /// The delays; others each time where there is jitter.
  /// @throws std::invalid_argument naming the field that is negative or not finite.
  operator std::vector<std::chrono::nanoseconds>() const;  // NOLINT(google-explicit-constructor)
};

}  // namespace muster
