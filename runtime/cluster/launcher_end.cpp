// Seeing workers off: asked or not.

#include "runtime/base/log.hpp"
#include "runtime/cluster/launcher.hpp"

#include <sys/wait.h>

#include <algorithm>

namespace muster::runtime {

namespace {

/// How long the exit status and the last output may lag behind the loss of the link.
constexpr auto status_patience = std::chrono::milliseconds(500);
/// The same for the last output of a worker of whose process nothing more will be heard.
constexpr auto output_patience = std::chrono::milliseconds(100);

/// Of a worker whose process ended before it had joined.
std::string early_end_message(const WorkerRecord& record) {
  const WorkerExit exit{.pid = record.pid,
                        .host = record.config.host.empty() ? "localhost" : record.config.host,
                        .expected = false,
                        .exit_status = record.exit_status,
                        .signal = record.signal,
                        .last_output = record.output ? record.output->last_output() : "",
                        .calls_in_flight = 0,
                        .cause = {}};
  const bool silent = record.stage == WorkerRecord::Stage::starting;
  return (silent ? "Unable to read host:port string from worker. Launch command exited with error? "
                 : "The worker ended before it had joined. ") +
         exit.describe();
}

}  // namespace

Launcher::Launcher(LauncherSettings settings, Cluster& cluster, Calls& calls, Transport& transport, Steward& steward,
                   LifeCallbacks& callbacks)
    : settings_(std::move(settings)),
      cluster_(cluster),
      calls_(calls),
      transport_(transport),
      steward_(steward),
      printer_(std::make_shared<OutputPrinter>(settings_.worker_output)),
      callbacks_(callbacks) {
  door_->launcher = this;
}

Launcher::~Launcher() { stop(); }

void Launcher::stop() {
  {
    const std::lock_guard lock(door_->mutex);
    door_->launcher = nullptr;
  }
  callbacks_.stop();
  crew_.join();
  std::map<std::string, Invited> over;  // their launches hold managers, which hold invitations
  const std::lock_guard lock(mutex_);
  over.swap(invited_);
}

// -- removal ----------------------------------------------------------------------------------------------------------

Launcher::Record Launcher::find(Pid pid) const {
  const std::lock_guard lock(mutex_);
  const auto found = records_.find(pid);
  return found == records_.end() ? nullptr : found->second;
}

void Launcher::remove(const std::vector<Pid>& pids, std::chrono::nanoseconds grace) {
  for (const Pid pid : pids) {
    if (pid == 1) {
      log::warning("rmprocs: process 1, the master, is not removed");
      continue;
    }
    const Record record = find(pid);
    if (!record) continue;
    {
      const std::lock_guard lock(mutex_);
      if (record->stage != WorkerRecord::Stage::listed) continue;
      record->stage = WorkerRecord::Stage::leaving;
      record->expected = true;
    }
    cluster_.set_leaving(pid);
    cluster_.send(pid, MessageKind::exit);
    steward_.after(grace, [this, record] { kill(record); });
  }
}

void Launcher::kill(const Record& record) {
  {
    const std::lock_guard lock(mutex_);
    if (record->stage == WorkerRecord::Stage::gone || record->killing) return;
    if (record->process_ended && record->has_process) return;
    record->killing = true;
    if (record->stage == WorkerRecord::Stage::leaving)
      log::warning("Worker " + std::to_string(record->pid) + " did not leave when it was asked to: it is killed");
  }
  crew_.run("muster-kill", [record] { record->manager->kill(record->pid, record->config); });
}

std::vector<Pid> Launcher::wait_until_gone(const std::vector<Pid>& pids, Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  std::vector<Pid> there;
  const auto all_gone = [&] {
    there.clear();
    for (const Pid pid : pids)
      if (pid != 1 && records_.contains(pid)) there.push_back(pid);
    return there.empty();
  };
  (void)changed_.wait_until(lock, deadline, all_gone);
  return there;
}

void Launcher::when_gone(const std::vector<Pid>& pids, std::function<void()> f) {
  {
    const std::lock_guard lock(mutex_);
    const bool any =
        std::any_of(pids.begin(), pids.end(), [this](Pid pid) { return pid != 1 && records_.contains(pid); });
    if (any) {
      departures_.push_back({pids, std::move(f)});
      return;
    }
  }
  f();
}

void Launcher::remove_all(std::chrono::nanoseconds grace) {
  std::vector<Pid> pids;
  std::vector<Record> records;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [pid, record] : records_) {
      pids.push_back(pid);
      records.push_back(record);
    }
  }
  const std::string ended = "The session ended before it had joined";
  for (const Record& record : records)  // does nothing to those that joined
    fail(record, LaunchCause::handshake, ended, std::make_exception_ptr(NoSession(ended)));
  remove(pids, grace);
  (void)wait_until_gone(pids, Clock::now() + 2 * grace + std::chrono::milliseconds(500));
}

void Launcher::interrupt(const std::vector<Pid>& pids) {
  for (const Pid pid : pids) {
    try {
      calls_.interrupt(pid);
    } catch (const ProcessExitedException&) {
      continue;  // nothing runs there any more
    }
    if (const Record record = find(pid))
      callbacks_.post([record] { record->manager->manage(record->pid, record->config, ManageOp::Interrupt); });
  }
}

// -- what is heard of its end -----------------------------------------------------------------------------------------

void Launcher::on_process_ended(const Record& record, int wait_status) {
  std::shared_ptr<WorkerOutput> output;
  {
    const std::lock_guard lock(mutex_);
    record->process_ended = true;
    if (wait_status >= 0 && WIFEXITED(wait_status)) record->exit_status = WEXITSTATUS(wait_status);
    if (wait_status >= 0 && WIFSIGNALED(wait_status)) record->signal = WTERMSIG(wait_status);
    output = record->output;
  }
  if (output) output->finish({});  // its end comes to on_output_ended
  consider(record);
  conclude_soon(record, "its process has ended");
}

