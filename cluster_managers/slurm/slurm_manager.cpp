#include "cluster_managers/slurm/command.hpp"
#include "cluster_managers/slurm/slurm_job.hpp"
#include "runtime/base/interfaces.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/random.hpp"
#include "runtime/base/write_whole.hpp"
#include "runtime/cluster/worker_environment.hpp"
#include "runtime/cluster/worker_output.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace muster {

namespace {

using namespace std::chrono_literals;
using namespace runtime::slurm;
using runtime::CommandOutcome;
using runtime::UniqueFd;
using Clock = std::chrono::steady_clock;
namespace log = runtime::log;

/// Between two questions how a job that waits is doing.
constexpr std::chrono::nanoseconds first_pause = 300ms, longest_pause = 5s;
/// Between two words to the user that nothing has changed.
constexpr auto reminder = 60s;
/// For the last worker's process to end by itself, once it has left.
constexpr auto leaving_patience = 2s;

/// What one addprocs asks of SLURM.
struct Plan {
  int ntasks = 0;  ///< of the first component, where it is a job of its own
  int total = 0;
  std::optional<Allocation> allocation = {};  ///< that it is a step of; none: a job of its own
  Environment added = {};                     ///< to the workers'
  Environment environment = {};               ///< of SLURM's commands, and so of the workers

  int components = 1;

  bool own() const { return !allocation; }
};

/// @param ntasks 0: the allocation's
/// @throws Error where there is no allocation then
Plan plan_of(int ntasks, const SlurmOptions& options, const AddprocsOptions& addprocs) {
  Plan plan;
  Environment environment = runtime::current_environment();
  const bool may_be_step = options.submit != SlurmSubmit::Sbatch && options.components.empty();
  if (ntasks == 0 || may_be_step) plan.allocation = allocation_in(environment);
  plan.ntasks = ntasks;
  if (plan.allocation && ntasks != 0) plan.allocation->components = 1;
  if (plan.allocation && ntasks == 0) plan.ntasks = plan.allocation->ntasks;
  if (plan.ntasks == 0) {
    throw Error(
        "this process runs in no SLURM allocation (there is no SLURM_JOB_ID). Start it under salloc or sbatch, or give "
        "SlurmManager a number of tasks, for which it then submits a job.");
  }
  if (plan.own()) environment = without_outer_job(std::move(environment));
  plan.total = plan.ntasks;
  plan.components = plan.allocation ? plan.allocation->components : 1 + static_cast<int>(options.components.size());
  if (plan.own())
    for (const SlurmComponent& component : options.components) plan.total += component.ntasks;
  if (plan.allocation && plan.allocation->in_step)  // what bound this process would bind the workers
    std::erase_if(environment, [](const auto& entry) { return entry.first.starts_with("SLURM_CPU_BIND"); });
  plan.added = runtime::added_environment(addprocs);
  plan.environment = plan.added;
  plan.environment.merge(std::move(environment));
  return plan;
}

/// This host's address towards those nodes, of which the first tells enough: it has several, and only SLURM knows which
/// network is the cluster's. Empty where SLURM does not say.
std::vector<std::string> address_towards_nodes(const Plan& plan, const SlurmOptions& options) {
  std::vector<std::string> command{"sinfo", "-h", "-o", "%o"};
  if (plan.allocation) command.insert(command.end(), {"-n", plan.allocation->nodes});
  if (plan.own() && !options.partition.empty()) command.insert(command.end(), {"-p", options.partition});
  const CommandOutcome answer = run(command, plan.environment, {}, 5s);
  const std::string node = answer.output.substr(0, answer.output.find('\n'));
  if (answer.status != 0 || node.empty()) return {};
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(node.c_str(), nullptr, &hints, &found) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, ::freeaddrinfo);
  char numbers[NI_MAXHOST] = {};
  if (::getnameinfo(found->ai_addr, found->ai_addrlen, numbers, sizeof numbers, nullptr, 0, NI_NUMERICHOST) != 0)
    return {};
  std::string ours = runtime::address_towards(numbers);
  return ours.empty() ? std::vector<std::string>{} : std::vector<std::string>{std::move(ours)};
}

