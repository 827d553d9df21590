// Starting workers: from addprocs to their first call.

#include "runtime/base/address.hpp"
#include "runtime/base/deadline.hpp"
#include "runtime/base/fork_server.hpp"
#include "runtime/base/log.hpp"
#include "runtime/cluster/launcher.hpp"

#include <algorithm>
#include <stdexcept>

namespace muster::runtime {

/// One addprocs. Lives until its manager's launch has returned, which may be long after the addprocs gave it up.
class Launch final : public LaunchContext, public std::enable_shared_from_this<Launch> {
 public:
  Launch(Launcher& launcher, std::shared_ptr<ClusterManager> manager, AddprocsOptions options)
      : launcher_(launcher),
        manager_(std::move(manager)),
        manager_name_(manager_->to_string()),
        options_(std::move(options)) {}

  const AddprocsOptions& options() const override { return options_; }
  std::vector<std::string> worker_command() const override {
    std::vector<std::string> command{options_.exename.empty() ? launcher_.settings_.program.front() : options_.exename};
    command.insert(command.end(), options_.exeflags.begin(), options_.exeflags.end());
    command.emplace_back(worker_flag);
    return command;
  }
  std::string start_record() const override { return launcher_.settings_.start_record(options_.launch_timeout, {}); }
  std::unique_ptr<Invitation> invite(InviteOptions invitation,
                                     std::function<void(LaunchContext&, Caller)> called) override {
    return launcher_.invite(shared_from_this(), options_, invitation, std::move(called));
  }
  void launched(WorkerConfig config) override { launcher_.launched(*this, std::move(config)); }
  void failed(std::string where, std::string why) override {
    LaunchFailure failure;
    failure.where = std::move(where);
    failure.cause = LaunchCause::not_started;
    failure.message = why;
    failure.error = std::make_exception_ptr(Error(why));
    const std::lock_guard lock(launcher_.mutex_);
    failures_.push_back(std::move(failure));
  }
  void postpone() override {
    const std::lock_guard lock(launcher_.mutex_);
    deadline_ = deadline_after(options_.launch_timeout);
    launcher_.changed_.notify_all();
  }
  std::stop_token stop_token() const override { return stop_.get_token(); }

