/// @file
/// What workers print, shown by the master.
#pragma once

#include "runtime/base/steward.hpp"
#include "runtime/base/unique_fd.hpp"
#include "runtime/cluster/startup_output.hpp"

#include <muster/ids.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace muster {
struct WorkerConfig;
}

namespace muster::runtime {

/// What a manager puts into `WorkerConfig::userdata` when it has a worker's standard error apart from its standard
/// output.
struct StandardError {
  std::shared_ptr<UniqueFd> fd;  ///< shared, because std::any copies; the cluster takes the descriptor out
};

/// The same of a process that is not on this host, but whose manager learns of its end.
struct ProcessElsewhere {
  StandardError standard_error;
  /// Calls f once when it has ended, on any thread: with its status as waitpid gives it, or -1 where that is not known.
  /// What it wrote is in its pipes by then. Empty: its manager does not learn of that.
  std::function<void(std::function<void(int wait_status)> f)> when_ended;
  std::shared_ptr<void> handle;  ///< the manager's own
  /// Where set, asked once after its unasked end, on a thread where it may wait a few seconds: WorkerExit::cause.
  std::function<std::string()> cause_of_end = {};
};

/// Takes a worker's standard error out of its configuration; none where its manager gave none.
UniqueFd take_standard_error(WorkerConfig& config);

/// Prints workers' lines to the standard output and error of this process, each in one write, so that lines of
/// different workers never mix. One per session. Any thread; a write waits while nobody reads this process's output.
class OutputPrinter {
 public:
  enum class Stream { output, error };
  /// Composes the line printed for a worker's line (neither has a newline); empty: nothing is printed.
  using Hook = std::function<std::string(Pid, std::string_view line)>;

  /// @param hook replaces the prefix where set; where it throws, the line is printed as without it
  /// @param output_fd,error_fd where lines go; they stay the caller's
  explicit OutputPrinter(Hook hook = {}, int output_fd = STDOUT_FILENO, int error_fd = STDERR_FILENO);

  /// Prints one line.
  /// @param pid who wrote it; none for a process that has no pid yet
  void print(std::optional<Pid> pid, Stream stream, std::string_view line);

 private:
  std::string composed(std::optional<Pid> pid, std::string_view line) const;

  const Hook hook_;
  const int output_fd_;
  const int error_fd_;
  std::mutex mutex_;  ///< held while a line is written
};

/// Reads one worker's standard output and error on a steward, and prints them line by line. Any thread may call its
/// members; callbacks run on the steward.
///
/// As printing may wait for who reads this process's output, the steward had better be one for output alone.
class WorkerOutput {
 public:
  struct Callbacks {
    /// Called once with the outcome of the start, which is final. Where it is empty, there is no address line to be
    /// found (its manager has read it).
    std::function<void(const StartupOutput&)> started;
    /// Called once when both streams have ended and all is printed.
    std::function<void()> ended;
  };
  /// How much of the end is remembered.
  static constexpr std::size_t most_last_lines = 20;
  static constexpr std::size_t most_last_bytes = 4096;

  /// Starts reading.
  /// @param steward, which must outlive this
  /// @param output,error either may be none
  /// @throws std::system_error where a descriptor can't be watched.
  WorkerOutput(Steward& steward, std::shared_ptr<OutputPrinter> printer, UniqueFd output, UniqueFd error,
               Callbacks callbacks);
  /// Stops reading and closes. May be called in a callback; called on another thread it waits for the one that is
  /// running.
  ~WorkerOutput();
  WorkerOutput(const WorkerOutput&) = delete;
  WorkerOutput& operator=(const WorkerOutput&) = delete;

  /// Lines read from now on are shown as that worker's.
  void set_pid(Pid pid);
  /// The last lines of both streams, as the worker wrote them, one per line; an over-long one is cut at its beginning.
  std::string last_output() const;
  /// The process is gone: reads and prints what its pipes hold, and ends the streams even where a process that it
  /// started holds them open. Then calls `done`, after `ended`; not if this is destroyed before.
  void finish(std::function<void()> done);

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace muster::runtime
