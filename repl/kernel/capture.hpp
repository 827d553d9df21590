/// @file
/// What this process and its workers print, taken from file descriptors 1 and 2.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace muster::repl {

/// Lines for whoever keeps the server: they go to the stderr of the moment when this was made.
class KernelLog {
 public:
  KernelLog();
  ~KernelLog();
  KernelLog(const KernelLog&) = delete;
  KernelLog& operator=(const KernelLog&) = delete;

  void write(const std::string& text) const;

 private:
  int fd_;
};

/// As long as it lives, what goes to stdout and stderr goes to a function; whoever printed it, with whatever means.
class OutputCapture {
 public:
  /// @param sink takes "stdout" or "stderr" and text; one call at a time, from any thread
  explicit OutputCapture(std::function<void(const char* stream, std::string text)> sink);
  ~OutputCapture();
  OutputCapture(const OutputCapture&) = delete;
  OutputCapture& operator=(const OutputCapture&) = delete;

  /// Passes on what was printed so far, before it returns.
  void drain();
  /// The same, and what comes within `quiet` after the last of it: workers' output takes a way of its own.
  void settle(std::chrono::milliseconds quiet);

 private:
  struct Stream {
    const char* name;
    int target;             ///< the descriptor that is captured
    int original = -1;      ///< what it was before
    int pipe = -1;          ///< where its text comes out; does not block
    std::string rest = {};  ///< the beginning of a character whose end has not come
  };
  void watch();
  void read_all();
  bool wait(std::chrono::milliseconds limit) const;

  std::function<void(const char*, std::string)> sink_;
  std::mutex mutex_;  ///< one reader at a time, so that text stays in order
  std::array<Stream, 2> streams_{{{"stdout", 1}, {"stderr", 2}}};
  int end_ = -1;  ///< an eventfd
  std::thread thread_;
};

}  // namespace muster::repl
