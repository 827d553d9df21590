#include "cluster_managers/slurm/slurm_job.hpp"

#include "cluster_managers/slurm/command.hpp"
#include "runtime/base/log.hpp"
#include "runtime/cluster/worker_output.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <system_error>

namespace muster::runtime::slurm {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// For srun to take the start record, which fits into its pipe.
constexpr auto record_patience = 10s;
/// Between two looks whether the start record is to be repeated.
constexpr auto repeat_pause = 20ms;
/// For srun to end once its job is cancelled, and once it was asked to.
constexpr auto srun_patience = 3s;
/// For SLURM to know why a worker is gone, and for srun to say how.
constexpr auto cause_patience = 3s, running_patience = 1s;
constexpr auto pause = 200ms;
/// For whoever prints a worker's lines, who may wait for who reads them.
constexpr auto output_patience = 60s;
constexpr std::size_t most_message_bytes = 16384;

/// Ends the job when its standard input ends, which is when this process is gone. Twice, as the job may be on its way.
constexpr const char* guard_script =
    "while read -r ignored; do :; done\n"
    "for try in 1 2; do\n"
    "  [ -z \"$2\" ] || scancel \"$2\"\n"
    "  [ -z \"$3\" ] || squeue -h -u \"$(id -u)\" -o '%A %k' | while read -r job mark; do\n"
    "    [ \"$mark\" != \"$3\" ] || scancel \"$job\"\n"
    "  done\n"
    "  [ -z \"$1\" ] || [ $try = 2 ] || kill -TERM \"$1\"\n"
    "  sleep 2\n"
    "done 2>/dev/null\n"
    "[ -z \"$4\" ] || rm -f \"$4\"\n";

int task_of(const Caller& caller) {
  const auto found = caller.facts.find("SLURM_PROCID");
  int task = -1;
  if (found != caller.facts.end())
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), task);
  return task;
}

std::string fact(const Caller& caller, const std::string& name) {
  const auto found = caller.facts.find(name);
  return found == caller.facts.end() ? std::string() : found->second;
}

struct Pipe {
  UniqueFd reading, writing;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    throw std::system_error(errno, std::generic_category(), "no pipe for a worker's output");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

/// A line for whoever reads a worker's output, where somebody does.
void pass_on(UniqueFd& to, std::string_view line) {
  if (!to) return;
  try {
    write_all(to.get(), std::string(line) + "\n", output_patience);
  } catch (const std::system_error&) {
    to.reset();
  }
}

std::string trimmed(std::string text) {
  text.erase(text.find_last_not_of(" \n") + 1);
  return text;
}

}  // namespace

SlurmJob::~SlurmJob() { end(0ms); }

// -- starting ---------------------------------------------------------------------------------------------------------

void SlurmJob::start_step(const std::vector<std::string>& command, const std::string& record, const std::string& mark,
                          const std::string& allocation, bool repeat) {
  mark_ = mark;
  own_ = !mark.empty();
  id_ = allocation;
  try {
    SpawnRequest request;
    request.arguments = command;
    request.environment = environment_;
    srun_ = spawn_process(request);
  } catch (const std::system_error& error) {
    throw Error(cannot_start(std::string("can't run srun: ") + error.what()));
  }
  if (repeat) record_ = record;
  running_ = true;
  reader_ = std::thread([this] { read_srun(); });
  (void)::pthread_setname_np(reader_.native_handle(), "muster-srun");
  start_guard();
  try {
    write_all(srun_.standard_input.get(), record + "\n", record_patience);
  } catch (const std::system_error& error) {
    // One that has ended already has said why.
    if (error.code() != std::errc::broken_pipe) throw;
  }
  if (!repeat) srun_.standard_input.reset();
}

void SlurmJob::submit(const std::vector<std::string>& command, const std::string& script,
                      const std::string& record_file) {
  record_file_ = record_file;
  own_ = true;
  const CommandOutcome result = run(command, environment_, script);
  if (result.status != 0) throw Error("sbatch refused the job: " + trimmed(result.errors));
  id_ = result.output.substr(0, result.output.find_first_of(";\n"));
  start_guard();
}

void SlurmJob::start_guard() {
  SpawnRequest request;
  request.arguments = {
      "/bin/sh",       "-c",  guard_script, "muster-slurm-guard", srun_.os_pid > 0 ? std::to_string(srun_.os_pid) : "",
      own_ ? id_ : "", mark_, record_file_};
  request.environment = environment_;
  guard_ = spawn_process(request);
}

