#include "runtime/base/log.hpp"
#include "runtime/base/random.hpp"
#include "runtime/base/unique_fd.hpp"
#include "runtime/cluster/host_identity.hpp"
#include "runtime/session/flags.hpp"
#include "runtime/session/mpi_ranks.hpp"
#include "runtime/session/process.hpp"
#include "runtime/session/start_record.hpp"
#include "runtime/session/worker_main.hpp"
#include "runtime/transport/host_lane.hpp"

#include <muster/session.hpp>

#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace muster {

namespace {

using runtime::Flags;

[[noreturn]] void end_with_usage(const std::string& message) {
  std::fprintf(stderr, "muster: %s\n", message.c_str());
  std::exit(2);
}

/// What a session without workers opens, and some: libzmq ends the process where it gets none.
constexpr int descriptors_needed = 32;

/// A process that leads many others needs many descriptors: as many as it may have.
/// @throws Error where that is too few for any
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  if (limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
  }
  std::array<runtime::UniqueFd, descriptors_needed> tried;
  for (auto& fd : tried) {
    fd.reset(eventfd(0, EFD_CLOEXEC));
    if (!fd) {
      throw Error("muster: a session needs " + std::to_string(descriptors_needed) +
                  " file descriptors, and four more for each worker; this process may open " +
                  std::to_string(limit.rlim_cur) + ", and has not that many left. Raise the limit (ulimit -n).");
    }
  }
}

int count_of(const std::string& text) {
  if (text == "auto") return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  int count = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc{} || end != text.data() + text.size() || count < 0)
    throw std::invalid_argument(R"(--muster-procs (or MUSTER_PROCS) takes a number of workers or "auto", not ")" +
                                text + "\"");
  return count;
}

std::vector<Machine> machines_in(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::invalid_argument("--muster-machine-file (or MUSTER_MACHINE_FILE): can't read " + path);
  std::vector<Machine> machines;
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find_first_not_of(" \t");
    if (first == std::string::npos || line[first] == '#') continue;
    machines.emplace_back(line.substr(first, line.find_last_not_of(" \t\r") - first + 1));
  }
  return machines;
}

/// Serves the master at rank 0, and exits.
[[noreturn]] void become_rank(const Flags& flags, const std::string& meeting) {
  std::string record;
  try {
    record = runtime::read_meeting_file(meeting, std::chrono::seconds(60));
  } catch (const std::exception& error) {
    runtime::log::error(std::string("This worker could not start: ") + error.what());
    std::exit(1);
  }
  runtime::worker_main(flags.bind, record);
}

std::string log_level(const Flags& flags) { return flags.log.value_or("info"); }

runtime::ProcessSettings master_settings(const SessionOptions& options, const Flags& flags) {
  if (options.heartbeat_interval.count() <= 0 || options.heartbeat_timeout <= options.heartbeat_interval)
    throw std::invalid_argument("muster: heartbeat_interval must be positive, and heartbeat_timeout longer");
  if (std::any_of(options.cookie.begin(), options.cookie.end(), [](char c) { return c < ' ' || c > '~'; }))
    throw std::invalid_argument("muster: SessionOptions::cookie must be printable ASCII text");
  runtime::ProcessSettings settings;
  const std::string bind = options.bind_address.empty() ? "127.0.0.1" : options.bind_address;
  const runtime::LinkSecurity security{options.encryption, runtime::random_token(43)};
  settings.lane = runtime::make_host_lane(std::make_unique<runtime::ZmqLane>(bind, 0, security));
  settings.cookie = options.cookie.empty() ? runtime::random_token(32) : options.cookie;
  settings.heartbeat_interval = options.heartbeat_interval;
  settings.heartbeat_timeout = options.heartbeat_timeout;
  settings.transport.max_message = options.max_message;
  settings.worker_output = options.worker_output;
  runtime::StartRecord record;
  record.cookie = settings.cookie;
  record.bind_address = bind;
  record.max_message = options.max_message;
  record.encryption = security.mode;
  record.link_secret = security.secret;
  record.log_level = log_level(flags);
  record.master_os_pid = getpid();
  record.master_host = runtime::host_identity();
  settings.start_record = [record](std::chrono::nanoseconds timeout, const runtime::CallBack& call) {
    runtime::StartRecord one = record;  // managers ask on threads of their own
    one.call_back = call;
    one.timeout = std::chrono::duration_cast<std::chrono::milliseconds>(timeout);
    return runtime::write_record(one);
  };
  return settings;
}

}  // namespace

// NOLINTNEXTLINE(performance-unnecessary-value-param): the interface says so
Session::Session(int& argc, char**& argv, SessionOptions options) {
  if (runtime::current_process_or_null() != nullptr)
    throw std::logic_error("muster: this process has a session already; one at a time");
  Flags flags;
  int procs = 0;
  std::vector<Machine> machines;
  try {
    flags = runtime::take_flags(argc, argv);
    if (flags.log) runtime::log::set_level(runtime::log::level_named(*flags.log));
    if (flags.procs) procs = count_of(*flags.procs);
    if (flags.machine_file) machines = machines_in(*flags.machine_file);
    (void)runtime::shared_memory_wanted();
  } catch (const std::invalid_argument& error) {
    end_with_usage(error.what());
  }
  if (flags.worker) runtime::worker_main(flags.bind);
  const runtime::MpiRank none{0, 0}, alone{0, 1};
  const runtime::MpiRank rank = flags.mpi ? runtime::mpi_rank().value_or(none) : alone;
  if (rank.size == 0) end_with_usage("--muster-mpi: this process was not started by mpirun (mpiexec, srun --mpi)");
  const std::string meeting = flags.mpi ? runtime::meeting_file(*flags.mpi) : std::string();
  if (rank.rank != 0) become_rank(flags, meeting);
  if (flags.help) {
    std::fputs(runtime::flags_help().c_str(), stdout);
    std::exit(0);
  }
  raise_descriptor_limit();
  process_ = std::make_unique<runtime::Process>(master_settings(options, flags));
  runtime::set_session_process(process_.get());
  try {
    if (procs > 0) (void)addprocs(procs);
    if (!machines.empty()) (void)addprocs(machines);
    if (rank.size > 1) (void)addprocs(std::make_shared<runtime::RankManager>(rank.size - 1, meeting));
  } catch (...) {
    process_->stop();
    runtime::set_session_process(nullptr);
    throw;
  }
}

Session::~Session() {
  if (!process_) return;
  process_->stop();
  runtime::set_session_process(nullptr);
}

}  // namespace muster
