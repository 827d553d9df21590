#include "runtime/base/run_command.hpp"

#include "runtime/base/child_process.hpp"

#include <muster/errors.hpp>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

namespace muster::runtime {

namespace {

using Clock = std::chrono::steady_clock;

void take(UniqueFd& from, std::string& text) {
  std::array<char, 4096> part{};
  const auto got = ::read(from.get(), part.data(), part.size());
  if (got > 0)
    text.append(part.data(), static_cast<std::size_t>(got));
  else if (got == 0 || errno != EINTR)
    from.reset();
}

/// @returns false when time is over first
bool read_to_end(ChildProcess& child, CommandOutcome& outcome, Clock::time_point deadline) {
  while (child.standard_output || child.standard_error) {
    std::array<pollfd, 2> watched{{{child.standard_output.get(), POLLIN, 0}, {child.standard_error.get(), POLLIN, 0}}};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    if (::poll(watched.data(), watched.size(), static_cast<int>(left)) <= 0) continue;
    if (watched[0].revents != 0) take(child.standard_output, outcome.output);
    if (watched[1].revents != 0) take(child.standard_error, outcome.errors);
  }
  return true;
}

}  // namespace

std::string CommandOutcome::said() const {
  std::string text = errors + output;
  text.erase(text.find_last_not_of(" \n\r\t") + 1);
  return text.empty() ? "nothing" : text;
}

CommandOutcome run_command(const std::vector<std::string>& arguments, const std::string& input,
                           std::chrono::milliseconds limit,
                           const std::optional<std::map<std::string, std::string>>& environment) {
  SpawnRequest request;
  request.arguments = arguments;
  request.environment = environment ? *environment : current_environment();
  ChildProcess child;
  try {
    child = spawn_process(request);
  } catch (const std::system_error& error) {
    throw Error(std::string("can't run ") + arguments.front() + ": " + error.what());
  }
  CommandOutcome outcome;
  const auto deadline = Clock::now() + limit;
  try {
    if (!input.empty()) write_all(child.standard_input.get(), input, limit);
  } catch (const std::system_error& error) {  // one that did not want it says why
    if (error.code() != std::errc::broken_pipe) outcome.errors = error.what();
  }
  child.standard_input.reset();
  const bool in_time = read_to_end(child, outcome, deadline);
  if (!in_time) {
    ::kill(child.os_pid, SIGKILL);
    outcome.errors += "no answer within " + std::to_string(limit.count() / 1000) + " s";
  }
  int status = 0;
  while (::waitpid(child.os_pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (in_time && WIFEXITED(status)) outcome.status = WEXITSTATUS(status);
  return outcome;
}

std::string shell_word(const std::string& text) {
  static constexpr const char* plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  if (!text.empty() && text.find_first_not_of(plain) == std::string::npos) return text;
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string(R"('\'')") : std::string(1, c);
  return word + "'";
}

std::string shell_words(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + shell_word(word);
  return line;
}

}  // namespace muster::runtime