// -- what is heard ----------------------------------------------------------------------------------------------------

void SlurmJob::called(LaunchContext& context, const Caller& caller) {
  const int task = task_of(caller);
  WorkerConfig config;
  config.caller = caller.id;
  config.host = caller.host;
  config.environment = added_;
  ProcessElsewhere elsewhere;
  const auto place =
      std::make_shared<TaskPlace>(TaskPlace{weak_from_this(), task, fact(caller, "SLURMD_NODENAME"), caller.os_pid});
  elsewhere.handle = place;
  elsewhere.cause_of_end = [place] {
    const auto job = place->job.lock();
    return job ? job->cause_of_end(*place) : std::string();
  };
  {
    const std::lock_guard lock(mutex_);
    if (id_.empty()) id_ = fact(caller, "SLURM_JOB_ID");
    if (running_) {
      Pipe output = make_pipe(), error = make_pipe();
      outlets_[task] = {std::move(output.writing), std::move(error.writing)};
      config.output_fd = output.reading.release();
      elsewhere.standard_error.fd = std::make_shared<UniqueFd>(std::move(error.reading));
    }
    there_.insert(task);
  }
  config.userdata = std::move(elsewhere);
  context.launched(std::move(config));
  const std::lock_guard lock(mutex_);  // not before: who waits for it returns from launch
  called_.insert(task);
  nodes_.insert(place->node);
  changed_.notify_all();
}

void SlurmJob::read_srun() {
  LineReader output, error;
  std::array<pollfd, 2> watched{{{srun_.standard_output.get(), POLLIN, 0}, {srun_.standard_error.get(), POLLIN, 0}}};
  const auto to_output = [this](std::string_view line) { take_line(false, line); };
  const auto to_error = [this](std::string_view line) { take_line(true, line); };
  while (watched[0].fd >= 0 || watched[1].fd >= 0) {
    if (::poll(watched.data(), watched.size(), -1) < 0) continue;
    for (std::size_t i = 0; i < watched.size(); ++i) {
      if (watched[i].revents == 0) continue;
      std::array<char, 65536> part{};
      const auto got = ::read(watched[i].fd, part.data(), part.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0)
        watched[i].fd = -1;
      else if (i == 0)
        output.add({part.data(), static_cast<std::size_t>(got)}, to_output);
      else
        error.add({part.data(), static_cast<std::size_t>(got)}, to_error);
    }
  }
  output.end(to_output);
  error.end(to_error);
  siginfo_t ended{};
  while (::waitid(P_PID, static_cast<id_t>(srun_.os_pid), &ended, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  const std::lock_guard lock(mutex_);  // whoever signals it holds this, so that the number is still its own
  ::waitpid(srun_.os_pid, nullptr, 0);
  running_ = false;
  outlets_.clear();
  changed_.notify_all();
}

void SlurmJob::take_line(bool from_error, std::string_view line) {
  if (const auto found = labelled(line)) {
    std::map<int, Outlet>::node_type outlet;
    {
      const std::lock_guard lock(mutex_);
      outlet = outlets_.extract(found->task);
    }
    if (!outlet.empty()) {
      pass_on(from_error ? outlet.mapped().error : outlet.mapped().output, found->text);  // may wait: without the lock
      const std::lock_guard lock(mutex_);
      outlets_.insert(std::move(outlet));
      return;
    }  // else it has not called, and perhaps says why
  }
  if (line.empty()) return;
  bool calm = false;
  {
    const std::lock_guard lock(mutex_);
    if (messages_.size() < most_message_bytes) messages_.append(line).append("\n");
    if (const auto end = task_end_in(line)) {
      learn_of(*end);
      calm = true;
    }
    calm = calm || ended_;
    changed_.notify_all();
  }
  if (calm)
    log::debug(std::string(line));
  else
    log::info(std::string(line));
}

void SlurmJob::learn_of(const TaskEnd& end) {
  for (const int task : end.tasks)
    ends_[{end.node, task}] = "task " + std::to_string(task) + " on " + end.node + ": " + end.how;
}

void SlurmJob::wait(const std::stop_token& stop, std::chrono::nanoseconds time) {
  const auto end = Clock::now() + time;
  std::unique_lock lock(mutex_);
  const bool had_srun = running_;
  const auto over = [&] { return all_heard_of() || (had_srun && !running_); };
  const std::chrono::nanoseconds slice =
      record_.empty() ? time : std::min<std::chrono::nanoseconds>(time, repeat_pause);
  while (!changed_.wait_for(lock, stop, slice, over) && !stop.stop_requested() && Clock::now() < end) repeat_record();
}

/// With mutex_: gives the start record once more, when somebody has taken the last one. Not before: srun reads pieces
/// of 1,024 bytes, and what follows a piece may go to another component.
void SlurmJob::repeat_record() {
  int unread = 0;
  if (!running_ || record_.empty() || ::ioctl(srun_.standard_input.get(), FIONREAD, &unread) != 0 || unread != 0)
    return;
  try {
    write_all(srun_.standard_input.get(), record_ + "\n", 0ms);
  } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch): srun has ended
  }
}

