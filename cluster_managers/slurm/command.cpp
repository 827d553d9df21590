#include "cluster_managers/slurm/command.hpp"

#include "runtime/base/child_process.hpp"

#include <muster/errors.hpp>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

namespace muster::runtime::slurm {

namespace {

using Clock = std::chrono::steady_clock;

/// Takes what is there. @returns false at the end
bool take(const UniqueFd& from, std::string& text) {
  std::array<char, 4096> part{};
  const auto got = ::read(from.get(), part.data(), part.size());
  if (got > 0) text.append(part.data(), static_cast<std::size_t>(got));
  return got > 0 || (got < 0 && errno == EINTR);
}

/// @returns false when time is over before both streams have ended
bool read_all(ChildProcess& child, CommandResult& result, Clock::time_point deadline) {
  while (child.standard_output || child.standard_error) {
    std::array<pollfd, 2> watched{{{child.standard_output.get(), POLLIN, 0}, {child.standard_error.get(), POLLIN, 0}}};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    if (::poll(watched.data(), watched.size(), static_cast<int>(left)) <= 0) continue;
    if (watched[0].revents != 0 && !take(child.standard_output, result.output)) child.standard_output.reset();
    if (watched[1].revents != 0 && !take(child.standard_error, result.error)) child.standard_error.reset();
  }
  return true;
}

}  // namespace

std::string cannot_start(const std::string& command, const std::string& why) {
  return "can't run " + command + ": " + why +
         ". SlurmManager uses SLURM's own commands: see that they are installed on this host and on PATH, as on a "
         "login "
         "node of the cluster.";
}

CommandResult run(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment,
                  const std::string& input, std::chrono::milliseconds limit) {
  ChildProcess child;
  try {
    SpawnRequest request;
    request.arguments = arguments;
    request.environment = environment;
    child = spawn_process(request);
  } catch (const std::system_error& error) {
    throw Error(cannot_start(arguments.front(), error.what()));
  }
  CommandResult result;
  const auto deadline = Clock::now() + limit;
  try {
    if (!input.empty()) write_all(child.standard_input.get(), input, limit);
  } catch (const std::system_error& error) {  // one that did not want it says why
    result.error = error.code() == std::errc::broken_pipe ? "" : error.what();
  }
  child.standard_input.reset();
  const bool in_time = read_all(child, result, deadline);
  if (!in_time) {
    ::kill(child.os_pid, SIGKILL);
    result.error += "no answer within " + std::to_string(limit.count() / 1000) + " s";
  }
  int status = 0;
  while (::waitpid(child.os_pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (in_time && WIFEXITED(status)) result.status = WEXITSTATUS(status);
  return result;
}

}  // namespace muster::runtime::slurm
