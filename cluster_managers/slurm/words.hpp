/// @file
/// What is said to SLURM, and what its answers mean. Text to text: nothing here runs anything.
#pragma once

#include <muster/slurm_manager.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::runtime::slurm {

using Environment = std::map<std::string, std::string>;

/// The allocation that this process runs in, by its environment.
struct Allocation {
  std::string job;
  int ntasks = 1;
  int components = 1;    ///< of a heterogeneous one
  bool in_step = false;  ///< this process is itself a task of a step
  std::string nodes;     ///< as SLURM writes lists
};

/// None outside any.
/// @throws Error where its variables make no sense
std::optional<Allocation> allocation_in(const Environment& environment);

/// Total of `SLURM_TASKS_PER_NODE`, e.g. `2(x3),1`. @throws Error
int total_of(std::string_view tasks_per_node);

/// The environment for a new job: without what an outer one told its processes, which srun and sbatch take for orders.
Environment without_outer_job(Environment environment);

/// What a step needs to know beside its options.
struct StepRequest {
  int ntasks = 0;
  const Allocation* allocation = nullptr;  ///< null: a new job
  std::string mark = {};                   ///< of a new job, in its comment
  std::string directory = {};
  std::vector<std::string> worker = {};  ///< command
};

/// The srun that starts the workers, of a new job or in an allocation.
std::vector<std::string> srun_command(const SlurmOptions& options, const StepRequest& step);
/// The sbatch that submits a job whose script it reads on standard input.
std::vector<std::string> sbatch_command(const SlurmOptions& options, const StepRequest& step);
/// That script: the workers in one step, with the start record from a file, which it removes first; or, where there are
/// several components, which could not all read the one standard input, which each worker reads by itself.
std::string batch_script(const StepRequest& step, const std::string& record_file, int components);

/// As a POSIX shell reads it as one word.
std::string quoted(const std::string& word);

/// A line of `squeue -o '%T|%r|%S'`.
struct JobState {
  std::string state, reason, start;
};
std::optional<JobState> job_state_in(std::string_view line);
/// Of lines of `squeue -o '%A|%k'`: the job with that comment. A heterogeneous one has several numbers, and answers to
/// the lowest. Empty where there is none.
std::string job_with_mark(std::string_view lines, std::string_view mark);
/// Whether a job that waits for this reason would wait for ever.
bool is_hopeless(const std::string& reason);
bool is_over(const JobState& state);
/// Why SLURM ended the workers of a job in this state; empty where it did not.
std::string cause_of(const std::string& job, const JobState& state);

/// Of a line that srun --label wrote: whose it is.
struct LabelledLine {
  int task = 0;
  std::string_view text;
};
std::optional<LabelledLine> labelled(std::string_view line);

/// Of srun's own messages (`srun: error: n2: tasks 1,3-4: Out Of Memory`): how which tasks ended.
struct TaskEnd {
  std::vector<int> tasks;
  std::string node, how;
};
std::optional<TaskEnd> task_end_in(std::string_view line);

}  // namespace muster::runtime::slurm