/// With mutex_: all tasks have called or ended.
bool SlurmJob::all_heard_of() const {
  const auto unheard = std::count_if(ends_.begin(), ends_.end(), [&](const auto& end) {
    const auto& [node, task] = end.first;
    return components_ > 1 ? !nodes_.contains(node) : !called_.contains(task);
  });
  return called_.size() + static_cast<std::size_t>(unheard) >= static_cast<std::size_t>(ntasks_);
}

bool SlurmJob::complete() const {
  const std::lock_guard lock(mutex_);
  return all_heard_of();
}

bool SlurmJob::srun_ended() const {
  const std::lock_guard lock(mutex_);
  return srun_.os_pid > 0 && !running_;
}

std::vector<int> SlurmJob::missing() const {
  const std::lock_guard lock(mutex_);
  std::vector<int> tasks;
  for (int task = 0; task < ntasks_; ++task)
    if (!called_.contains(task)) tasks.push_back(task);
  if (called_.size() >= static_cast<std::size_t>(ntasks_)) tasks.clear();
  return tasks;
}

std::string SlurmJob::end_of(int task) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [which, how] : ends_)
    if (components_ == 1 && which.second == task) return how;
  return {};
}

/// With mutex_: the same of one whose node is known. Of several components srun counts the tasks of each from 0, but no
/// two have a node in common.
std::string SlurmJob::end_of(const TaskPlace& place) const {
  for (const auto& [which, how] : ends_)
    if (which.first == place.node && (components_ > 1 || which.second == place.task)) return how;
  return {};
}

std::string SlurmJob::messages() const {
  const std::lock_guard lock(mutex_);
  return trimmed(messages_);
}

std::string SlurmJob::name() const {
  const std::lock_guard lock(mutex_);
  return id_.empty() ? "a new SLURM job" : "SLURM job " + id_;
}

std::string SlurmJob::own_id() const {
  const std::lock_guard lock(mutex_);
  return own_ && !ended_ ? id_ : std::string();
}

// -- asking SLURM -----------------------------------------------------------------------------------------------------

/// Number of the job with our mark, where srun has not said it; empty where there is none.
std::string SlurmJob::find_own_id() {
  {
    const std::lock_guard lock(mutex_);
    if (!id_.empty() || mark_.empty()) return id_;
  }
  const CommandOutcome answer = run({"squeue", "-h", "-u", std::to_string(::getuid()), "-o", "%A|%k"}, environment_);
  const std::string id = job_with_mark(answer.output, mark_);
  if (id.empty()) return {};
  const std::lock_guard lock(mutex_);
  if (id_.empty()) id_ = id;
  return id_;
}

std::optional<JobState> SlurmJob::ask_state() {
  const std::string id = find_own_id();
  if (id.empty()) return std::nullopt;
  const CommandOutcome answer = run({"squeue", "-h", "-t", "all", "-j", id, "-o", "%T|%r|%S"}, environment_);
  return answer.status == 0 ? job_state_in(answer.output) : std::nullopt;
}