void Launcher::on_output_ended(const Record& record) {
  {
    const std::lock_guard lock(mutex_);
    record->output_ended = true;
  }
  consider(record);
}

void Launcher::on_worker_lost(Pid pid, const std::string& reason) {
  const Record record = find(pid);
  if (!record) return;
  log::debug("The link to worker " + std::to_string(pid) + " is gone: " + reason);
  bool comes_later = false;
  {
    const std::lock_guard lock(mutex_);
    record->link_lost = true;
    comes_later = !record->has_process && !record->output_ended;
  }
  consider(record);
  if (comes_later) {
    steward_.after(output_patience, [this, record] { on_output_ended(record); });
  }
  conclude_soon(record, reason);
}

/// Declares the worker gone once how it ended is known.
void Launcher::consider(const Record& record) {
  bool early = false;
  std::string message;
  {
    const std::lock_guard lock(mutex_);
    if (record->stage == WorkerRecord::Stage::gone) return;
    if (record->has_process ? !(record->process_ended && record->output_ended)
                            : !((record->link_lost || record->failure) && record->output_ended))
      return;
    early = record->stage < WorkerRecord::Stage::listed && !record->failure;
    if (early) message = early_end_message(*record);
  }
  if (early)
    fail(record, LaunchCause::exited, message, std::make_exception_ptr(Error(message)));
  else
    finish(record);
}

/// Its link or process is gone, so it will be too: at the latest when what is still to be heard is late.
void Launcher::conclude_soon(const Record& record, const std::string& reason) {
  steward_.after(status_patience, [this, record, reason] { conclude(record, reason); });
}

void Launcher::conclude(const Record& record, const std::string& reason) {
  bool early = false, process_ended = false;
  {
    const std::lock_guard lock(mutex_);
    if (record->stage == WorkerRecord::Stage::gone) return;
    process_ended = record->process_ended;
    // One that leaves may take its time between its goodbye and its end; it is killed when it takes too long.
    if (record->stage == WorkerRecord::Stage::leaving && !record->process_ended) return;
    record->output_ended = true;
    early = record->stage < WorkerRecord::Stage::listed && !record->failure;
  }
  if (early) {
    const std::string message = "The connection to it was lost before it had joined: " + reason;
    fail(record, LaunchCause::handshake, message, std::make_exception_ptr(HandshakeError(message)));
    return;
  }
  if (!process_ended) log::warning("Worker " + std::to_string(record->pid) + " is given up: " + reason);
  // A process that lives on without its link can't be led any more. It ends itself; where it can't, it is killed.
  kill(record);
  finish(record);
}

void Launcher::finish(const Record& record) {
  std::function<std::string()> cause_of_end;
  {
    const std::lock_guard lock(mutex_);
    if (record->stage == WorkerRecord::Stage::gone || record->finishing) return;
    const auto* elsewhere = std::any_cast<ProcessElsewhere>(&record->config.userdata);
    if (elsewhere != nullptr && record->stage == WorkerRecord::Stage::listed && !record->expected)
      cause_of_end = elsewhere->cause_of_end;
    record->finishing = cause_of_end != nullptr;
  }
  if (!cause_of_end) {
    finish_with(record, {});
    return;
  }
  crew_.run("muster-cause", [this, record, cause_of_end] {
    std::string cause;
    try {
      cause = cause_of_end();
    } catch (const std::exception& error) {
      log::debug("Why worker " + std::to_string(record->pid) + " ended can't be told: " + error.what());
    }
    finish_with(record, std::move(cause));
  });
}

void Launcher::finish_with(const Record& record, std::string cause) {
  WorkerExit exit;
  bool was_listed = false;
  {
    const std::lock_guard lock(mutex_);
    if (record->stage == WorkerRecord::Stage::gone) return;
    was_listed = record->stage >= WorkerRecord::Stage::listed;
    record->stage = WorkerRecord::Stage::gone;
    exit.pid = record->pid;
    exit.host = record->member.host.empty() ? "localhost" : record->member.host;
    exit.expected = record->expected;
    exit.exit_status = record->exit_status;
    exit.signal = record->signal;
    if (record->output) exit.last_output = record->output->last_output();
    exit.calls_in_flight = calls_.calls_in_flight(record->pid);
    exit.cause = std::move(cause);
  }
  if (!exit.expected) log::warning(exit.describe());
  cluster_.remove(exit);
  std::vector<std::function<void()>> tell;
  {
    const std::lock_guard lock(mutex_);
    records_.erase(record->pid);
    for (auto departure = departures_.begin(); departure != departures_.end();) {
      const bool all = std::none_of(departure->pids.begin(), departure->pids.end(),
                                    [this](Pid pid) { return pid != 1 && records_.contains(pid); });
      if (all) tell.push_back(std::move(departure->tell));
      departure = all ? departures_.erase(departure) : departure + 1;
    }
    changed_.notify_all();
  }
  for (const auto& f : tell) f();
  if (was_listed) {
    callbacks_.post([record] { record->manager->manage(record->pid, record->config, ManageOp::Deregister); });
    callbacks_.removed(exit);
  }
  // There, because its destructor waits for whoever is printing.
  callbacks_.post([this, record] {
    std::shared_ptr<WorkerOutput> output;
    const std::lock_guard lock(mutex_);
    output.swap(record->output);
  });
}

}  // namespace muster::runtime