/// A file with the start record, which nobody else may read. @returns its path
std::string write_record_file(const std::string& directory, const std::string& record) {
  std::error_code ignored;
  std::filesystem::path folder = directory;
  if (directory.empty()) folder = std::filesystem::current_path(ignored);
  std::string path = (folder / (".muster-" + runtime::random_token(16))).string();
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  const std::error_code error =
      file ? runtime::write_whole(file.get(), record + "\n") : std::error_code(errno, std::generic_category());
  if (!error) return path;
  if (file) ::unlink(path.c_str());
  throw Error("can't write the start record for the job into " + folder.string() + ": " + error.message() +
              ". SlurmOptions::shared_directory names a directory that this host and the nodes share.");
}

void start(SlurmJob& job, const Plan& plan, const SlurmOptions& options, const LaunchContext& context,
           const std::string& record) {
  const StepRequest step{.ntasks = plan.ntasks,
                         .allocation = plan.allocation ? &*plan.allocation : nullptr,
                         .mark = plan.own() ? "muster-" + runtime::random_token(16) : "",
                         .directory = context.options().dir,
                         .worker = context.worker_command()};
  if (plan.own() && options.submit == SlurmSubmit::Sbatch) {
    const std::string file = write_record_file(options.shared_directory, record);
    job.submit(sbatch_command(options, step), batch_script(step, file, plan.components), file);
    return;
  }
  const std::string allocation = plan.allocation ? plan.allocation->job : "";
  job.start_step(srun_command(options, step), record, step.mark, allocation, plan.components > 1);
}

/// Says what a job waits for, when that changes and now and then.
class Progress {
 public:
  void tell(const std::string& job, const JobState& state) {
    if (state.reason == "None" && state.start.empty()) return;  // it has only just been submitted
    std::string text = job + " is " + (state.state == "PENDING" ? "pending" : "starting");
    if (state.reason != "None") text += ": " + state.reason;
    if (!state.start.empty()) text += "; SLURM expects it to start at " + state.start;
    if (text == told_ && Clock::now() - when_ < reminder) return;
    log::info(text);
    told_ = text;
    when_ = Clock::now();
  }

 private:
  std::string told_;
  Clock::time_point when_;
};

/// Waits until all workers have called. @throws Error where that can't be any more
void wait_for_workers(LaunchContext& context, SlurmJob& job, const SlurmOptions& options, bool own) {
  const auto begin = Clock::now();
  Progress progress;
  std::chrono::nanoseconds time = first_pause;
  while (!context.stop_token().stop_requested()) {
    job.wait(context.stop_token(), time);
    if (job.complete() || job.srun_ended()) return;
    const auto state = own ? job.ask_state() : std::nullopt;
    if (!state) continue;
    time = std::min(time + time / 2, longest_pause);
    if (is_over(*state)) return;
    if (state->state == "RUNNING") continue;
    if (is_hopeless(state->reason)) throw Error(job.name() + " would wait for ever: " + state->reason);
    if (options.pending_timeout > 0ns && Clock::now() - begin > options.pending_timeout) {
      throw Error(job.name() + " was still pending (" + state->reason +
                  ") when SlurmOptions::pending_timeout had passed");
    }
    context.postpone();
    progress.tell(job.name(), *state);
  }
}

/// Why workers did not come, as far as that is known.
std::string why_missing(SlurmJob& job, const Invitation& invitation, bool own, bool stopped) {
  std::string text;
  if (own) {
    const auto state = job.ask_state();
    if (state) text = cause_of(job.name().substr(job.name().rfind(' ') + 1), *state);
    if (text.empty() && state) text = job.name() + " is " + state->state;
  }
  if (const std::string said = job.messages(); !said.empty())
    text += (text.empty() ? "srun says: " : "; srun says: ") + said;
  if (!stopped) return text.empty() ? "it ended before it had connected to the master" : text;
  std::string tried;
  for (const std::string& endpoint : invitation.endpoints()) tried += (tried.empty() ? "" : ", ") + endpoint;
  return "it did not connect to the master in time, at " + tried +
         ". See that a firewall lets the nodes connect there (SlurmOptions::bind_address, port), and that the program "
         "is on the nodes" +
         (text.empty() ? "" : ". " + text);
}

std::shared_ptr<TaskPlace> place_of(const WorkerConfig& config) {
  const auto* process = std::any_cast<runtime::ProcessElsewhere>(&config.userdata);
  return process == nullptr ? nullptr : std::static_pointer_cast<TaskPlace>(process->handle);
}

}  // namespace