std::string SlurmJob::cause_of_end(const TaskPlace& place) {
  const auto start = Clock::now();
  while (Clock::now() - start < cause_patience) {
    const auto state = ask_state();
    std::string cause = state ? cause_of(find_own_id(), *state) : "";
    if (!cause.empty()) return cause;
    const bool undecided = state && state->state == "COMPLETING";
    {
      const std::lock_guard lock(mutex_);
      if (const std::string end = end_of(place); !end.empty() && !undecided) return "SLURM says of " + end;
    }
    const CommandOutcome node = run({"sinfo", "-h", "-n", place.node, "-o", "%T"}, environment_, {}, 2s);
    const std::string condition = node.output.substr(0, node.output.find('\n'));
    if (condition.ends_with('*') || condition.starts_with("down") || condition.starts_with("fail")) {
      return "SLURM says that its node " + place.node + " is " +
             (condition.ends_with('*') ? condition.substr(0, condition.size() - 1) + " and does not answer"
                                       : condition);
    }
    if (!undecided && Clock::now() - start > running_patience) break;
    std::this_thread::sleep_for(pause);
  }
  return {};
}

// -- ending -----------------------------------------------------------------------------------------------------------

void SlurmJob::kill(const TaskPlace& place) {
  std::string id;
  {
    const std::lock_guard lock(mutex_);
    if (ended_ || place.os_pid <= 1) return;
    id = id_;
  }
  const CommandOutcome result =
      run({"srun", "--jobid=" + id, "--overlap", "--nodes=1", "--ntasks=1", "--nodelist=" + place.node, "--mpi=none",
           "--input=none", "--quiet", "/bin/kill", "-KILL", std::to_string(place.os_pid)},
          environment_, {}, 10s);
  if (result.status != 0)
    log::debug("Task " + std::to_string(place.task) + " of " + name() + " was not killed: " + trimmed(result.errors));
}

bool SlurmJob::left(int task) {
  const std::lock_guard lock(mutex_);
  return there_.erase(task) != 0 && there_.empty() && !launching_;
}

bool SlurmJob::launched() {
  bool over = false;
  {
    const std::lock_guard lock(mutex_);
    launching_ = false;
    over = there_.empty();
    record_.clear();
    srun_.standard_input.reset();
  }
  remove_record_file();
  if (over) end(0ms);
  return over;
}

bool SlurmJob::wait_for_srun(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, time, [this] { return !running_; });
}

/// The same of a batch job. One that SLURM does not speak of is over, as far as can be known.
bool SlurmJob::wait_for_job(std::chrono::milliseconds time) {
  const auto deadline = Clock::now() + time;
  while (Clock::now() < deadline) {
    try {
      const auto state = ask_state();
      if (!state || is_over(*state)) return true;
    } catch (const Error&) {  // it can't be asked any more: cancelling says so
      return false;
    }
    std::this_thread::sleep_for(pause);
  }
  return false;
}

void SlurmJob::signal_srun(int number) {
  const std::lock_guard lock(mutex_);
  if (running_) ::kill(srun_.os_pid, number);
}

void SlurmJob::cancel() {
  try {
    const std::string id = find_own_id();
    if (id.empty()) return;
    const CommandOutcome result = run({"scancel", id}, environment_);
    if (result.status != 0) {
      log::warning("SLURM job " + id + " could not be cancelled: " + trimmed(result.errors) +
                   ". Look with squeue, and "
                   "cancel it by hand (scancel " +
                   id + ").");
    }
  } catch (const Error& error) {
    log::warning(std::string("A SLURM job may be left: ") + error.what());
  }
}

void SlurmJob::end(std::chrono::milliseconds grace) {
  const std::lock_guard one_at_a_time(ending_);
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(ended_, true)) return;
  }
  const bool by_itself = srun_.os_pid > 0 ? wait_for_srun(grace) : wait_for_job(grace);
  if (own_) cancel();
  if (srun_.os_pid > 0 && !by_itself) {
    if (!own_ || !wait_for_srun(srun_patience)) signal_srun(SIGTERM);
    if (!wait_for_srun(srun_patience)) signal_srun(SIGKILL);
  }
  if (reader_.joinable()) reader_.join();
  if (guard_.os_pid > 0) {
    ::kill(guard_.os_pid, SIGKILL);  // our child, not reaped: the number is still its own
    ::waitpid(guard_.os_pid, nullptr, 0);
    guard_ = {};
  }
  remove_record_file();
}

void SlurmJob::remove_record_file() const {
  std::error_code ignored;
  if (!record_file_.empty()) std::filesystem::remove(record_file_, ignored);
}

}  // namespace muster::runtime::slurm
