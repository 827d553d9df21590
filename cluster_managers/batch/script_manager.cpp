/// @file
/// Workers that a batch system starts.
#include "runtime/base/log.hpp"
#include "runtime/base/random.hpp"
#include "runtime/base/run_command.hpp"
#include "runtime/cluster/gathering.hpp"
#include "runtime/cluster/worker_environment.hpp"
#include "runtime/cluster/worker_output.hpp"

#include <muster/errors.hpp>
#include <muster/script_manager.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <list>
#include <mutex>
#include <optional>
#include <regex>
#include <set>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace muster {

namespace {

/// For a command of the batch system.
constexpr auto command_patience = std::chrono::seconds(30);

using Words = std::map<std::string, std::string>;

std::string filled(std::string text, const Words& words) {
  for (const auto& [name, value] : words)
    for (std::size_t at = 0; (at = text.find("{" + name + "}", at)) != std::string::npos; at += value.size())
      text.replace(at, name.size() + 2, value);
  return text;
}

runtime::CommandOutcome shell(const std::string& command) {
  return runtime::run_command({"/bin/sh", "-c", command}, {}, command_patience);
}

std::filesystem::path shared_directory(const ScriptOptions& options) {
  return std::filesystem::absolute(options.shared_directory.empty() ? "." : options.shared_directory);
}

/// What one addprocs submitted. Cancels what is left of it at its end.
class Run {
 public:
  Run(const ScriptOptions& options, int n) : options_(options), n_(n) {}
  ~Run() { cancel(); }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  /// @throws Error saying what the batch system said
  void submit(const std::string& script) {
    const bool array = options_.submit.find("{n}") != std::string::npos;
    for (int i = 0; i < (array ? 1 : n_); ++i) {
      const std::string command = filled(options_.submit, {{"script", runtime::shell_word(script)},
                                                           {"n", std::to_string(n_)},
                                                           {"name", runtime::shell_word(options_.name)}});
      const auto outcome = shell(command);
      std::smatch id;
      if (outcome.status != 0 || !std::regex_search(outcome.output, id, std::regex(options_.job_id))) {
        throw Error("`" + command + "` " +
                    (outcome.status == 0 ? "printed no job id (ScriptOptions::job_id)"
                                         : "failed with status " + std::to_string(outcome.status)) +
                    "; it said: " + outcome.said());
      }
      const std::lock_guard lock(mutex_);
      jobs_.insert(id.size() > 1 ? id[1].str() : id[0].str());
      runtime::log::info("Submitted job " + *jobs_.rbegin() + " for " + std::to_string(array ? n_ : 1) + " workers");
    }
  }
  /// What the batch system says of the jobs; nothing where it isn't asked. @returns why no worker will come of them
  std::string look() {
    if (options_.state.empty()) return {};
    std::string said;
    bool any = false;
    for (const std::string& job : jobs()) {
      const auto outcome = shell(filled(options_.state, {{"job", runtime::shell_word(job)}}));
      any = any || outcome.status == 0;
      said += (said.empty() ? "" : "; ") + outcome.said();
    }
    if (said != last_said_) runtime::log::debug("The batch system says: " + said);
    last_said_ = said;
    // It may not know a job yet that it has just taken, nor any more one that has just ended.
    unknown_ = any ? 0 : unknown_ + 1;
    return unknown_ < 3 ? std::string() : "the batch system knows of no such job any more, and says: " + said;
  }
  void cancel() {
    for (const std::string& job : jobs()) {
      if (!options_.cancel.empty()) (void)try_to_cancel(job);
      const std::lock_guard lock(mutex_);
      jobs_.erase(job);
    }
  }
  std::string last_said() const { return last_said_; }
  std::set<std::string> jobs() const {
    const std::lock_guard lock(mutex_);
    return jobs_;
  }

  std::unique_ptr<runtime::Gathering> gathering;
  std::unique_ptr<runtime::SecretFile> secret;
  int living = 0;  ///< guarded by the manager's mutex

 private:
  bool try_to_cancel(const std::string& job) const {
    try {
      const auto outcome = shell(filled(options_.cancel, {{"job", runtime::shell_word(job)}}));
      if (outcome.status != 0) runtime::log::debug("Job " + job + " was not cancelled: " + outcome.said());
      return outcome.status == 0;
    } catch (const std::exception& error) {
      runtime::log::warning("Job " + job + " can't be cancelled: " + error.what());
      return false;
    }
  }

