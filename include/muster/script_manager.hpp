/// @file
/// Workers that a batch system starts: PBS, LSF, Grid Engine, or any other that takes scripts.
#pragma once

#include <muster/cluster_manager.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace muster {

/// How a batch system is spoken to. In the commands, which `/bin/sh` runs, `{script}`, `{n}`, `{name}` and `{job}`
/// stand for the script's path, the number of workers, the job's name and its id.
struct ScriptOptions {
  std::string submit = {};             ///< submits the script, and prints the id; with `{n}`: as an array of so many
  std::string job_id = R"(([0-9]+))";  ///< a regular expression: its first group in what submit printed is the id
  std::string cancel = {};             ///< ends the job, whatever it does; empty: it can't be ended from here
  std::string state = {};              ///< says something about the job while it is queued or runs; empty: not asked
  std::vector<std::string> directives = {};  ///< the script's first lines, e.g. `#PBS -l walltime=1:00:00`
  std::string name = "muster";               ///< of the job
  std::string bind_address = {};             ///< where the master listens; empty: everywhere
  std::vector<std::string> addresses = {};   ///< of this host, in numbers: tried first
  std::string shared_directory = {};         ///< that all hosts see; empty: the current one
  std::chrono::nanoseconds state_interval = std::chrono::seconds(2);  ///< between two questions about the job

  static ScriptOptions grid_engine();  ///< qsub -t, qdel, qstat
  static ScriptOptions pbs();          ///< OpenPBS: qsub -J, qdel, qstat. TORQUE: replace `-J` by `-t`
  static ScriptOptions lsf();          ///< bsub -J name[1-n], bkill, bjobs
};

/// Submits workers to a batch system, as one job array, or, where `submit` has no `{n}`, as one job each. They connect
/// to the master when they start; a `launch_timeout` must be long enough for the queue. Jobs are cancelled when
/// addprocs fails, when their last worker is gone, and with the manager.
class ScriptManager : public ClusterManager {
 public:
  /// @throws std::invalid_argument for a negative n, or options without `submit`
  ScriptManager(int n, ScriptOptions options);
  /// Cancels what is left of its jobs.
  ~ScriptManager() override;
  void launch(LaunchContext& context) override;
  void manage(Pid pid, WorkerConfig& config, ManageOp op) override;
  void kill(Pid pid, const WorkerConfig& config) override;
  /// With the number of workers.
  std::string to_string() const override;

 private:
  class Jobs;
  const int n_;
  const ScriptOptions options_;
  std::unique_ptr<Jobs> jobs_;
};

}  // namespace muster
