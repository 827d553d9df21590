/// @file
/// How long to look for messages, yielding the processor, before sleeping for them.
///
/// To be woken takes tens of microseconds on an idle machine; to look for what comes much later takes the processor
/// from those who would send it. Waits resemble the ones before: where those were short, it pays to look.
#pragma once

#include <algorithm>
#include <chrono>

namespace muster::runtime {

class Spinning {
 public:
  /// @param longest to look for
  explicit Spinning(std::chrono::nanoseconds longest) : longest_(longest) {}

  /// How long to look now.
  std::chrono::nanoseconds budget() const { return average_ <= worthwhile * longest_ ? longest_ : zero; }
  /// It took so long until something came.
  void waited(std::chrono::nanoseconds time) {
    average_ += (std::min(time, remembered * longest_) - average_) / weight;
  }

 private:
  /// Two sleepers that wake each other wait for longer than either would look in vain, and are worth it.
  static constexpr int worthwhile = 2;
  /// One pause, however long, is soon forgotten.
  static constexpr int remembered = 4;
  static constexpr int weight = 4;
  static constexpr std::chrono::nanoseconds zero{0};

  std::chrono::nanoseconds longest_;
  std::chrono::nanoseconds average_{0};
};

}  // namespace muster::runtime
