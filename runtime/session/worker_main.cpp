#include "runtime/session/worker_main.hpp"

#include "runtime/base/address.hpp"
#include "runtime/base/host_name.hpp"
#include "runtime/base/interfaces.hpp"
#include "runtime/base/log.hpp"
#include "runtime/cluster/host_identity.hpp"
#include "runtime/session/leaving.hpp"
#include "runtime/session/process.hpp"
#include "runtime/session/start_record.hpp"
#include "runtime/transport/host_lane.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace muster::runtime {

namespace {

/// How long running tasks may take to notice that their worker leaves.
constexpr auto drain_patience = std::chrono::milliseconds(200);
/// For the master to answer at one of several addresses. A wrong one is refused at once, mostly.
constexpr std::chrono::milliseconds patience_per_address{10000};
constexpr std::chrono::milliseconds pause_between_rounds{200};

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
  /// The master can't be reached this way.
  void not_reached() { set(not_reached_); }
  /// @returns false when it came to nothing
  bool wait_for_join(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    (void)changed_.wait_for(lock, limit, [this] { return joined_ || not_reached_; });
    return joined_;
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
  std::mutex mutex_;  ///< guards all
  std::condition_variable changed_;
  bool joined_ = false, exit_requested_ = false, not_reached_ = false;
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

/// What it tells the master of itself as it connects by itself.
Knock knock_of(const CallBack& call) {
  Knock knock;
  knock.ticket = call.ticket;
  knock.caller.host = host_name();
  knock.caller.os_pid = ::getpid();
  for (const std::string& variable : call.asked)
    if (const char* value = std::getenv(variable.c_str()); value != nullptr) knock.caller.facts[variable] = value;
  return knock;
}

/// Serves until the master says that it is enough.
/// @param master where to connect to it; empty: it connects to us
/// @returns the exit status; none where the master was not there within the limit
std::optional<int> serve(const StartRecord& record, const Place& place, const std::string& master,
                         std::chrono::milliseconds limit) {
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
  if (!master.empty()) {
    settings.on_not_reached = [&ending, master](const std::string& reason) {
      log::info("The master was not reached at " + master + ": " + reason);
      ending.not_reached();
    };
    settings.on_turned_away = [](const std::string& reason) {
      log::error("The master did not take this worker in: " + reason);
      end_now(1);
    };
  }
  Process process(std::move(settings));
  set_session_process(&process);
  if (record.master_os_pid > 0 && record.master_host == host_identity()) {
    process.steward().watch_child(static_cast<pid_t>(record.master_os_pid), [&ending](int) {
      if (ending.is_exit_requested()) return;  // it did not wait for our end
      log::warning("The master's process is gone: this worker exits");
      end_now(1);
    });
  }

  // Who came by itself may go by itself. Others are signalled by their managers, to end at once.
  std::optional<LeavingOnSignal> leaving;
  if (!master.empty() && record.call_back.leaves_on_sigterm)
    leaving.emplace(process, [&ending](std::chrono::milliseconds wait) { return ending.wait_for_join(wait); });
  if (master.empty()) {
    std::printf("muster_worker:%d#%s\n", port, address.c_str());
    std::fflush(stdout);
  } else {
    process.cluster().knock(master, knock_of(record.call_back));
  }
  if (!ending.wait_for_join(limit)) {
    set_session_process(nullptr);
    return std::nullopt;
  }
  ending.wait_for_exit_request();
  leaving.reset();
  process.cluster().leave();
  log::set_level(log::Level::off);  // that tasks failed because they were stopped is no news
  process.calls().interrupt_here();
  if (!ending.wait_until_idle(process.executor(), drain_patience))
    end_now(0);  // a task that does not notice can't hold us
  set_session_process(nullptr);
  return 0;
}

int wait_for_master(const StartRecord& record, const Place& place) {
  if (const auto status = serve(record, place, {}, record.timeout)) return *status;
  log::error("Master process (id 1) could not connect within " + std::to_string(record.timeout.count() / 1000) +
             " seconds. exiting.");
  end_now(1);
}

/// Connects to the master, at one after the other of its addresses. It listens where its packets to the master leave
/// from, which others of the cluster reach too.
int call_master(const StartRecord& record, const std::optional<std::string>& bind) {
  const CallBack& call = record.call_back;
  std::vector<std::string> endpoints = call.endpoints;
  if (record.master_host == host_identity()) endpoints.insert(endpoints.begin(), call.own_endpoint);
  const auto deadline = Clock::now() + record.timeout;
  for (bool first = true; first || Clock::now() < deadline; first = false) {
    if (!first) std::this_thread::sleep_for(pause_between_rounds);
    for (const std::string& endpoint : endpoints) {
      const bool here = endpoint == call.own_endpoint;
      const std::string towards(host_in(here ? call.endpoints.front() : endpoint));
      Place place{address_towards(towards), 0};
      if (bind) place = place_of(record, bind);
      if (place.address.empty()) continue;  // no route leads there
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
      const auto limit = endpoints.size() == 1 ? left : std::min(left, patience_per_address);
      if (const auto status = serve(record, place, endpoint, limit)) return *status;
    }
  }
  std::string tried;
  for (const std::string& endpoint : endpoints) tried += (tried.empty() ? "" : ", ") + endpoint;
  log::error("The master could not be reached within " + std::to_string(record.timeout.count() / 1000) +
             " seconds at " + tried + ". See that a firewall lets this host connect there. exiting.");
  end_now(1);
}

}  // namespace

void worker_main(const std::optional<std::string>& bind, const std::optional<std::string>& start_record) {
  (void)setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  set_signals();
  int status = 1;
  try {
    const StartRecord record = read_record(start_record ? *start_record : read_line_of_stdin(std::chrono::seconds(60)));
    detach_stdin();
    log::set_level(log::level_named(record.log_level));
    status = record.call_back.endpoints.empty() ? wait_for_master(record, place_of(record, bind))
                                                : call_master(record, bind);
  } catch (const std::exception& error) {
    log::error(std::string("This worker could not start: ") + error.what());
  }
  std::exit(status);
}

}  // namespace muster::runtime
