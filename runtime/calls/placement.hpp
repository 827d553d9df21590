/// @file
/// Which worker gets a spawn: the least loaded. A state machine without I/O or threads.
#pragma once

#include <muster/ids.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <unordered_map>
#include <vector>

namespace muster::runtime {

/// Calls outstanding per worker, and the choice of the next. Not thread-safe. Every operation is O(log workers), but
/// for joined and left, O(workers), which alone allocate.
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
  static constexpr std::size_t none = std::numeric_limits<std::size_t>::max();

  /// Its place among the workers; none: it is no worker.
  std::size_t place_of(Pid worker) const;
  std::size_t& load_at(std::size_t place) { return least_[leaves_ + place]; }
  std::size_t load_at(std::size_t place) const { return least_[leaves_ + place]; }
  void set_load(std::size_t place, std::size_t load);
  /// The first place from there on with that load, which is the least; none: there is none.
  std::size_t next_with(std::size_t least, std::size_t place) const;
  /// Of all workers anew.
  void build(const std::vector<std::size_t>& loads);

  std::vector<Pid> workers_;  ///< in order
  /// A tree of minima: the least load of all workers at 1, of each half of them at 2 and 3, and so on down to each
  /// worker's own. A leaf without a worker is `none`.
  std::vector<std::size_t> least_;
  std::size_t leaves_ = 0;  ///< a power of two; where they begin, too
  Pid last_chosen_ = 0;
  std::uint64_t last_turn_ = 0;
  std::unordered_map<Pid, std::uint64_t> turns_;  ///< when choose_among chose it last
};

}  // namespace muster::runtime
