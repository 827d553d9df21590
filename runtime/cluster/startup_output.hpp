/// @file
/// Finding the address line in what a starting process prints.
#pragma once

#include <string>
#include <string_view>

namespace muster::runtime {

/// Where a worker listens.
struct WorkerAddress {
  std::string host;  ///< IPv6 addresses without brackets
  int port = 0;

  bool operator==(const WorkerAddress&) const = default;
};

/// Reads the lines a starting process writes to its standard output until one says `muster_worker:PORT#ADDRESS`. Other
/// lines (login banners) may come before it, but not without end. A state machine without I/O or time: who feeds it
/// must give up on a process that stays silent. Not thread-safe.
class StartupOutput {
 public:
  /// What is known so far. All but `waiting` are final.
  enum class Outcome {
    waiting,
    address_found,
    exited,           ///< the output ended before
    too_much_output,  ///< more than `most_other_lines` others came before
  };
  /// Lines that may come before the address line.
  static constexpr int most_other_lines = 1000;

  /// Takes the next line, without its newline. Linear in its length.
  /// @return whether it is to be shown. The address line is not; nor are the lines from the one too much on, of which a
  /// process gone wild may write millions before it is ended.
  bool line(std::string_view text);
  /// The output has ended.
  void end();

  Outcome outcome() const { return outcome_; }
  /// The address; empty unless it was found.
  const WorkerAddress& address() const { return address_; }

 private:
  Outcome outcome_ = Outcome::waiting;
  int other_lines_ = 0;
  WorkerAddress address_;
};

}  // namespace muster::runtime
