/// @file
/// One job or step of SLURM's with workers in it.
#pragma once

#include "cluster_managers/slurm/words.hpp"
#include "runtime/base/child_process.hpp"
#include "runtime/base/line_reader.hpp"

#include <muster/cluster_manager.hpp>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <thread>
#include <utility>

namespace muster::runtime::slurm {

/// Where a job's workers run, for whoever must end one.
struct TaskPlace {
  std::weak_ptr<class SlurmJob> job;
  int task = 0;
  std::string node;
  long os_pid = 0;
};

/// What keeps the job of one addprocs: srun, where it was started from here; a guard, which cancels the job when this
/// process ends in whatever way; and what was heard of its tasks. Threads: every function from any.
class SlurmJob : public std::enable_shared_from_this<SlurmJob> {
 public:
  /// @param environment for SLURM's commands  @param added to the workers'
  /// @param ntasks of all its components
  SlurmJob(Environment environment, Environment added, int ntasks, int components)
      : environment_(std::move(environment)), added_(std::move(added)), ntasks_(ntasks), components_(components) {}
  ~SlurmJob();
  SlurmJob(const SlurmJob&) = delete;
  SlurmJob& operator=(const SlurmJob&) = delete;

  /// Starts srun, and gives all its tasks the start record on their standard input.
  /// @param mark in the comment of a new job; empty: a step in this allocation
  /// @param repeat for a step of several components: each reads the one standard input, so that a line reaches the
  /// tasks of one of them; by and by all get it
  /// @throws Error
  void start_step(const std::vector<std::string>& command, const std::string& record, const std::string& mark,
                  const std::string& allocation, bool repeat);
  /// Submits a batch job.
  /// @param record_file is removed when all have called, or at the end, where the job has not done so
  /// @throws Error with what sbatch says
  void submit(const std::vector<std::string>& command, const std::string& script, const std::string& record_file);

  /// One of its tasks has called.
  void called(LaunchContext& context, const Caller& caller);
  /// Waits until all tasks have called, srun has ended, that time is over or a stop is requested. Repeats the start
  /// record meanwhile, where that is to be done.
  void wait(const std::stop_token& stop, std::chrono::nanoseconds time);
  /// Asks SLURM for its state; none where SLURM knows nothing of it (yet), or does not answer.
  std::optional<JobState> ask_state();

  /// Whether all tasks have called, or ended before they did.
  bool complete() const;
  bool srun_ended() const;
  /// Tasks that have not called.
  std::vector<int> missing() const;
  /// How a task ended, in srun's words; empty where it did not say.
  std::string end_of(int task) const;
  /// What srun said.
  std::string messages() const;
  /// `SLURM job 12`, as far as it is known.
  std::string name() const;
  /// Number of a job of our own that has not ended; empty where it is not known, or not our own.
  std::string own_id() const;

  /// Why SLURM ended that task; empty where it did not. Waits a few seconds, for SLURM takes a while to know itself.
  std::string cause_of_end(const TaskPlace& place);
  /// Ends one worker's process, by a step on its node.
  void kill(const TaskPlace& place);
  /// A worker is gone. @returns whether it was the last
  bool left(int task);
  /// The launch is over: when the last has left, so is the job. @returns whether that is so already
  bool launched();
  /// Cancels the job, and ends srun.
  /// @param grace that it has to end by itself
  void end(std::chrono::milliseconds grace);

 private:
  void start_guard();
  void repeat_record();
  void read_srun();
  void take_line(bool from_error, std::string_view line);
  void learn_of(const TaskEnd& end);
  bool all_heard_of() const;
  std::string end_of(const TaskPlace& place) const;
  void remove_record_file() const;
  bool wait_for_srun(std::chrono::milliseconds time);
  bool wait_for_job(std::chrono::milliseconds time);
  void signal_srun(int number);
  void cancel();
  std::string find_own_id();

  const Environment environment_, added_;
  const int ntasks_, components_;
  std::string mark_;  ///< of our own job
  std::string record_file_;
  bool own_ = false;  ///< the job is ours
  ChildProcess srun_, guard_;
  std::thread reader_;

  mutable std::mutex mutex_;  ///< guards everything below
  std::condition_variable_any changed_;
  std::string id_;
  std::string record_;    ///< to be repeated, while launching
  bool running_ = false;  ///< srun, not reaped
  bool launching_ = true;
  bool ended_ = false;
  std::set<int> called_, there_;  ///< tasks
  std::set<std::string> nodes_;   ///< of those that have called
  struct Outlet {
    UniqueFd output, error;
  };
  std::map<int, Outlet> outlets_;                            ///< to write what a task wrote
  std::map<std::pair<std::string, int>, std::string> ends_;  ///< srun's words, by node and task
  std::string messages_;
  std::mutex ending_;  ///< held while it is ended
};

}  // namespace muster::runtime::slurm
