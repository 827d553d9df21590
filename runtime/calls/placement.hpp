/// @file
/// Which worker gets a spawn: the least loaded. A state machine without I/O or threads.
#pragma once

#include <muster/ids.hpp>

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <unordered_map>

namespace muster::runtime {

/// Calls outstanding per worker, and the choice of the next. Not thread-safe. Every operation is O(log workers) and
/// none but joined allocates.
class Placement {
 public:
  /// A worker may be chosen from now on. Nothing happens when it was there already.
  void joined(Pid worker);
  /// It may not any more; its calls are forgotten.
  void left(Pid worker);

  /// The worker with the fewest calls outstanding; of several, the next in turn after the one chosen last (2, 3, 4, 2,
  /// ...). Without workers 1. Counts nothing: sent does.
  Pid choose();

  /// As choose, among these: the one with the fewest calls outstanding, of several the one that was chosen so longest
  /// ago. 0 where none of them may be chosen. O(size).
  Pid choose_among(std::span<const Pid> workers);

  /// A call went to that worker, chosen here or named by the caller. Others than workers are not counted.
  void sent(Pid worker);
  /// A call there is over.
  void finished(Pid worker);
  /// Calls sent to that worker and not finished; 0 for others.
  std::size_t outstanding(Pid worker) const;

 private:
  /// In order of load, then pid.
  struct Slot {
    std::size_t outstanding;
    Pid worker;
    auto operator<=>(const Slot&) const = default;
  };
  using Slots = std::set<Slot>;

  void change(Pid worker, bool more);

  Slots slots_;
  std::unordered_map<Pid, Slots::iterator> workers_;
  Pid last_chosen_ = 0;
  std::uint64_t last_turn_ = 0;
  std::unordered_map<Pid, std::uint64_t> turns_;  ///< when choose_among chose it last
};

}  // namespace muster::runtime
