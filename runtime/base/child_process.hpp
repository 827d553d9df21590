/// @file
/// Starting a program as a child process.
#pragma once

#include "runtime/base/unique_fd.hpp"

#include <sys/types.h>

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace muster::runtime {

/// What to start, and how.
struct SpawnRequest {
  std::vector<std::string> arguments =
      {};                      ///< program (with a slash: relative to `directory`; without: sought on PATH), arguments
  std::string directory = {};  ///< where it starts; empty: where this process is now
  std::map<std::string, std::string> environment = {};  ///< the whole of it
  bool new_session = true;                              ///< of its own, so that a terminal's signals do not reach it
  bool socket_as_input = false;  ///< its standard input is one end of a stream socket pair; else the end of a pipe
};

/// A started child and our ends of its standard streams. Whoever holds it must see to it that the child is reaped.
struct ChildProcess {
  pid_t os_pid = -1;
  UniqueFd standard_input;   ///< to write to
  UniqueFd standard_output;  ///< to read from
  UniqueFd standard_error;   ///< to read from
};

/// A child's own ends of its standard streams.
struct ChildStreams {
  UniqueFd input, output, error;
};

/// Makes the standard streams of a child that is not there yet. @throws std::system_error as spawn_process
/// @returns our ends; os_pid is to be filled in
ChildProcess make_streams(const SpawnRequest& request, ChildStreams& of_child);

/// Throws what spawn_process throws where the system says that error.
[[noreturn]] void fail_to_start(int error, const SpawnRequest& request);

/// Starts a program, with signals as a fresh process has them and no descriptor but its standard streams. Any thread.
/// Costs about a millisecond; returns when the program has been loaded.
/// @throws std::system_error where that fails: its code says why, its text names program and directory and what to do;
/// std::invalid_argument for a request without a program, or with a text that holds a zero byte.
ChildProcess spawn_process(const SpawnRequest& request);

/// This process's environment, as it is now.
std::map<std::string, std::string> current_environment();

/// Writes all of `text` into a pipe, without SIGPIPE where nobody reads it. Makes `fd` non-blocking.
/// @throws std::system_error: EPIPE when the other end is closed, ETIMEDOUT when it took nothing for `patience`.
void write_all(int fd, std::string_view text, std::chrono::milliseconds patience);

}  // namespace muster::runtime
