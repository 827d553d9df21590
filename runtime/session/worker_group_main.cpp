// It runs as the program is loaded, before the initialisers of the program and of this library: only what the C library
// offers is used here, and templates that need no initialiser.
#include "runtime/session/worker_group_main.hpp"

#include "runtime/base/worker_group.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::runtime {

namespace {

using Clock = std::chrono::steady_clock;
using Kind = GroupFrame::Kind;

/// Between SIGTERM and SIGKILL.
constexpr std::chrono::seconds kill_patience{2};
constexpr long most_workers = 1 << 14;
/// More than a worker that has ended can have left to be read.
constexpr int parts_in_a_pipe = 17;

/// A worker, as the leader knows it.
struct Member {
  pid_t pid = -1;
  int output = -1, errors = -1;  ///< what it prints; negative: nothing more comes
  std::optional<Clock::time_point> killed_at = {};

  void stop_listening() {
    for (int* const fd : {&output, &errors})
      if (*fd >= 0) ::close(std::exchange(*fd, -1));
  }
};

// What all of these do where the streams are gone: nobody is left to lead the group for.
[[noreturn]] void end() { ::_exit(0); }

void write_all(iovec* parts, int count) {
  while (count > 0) {
    const ssize_t written = ::writev(STDOUT_FILENO, parts, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) {
      pollfd writable{STDOUT_FILENO, POLLOUT, 0};
      (void)::poll(&writable, 1, -1);
      continue;
    }
    if (written < 0) end();
    auto left = static_cast<std::size_t>(written);
    for (; count > 0 && left >= parts->iov_len; ++parts, --count) left -= parts->iov_len;
    if (count == 0) return;
    parts->iov_base = static_cast<char*>(parts->iov_base) + left;
    parts->iov_len -= left;
  }
}

void say(Kind kind, std::size_t worker, const void* bytes, std::size_t size) {
  GroupFrame frame{
      .kind = kind, .worker = static_cast<std::uint16_t>(worker), .size = static_cast<std::uint32_t>(size)};
  std::array<iovec, 2> parts{{{&frame, sizeof frame}, {const_cast<void*>(bytes), size}}};
  write_all(parts.data(), size > 0 ? 2 : 1);
}

void say_ended(std::size_t worker, std::int32_t status) { say(Kind::ended, worker, &status, sizeof status); }

/// What comes on standard input: start records, and then frames.
class Input {
 public:
  /// The next line with its newline; less where the input ends before.
  std::string line() {
    std::size_t end = 0;
    while ((end = text_.find('\n')) == std::string::npos)
      if (!read_more()) break;
    std::string line = text_.substr(0, end == std::string::npos ? end : end + 1);
    text_.erase(0, line.size());
    return line;
  }
  std::optional<GroupFrame> frame() {
    GroupFrame frame{};
    if (text_.size() < sizeof frame) return std::nullopt;
    std::memcpy(&frame, text_.data(), sizeof frame);
    text_.erase(0, sizeof frame);
    return frame;
  }
  /// Waits for something. @returns false where the input has ended
  bool read_more() {
    std::array<char, 4096> part{};
    ssize_t got = 0;
    do got = ::read(STDIN_FILENO, part.data(), part.size());
    while (got < 0 && errno == EINTR);
    if (got > 0) text_.append(part.data(), static_cast<std::size_t>(got));
    return got > 0;
  }

