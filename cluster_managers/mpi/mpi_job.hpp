/// @file
/// One run of mpiexec.
#pragma once

#include "runtime/base/child_process.hpp"
#include "runtime/base/line_reader.hpp"
#include "runtime/base/unique_fd.hpp"

#include <muster/cluster_manager.hpp>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace muster::runtime::mpi {

/// Whose launcher it is.
enum class Flavor { open_mpi, mpich };

/// By what `launcher --version` says. @throws Error for one that is neither
Flavor flavor_of(const std::string& launcher);

/// A line that a rank wrote, as the launcher passes it on.
struct RankLine {
  int rank;
  std::string_view text;
};
/// None where the line is the launcher's own.
std::optional<RankLine> rank_line(Flavor flavor, std::string_view line);

/// Launcher and its arguments, up to the program.
std::vector<std::string> launcher_command(Flavor flavor, const std::string& launcher, int ranks,
                                          const std::vector<std::string>& flags,
                                          const std::map<std::string, std::string>& environment);

/// Owns the launcher's process and a thread that passes on what ranks print.
class Job {
 public:
  /// @throws Error where it can't be started
  Job(Flavor flavor, const SpawnRequest& request, int ranks);
  /// Ends it: SIGTERM, SIGKILL two seconds later.
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  /// What that rank prints, once. Empty afterwards.
  UniqueFd take_output(int rank);
  /// As take_output.
  UniqueFd take_errors(int rank);
  /// How the launcher ended, and what it said itself; empty while it runs.
  /// @param patience to wait for its end
  std::string end(std::chrono::milliseconds patience = std::chrono::milliseconds(0)) const;
  /// Lets it end by itself, now that its ranks do, for that long; then ends it.
  void finish(std::chrono::milliseconds patience);

 private:
  struct Stream {
    UniqueFd from;
    LineReader lines = LineReader();
    std::vector<UniqueFd> to = {};  ///< of each rank
  };
  void run();
  void pass_on(Stream& stream, std::string_view line);
  bool wait(std::chrono::milliseconds patience) const;

  const Flavor flavor_;
  Stream out_, err_;  ///< the thread's
  const pid_t os_pid_;
  std::vector<UniqueFd> outputs_, errors_;
  mutable std::mutex mutex_;  ///< guards the following
  mutable std::condition_variable ended_;
  std::deque<std::string>
      said_;  ///< what is no worker's: the launcher's words, and those of ranks that have not called
  std::vector<bool> has_called_;  ///< by rank
  std::optional<std::string> end_;
  std::thread thread_;
};

}  // namespace muster::runtime::mpi
