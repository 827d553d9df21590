/// @file
/// For tests of whole programs: starts this very program again, in a role, and sees what it prints and how it ends.
#pragma once

#include <muster/cluster_manager.hpp>
#include <muster/session.hpp>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace muster::testing {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int slowness = 5;  ///< what takes a second may take so many under a sanitizer
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
inline constexpr int slowness = 5;
#else
inline constexpr int slowness = 1;
#endif
#else
inline constexpr int slowness = 1;
#endif

/// Waits for something that nobody announces.
template <class Condition>
bool eventually(const Condition& condition, std::chrono::nanoseconds limit = 20s) {
  const auto deadline = Clock::now() + limit;
  while (!condition()) {
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

/// Whether a process runs: one that ended and was not reaped does not.
inline bool runs(pid_t os_pid) {
  std::ifstream stat("/proc/" + std::to_string(os_pid) + "/stat");
  std::string text;
  if (!std::getline(stat, text)) return false;
  const auto end = text.rfind(')');
  return end != std::string::npos && end + 2 < text.size() && text[end + 2] != 'Z' && text[end + 2] != 'X';
}

/// What lies in a directory.
inline std::set<std::string> names_in(const std::string& directory) {
  std::set<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored))
    names.insert(entry.path().filename());
  return names;
}

/// How a child program is started.
struct ChildOptions {
  std::map<std::string, std::string> env = {};
  rlim_t open_files = 0;     ///< its limit; 0: as here
  int output_fd = -1;        ///< its stdout; -1: a pipe that is read
  std::string program = {};  ///< empty: this one
};

/// A program under test; killed when this is destroyed while it still runs.
class ChildProgram {
 public:
  explicit ChildProgram(std::vector<std::string> arguments, const ChildOptions& options = {}) {
    int out[2], error[2];
    if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(error, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
    arguments.insert(arguments.begin(), options.program.empty()
                                            ? std::filesystem::read_symlink("/proc/self/exe").string()
                                            : options.program);
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::vector<std::string> variables;
    for (char** variable = environ; *variable != nullptr; ++variable) {
      const std::string text = *variable;
      if (!options.env.contains(text.substr(0, text.find('=')))) variables.push_back(text);
    }
    for (const auto& [name, value] : options.env) variables.push_back(name + "=" + value);
    std::vector<char*> envp;
    for (auto& variable : variables) envp.push_back(variable.data());
    envp.push_back(nullptr);
    os_pid_ = ::fork();
    if (os_pid_ == 0) {  // only what may be called between fork and exec
      ::dup2(options.output_fd >= 0 ? options.output_fd : out[1], STDOUT_FILENO);
      ::dup2(error[1], STDERR_FILENO);
      if (options.open_files != 0) {
        const rlimit limit{options.open_files, options.open_files};
        ::setrlimit(RLIMIT_NOFILE, &limit);
      }
      ::execve(argv[0], argv.data(), envp.data());
      ::_exit(127);
    }
    ::close(out[1]);
    ::close(error[1]);
    fds_[0] = out[0];
    fds_[1] = error[0];
  }
  ~ChildProgram() {
    if (os_pid_ > 0) {
      ::kill(os_pid_, SIGKILL);
      ::waitpid(os_pid_, nullptr, 0);
    }
    for (const int fd : fds_)
      if (fd >= 0) ::close(fd);
  }
  ChildProgram(const ChildProgram&) = delete;
  ChildProgram& operator=(const ChildProgram&) = delete;

  pid_t os_pid() const { return os_pid_; }
  const std::string& out() const { return text_[0]; }
  const std::string& error() const { return text_[1]; }
  void signal(int number) const { ::kill(os_pid_, number); }

  /// Reads until its stdout holds that text.
  bool prints(const std::string& text, std::chrono::nanoseconds limit = 20s) {
    const auto deadline = Clock::now() + limit;
    while (text_[0].find(text) == std::string::npos)
      if (!read_some(deadline)) return false;
    return true;
  }
  /// Waits for its end. @returns its status as waitpid gives it; -1 when it did not end
  int ends(std::chrono::nanoseconds limit = 20s) {
    const auto deadline = Clock::now() + limit;
    int status = 0;
    while (::waitpid(os_pid_, &status, WNOHANG) == 0) {
      if (Clock::now() >= deadline) return -1;
      (void)read_some(std::min(deadline, Clock::now() + 5ms));
    }
    os_pid_ = -1;
    // What it wrote is there; a process of its own may hold the pipe open.
    while (read_some(Clock::now() + 50ms)) {
    }
    return status;
  }

 private:
  /// @returns false when nothing more came until then
  bool read_some(Clock::time_point deadline) {
    pollfd polled[2] = {{fds_[0], POLLIN, 0}, {fds_[1], POLLIN, 0}};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (::poll(polled, 2, left > 0 ? static_cast<int>(left) : 0) <= 0) return false;
    for (int i = 0; i < 2; ++i) {
      if (polled[i].revents == 0) continue;
      char buffer[4096];
      const auto count = ::read(fds_[i], buffer, sizeof buffer);
      if (count > 0) {
        text_[i].append(buffer, static_cast<std::size_t>(count));
      } else {
        ::close(fds_[i]);
        fds_[i] = -1;
      }
    }
    return fds_[0] >= 0 || fds_[1] >= 0;
  }

  pid_t os_pid_ = -1;
  int fds_[2] = {-1, -1};
  std::string text_[2];
};

/// A worker just started, and where its output is read.
struct StartedWorker {
  pid_t os_pid;
  int output_fd;
};

/// Starts a worker as a manager does, with that start record on its standard input.
inline StartedWorker start_worker(const LaunchContext& context, const std::string& start_record) {
  auto command = context.worker_command();
  std::vector<char*> arguments;
  for (auto& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  int input[2], output[2];
  if (::pipe2(input, O_CLOEXEC) != 0 || ::pipe2(output, O_CLOEXEC) != 0) throw std::runtime_error("no pipes");
  const pid_t os_pid = ::fork();
  if (os_pid == 0) {
    ::dup2(input[0], STDIN_FILENO);
    ::dup2(output[1], STDOUT_FILENO);
    ::dup2(output[1], STDERR_FILENO);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  const std::string record = start_record + "\n";
  EXPECT_EQ(::write(input[1], record.data(), record.size()), static_cast<ssize_t>(record.size()));
  for (const int fd : {input[0], input[1], output[1]}) ::close(fd);
  return {os_pid, output[0]};
}

/// The main function of a program with roles. Role `name` runs where the first argument is `role:name`.
inline int main_with_roles(int argc, char** argv,
                           const std::map<std::string, std::function<int(int&, char**&)>>& roles) {
  for (int i = 1; i < argc; ++i)
    if (std::string(argv[i]) == "--muster-worker") {
      const Session session(argc, argv);  // does not return
    }
  if (argc > 1 && std::string(argv[1]).starts_with("role:"))
    return roles.at(std::string(argv[1]).substr(5))(argc, argv);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

}  // namespace muster::testing