 private:
  std::string text_;
};

/// As many workers, and their pipes, as the system lets anybody have; each raises its own limit too.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

/// A file in memory with the record in it: a pipe may be too small for it. @returns negative: errno says why not
int file_with(const std::string& record) {
  const int file = ::memfd_create("start record", MFD_CLOEXEC);
  if (file < 0) return file;
  if (::write(file, record.data(), record.size()) != static_cast<ssize_t>(record.size()) ||
      ::lseek(file, 0, SEEK_SET) != 0) {
    ::close(file);
    return -1;
  }
  return file;
}

/// Where the handler says that a worker has ended. A handler, since any thread may get the signal: a preloaded
/// library's would swallow it where only the leader's had it blocked.
int told_of_ends = -1;

void on_child(int /*signal*/) {
  const int before = errno;
  (void)!::write(told_of_ends, "", 1);
  errno = before;
}

class Leader {
 public:
  Leader(char** argv, std::size_t count, bool can_fork) : argv_(argv), count_(count), can_fork_(can_fork) {}
  /// Returns in workers.
  void lead() {
    raise_descriptor_limit();
    std::vector<std::string> records(count_);
    for (std::string& record : records) record = input_.line();
    iovec greeting{const_cast<char*>(worker_group_greeting.data()), worker_group_greeting.size()};
    write_all(&greeting, 1);
    members_.reserve(count_);
    for (std::string& record : records) {
      if (start(record)) return;
      ::explicit_bzero(record.data(), record.size());
    }
    serve();
  }

 private:
  /// @returns true in the worker
  bool start(const std::string& record) {
    const std::size_t index = members_.size();
    Member& member = members_.emplace_back();
    std::array<int, 2> output{-1, -1}, errors{-1, -1};
    const int input = file_with(record);
    const bool able = input >= 0 && ::pipe2(output.data(), O_CLOEXEC) == 0 && ::pipe2(errors.data(), O_CLOEXEC) == 0;
    member.output = output[0];
    member.errors = errors[0];
    member.pid = able ? ::fork() : -1;
    if (member.pid == 0) {
      become({input, output[1], errors[1]});
      return true;
    }
    const int reason = errno;
    for (const int fd : {input, output[1], errors[1]})
      if (fd >= 0) ::close(fd);
    if (member.pid < 0) {
      const std::string why = std::string("muster: can't start this worker: ") + std::strerror(reason) + "\n";
      say(Kind::errors, index, why.data(), why.size());
      say_ended(index, 127 << 8);
      member.stop_listening();
      return false;
    }
    for (const int fd : {member.output, member.errors}) (void)::fcntl(fd, F_SETFL, O_RDONLY | O_NONBLOCK);
    const std::string process = std::string(worker_process_tag) + std::to_string(member.pid) + "\n";
    say(Kind::output, index, process.data(), process.size());
    ++running_;
    return false;
  }

  /// In a worker: nothing of the group is left to it, and it leads a session as any that was started by itself.
  void become(const std::array<int, 3>& streams) {
    for (Member& member : members_) member.stop_listening();
    (void)::setsid();
    for (int i = 0; i < 3; ++i)
      if (::dup2(streams[static_cast<std::size_t>(i)], i) < 0) ::_exit(127);
    if (!can_fork_) exec();
    for (const int fd : streams) ::close(fd);
  }

  [[noreturn]] void exec() {
    std::vector<char*> arguments;
    for (char** argument = argv_; *argument != nullptr; ++argument)
      if (!std::string_view(*argument).starts_with(worker_group_flag)) arguments.push_back(*argument);
    arguments.push_back(nullptr);
    ::execv("/proc/self/exe", arguments.data());
    const std::string why = std::string("muster: can't start this worker: ") + std::strerror(errno) + "\n";
    (void)!::write(STDERR_FILENO, why.data(), why.size());
    ::_exit(127);
  }

  [[noreturn]] void serve() {
    (void)::prctl(PR_SET_NAME, "muster-group");
    (void)std::signal(SIGPIPE, SIG_IGN);
    std::array<int, 2> ends{-1, -1};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) end();  // its workers go on, as if it had been killed
    ended_ = ends[0];
    told_of_ends = ends[1];
    struct sigaction action = {};
    action.sa_handler = on_child;
    action.sa_flags = SA_RESTART | SA_NOCLDSTOP;
    (void)::sigaction(SIGCHLD, &action, nullptr);
    for (;;) {
      reap();
      if (running_ == 0) end();
      wait();
      for (std::size_t i = 0; i < members_.size(); ++i) relay(i, 1);
      kill_the_late();
    }
  }

