/// @file
/// Clock and medians for the benchmarks and their peers. Needs neither Muster nor Google Benchmark.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <limits>
#include <vector>

namespace bench {

/// Seconds since an arbitrary start, never going backwards.
inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The middle value (the upper one of two middle ones); NaN for no values.
inline double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Seconds that one call of `f` takes.
template <class F>
double seconds_of(F&& f) {
  const double start = now();
  f();
  return now() - start;
}

/// The value that this share of them does not exceed (0.99: the 99th percentile); NaN for no values.
inline double quantile(std::vector<double> values, double share) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto index = std::min(values.size() - 1, static_cast<std::size_t>(share * static_cast<double>(values.size())));
  const auto place = values.begin() + static_cast<std::ptrdiff_t>(index);
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

/// Seconds of each call of `f`, over `count` calls or as many as start within `limit` seconds, after `warm_up` calls
/// that do not count.
template <class F>
std::vector<double> call_times(F&& f, int count, double limit = 1.0, int warm_up = 1) {
  for (int i = 0; i < warm_up; ++i) f();
  std::vector<double> seconds;
  const double end = now() + limit;
  for (int i = 0; i < count && (i == 0 || now() < end); ++i) seconds.push_back(seconds_of(f));
  return seconds;
}

/// Median seconds of one call of `f`, over `count` calls or as many as start within `limit` seconds, after `warm_up`
/// calls that do not count. Ours, floors and peers are all measured by this one function.
template <class F>
double median_call(F&& f, int count, double limit = 1.0, int warm_up = 1) {
  return median(call_times(f, count, limit, warm_up));
}

/// The same; before each call `prepare` is called, for which the clock stands still.
template <class Prepare, class F>
double median_prepared_call(Prepare&& prepare, F&& f, int count, double limit = 1.0) {
  std::vector<double> seconds;
  const double end = now() + limit;
  for (int i = 0; i <= count && (i <= 1 || now() < end); ++i) {
    prepare();
    const double one = seconds_of(f);
    if (i != 0) seconds.push_back(one);
  }
  return median(std::move(seconds));
}

}  // namespace bench