 private:
  friend class Launcher;
  Launcher& launcher_;
  const std::shared_ptr<ClusterManager> manager_;
  const std::string manager_name_;
  const AddprocsOptions options_;
  std::stop_source stop_;
  // Guarded by the launcher's mutex:
  std::vector<Launcher::Record> records_;
  std::vector<LaunchFailure> failures_;  ///< without a process
  Clock::time_point deadline_ = deadline_after(options_.launch_timeout);
  bool returned_ = false;  ///< the manager reported all
  bool over_ = false;      ///< out of time: what is reported from now on has failed
  bool settled_ = false;   ///< the addprocs has returned
};

namespace {

/// How long a manager's launch may take to return once it was asked to stop.
constexpr auto manager_patience = std::chrono::seconds(1);
/// How long a process that closed its output may take to end, so that its status is known.
constexpr auto status_patience = std::chrono::milliseconds(500);

bool starting(const WorkerRecord& record) {
  return !record.failure &&
         (record.stage == WorkerRecord::Stage::starting || record.stage == WorkerRecord::Stage::greeted ||
          record.stage == WorkerRecord::Stage::welcomed);
}

std::string seconds(std::chrono::nanoseconds duration) {
  std::string text = std::to_string(std::chrono::duration<double>(duration).count());
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text + " s";
}

std::string timeout_message(const WorkerRecord& record) {
  const std::string limit = seconds(record.options.launch_timeout);
  if (record.stage == WorkerRecord::Stage::starting) {
    return "Timed out waiting to read host:port string from worker: none came within " + limit +
           ". See that the command starts this program, whose main must construct muster::Session first; "
           "AddprocsOptions::launch_timeout gives it more time.";
  }
  if (record.stage == WorkerRecord::Stage::greeted)
    return "The worker did not answer within " + limit + ". See that the address it printed can be reached from here.";
  return "The worker's first calls did not end within " + limit;
}

}  // namespace

std::vector<Pid> Launcher::add(std::shared_ptr<ClusterManager> manager, AddprocsOptions options) {
  if (!manager) throw std::invalid_argument("muster: addprocs needs a cluster manager, and got a null pointer");
  if (options.threads < 1)
    throw std::invalid_argument("muster: AddprocsOptions::threads is " + std::to_string(options.threads) +
                                "; at least 1");
  if (options.launch_timeout.count() <= 0)
    throw std::invalid_argument("muster: AddprocsOptions::launch_timeout must be positive");
  const std::lock_guard one_at_a_time(adding_);
  // As in Julia, any other topology connects everybody at once.
  cluster_.set_topology(options.topology, options.lazy && options.topology == Topology::all_to_all);
  const auto launch = std::make_shared<Launch>(*this, std::move(manager), std::move(options));
  crew_.run("muster-launch", [this, launch] { run_manager(*launch); });
  wait_until_settled(*launch);
  cluster_.tell_news();
  {
    const std::lock_guard lock(mutex_);
    launch->settled_ = true;
  }
  return outcome_of(*launch);
}

void Launcher::run_manager(Launch& launch) {
  try {
    launch.manager_->launch(launch);
  } catch (const std::exception& error) {
    launch.failed(launch.manager_name_, error.what());
  } catch (...) {
    launch.failed(launch.manager_name_, "it threw something that is no std::exception");
  }
  const std::lock_guard lock(mutex_);
  launch.returned_ = true;
  changed_.notify_all();
}

void Launcher::wait_until_settled(Launch& launch) {
  const auto callers_deadline = current_deadline();
  std::vector<Record> late;
  {
    std::unique_lock lock(mutex_);
    const auto settled = [&] {
      return launch.returned_ && std::none_of(launch.records_.begin(), launch.records_.end(),
                                              [](const Record& record) { return starting(*record); });
    };
    while (!settled()) {
      const auto deadline = *earlier(callers_deadline, launch.deadline_);
      if (Clock::now() >= deadline) break;
      changed_.wait_until(lock, deadline);
    }
    if (settled()) return;
    launch.over_ = true;
    for (const Record& record : launch.records_)
      if (starting(*record)) late.push_back(record);
  }
  launch.stop_.request_stop();
  for (const Record& record : late) fail_late(record);
  std::unique_lock lock(mutex_);
  if (changed_.wait_for(lock, manager_patience, [&] { return launch.returned_; })) return;
  const std::string message = "The cluster manager's launch did not return within " +
                              seconds(launch.options_.launch_timeout) +
                              ", nor when it was asked to stop (LaunchContext::stop_token)";
  launch.failures_.push_back({.where = launch.manager_name_,
                              .cause = LaunchCause::not_started,
                              .message = message,
                              .error = std::make_exception_ptr(TimeoutError(message))});
}

void Launcher::fail_late(const Record& record) {
  std::string message;
  bool silent = false;
  {
    const std::lock_guard lock(mutex_);
    message = timeout_message(*record);
    silent = record->stage == WorkerRecord::Stage::starting;
  }
  fail(record, silent ? LaunchCause::no_address_line : LaunchCause::handshake, message,
       std::make_exception_ptr(TimeoutError(message)));
}

std::vector<Pid> Launcher::outcome_of(const Launch& launch) const {
  std::vector<Pid> joined;
  std::vector<LaunchFailure> failures;
  {
    const std::lock_guard lock(mutex_);
    for (const Record& record : launch.records_) {
      if (record->failure)
        failures.push_back(*record->failure);  // NOLINT(bugprone-unchecked-optional-access): asked just before
      else if (record->stage >= WorkerRecord::Stage::listed)
        joined.push_back(record->pid);
    }
    failures.insert(failures.end(), launch.failures_.begin(), launch.failures_.end());
  }
  std::sort(joined.begin(), joined.end());
  if (!failures.empty()) throw LaunchError(std::move(failures), std::move(joined));
  return joined;
}

void Launcher::launched(Launch& launch, WorkerConfig&& config) {
  auto record = std::make_shared<WorkerRecord>();
  record->manager = launch.manager_;
  record->options = launch.options_;
  record->config = std::move(config);
  record->member.ident = record->config.ident;
  record->member.connect_idents = record->config.connect_idents;
  bool late = false;
  {
    const std::lock_guard lock(mutex_);
    record->pid = ++last_pid_;
    records_[record->pid] = record;
    if (!launch.settled_) launch.records_.push_back(record);
    late = launch.over_;
  }
  try {
    watch(record);
  } catch (const std::exception& error) {
    fail(record, LaunchCause::not_started, error.what(), std::current_exception());
  }
  if (late) fail_late(record);
}

/// Follows the process and what it prints.
void Launcher::watch(const Record& record) {
  WorkerConfig& config = record->config;
  UniqueFd standard_error = take_standard_error(config);
  UniqueFd output(std::exchange(config.output_fd, -1));
  const bool printed_address = config.port == 0 && config.caller == 0;
  const auto* elsewhere = std::any_cast<ProcessElsewhere>(&config.userdata);
  const bool prints = output || standard_error;
  {
    const std::lock_guard lock(mutex_);
    record->output_ended = !prints;
    record->has_process = config.os_pid > 0 || (elsewhere != nullptr && elsewhere->when_ended);
    record->process_ended = !record->has_process;
  }
  if (printed_address && !output) {
    const std::string message = "The cluster manager reported a worker with neither an output_fd nor a host and port.";
    fail(record, LaunchCause::not_started, message, std::make_exception_ptr(Error(message)));
  }
  if (prints) read_output(record, std::move(output), std::move(standard_error), printed_address);
  if (config.os_pid > 0)
    steward_.watch_child(static_cast<pid_t>(config.os_pid),
                         [this, record](int wait_status) { on_process_ended(record, wait_status); });
  if (elsewhere != nullptr && elsewhere->when_ended) {
    elsewhere->when_ended([door = door_, weak = std::weak_ptr(record)](int wait_status) {
      const std::lock_guard lock(door->mutex);
      if (door->launcher == nullptr) return;
      door->launcher->steward_.post([launcher = door->launcher, weak, wait_status] {
        if (const Record ended = weak.lock()) launcher->on_process_ended(ended, wait_status);
      });
    });
  }
  if (config.caller != 0)
    greet_caller(record);
  else if (!printed_address)
    greet(record, endpoint_of(config.host, config.port));
}

void Launcher::read_output(const Record& record, UniqueFd output, UniqueFd standard_error, bool find_address) {
  struct Streams {
    UniqueFd output, error;
  };
  const auto streams = std::make_shared<Streams>(Streams{std::move(output), std::move(standard_error)});
  // On the steward of its callbacks, so that the record has it before they come. They must not keep the record: it owns
  // it.
  output_steward_.post([this, record, streams, find_address] {
    const std::weak_ptr<WorkerRecord> weak = record;
    WorkerOutput::Callbacks callbacks;
    if (find_address) {
      callbacks.started = [this, weak](const StartupOutput& startup) {
        if (const Record started = weak.lock()) on_started(started, startup);
      };
    }
    callbacks.ended = [this, weak] {
      if (const Record ended = weak.lock()) on_output_ended(ended);
    };
    try {
      auto reader = std::make_shared<WorkerOutput>(output_steward_, printer_, std::move(streams->output),
                                                   std::move(streams->error), std::move(callbacks));
      const std::lock_guard lock(mutex_);
      record->output = std::move(reader);
      if (record->stage >= WorkerRecord::Stage::welcomed) record->output->set_pid(record->pid);
      if (record->process_ended && record->has_process) record->output->finish({});
    } catch (const std::exception& error) {
      fail(record, LaunchCause::not_started, error.what(), std::current_exception());
      on_output_ended(record);
    }
  });
}

void Launcher::on_started(const Record& record, const StartupOutput& startup) {
  switch (startup.outcome()) {
    case StartupOutput::Outcome::address_found:
      greet(record, endpoint_of(startup.address().host, startup.address().port));
      break;
    case StartupOutput::Outcome::too_much_output: {
      const std::string message =
          "Unexpected output from worker launch command. Host:port string not found among its first 1000 lines. See "
          "that the "
          "command starts this program, whose main must construct muster::Session first.";
      fail(record, LaunchCause::too_much_output, message, std::make_exception_ptr(Error(message)));
      break;
    }
    default:
      // It ended: its exit status, which is on its way where the process is on this host, makes the better message.
      steward_.after(status_patience, [this, record] {
        const std::string message =
            "Unable to read host:port string from worker. Its output ended before that line. See that the command "
            "starts this "
            "program, whose main must construct muster::Session first.";
        fail(record, LaunchCause::exited, message, std::make_exception_ptr(Error(message)));
      });
      break;
  }
}

void Launcher::greet(const Record& record, const std::string& endpoint) {
  const std::string resolved = transport_.lane().resolve(endpoint);  // may wait: not under the lock
  say_hello(record, [&] { return transport_.dial(resolved); });
}

/// Says hello. The answer comes to on_handshake.
/// @param connect makes the link, with mutex_
void Launcher::say_hello(const Record& record, const std::function<std::shared_ptr<Link>()>& connect) {
  Hello hello;
  hello.joins = true;
  hello.from = cluster_.self_member();
  hello.to = record->pid;
  hello.facts.members = {hello.from};
  hello.facts.topology = cluster_.topology();
  hello.facts.lazy = cluster_.lazy();
  hello.facts.threads = record->options.threads;
  hello.facts.heartbeat_interval = settings_.heartbeat_interval;
  hello.facts.heartbeat_timeout = settings_.heartbeat_timeout;
  hello.facts.ident = record->member.ident;
  hello.facts.connect_idents = record->member.connect_idents;
  seal(hello, cluster_.cookie());
  {
    const std::lock_guard lock(mutex_);
    if (record->failure || record->stage != WorkerRecord::Stage::starting) return;
    record->stage = WorkerRecord::Stage::greeted;
    record->nonce = hello.nonce;
    record->link = connect();
    greeted_[record->link->id] = record;
  }
  transport_.send(*record->link, Header{.kind = MessageKind::hello}, encode(hello));
}

void Launcher::on_handshake(const Incoming& message) {
  Record record;
  {
    const std::lock_guard lock(mutex_);
    const auto found = greeted_.extract(message.link->id);
    if (found.empty()) throw SerializationError("An answer to a greeting that nobody sent");
    record = found.mapped();
  }
  try {
    if (message.header.kind == MessageKind::refuse)
      std::rethrow_exception(error_of(decode_refuse(message.payload.bytes.bytes())));
    Welcome welcome = decode_welcome(message.payload.bytes.bytes());
    verify(welcome, record->nonce, cluster_.cookie());
    {
      const std::lock_guard lock(mutex_);
      if (record->failure) return;
      record->stage = WorkerRecord::Stage::welcomed;
      // Of one that called by itself its manager knew its host by name only.
      if (record->config.caller != 0 && record->config.os_pid < 0 &&
          welcome.self.host_identity == cluster_.self_member().host_identity)
        record->config.os_pid = static_cast<long>(welcome.os_pid);
      record->member = std::move(welcome.self);
      record->member.pid = record->pid;
      if (record->output) record->output->set_pid(record->pid);
    }
    cluster_.linked(record->member, message.link);
    initiate(record);
  } catch (const std::exception& error) {
    fail(record, LaunchCause::handshake, error.what(), std::current_exception());
  }
}

void Launcher::on_handshake_lost(const std::shared_ptr<Link>& link, const std::string& reason) {
  Record record;
  {
    const std::lock_guard lock(mutex_);
    callers_.erase(link->id);
    const auto found = greeted_.extract(link->id);
    if (found.empty()) return;
    record = found.mapped();
    record->link_lost = true;
  }
  conclude_soon(record, reason);
}

void Launcher::initiate(const Record& record) {
  if (!initiation_ || initiation_(record->pid, false)) {
    list(record);
    return;
  }
  // It calls the worker, and waits: not here, on the receiving thread.
  crew_.run("muster-join", [this, record] {
    try {
      (void)initiation_(record->pid, true);
    } catch (const std::exception& error) {
      fail(record, LaunchCause::handshake,
           std::string("A function registered by everywhere_always failed there: ") + error.what(),
           std::current_exception());
      return;
    }
    list(record);
  });
}

void Launcher::list(const Record& record) {
  {
    // Held over all of it: whoever sees the worker in the lists may remove it.
    const std::lock_guard lock(mutex_);
    if (record->failure || record->stage != WorkerRecord::Stage::welcomed) return;
    cluster_.list(record->member);
    record->stage = WorkerRecord::Stage::listed;
    // Before anything else that its manager can be told of it.
    callbacks_.post([record] { record->manager->manage(record->pid, record->config, ManageOp::Register); });
    changed_.notify_all();
  }
  log::debug("Worker " + std::to_string(record->pid) + " on host " + record->member.host + " has joined");
  callbacks_.added(record->pid);
  consider(record);  // it may have died in between
}

void Launcher::fail(const Record& record, LaunchCause cause, const std::string& message, std::exception_ptr error) {
  std::shared_ptr<Link> link;
  {
    const std::lock_guard lock(mutex_);
    if (record->failure || record->stage >= WorkerRecord::Stage::listed) return;
    LaunchFailure failure;
    failure.where = !record->member.host.empty()   ? record->member.host
                    : !record->config.host.empty() ? record->config.host
                                                   : "localhost";
    failure.cause = cause;
    failure.exit_status = record->exit_status;
    failure.signal = record->signal;
    if (record->output) failure.output = record->output->last_output();
    failure.message = message;
    failure.error = std::move(error);
    record->failure = std::move(failure);
    record->expected = true;
    link = record->link;
    if (link) greeted_.erase(link->id);
    changed_.notify_all();
  }
  if (link) transport_.close(link);
  kill(record);
  consider(record);
}

}  // namespace muster::runtime
