/// @file
/// Child processes by posix_spawn: fork() would run handlers of a multi-threaded process, and copies its page tables.
#include "runtime/base/child_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>
#include <stdexcept>
#include <system_error>

namespace muster::runtime {

namespace {

struct Pipe {
  UniqueFd read_end, write_end;
};

/// Moves a descriptor above the standard ones, which a process that has closed them would get here, and which the
/// child's set-up would overwrite.
UniqueFd above_standard(UniqueFd fd) {
  if (!fd || fd.get() > STDERR_FILENO) return fd;
  return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

/// What is wrong, and what to do about it.
std::string advice(int error, const SpawnRequest& request) {
  struct stat found{};
  const bool directory_is_wrong =
      !request.directory.empty() && (::stat(request.directory.c_str(), &found) != 0 || !S_ISDIR(found.st_mode));
  if (directory_is_wrong) return "that directory does not exist: create it, or name another";
  switch (error) {
    case EMFILE:
    case ENFILE: return "no file descriptor is left: raise the limit (`ulimit -n`), or start fewer processes";
    case EAGAIN: return "no process may be started any more: raise the limit (`ulimit -u`), or start fewer processes";
    case ENOMEM: return "memory is exhausted: start fewer processes";
    case ENOENT: return "the program (or the interpreter it names) does not exist: check its path";
    case EACCES: return "the program may not be executed, or the directory not be entered: check their permissions";
    case E2BIG: return "arguments and environment are too long: shorten them";
    case ENOEXEC: return "the file is no program for this machine: check its path";
    default: return "check program and directory";
  }
}

enum class PipeKind { pipe, socket };

Pipe make_pipe(const SpawnRequest& request, PipeKind kind = PipeKind::pipe) {
  int ends[2];
  const int made =
      kind == PipeKind::pipe ? ::pipe2(ends, O_CLOEXEC) : ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
  if (made != 0) fail_to_start(errno, request);
  Pipe pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
  pipe.read_end = above_standard(std::move(pipe.read_end));
  if (!pipe.read_end) fail_to_start(errno, request);
  pipe.write_end = above_standard(std::move(pipe.write_end));
  if (!pipe.write_end) fail_to_start(errno, request);
  return pipe;
}

void check_no_zero_byte(const std::string& text) {
  if (text.find('\0') == std::string::npos) return;
  throw std::invalid_argument("arguments, directory and environment of a process can't hold a zero byte: '" +
                              std::string(text, 0, text.find('\0')) + "' goes on after one");
}

/// Texts as exec takes them. The pointers are into `texts`.
std::vector<char*> null_terminated(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) {
    check_no_zero_byte(text);
    pointers.push_back(text.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

/// posix_spawn's two attribute objects.
class SpawnSettings {
 public:
  SpawnSettings() {
    if (const int error = ::posix_spawn_file_actions_init(&actions_)) throw_error(error);
    if (const int error = ::posix_spawnattr_init(&attributes_)) {
      ::posix_spawn_file_actions_destroy(&actions_);
      throw_error(error);
    }
  }
  ~SpawnSettings() {
    ::posix_spawnattr_destroy(&attributes_);
    ::posix_spawn_file_actions_destroy(&actions_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  void standard_stream(const UniqueFd& from, int to) {
    check(::posix_spawn_file_actions_adddup2(&actions_, from.get(), to));
  }
  /// Descriptors that some library opened without O_CLOEXEC must not live on in the child.
  void close_other_descriptors() { check(::posix_spawn_file_actions_addclosefrom_np(&actions_, STDERR_FILENO + 1)); }
  void directory(const std::string& path) { check(::posix_spawn_file_actions_addchdir_np(&actions_, path.c_str())); }
  void fresh_signals(bool new_session) {
    sigset_t all;
    sigset_t none;
    sigfillset(&all);
    sigemptyset(&none);
    check(::posix_spawnattr_setsigdefault(&attributes_, &all));
    check(::posix_spawnattr_setsigmask(&attributes_, &none));
    const int flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | (new_session ? POSIX_SPAWN_SETSID : 0);
    check(::posix_spawnattr_setflags(&attributes_, static_cast<short>(flags)));
  }
  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  [[noreturn]] static void throw_error(int error) {
    throw std::system_error(error, std::generic_category(), "cannot prepare the start of a process");
  }
  static void check(int error) {
    if (error != 0) throw_error(error);
  }
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

/// Keeps SIGPIPE from this thread while it lives, and swallows the one that a write raised meanwhile.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigset_t pending;
    sigemptyset(&pending);
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, sigpipe(), &before_);
  }
  ~NoSigpipe() {
    const timespec at_once{};
    if (!was_pending_) {
      while (sigtimedwait(sigpipe(), nullptr, &at_once) < 0 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  const sigset_t* sigpipe() {
    sigemptyset(&only_);
    sigaddset(&only_, SIGPIPE);
    return &only_;
  }
  sigset_t only_{}, before_{};
  bool was_pending_ = false;
};

}  // namespace

void fail_to_start(int error, const SpawnRequest& request) {
  const std::string where =
      request.directory.empty() ? "the current directory" : "directory '" + request.directory + "'";
  throw std::system_error(
      error, std::generic_category(),
      "cannot start program '" + request.arguments.front() + "' in " + where + " (" + advice(error, request) + ")");
}

ChildProcess make_streams(const SpawnRequest& request, ChildStreams& of_child) {
  Pipe input = make_pipe(request, request.socket_as_input ? PipeKind::socket : PipeKind::pipe);
  Pipe output = make_pipe(request);
  Pipe error = make_pipe(request);
  of_child = {std::move(input.read_end), std::move(output.write_end), std::move(error.write_end)};
  return {-1, std::move(input.write_end), std::move(output.read_end), std::move(error.read_end)};
}

ChildProcess spawn_process(const SpawnRequest& request) {
  if (request.arguments.empty() || request.arguments.front().empty()) {
    throw std::invalid_argument("a process to be started needs a program: the first argument is missing or empty");
  }
  std::vector<std::string> arguments = request.arguments;
  std::vector<std::string> variables;
  variables.reserve(request.environment.size());
  for (const auto& [name, value] : request.environment)
    variables.push_back(std::string(name).append("=").append(value));
  const std::vector<char*> argument_pointers = null_terminated(arguments);
  const std::vector<char*> variable_pointers = null_terminated(variables);
  check_no_zero_byte(request.directory);

  ChildStreams streams;
  ChildProcess child = make_streams(request, streams);
  SpawnSettings settings;
  settings.standard_stream(streams.input, STDIN_FILENO);
  settings.standard_stream(streams.output, STDOUT_FILENO);
  settings.standard_stream(streams.error, STDERR_FILENO);
  settings.close_other_descriptors();
  if (!request.directory.empty()) settings.directory(request.directory);
  settings.fresh_signals(request.new_session);

  const int failure = ::posix_spawnp(&child.os_pid, argument_pointers.front(), settings.actions(),
                                     settings.attributes(), argument_pointers.data(), variable_pointers.data());
  if (failure != 0) fail_to_start(failure, request);
  return child;
}

std::map<std::string, std::string> current_environment() {
  std::map<std::string, std::string> result;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0) continue;
    result.emplace(text.substr(0, equals), text.substr(equals + 1));  // of two of one name getenv finds the first
  }
  return result;
}

void write_all(int fd, std::string_view text, std::chrono::milliseconds patience) {
  const auto fail_to_write = [](int error) {
    throw std::system_error(error, std::generic_category(), "cannot write to a process's standard input");
  };
  if (::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) fail_to_write(errno);
  const NoSigpipe guard;
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd writable{fd, POLLOUT, 0};
      const int ready = ::poll(&writable, 1, static_cast<int>(patience.count()));
      if (ready == 0) fail_to_write(ETIMEDOUT);
      if (ready < 0 && errno != EINTR) fail_to_write(errno);
    } else if (errno != EINTR) {
      fail_to_write(errno);
    }
  }
}

}  // namespace muster::runtime
