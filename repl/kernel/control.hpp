/// @file
/// What a kernel answers while it computes: interrupts, the wish to end, and signs of life.
#pragma once

#include "repl/kernel/channels.hpp"

#include <atomic>
#include <functional>
#include <thread>

namespace muster::repl {

/// The wish that the kernel ends.
class Ending {
 public:
  Ending();
  ~Ending();
  Ending(const Ending&) = delete;
  Ending& operator=(const Ending&) = delete;

  void request();
  bool requested() const { return requested_; }
  /// Readable when it was requested.
  int fd() const { return fd_; }

 private:
  std::atomic<bool> requested_{false};
  int fd_ = -1;
};

/// Serves the control and the heartbeat channel on a thread of its own, as long as it lives.
class Control {
 public:
  /// @param about the answer to kernel_info_request
  /// @param abandon ends the process: called when code goes on running long after the end was asked for
  Control(Channels& channels, Ending& ending, Json about, std::function<void()> abandon);
  /// The code has ended: from here on nothing is abandoned.
  ~Control();
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

 private:
  void serve();
  void handle(const Message& request);

  Channels& channels_;
  Ending& ending_;
  Json about_;
  std::function<void()> abandon_;
  Ending done_;
  int parent_ = -1;  ///< readable when the process that started the kernel is gone
  std::thread thread_;
};

/// Ctrl-C for this process and those that belong to it.
void interrupt_this_process();

}  // namespace muster::repl