  void wait() {
    watched_.assign({{ended_, POLLIN, 0}, {has_input_ ? STDIN_FILENO : -1, POLLIN, 0}});
    for (const Member& member : members_) {
      watched_.push_back({member.output, POLLIN, 0});
      watched_.push_back({member.errors, POLLIN, 0});
    }
    (void)::poll(watched_.data(), watched_.size(), milliseconds_to_wait());
    std::array<char, 64> ignored{};
    while (::read(ended_, ignored.data(), ignored.size()) > 0) {
    }
    if (watched_[1].revents != 0) take_commands();
  }

  int milliseconds_to_wait() const {
    std::optional<Clock::time_point> next;
    for (const Member& member : members_)
      if (member.killed_at) next = std::min(next.value_or(*member.killed_at), *member.killed_at);
    if (!next) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*next + kill_patience - Clock::now()).count();
    return static_cast<int>(std::max<decltype(left)>(left, 0));
  }

  void take_commands() {
    has_input_ = input_.read_more();
    while (const auto frame = input_.frame()) {
      if (frame->worker >= members_.size()) continue;
      Member& member = members_[frame->worker];
      if (member.pid <= 0) continue;
      // Our child, not reaped: the number is still its own.
      if (frame->kind == Kind::interrupt) (void)::kill(member.pid, SIGINT);
      if (frame->kind == Kind::kill && !member.killed_at) {
        (void)::kill(member.pid, SIGTERM);
        member.killed_at = Clock::now();
      }
    }
  }

  void kill_the_late() {
    for (Member& member : members_) {
      if (!member.killed_at || Clock::now() < *member.killed_at + kill_patience) continue;
      (void)::kill(member.pid, SIGKILL);
      member.killed_at.reset();
    }
  }

  /// Says on what a worker has printed by now, but no more than so many parts of each stream.
  void relay(std::size_t index, int parts) {
    Member& member = members_[index];
    for (int i = 0; i < parts && relay(index, Kind::output, member.output); ++i) {
    }
    for (int i = 0; i < parts && relay(index, Kind::errors, member.errors); ++i) {
    }
  }
  /// @returns whether there was anything
  bool relay(std::size_t index, Kind kind, int& fd) {
    if (fd < 0) return false;
    ssize_t got = 0;
    do got = ::read(fd, buffer_.data(), buffer_.size());
    while (got < 0 && errno == EINTR);
    if (got > 0) say(kind, index, buffer_.data(), static_cast<std::size_t>(got));
    if (got == 0 || (got < 0 && errno != EAGAIN)) ::close(std::exchange(fd, -1));
    return got > 0;
  }

  void reap() {
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      for (std::size_t i = 0; i < members_.size(); ++i) {
        Member& member = members_[i];
        if (member.pid != pid) continue;
        relay(i, parts_in_a_pipe);
        // Something that it started may hold its output open, and print, for ever.
        member.stop_listening();
        say_ended(i, status);
        member.pid = -1;
        member.killed_at.reset();
        --running_;
      }
    }
  }

  char** const argv_;
  const std::size_t count_;
  const bool can_fork_;
  Input input_;
  std::vector<Member> members_;
  std::size_t running_ = 0;
  int ended_ = -1;  ///< readable when a worker has ended
  bool has_input_ = true;
  std::vector<pollfd> watched_;
  std::array<char, GroupFrame::longest> buffer_{};
};

}  // namespace

std::size_t worker_group_asked(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (!argument.starts_with(worker_group_flag) || argument.substr(worker_group_flag.size(), 1) != "=") continue;
    const long count = std::strtol(argv[i] + worker_group_flag.size() + 1, nullptr, 10);
    return static_cast<std::size_t>(std::clamp(count, 0L, most_workers));
  }
  return 0;
}

void lead_worker_group(std::size_t count, char** argv, bool can_fork) { Leader(argv, count, can_fork).lead(); }

}  // namespace muster::runtime