/// Those that may not have ended.
class SlurmManager::Jobs {
 public:
  void add(const std::shared_ptr<SlurmJob>& job) {
    const std::lock_guard lock(mutex_);
    all_.push_back(job);
  }
  void remove(const std::shared_ptr<SlurmJob>& job) {
    const std::lock_guard lock(mutex_);
    std::erase(all_, job);
  }
  std::vector<std::string> own() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> ids;
    for (const auto& job : all_)
      if (std::string id = job->own_id(); !id.empty()) ids.push_back(std::move(id));
    return ids;
  }
  void end() {
    std::vector<std::shared_ptr<SlurmJob>> all;
    {
      const std::lock_guard lock(mutex_);
      all.swap(all_);
    }
    for (const auto& job : all) job->end(0ms);
  }

 private:
  mutable std::mutex mutex_;  ///< guards all_
  std::vector<std::shared_ptr<SlurmJob>> all_;
};

SlurmManager::SlurmManager(SlurmOptions options) : options_(std::move(options)), jobs_(std::make_unique<Jobs>()) {}

SlurmManager::SlurmManager(int ntasks, SlurmOptions options) : SlurmManager(std::move(options)) {
  if (ntasks < 1)
    throw std::invalid_argument("muster: SlurmManager got " + std::to_string(ntasks) + " tasks; at least 1");
  for (const SlurmComponent& component : options_.components) {
    if (component.ntasks < 1)
      throw std::invalid_argument("muster: a SlurmComponent has " + std::to_string(component.ntasks) +
                                  " tasks; at least 1");
  }
  ntasks_ = ntasks;
}

SlurmManager::~SlurmManager() { jobs_->end(); }

std::vector<std::string> SlurmManager::jobs() const { return jobs_->own(); }

std::string SlurmManager::to_string() const {
  return "SlurmManager(" + (ntasks_ == 0 ? "" : std::to_string(ntasks_)) + ")";
}

void SlurmManager::launch(LaunchContext& context) {
  const Plan plan = plan_of(ntasks_, options_, context.options());
  InviteOptions invite{.bind_address = options_.bind_address, .port = options_.port, .addresses = {}, .asked = {}};
  // SLURM sends it at a time limit, to what it preempts and cancels: deaths, with a cause.
  invite.leaves_on_sigterm = false;
  invite.asked = {"SLURM_PROCID", "SLURMD_NODENAME", "SLURM_JOB_ID"};
  if (options_.bind_address.empty()) invite.addresses = address_towards_nodes(plan, options_);

  const auto job = std::make_shared<SlurmJob>(plan.environment, plan.added, plan.total, plan.components);
  const auto invitation = context.invite(
      std::move(invite), [job](LaunchContext& where, const Caller& caller) { job->called(where, caller); });
  jobs_->add(job);
  try {
    start(*job, plan, options_, context, invitation->start_record());
    wait_for_workers(context, *job, options_, plan.own());
  } catch (const std::exception&) {
    job->end(0ms);
    jobs_->remove(job);
    throw;
  }
  const std::vector<int> missing = job->missing();
  std::string why;
  if (!missing.empty()) why = why_missing(*job, *invitation, plan.own(), context.stop_token().stop_requested());
  for (const int task : missing) {
    std::string end = job->end_of(task);
    if (!end.empty()) end.append(". ");
    context.failed(job->name() + ", task " + std::to_string(task), end.append(why));
  }
  if (job->launched()) jobs_->remove(job);
}

void SlurmManager::manage(Pid /*pid*/, WorkerConfig& config, ManageOp op) {
  const auto place = place_of(config);
  const auto job = place ? place->job.lock() : nullptr;
  if (op != ManageOp::Deregister || !job || !job->left(place->task)) return;
  job->end(leaving_patience);
  jobs_->remove(job);
}

void SlurmManager::kill(Pid /*pid*/, const WorkerConfig& config) {
  const auto place = place_of(config);
  const auto job = place ? place->job.lock() : nullptr;
  if (!job) return;
  job->kill(*place);
  if (!job->left(place->task)) return;
  job->end(0ms);
  jobs_->remove(job);
}

}  // namespace muster
