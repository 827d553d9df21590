/// @file
/// Workers on this host.
#include "runtime/base/child_process.hpp"
#include "runtime/cluster/worker_output.hpp"

#include <muster/cluster_manager.hpp>

#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace muster {

namespace {

using runtime::ChildProcess;
using runtime::SpawnRequest;
using runtime::StandardError;
using runtime::UniqueFd;

const std::string here = "localhost";

/// For a worker to read its start record, which fits into the pipe at once unless somebody made pipes tiny.
constexpr std::chrono::seconds record_patience{10};

/// Variables that make numerical libraries start a thread per core, in each of a core's workers.
constexpr const char* thread_variables[] = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"};

/// What a worker's environment has that ours has not.
std::map<std::string, std::string> added_environment(const AddprocsOptions& options) {
  std::map<std::string, std::string> added = options.env;
  if (!options.threaded_blas) {
    for (const char* variable : thread_variables) added.emplace(variable, "1");  // where env does not set it
  }
  return added;
}

/// Whether a failure to start one process means that no other can be started either.
bool is_exhaustion(const std::error_code& code) {
  return code == std::errc::too_many_files_open || code == std::errc::too_many_files_open_in_system ||
         code == std::errc::resource_unavailable_try_again || code == std::errc::not_enough_memory;
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

void launch_one(LaunchContext& context, const SpawnRequest& request) {
  ChildProcess child = runtime::spawn_process(request);
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

void LocalManager::launch(LaunchContext& context) {
  SpawnRequest request;
  request.directory = context.options().dir;
  request.environment = added_environment(context.options());
  request.environment.merge(runtime::current_environment());
  std::optional<std::string> give_up;  // why no further one is tried
  for (int i = 0; i < n_; ++i) {
    if (!give_up && context.stop_token().stop_requested()) give_up = "not started, as the addprocs ended before";
    if (give_up) {
      context.failed(here, *give_up);
      continue;
    }
    try {
      request.arguments = context.worker_command();
      launch_one(context, request);
    } catch (const std::system_error& error) {
      context.failed(here, error.what());
      if (is_exhaustion(error.code())) give_up = std::string("not tried, as the one before it failed: ") + error.what();
    } catch (const std::exception& error) {
      context.failed(here, error.what());
    }
  }
}

}  // namespace muster
