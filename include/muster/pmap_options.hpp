/// @file
/// How a parallel map goes about it.
#pragma once

#include <muster/auto.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace muster {

class WorkerPool;

struct BatchTag;
/// Elements per message: a number, at least 1, or Auto, which makes a batch take about 200 µs.
using BatchSize = NumberOrAuto<BatchTag>;

/// Whether a map shows how far it has got: true, or a label written first. On a terminal's stderr a bar with rate and
/// remaining time; elsewhere a line every ten seconds.
class Progress {
 public:
  /// Without a label, or not at all.
  Progress(bool shown) {  // NOLINT(google-explicit-constructor)
    if (shown) label_.emplace();
  }
  /// Shown with a label, which is copied.
  Progress(const char* label) : label_(label) {}  // NOLINT(google-explicit-constructor)
  /// Shown with a label.
  Progress(std::string label) : label_(std::move(label)) {}  // NOLINT(google-explicit-constructor)

  /// The label, empty where none was given; nothing where no progress is shown.
  const std::optional<std::string>& label() const { return label_; }

 private:
  std::optional<std::string> label_;
};

/// In place of a handler: there is none.
struct NoHandler {};
/// In place of a check: every failure is worth another try.
struct NoCheck {};

/// How a map goes about it. Its types are always deduced: `PmapOptions{.batch_size = Auto, .on_error = handler}`. All
/// options mean the same with and without batches, for exceptions and for the death of a worker. An empty std::function
/// is as if absent.
///
/// Clang 19 refuses the form with designators inside a template when no value depends on the template's parameters: set
/// the fields one by one there.
template <class OnError = NoHandler, class RetryCheck = NoCheck>
struct PmapOptions {
  /// Where to run; null: on all workers, also those that join meanwhile. Its members are used without being taken from
  /// it, so maps may share a pool and nest.
  WorkerPool* pool = nullptr;
  BatchSize batch_size = 1;  ///< elements per message
  bool distributed = true;   ///< false: in this process only
  /// `on_error(std::exception_ptr)`, called on the caller, gives a result in place of one that failed. What it throws
  /// ends the map.
  OnError on_error = {};
  /// An element that failed is tried again after each of these, on whichever worker is free.
  std::vector<std::chrono::nanoseconds> retry_delays = {};
  /// `retry_check(int attempt, std::exception_ptr)`, called on the caller before each retry: whether to try again.
  /// Attempts count from 1.
  RetryCheck retry_check = {};
  /// How often an element whose worker died runs again before it counts as failed. A death is charged to the element
  /// that ran; where that is not known, because the worker had several, they run one by one until it is.
  int max_restarts = 3;
  std::optional<std::chrono::nanoseconds> timeout = {};  ///< of the whole call: TimeoutError
  Progress progress = false;                             ///< whether it shows how far it has got
  /// No more than so many elements run at once in the whole map, for the sake of what they share: a licence, a server,
  /// a disk. 0: as many as its workers run. A batch runs its elements one after the other.
  int max_tasks = 0;
};

}  // namespace muster
