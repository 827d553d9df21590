// Seeing workers off: asked or not.

#include "runtime/base/log.hpp"
#include "runtime/cluster/launcher.hpp"

#include <sys/wait.h>

#include <algorithm>

namespace muster::runtime {

namespace {

/// How long the exit status and the last output may lag behind the loss of the link.
constexpr auto status_patience = std::chrono::milliseconds(500);

}  // namespace

Launcher::Launcher(LauncherSettings settings, Cluster& cluster, Calls& calls, Transport& transport, Steward& steward)
    : settings_(std::move(settings)),
      cluster_(cluster),
      calls_(calls),
      transport_(transport),
      steward_(steward),
      printer_(std::make_shared<OutputPrinter>(settings_.worker_output)),
      output_steward_("muster-output") {
  callback_thread_ = std::thread([this] { callback_main(); });
}

Launcher::~Launcher() {
  {
    const std::lock_guard lock(queue_mutex_);
    stopping_ = true;
    queue_changed_.notify_all();
  }
  callback_thread_.join();
  crew_.join();
}

// -- removal -----------------------------------------------------------------------------------------------------------------

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
    cluster_.send(pid, MessageKind::exit);
    kill_after(record, grace);
  }
}

void Launcher::kill_after(const Record& record, std::chrono::nanoseconds grace) {
  steward_.after(grace, [this, record] { kill(record); });
}

void Launcher::kill(const Record& record) {
  {
    const std::lock_guard lock(mutex_);
    if (record->stage == WorkerRecord::Stage::gone || record->killing) return;
    if (record->process_ended && record->config.os_pid > 0) return;
    record->killing = true;
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
    const bool any = std::any_of(pids.begin(), pids.end(), [this](Pid pid) { return pid != 1 && records_.contains(pid); });
    if (any) {
      departures_.push_back({pids, std::move(f)});
      return;
    }
  }
  f();
}

void Launcher::remove_all(std::chrono::nanoseconds grace) {
  std::vector<Pid> pids;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [pid, record] : records_) pids.push_back(pid);
  }
  remove(pids, grace);
  (void)wait_until_gone(pids, Clock::now() + 2 * grace + std::chrono::milliseconds(500));
}

void Launcher::interrupt(const std::vector<Pid>& pids) {
  for (const Pid pid : pids) calls_.interrupt(pid);
}

// -- what is heard of its end ----------------------------------------------------------------------------------------------------

void Launcher::on_process_ended(const Record& record, int wait_status) {
  WorkerOutput* output = nullptr;
  {
    const std::lock_guard lock(mutex_);
    record->process_ended = true;
    if (wait_status >= 0 && WIFEXITED(wait_status)) record->exit_status = WEXITSTATUS(wait_status);
    if (wait_status >= 0 && WIFSIGNALED(wait_status)) record->signal = WTERMSIG(wait_status);
    output = record->output.get();
  }
  if (output != nullptr) output->finish([this, record] { on_output_ended(record); });
  consider(record);
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
  {
    const std::lock_guard lock(mutex_);
    record->link_lost = true;
  }
  consider(record);
  // A process that lives on without its link can't be led any more. It ends itself; where it can't, it is killed.
  steward_.after(status_patience, [this, record] {
    kill(record);
    {
      const std::lock_guard lock(mutex_);
      record->output_ended = true;
    }
    finish(record);
  });
}

/// Declares the worker gone once how it ended is known.
void Launcher::consider(const Record& record) {
  bool early = false;
  {
    const std::lock_guard lock(mutex_);
    const bool has_process = record->config.os_pid > 0;
    if (record->stage == WorkerRecord::Stage::gone) return;
    if (has_process ? !(record->process_ended && record->output_ended)
                    : !(record->link_lost || (record->failure && record->output_ended)))
      return;
    early = record->stage < WorkerRecord::Stage::listed && !record->failure;
  }
  if (early) {
    const std::string message =
        "Unable to read host:port string from worker. Launch command exited with error? " +
        WorkerExit{.pid = record->pid,
                   .host = "localhost",
                   .expected = false,
                   .exit_status = record->exit_status,
                   .signal = record->signal,
                   .last_output = record->output ? record->output->last_output() : "",
                   .calls_in_flight = 0}
            .describe();
    fail(record, LaunchCause::exited, message, std::make_exception_ptr(Error(message)));
    return;
  }
  finish(record);
}

void Launcher::finish(const Record& record) {
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
  }
  if (!exit.expected) log::warning(exit.describe());
  (void)cluster_.remove(exit);
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
  callback([this, record, exit, was_listed] {
    if (was_listed) {
      record->manager->manage(exit.pid, record->config, ManageOp::Deregister);
      std::vector<std::function<void(const WorkerExit&)>> told;
      {
        const std::lock_guard lock(callbacks_->mutex);
        for (const auto& [number, f] : callbacks_->removed) told.push_back(f);
      }
      for (const auto& f : told) f(exit);
    }
    record->output.reset();  // here, since its own callbacks hold the record
  });
}

// -- callbacks -------------------------------------------------------------------------------------------------------------------

CallbackHandle Launcher::on_added(std::function<void(Pid)> f) {
  const std::lock_guard lock(callbacks_->mutex);
  const auto number = ++callbacks_->last;
  callbacks_->added[number] = std::move(f);
  return CallbackHandle([callbacks = callbacks_, number] {
    const std::lock_guard unlisted(callbacks->mutex);
    callbacks->added.erase(number);
  });
}

CallbackHandle Launcher::on_removed(std::function<void(const WorkerExit&)> f) {
  const std::lock_guard lock(callbacks_->mutex);
  const auto number = ++callbacks_->last;
  callbacks_->removed[number] = std::move(f);
  return CallbackHandle([callbacks = callbacks_, number] {
    const std::lock_guard unlisted(callbacks->mutex);
    callbacks->removed.erase(number);
  });
}

void Launcher::callback(std::function<void()> f) {
  const std::lock_guard lock(queue_mutex_);
  queue_.push_back(std::move(f));
  queue_changed_.notify_one();
}

void Launcher::callback_main() {
  (void)pthread_setname_np(pthread_self(), "muster-callback");
  std::unique_lock lock(queue_mutex_);
  for (;;) {
    queue_changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    auto work = std::exchange(queue_, {});
    lock.unlock();
    for (auto& f : work) {
      try {
        f();
      } catch (const std::exception& error) {
        log::error(std::string("A callback of the cluster threw: ") + error.what());
      } catch (...) {
        log::error("A callback of the cluster threw something that is no std::exception");
      }
    }
    work.clear();
    lock.lock();
  }
}

}  // namespace muster::runtime
