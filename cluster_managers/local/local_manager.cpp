/// @file
/// Workers on this host.
#include "runtime/base/child_process.hpp"
#include "runtime/base/fork_server.hpp"
#include "runtime/cluster/worker_environment.hpp"
#include "runtime/cluster/worker_output.hpp"

#include <muster/cluster_manager.hpp>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace muster {

namespace {

using runtime::added_environment;
using runtime::ChildProcess;
using runtime::ForkServer;
using runtime::SpawnRequest;
using runtime::StandardError;
using runtime::UniqueFd;

const std::string here = "localhost";

/// A fork server costs about as much as two workers started without one.
constexpr int fewest_to_fork = 3;

/// For a worker to read its start record, which fits into the pipe at once unless somebody made pipes tiny.
constexpr std::chrono::seconds record_patience{10};

/// Whether a failure to start one process means that no other can be started either.
bool is_exhaustion(const std::error_code& code) {
  return code == std::errc::too_many_files_open || code == std::errc::too_many_files_open_in_system ||
         code == std::errc::resource_unavailable_try_again || code == std::errc::not_enough_memory;
}

/// A number in a file of the kernel's, where it has one.
std::optional<std::int64_t> number_in(const char* path) {
  std::ifstream file(path);
  std::int64_t number = 0;
  return file >> number ? std::optional(number) : std::nullopt;
}

std::optional<std::int64_t> limit_of(__rlimit_resource resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return static_cast<std::int64_t>(limit.rlim_cur);
}

/// Descriptors that this process has open.
std::int64_t open_descriptors() {
  std::error_code ignored;
  const std::filesystem::directory_iterator all("/proc/self/fd", ignored);
  return ignored ? 0 : std::distance(begin(all), end(all));
}

/// Refuses what can't be, before the first is started: each worker costs this process four descriptors (two pipes, its
/// process, its connection) and the system some threads.
/// @throws Error naming the limit
void check_room(std::int64_t n) {
  constexpr std::int64_t descriptors_each = 4, descriptors_to_start = 8, threads_each = 5;
  const auto check = [n](std::int64_t needed, std::optional<std::int64_t> limit, const std::string& what,
                         const std::string& where) {
    if (limit && needed > *limit) {
      throw Error("can't start " + std::to_string(n) + " workers on this host: with them there would be " +
                  std::to_string(needed) + " " + what + ", and the limit is " + std::to_string(*limit) + " (" + where +
                  "). None was started; start fewer, or raise the limit.");
    }
  };
  if (n == 0) return;
  check(open_descriptors() + descriptors_to_start + n * descriptors_each, limit_of(RLIMIT_NOFILE),
        "file descriptors open in this process", "ulimit -n");
  check(n * threads_each, number_in("/proc/sys/kernel/threads-max"), "threads", "/proc/sys/kernel/threads-max");
  check(n * threads_each, number_in("/proc/sys/kernel/pid_max"), "threads", "/proc/sys/kernel/pid_max");
  if (::geteuid() != 0) check(n * threads_each, limit_of(RLIMIT_NPROC), "threads of this user", "ulimit -u");
}

/// Gives a worker its start record. One that ended before it read it is no failure of ours: its output tells more.
void send_record(ChildProcess& child, const std::string& record) {
  try {
    runtime::write_all(child.standard_input.get(), record + "\n", record_patience);
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::broken_pipe) {
      ::kill(child.os_pid, SIGKILL);  // our child, not reaped: the number is still its own
      ::waitpid(child.os_pid, nullptr, 0);
      throw;
    }
  }
  child.standard_input.reset();
}

/// Of another program it is not known whether it would serve.
bool is_this_program(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::equivalent("/proc/self/exe", path, ignored);
}

/// Starts workers: by a fork server while there is one.
class Starter {
 public:
  Starter(SpawnRequest request, bool by_forks) : request_(std::move(request)) {
    if (by_forks) server_ = ForkServer::start(request_);
  }
  ChildProcess start() {
    if (server_) {
      if (auto child = server_->spawn()) return std::move(*child);
      server_.reset();
    }
    return runtime::spawn_process(request_);
  }

 private:
  const SpawnRequest request_;
  std::unique_ptr<ForkServer> server_;
};

void launch_one(LaunchContext& context, Starter& starter) {
  ChildProcess child = starter.start();
  send_record(child, context.start_record());
  WorkerConfig config;
  config.os_pid = child.os_pid;
  config.environment = added_environment(context.options());
  config.userdata = StandardError{std::make_shared<UniqueFd>(std::move(child.standard_error))};
  config.output_fd = child.standard_output.release();
  context.launched(std::move(config));
}

}  // namespace

LocalManager::LocalManager(int n) : n_(n) {
  if (n < 0)
    throw std::invalid_argument("can't start " + std::to_string(n) + " workers: the number must not be negative");
}

std::string LocalManager::to_string() const { return "LocalManager(" + std::to_string(n_) + ")"; }

void LocalManager::launch(LaunchContext& context) {
  check_room(n_);
  SpawnRequest request;
  request.directory = context.options().dir;
  request.environment = added_environment(context.options());
  request.environment.merge(runtime::current_environment());
  request.arguments = context.worker_command();
  const bool by_forks = n_ >= fewest_to_fork && is_this_program(request.arguments.front());
  Starter starter(std::move(request), by_forks);
  std::optional<std::string> give_up;  // why no further one is tried
  for (int i = 0; i < n_; ++i) {
    if (!give_up && context.stop_token().stop_requested()) give_up = "not started, as the addprocs ended before";
    if (give_up) {
      context.failed(here, *give_up);
      continue;
    }
    try {
      launch_one(context, starter);
    } catch (const std::system_error& error) {
      context.failed(here, error.what());
      if (is_exhaustion(error.code())) give_up = std::string("not tried, as the one before it failed: ") + error.what();
    } catch (const std::exception& error) {
      context.failed(here, error.what());
    }
  }
}

}  // namespace muster
