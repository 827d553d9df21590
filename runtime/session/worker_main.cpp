#include "runtime/session/worker_main.hpp"

#include "runtime/base/log.hpp"
#include "runtime/cluster/host_identity.hpp"
#include "runtime/session/process.hpp"
#include "runtime/session/start_record.hpp"
#include "runtime/transport/host_lane.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace muster::runtime {

namespace {

/// How long running tasks may take to notice that their worker leaves.
constexpr auto drain_patience = std::chrono::milliseconds(200);

/// Ends the process at once, with what was printed. A task that is in the middle of printing is not waited for.
[[noreturn]] void end_now(int status) {
  if (ftrylockfile(stdout) == 0) (void)fflush_unlocked(stdout);
  _exit(status);
}

void detach_stdin() {
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0) return;
  ::dup2(null, STDIN_FILENO);
  ::close(null);
}

void ignore(int /*signal*/) {}

/// Interrupts travel as messages: a terminal's SIGINT must not end a worker. A handler, not SIG_IGN, which programs
/// started by tasks would inherit.
void set_signals() {
  struct sigaction action = {};
  action.sa_handler = ignore;
  action.sa_flags = SA_RESTART;
  (void)sigaction(SIGINT, &action, nullptr);
  (void)std::signal(SIGPIPE, SIG_IGN);  // a master that is gone must not end us in the middle of saying so
}

/// What the main thread waits for.
class Ending {
 public:
  void joined() { set(joined_); }
  void exit_requested() { set(exit_requested_); }
  bool wait_for_join(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [this] { return joined_; });
  }
  bool is_exit_requested() {
    const std::lock_guard lock(mutex_);
    return exit_requested_;
  }
  void wait_for_exit_request() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return exit_requested_; });
  }
  /// Gives tasks a moment. @returns whether none is left
  bool wait_until_idle(const Executor& executor, std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    const auto deadline = Clock::now() + limit;
    while (executor.jobs() != 0 && Clock::now() < deadline) changed_.wait_for(lock, std::chrono::milliseconds(2));
    return executor.jobs() == 0;
  }

 private:
  void set(bool& what) {
    const std::lock_guard lock(mutex_);
    what = true;
    changed_.notify_all();
  }
  std::mutex mutex_;  ///< guards both
  std::condition_variable changed_;
  bool joined_ = false, exit_requested_ = false;
};

/// Where a worker listens.
struct Place {
  std::string address;
  int port = 0;  ///< 0: any
};

Place place_of(const StartRecord& record, const std::optional<std::string>& bind) {
  if (!bind) return {record.bind_address, 0};
  const Machine machine("worker " + *bind);  // which reads addresses of every form
  return {machine.bind_address, machine.bind_port};
}

int serve(const StartRecord& record, const Place& place) {
  Ending ending;
  ProcessSettings settings;
  auto lane = std::make_unique<ZmqLane>(place.address, place.port, LinkSecurity{record.encryption, record.link_secret});
  const int port = lane->port();
  const std::string address = lane->address();
  settings.lane = make_host_lane(std::move(lane));
  settings.cookie = record.cookie;
  settings.master = false;
  settings.transport.max_message = record.max_message;
  settings.on_master_lost = [&ending](const std::string& reason) {
    if (ending.is_exit_requested()) return;  // it took our goodbye
    log::warning("The connection to the master is gone (" + reason + "): this worker exits");
    end_now(1);
  };
  settings.on_exit_request = [&ending] { ending.exit_requested(); };
  settings.on_joined = [&ending] { ending.joined(); };
  Process process(std::move(settings));
  set_session_process(&process);
  if (record.master_os_pid > 0 && record.master_host == host_identity()) {
    process.steward().watch_child(static_cast<pid_t>(record.master_os_pid), [](int) {
      log::warning("The master's process is gone: this worker exits");
      end_now(1);
    });
  }

  std::printf("muster_worker:%d#%s\n", port, address.c_str());
  std::fflush(stdout);
  if (!ending.wait_for_join(record.timeout)) {
    log::error("Master process (id 1) could not connect within " + std::to_string(record.timeout.count() / 1000) +
               " seconds. exiting.");
    end_now(1);
  }
  ending.wait_for_exit_request();
  process.cluster().leave();
  log::set_level(log::Level::off);  // that tasks failed because they were stopped is no news
  process.calls().interrupt_here();
  if (!ending.wait_until_idle(process.executor(), drain_patience))
    end_now(0);  // a task that does not notice can't hold us
  set_session_process(nullptr);
  return 0;
}

}  // namespace

void worker_main(const std::optional<std::string>& bind) {
  (void)setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  set_signals();
  int status = 1;
  try {
    const StartRecord record = read_record(read_line_of_stdin(std::chrono::seconds(60)));
    detach_stdin();
    log::set_level(log::level_named(record.log_level));
    status = serve(record, place_of(record, bind));
  } catch (const std::exception& error) {
    log::error(std::string("This worker could not start: ") + error.what());
  }
  std::exit(status);
}

}  // namespace muster::runtime
