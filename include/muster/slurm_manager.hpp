/// @file
/// Workers under SLURM.
#pragma once

#include <muster/cluster_manager.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace muster {

/// How a new job is submitted.
enum class SlurmSubmit {
  Srun,   ///< by `srun`: what workers print appears here, and nothing need be shared with the nodes
  Sbatch  ///< by `sbatch`: the job ends by itself even when this whole host is lost; output goes into a file of SLURM's
};

/// A further part of a heterogeneous job: tasks on other nodes, or with other resources, than the first ones. What is
/// empty or zero is left to SLURM's own defaults, and not taken from the first part.
struct SlurmComponent {
  int ntasks = 1;                             ///< `--ntasks`
  std::string partition = {};                 ///< `--partition`
  int nodes = 0;                              ///< `--nodes`
  int cpus_per_task = 0;                      ///< `--cpus-per-task`
  std::string gres = {};                      ///< `--gres`
  std::string constraint = {};                ///< `--constraint`
  std::vector<std::string> extra_flags = {};  ///< further ones
};

/// What a job is to have. Empty and zero ones are left to SLURM's own defaults. They are passed on as they are.
struct SlurmOptions {
  SlurmSubmit submit = SlurmSubmit::Srun;  ///< how, where it is a new job
  std::string partition = {};              ///< `--partition`
  std::string account = {};                ///< `--account`
  std::string qos = {};                    ///< `--qos`
  std::string time = {};                   ///< `--time`, e.g. `30` (minutes) or `1-12:00:00`
  int nodes = 0;                           ///< `--nodes`
  int cpus_per_task = 0;                   ///< `--cpus-per-task`
  std::string gres = {};                   ///< `--gres`, e.g. `gpu:1`
  std::string constraint = {};             ///< `--constraint`
  bool exclusive = false;                  ///< `--exclusive`: no other job on its nodes
  std::string job_name = "muster";         ///< `--job-name`
  std::string output = {};                 ///< `--output`, a pattern for files; then workers' lines do not appear here
  std::vector<std::string> extra_flags = {};  ///< further ones, as srun (or sbatch) takes them
  /// How long the job may be pending. Zero: as long as it takes; the addprocs's launch_timeout counts from its start.
  std::chrono::nanoseconds pending_timeout = std::chrono::nanoseconds::zero();
  std::string bind_address = {};  ///< where the master listens for its workers; empty: on all interfaces
  int port = 0;                   ///< there, for a firewall's sake; 0: any free one
  /// With Sbatch: a directory that this host and the nodes share, for a file with the start record that only this user
  /// may read, and which is gone once the job has begun. Empty: the working directory.
  std::string shared_directory = {};
  /// Of a new job: further parts of it, which start together with the `ntasks` tasks that all of the above describes. A
  /// worker runs for each of their tasks too.
  std::vector<SlurmComponent> components = {};
};

/// Starts workers as tasks of one SLURM step, each of which connects to the master by itself: nothing that they print
/// matters, and no node needs a name here. Needs SLURM's commands on PATH.
///
/// A job that it submitted is cancelled when its last worker was removed, when no worker could be started, with the
/// manager, and when this process ends in whatever way. A worker whose node dies takes no other along.
/// WorkerExit::cause says when SLURM ended a worker: time limit, preemption, node failure, memory, scancel.
class SlurmManager : public ClusterManager {
 public:
  /// Inside an allocation (salloc, sbatch): as many workers as it has tasks. What concerns a new job is not used.
  explicit SlurmManager(SlurmOptions options = {});
  /// That many workers: inside an allocation as a step of it, unless `submit` is Sbatch; elsewhere as a new job.
  /// With `components` as a new job always.
  /// @throws std::invalid_argument for ntasks below 1, here or in a component
  explicit SlurmManager(int ntasks, SlurmOptions options = {});
  /// Cancels its jobs.
  ~SlurmManager() override;
  /// @throws Error outside an allocation where no number of tasks was given, and where SLURM refuses: with its words
  void launch(LaunchContext& context) override;
  void manage(Pid pid, WorkerConfig& config, ManageOp op) override;
  /// By a step on the worker's node.
  void kill(Pid pid, const WorkerConfig& config) override;
  /// With the number of tasks, where it was given one.
  std::string to_string() const override;
  /// Numbers of the jobs that it submitted and that have not ended.
  std::vector<std::string> jobs() const;

 private:
  class Jobs;
  int ntasks_ = 0;  ///< 0: the allocation's
  SlurmOptions options_;
  std::unique_ptr<Jobs> jobs_;
};

}  // namespace muster
