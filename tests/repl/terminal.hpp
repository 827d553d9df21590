/// @file
/// Drives the prompt as a person does: through a terminal.
#pragma once

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace muster::testing {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// Longest wait for an answer: a machine that is busy takes its time.
inline constexpr auto patience = 120s;

/// Text without a terminal's control sequences.
inline std::string plain(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\033' && i + 1 < text.size() && text[i + 1] == '[') {
      i += 2;
      while (i < text.size() && (text[i] < '@' || text[i] > '~')) ++i;
    } else if (text[i] == '\b') {
      if (!result.empty()) result.pop_back();
    } else if (text[i] != '\r' && text[i] != '\a') {
      result += text[i];
    }
  }
  return result;
}

/// Makes the environment of a child: a home of its own, and a cache that all tests share.
inline void set_environment(const std::string& home) {
  ::setenv("HOME", home.c_str(), 1);
  ::setenv("XDG_CACHE_HOME", MUSTER_TEST_CACHE, 1);
  ::setenv("TERM", "xterm", 1);
  ::unsetenv("MUSTER_HISTORY");
}

/// A program in a terminal of its own.
class Terminal {
 public:
  explicit Terminal(std::vector<std::string> arguments = {}) {
    char home[] = "/tmp/muster-home-XXXXXX";
    if (::mkdtemp(home) == nullptr) throw std::runtime_error("no folder");
    home_ = home;
    start(std::move(arguments));
  }
  ~Terminal() {
    finish();
    std::filesystem::remove_all(home_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  /// Starts the program again, with the same home.
  void start(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), MUSTER_PROMPT);
    winsize size{50, 200, 0, 0};
    process_ = ::forkpty(&fd_, nullptr, nullptr, &size);
    if (process_ == 0) {
      set_environment(home_);
      std::vector<char*> words;
      for (std::string& word : arguments) words.push_back(word.data());
      words.push_back(nullptr);
      ::execv(words[0], words.data());
      ::_exit(127);
    }
    text_.clear();
    seen_ = 0;
    (void)expect("muster> ");
  }
  /// Ends it, if it has not ended. @returns its exit status; -1 where a signal ended it
  int finish() {
    if (process_ < 0) return status_;
    const auto deadline = Clock::now() + 20s;
    int status = 0;
    write("\x04");
    while (::waitpid(process_, &status, WNOHANG) == 0) {
      if (Clock::now() > deadline) ::kill(process_, SIGKILL);
      read_some(20ms);
    }
    ::close(fd_);
    process_ = -1;
    return status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  void write(const std::string& text) { (void)!::write(fd_, text.data(), text.size()); }
  pid_t process() const { return process_; }

  /// Waits until this appears behind what was waited for before. @returns what came up to and with it, plain
  std::string expect(const std::string& what, std::chrono::nanoseconds limit = patience) {
    const auto deadline = Clock::now() + limit;
    for (;;) {
      const std::string all = plain(text_);
      const std::size_t found = all.find(what, seen_);
      if (found != std::string::npos) {
        const std::size_t from = std::exchange(seen_, found + what.size());
        if (what.ends_with("> ") || what.ends_with("... ")) await_editor();
        return all.substr(from, seen_ - from);
      }
      if (Clock::now() > deadline || !read_some(50ms)) {
        ADD_FAILURE() << "the terminal does not show \"" << what << "\" but:\n"
                      << all.substr(std::min(seen_, all.size()));
        return {};
      }
    }
  }

  /// Types a line (or several), and waits for the next prompt. @returns what was printed meanwhile
  std::string ask(const std::string& line, std::chrono::nanoseconds limit = patience) {
    write(line + "\n");
    (void)expect("\n", limit);  // the end of the echo
    std::string answer = expect("muster> ", limit);
    const std::size_t prompt = answer.rfind("muster> ");
    if (prompt != std::string::npos) answer.erase(prompt);
    while (answer.ends_with('\n')) answer.pop_back();
    return answer;
  }

 private:
  /// The editor shows its prompt before it takes over the terminal: what is typed in between would be echoed twice.
  void await_editor() const {
    const auto deadline = Clock::now() + 10s;
    termios modes{};
    while (::tcgetattr(fd_, &modes) == 0 && (modes.c_lflag & ECHO) != 0 && Clock::now() < deadline) ::usleep(1000);
  }
  /// @returns false at its end
  bool read_some(std::chrono::milliseconds wait) {
    pollfd polled{fd_, POLLIN, 0};
    if (::poll(&polled, 1, static_cast<int>(wait.count())) <= 0) return true;
    char buffer[4096];
    const ssize_t count = ::read(fd_, buffer, sizeof buffer);
    if (count <= 0) return false;
    text_.append(buffer, static_cast<std::size_t>(count));
    return true;
  }

  std::string home_, text_;
  std::size_t seen_ = 0;  ///< in the plain text
  int fd_ = -1;
  pid_t process_ = -1;
  int status_ = 0;
};

/// What a program printed, and how it ended.
struct Outcome {
  std::string out = {}, error = {};
  int status = -1;
};

/// Runs the prompt's program without a terminal.
inline Outcome run(std::vector<std::string> arguments, const std::string& input = {}) {
  arguments.insert(arguments.begin(), MUSTER_PROMPT);
  char home[] = "/tmp/muster-home-XXXXXX";
  if (::mkdtemp(home) == nullptr) throw std::runtime_error("no folder");
  int in[2], out[2], error[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(error, O_CLOEXEC) != 0)
    throw std::runtime_error("no pipes");
  const pid_t process = ::fork();
  if (process == 0) {
    ::dup2(in[0], STDIN_FILENO);
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(error[1], STDERR_FILENO);
    set_environment(home);
    std::vector<char*> words;
    for (std::string& word : arguments) words.push_back(word.data());
    words.push_back(nullptr);
    ::execv(words[0], words.data());
    ::_exit(127);
  }
  for (const int fd : {in[0], out[1], error[1]}) ::close(fd);
  (void)!::write(in[1], input.data(), input.size());
  ::close(in[1]);
  Outcome outcome;
  pollfd polled[2] = {{out[0], POLLIN, 0}, {error[0], POLLIN, 0}};
  std::string* texts[2] = {&outcome.out, &outcome.error};
  const auto deadline = Clock::now() + patience;
  while ((polled[0].fd >= 0 || polled[1].fd >= 0) && Clock::now() < deadline) {
    if (::poll(polled, 2, 100) <= 0) continue;
    for (int i = 0; i < 2; ++i) {
      if (polled[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t count = ::read(polled[i].fd, buffer, sizeof buffer);
      if (count > 0)
        texts[i]->append(buffer, static_cast<std::size_t>(count));
      else
        polled[i].fd = -1;
    }
  }
  if (Clock::now() >= deadline) ::kill(process, SIGKILL);
  int status = 0;
  ::waitpid(process, &status, 0);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  ::close(out[0]);
  ::close(error[0]);
  std::filesystem::remove_all(home);
  return outcome;
}

/// A file with that text, gone at the end.
class TextFile {
 public:
  explicit TextFile(const std::string& text, const std::string& ending = ".cpp") {
    path_ = "/tmp/muster-script-XXXXXX" + ending;
    const int fd = ::mkstemps(path_.data(), static_cast<int>(ending.size()));
    (void)!::write(fd, text.data(), text.size());
    ::close(fd);
  }
  ~TextFile() { std::filesystem::remove(path_); }
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace muster::testing
