#include "cluster_managers/slurm/words.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <utility>

namespace muster::runtime::slurm {

namespace {

/// The next piece before that character, or what is left.
std::string_view cut(std::string_view& text, char at) {
  const auto end = text.find(at);
  const std::string_view piece = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return piece;
}

std::optional<int> number_in(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

std::string variable(const Environment& environment, const std::string& name) {
  const auto found = environment.find(name);
  return found == environment.end() ? std::string() : found->second;
}

[[noreturn]] void nonsense(const std::string& name, const std::string& value) {
  throw Error("The environment says " + name + "=\"" + value +
              "\", which is no number of tasks. See that SLURM's variables are as it set them, or give SlurmManager a "
              "number of tasks.");
}

void add(std::vector<std::string>& command, const std::string& flag, const std::string& value) {
  if (!value.empty()) command.push_back(flag + "=" + value);
}

void add(std::vector<std::string>& command, const std::string& flag, int value) {
  if (value > 0) command.push_back(flag + "=" + std::to_string(value));
}

/// What a job is to have.
void add_job_flags(std::vector<std::string>& command, const SlurmOptions& options, const StepRequest& step) {
  add(command, "--partition", options.partition);
  add(command, "--account", options.account);
  add(command, "--qos", options.qos);
  add(command, "--time", options.time);
  add(command, "--constraint", options.constraint);
  add(command, "--comment", step.mark);
  if (options.exclusive) command.emplace_back("--exclusive");
}

/// What both a job and a step in an allocation may be told.
void add_common_flags(std::vector<std::string>& command, const SlurmOptions& options, const StepRequest& step) {
  add(command, "--nodes", options.nodes);
  add(command, "--cpus-per-task", options.cpus_per_task);
  add(command, "--gres", options.gres);
  add(command, "--job-name", options.job_name);
  add(command, "--output", options.output);
  add(command, "--chdir", step.directory);
}

/// Tasks live and die by themselves: neither the first that ends nor one that fails, nor a dead node ends the others.
constexpr std::array<const char*, 4> independent = {"--kill-on-bad-exit=0", "--wait=0", "--no-kill", "--mpi=none"};

/// The further components of a new job, each behind a colon.
/// @param flags that each gets anew
void add_components(std::vector<std::string>& command, const SlurmOptions& options, const StepRequest& step,
                    std::span<const char* const> flags) {
  for (const SlurmComponent& component : options.components) {
    command.emplace_back(":");
    add(command, "--partition", component.partition);
    add(command, "--account", options.account);
    add(command, "--qos", options.qos);
    add(command, "--time", options.time);
    add(command, "--constraint", component.constraint);
    add(command, "--comment", step.mark);
    add(command, "--nodes", component.nodes);
    add(command, "--cpus-per-task", component.cpus_per_task);
    add(command, "--gres", component.gres);
    add(command, "--job-name", options.job_name);
    add(command, "--chdir", step.directory);
    command.insert(command.end(), flags.begin(), flags.end());
    add(command, "--ntasks", component.ntasks);
    command.insert(command.end(), component.extra_flags.begin(), component.extra_flags.end());
  }
}

}  // namespace

int total_of(std::string_view tasks_per_node) {
  const std::string_view all = tasks_per_node;
  int total = 0;
  while (!tasks_per_node.empty()) {
    std::string_view part = cut(tasks_per_node, ',');
    const std::string_view count = cut(part, '(');
    int times = 1;
    if (!part.empty()) {
      const bool repeated = part.starts_with('x') && part.ends_with(')');
      const auto number = repeated ? number_in(part.substr(1, part.size() - 2)) : std::nullopt;
      if (!number) nonsense("SLURM_TASKS_PER_NODE", std::string(all));
      times = *number;
    }
    const auto each = number_in(count);
    if (!each) nonsense("SLURM_TASKS_PER_NODE", std::string(all));
    total += *each * times;
  }
  return total;
}

std::optional<Allocation> allocation_in(const Environment& environment) {
  Allocation found;
  for (const char* name : {"SLURM_JOB_ID", "SLURM_JOBID", "SLURM_JOB_ID_HET_GROUP_0"})
    if (found.job.empty()) found.job = variable(environment, name);
  if (found.job.empty()) return std::nullopt;
  for (const char* name : {"SLURM_JOB_NODELIST", "SLURM_JOB_NODELIST_HET_GROUP_0"})
    if (found.nodes.empty()) found.nodes = variable(environment, name);
  found.components = number_in(variable(environment, "SLURM_HET_SIZE")).value_or(1);
  // A task of a step sees the numbers of its step, where its job has more.
  found.in_step = number_in(variable(environment, "SLURM_STEP_ID")).has_value();
  const std::string ntasks = variable(environment, "SLURM_NTASKS");
  const std::string per_node = variable(environment, "SLURM_TASKS_PER_NODE");
  if (!ntasks.empty()) {
    const auto number = number_in(ntasks);
    if (!number) nonsense("SLURM_NTASKS", ntasks);
    found.ntasks = *number;
  } else if (!per_node.empty()) {
    found.ntasks = total_of(per_node);
  }
  return found;
}

Environment without_outer_job(Environment environment) {
  std::erase_if(environment, [](const auto& entry) {
    const std::string& name = entry.first;
    if (name == "SLURM_CONF") return false;
    for (const char* prefix : {"SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "PMI_", "PMIX_"})
      if (name.starts_with(prefix)) return true;
    return false;
  });
  return environment;
}

std::vector<std::string> srun_command(const SlurmOptions& options, const StepRequest& step) {
  std::vector<std::string> command{"srun"};
  if (step.allocation == nullptr) add_job_flags(command, options, step);
  add_common_flags(command, options, step);
  command.insert(command.end(), independent.begin(), independent.end());
  if (options.output.empty()) command.emplace_back("--label");
  if (step.allocation != nullptr && step.allocation->in_step) command.emplace_back("--overlap");
  if (step.allocation != nullptr && step.allocation->components > 1)
    command.push_back("--het-group=0-" + std::to_string(step.allocation->components - 1));
  else
    add(command, "--ntasks", step.ntasks);
  command.insert(command.end(), options.extra_flags.begin(), options.extra_flags.end());
  if (step.allocation == nullptr) add_components(command, options, step, independent);
  command.insert(command.end(), step.worker.begin(), step.worker.end());
  return command;
}

std::vector<std::string> sbatch_command(const SlurmOptions& options, const StepRequest& step) {
  constexpr std::array<const char*, 2> of_each = {"--no-requeue", "--no-kill"};
  std::vector<std::string> command{"sbatch", "--parsable"};
  command.insert(command.end(), of_each.begin(), of_each.end());
  add_job_flags(command, options, step);
  add_common_flags(command, options, step);
  add(command, "--ntasks", step.ntasks);
  command.insert(command.end(), options.extra_flags.begin(), options.extra_flags.end());
  add_components(command, options, step, of_each);
  return command;
}

std::string quoted(const std::string& word) {
  std::string text = "'";
  for (const char c : word) c == '\'' ? text += "'\\''" : text += c;
  return text + "'";
}

std::string batch_script(const StepRequest& step, const std::string& record_file, int components) {
  std::string script = "#!/bin/sh\n";
  if (components == 1) script += "exec <" + quoted(record_file) + " || exit 1\nrm -f " + quoted(record_file) + "\n";
  script += "exec srun";
  for (const char* flag : independent) script += std::string(" ") + flag;
  if (components == 1)
    script += " --ntasks=" + std::to_string(step.ntasks);
  else
    script += " --het-group=0-" + std::to_string(components - 1) + " --input=none /bin/sh -c " +
              quoted(R"(record=$1; shift; exec "$@" <"$record")") + " muster " + quoted(record_file);
  for (const std::string& word : step.worker) script += " " + quoted(word);
  return script + "\n";
}

std::optional<JobState> job_state_in(std::string_view line) {
  if (const auto end = line.find('\n'); end != std::string_view::npos) line = line.substr(0, end);
  JobState found;
  found.state = cut(line, '|');
  found.reason = cut(line, '|');
  found.start = line;
  if (found.state.empty()) return std::nullopt;
  if (found.start == "N/A") found.start.clear();
  return found;
}

std::string job_with_mark(std::string_view lines, std::string_view mark) {
  std::optional<int> lowest;
  while (!lines.empty()) {
    std::string_view line = cut(lines, '\n');
    const auto job = number_in(cut(line, '|'));
    if (job && line == mark && (!lowest || *job < *lowest)) lowest = job;
  }
  return lowest ? std::to_string(*lowest) : std::string();
}

bool is_hopeless(const std::string& reason) {
  constexpr std::array hopeless = {"BadConstraints",     "PartitionConfig", "PartitionNodeLimit",
                                   "PartitionTimeLimit", "InvalidAccount",  "InvalidQOS",
                                   "AccountNotAllowed",  "QOSNotAllowed",   "JobHeldAdmin"};
  return std::find(hopeless.begin(), hopeless.end(), reason) != hopeless.end();
}

bool is_over(const JobState& state) {
  constexpr std::array alive = {"PENDING",  "CONFIGURING", "RUNNING",   "SUSPENDED", "REQUEUE_HOLD",
                                "REQUEUED", "RESIZING",    "SIGNALING", "STAGE_OUT", "STOPPED"};
  return std::find(alive.begin(), alive.end(), state.state) == alive.end();
}

std::string cause_of(const std::string& job, const JobState& state) {
  static const std::map<std::string, std::string, std::less<>> words = {
      {"TIMEOUT", "reached its time limit"},
      {"DEADLINE", "reached its deadline"},
      {"PREEMPTED", "was preempted by a job of higher priority"},
      {"NODE_FAIL", "lost a node"},
      {"BOOT_FAIL", "had a node that did not boot"},
      {"OUT_OF_MEMORY", "ran out of memory"},
      {"CANCELLED", "was cancelled"},
      {"SUSPENDED", "is suspended"}};
  if (state.reason == "TimeLimit") return "SLURM job " + job + " " + words.at("TIMEOUT");
  if (state.reason == "Preempted") return "SLURM job " + job + " " + words.at("PREEMPTED");
  const auto found = words.find(state.state);
  return found == words.end() ? "" : "SLURM job " + job + " " + found->second;
}

std::optional<LabelledLine> labelled(std::string_view line) {
  const auto first = line.find_first_not_of(' ');
  const auto colon = line.find(':');
  if (first == std::string_view::npos || colon == std::string_view::npos || first > colon) return std::nullopt;
  const auto task = number_in(line.substr(first, colon - first));
  if (!task || (line.size() > colon + 1 && line[colon + 1] != ' ')) return std::nullopt;
  return LabelledLine{*task, line.substr(std::min(colon + 2, line.size()))};
}

std::optional<TaskEnd> task_end_in(std::string_view line) {
  constexpr std::string_view start = "srun: error: ";
  if (!line.starts_with(start)) return std::nullopt;
  line.remove_prefix(start.size());
  TaskEnd found;
  found.node = cut(line, ':');
  const auto words = line.find("task");
  if (words > 1) return std::nullopt;
  line.remove_prefix(words);
  (void)cut(line, ' ');
  for (std::string_view list = cut(line, ':'); !list.empty();) {
    std::string_view range = cut(list, ',');
    const auto low = number_in(cut(range, '-'));
    const auto high = range.empty() ? low : number_in(range);
    if (!low || !high || *high - *low > 1'000'000) return std::nullopt;
    for (int task = *low; task <= *high; ++task) found.tasks.push_back(task);
  }
  found.how = line.substr(std::min<std::size_t>(line.find_first_not_of(' '), line.size()));
  if (found.tasks.empty() || found.how.empty()) return std::nullopt;
  return found;
}

}  // namespace muster::runtime::slurm
