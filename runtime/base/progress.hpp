/// @file
/// How far a long call has got, for people: a bar on a terminal, a line now and then in a log.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace muster::runtime {

/// Where progress goes and what time it is.
struct ProgressOutput {
  std::function<void(std::string_view)> write;  ///< one bar or line, whole
  bool terminal = false;                        ///< a bar that is redrawn; else lines
  std::size_t columns = 80;                     ///< of that terminal
  std::function<std::chrono::steady_clock::time_point()> now = &std::chrono::steady_clock::now;

  /// This process's stderr.
  static ProgressOutput standard_error();
};

/// What is counted.
enum class ProgressUnit {
  elements,
  bytes  ///< shown in KiB, MiB, GiB
};

/// Progress of one call. On a terminal a bar with percentage, rate and remaining time, redrawn at most ten times a
/// second; elsewhere a line every ten seconds, and one at the end if there was one before or ten seconds have passed.
/// Writes only within its calls, so the caller calls advance(0) now and then when it waits long. Any thread.
class ProgressReport {
 public:
  /// @param label written first; may be empty  @param total elements to come, where known
  /// @param unit of the total and of what advance is told
  explicit ProgressReport(std::string label, std::optional<std::size_t> total = std::nullopt,
                          ProgressOutput output = ProgressOutput::standard_error(),
                          ProgressUnit unit = ProgressUnit::elements);
  /// Finishes, if finish was not called.
  ~ProgressReport();
  ProgressReport(const ProgressReport&) = delete;
  ProgressReport& operator=(const ProgressReport&) = delete;

  /// n more elements are done.
  void advance(std::size_t n = 1);
  /// All is done, or as much as will be: draws the last state. Later calls do nothing.
  void finish();

 private:
  using Time = std::chrono::steady_clock::time_point;

  void draw(Time now);
  std::string bar(Time now) const;
  std::string line(Time now) const;
  std::string rate(Time now) const;
  std::string remaining(Time now) const;
  std::string count() const;
  double seconds(Time now) const;

  const std::string label_;
  const std::optional<std::size_t> total_;
  const ProgressOutput output_;
  const ProgressUnit unit_;
  const Time start_;

  std::mutex mutex_;  ///< guards what follows, and keeps writes whole
  std::size_t done_ = 0;
  Time drawn_;
  bool finished_ = false;
};

}  // namespace muster::runtime