  const ScriptOptions& options_;
  const int n_;
  mutable std::mutex mutex_;  ///< guards jobs_
  std::set<std::string> jobs_;
  std::string last_said_;
  int unknown_ = 0;
};

std::string script_of(const ScriptOptions& options, LaunchContext& context, const std::string& secret) {
  std::string script = "#!/bin/sh\n";
  for (const std::string& line : options.directives) script += line + "\n";
  for (const auto& [name, value] : runtime::added_environment(context.options()))
    script += "export " + name + "=" + runtime::shell_word(value) + "\n";
  const std::string& directory = context.options().dir;
  script += "cd " + runtime::shell_word(directory.empty() ? std::filesystem::current_path().string() : directory) +
            " || exit 1\n";
  return script + "exec " + runtime::shell_words(context.worker_command()) + " < " + runtime::shell_word(secret) + "\n";
}

/// Removed at its end.
class ScriptFile {
 public:
  ScriptFile(const std::filesystem::path& directory, const std::string& text)
      : path_((directory / ("muster-" + runtime::random_token(8) + ".sh")).string()) {
    std::ofstream file(path_);
    if (!(file << text << std::flush))
      throw Error("can't write the job's script " + path_ +
                  ". ScriptOptions::shared_directory names another directory.");
    std::filesystem::permissions(path_, std::filesystem::perms::owner_all);
  }
  ~ScriptFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  ScriptFile(const ScriptFile&) = delete;
  ScriptFile& operator=(const ScriptFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

ScriptOptions ScriptOptions::grid_engine() {
  ScriptOptions options;
  options.submit = "qsub -terse -cwd -b n -S /bin/sh -N {name} -o /dev/null -e /dev/null -t 1-{n} {script}";
  options.job_id = R"(^([0-9]+))";
  options.cancel = "qdel {job}";
  options.state = "qstat -j {job}";
  return options;
}

ScriptOptions ScriptOptions::pbs() {
  ScriptOptions options;
  options.submit = "qsub -N {name} -o /dev/null -e /dev/null -J 1-{n} {script}";
  options.job_id = R"(^(\S+))";
  options.cancel = "qdel {job}";
  options.state = "qstat {job}";
  return options;
}

ScriptOptions ScriptOptions::lsf() {
  ScriptOptions options;
  options.submit = R"(bsub -J {name}'[1-{n}]' -o /dev/null -e /dev/null < {script})";
  options.job_id = R"(Job <([0-9]+)>)";
  options.cancel = "bkill {job}";
  options.state = "bjobs {job}";
  return options;
}

/// What was submitted and has workers.
class ScriptManager::Jobs {
 public:
  std::shared_ptr<Run> add(const ScriptOptions& options, int n) {
    const std::lock_guard lock(mutex_);
    return all_.emplace_back(std::make_shared<Run>(options, n));
  }
  void joined(Run& run) {
    const std::lock_guard lock(mutex_);
    ++run.living;
  }
  void left(Run* run) {
    std::shared_ptr<Run> last;
    {
      const std::lock_guard lock(mutex_);
      const auto found = std::find_if(all_.begin(), all_.end(), [run](const auto& each) { return each.get() == run; });
      if (found == all_.end() || --run->living > 0) return;
      last = *found;
      all_.erase(found);
    }
    last->cancel();  // which may take its time
  }
  void drop(const std::shared_ptr<Run>& run) {
    const std::lock_guard lock(mutex_);
    std::erase(all_, run);
  }

 private:
  std::mutex mutex_;  ///< guards the list, and `living` of what is in it
  std::list<std::shared_ptr<Run>> all_;
};

ScriptManager::ScriptManager(int n, ScriptOptions options)
    : n_(n), options_(std::move(options)), jobs_(std::make_unique<Jobs>()) {
  if (n < 0)
    throw std::invalid_argument("can't start " + std::to_string(n) + " workers: the number must not be negative");
  if (options_.submit.empty())
    throw std::invalid_argument("muster: a ScriptManager needs ScriptOptions::submit, as ScriptOptions::pbs() has it");
}

ScriptManager::~ScriptManager() = default;

std::string ScriptManager::to_string() const { return "ScriptManager(" + std::to_string(n_) + ")"; }

void ScriptManager::launch(LaunchContext& context) {
  if (n_ == 0) return;
  const auto run = jobs_->add(options_, n_);
  std::optional<ScriptFile> script;  // until all have joined: not everything that takes a script keeps a copy
  try {
    run->gathering = std::make_unique<runtime::Gathering>(
        context,
        InviteOptions{.bind_address = options_.bind_address, .port = 0, .addresses = options_.addresses, .asked = {}},
        [this, weak = std::weak_ptr(run)](const Caller&, WorkerConfig& config) {
          const auto mine = weak.lock();
          if (!mine) return;
          runtime::ProcessElsewhere process;
          process.handle = mine;
          config.userdata = std::move(process);
          jobs_->joined(*mine);
        });
    const auto directory = shared_directory(options_);
    run->secret = std::make_unique<runtime::SecretFile>(std::string(), directory.string(),
                                                        run->gathering->invitation().start_record());
    script.emplace(directory, script_of(options_, context, run->secret->path()));
    run->submit(script->path());
  } catch (const std::exception&) {
    jobs_->drop(run);
    run->cancel();
    throw;
  }
  std::string why =
      run->gathering->wait_for(n_, context.stop_token(), options_.state_interval, [&] { return run->look(); });
  run->secret.reset();
  script.reset();
  if (why.empty()) return;
  if (!run->last_said().empty() && why.find(run->last_said()) == std::string::npos)
    why += ". The batch system said of it: " + run->last_said();
  std::string names;
  for (const std::string& job : run->jobs()) names += (names.empty() ? "" : ", ") + job;
  const int came = run->gathering->came();
  const std::string where = "job " + names;
  for (int i = came; i < n_; ++i) context.failed(where, std::string(where).append(": ").append(why));
  if (came > 0) return;
  jobs_->drop(run);
  run->cancel();
}

void ScriptManager::manage(Pid /*pid*/, WorkerConfig& config, ManageOp op) {
  if (op != ManageOp::Deregister) return;
  const auto* const process = std::any_cast<runtime::ProcessElsewhere>(&config.userdata);
  if (process != nullptr) jobs_->left(static_cast<Run*>(process->handle.get()));
}

/// Elsewhere than on this host it ends by itself when its connection does; the job is cancelled when it was the last.
void ScriptManager::kill(Pid pid, const WorkerConfig& config) { ClusterManager::kill(pid, config); }

}  // namespace muster
