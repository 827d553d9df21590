/// @file
/// Ctrl-C.
#pragma once

#include <muster/detail/stop_scope.hpp>

#include <atomic>
#include <mutex>
#include <thread>

namespace muster::repl {

/// Watches for SIGINT as long as it lives; one per process. Ctrl-C stops what the prompt runs: waits end at once, loops
/// at their next turn. Code that looks at nothing is left alone; a third Ctrl-C then ends the program.
/// Reads of the main thread are cut short (EINTR).
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  /// Something that runs on this thread, and that Ctrl-C ends.
  class Running {
   public:
    explicit Running(Interrupts& interrupts);
    ~Running();
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

   private:
    Interrupts& interrupts_;
    detail::StopScope scope_;
  };

  /// Whether Ctrl-C was pressed since the last time this was asked.
  bool take_pressed() { return pressed_.exchange(false); }

 private:
  void watch();

  std::atomic<bool> pressed_{false};
  std::mutex mutex_;  ///< guards what follows
  detail::StopScope* scope_ = nullptr;
  int presses_ = 0;  ///< since the running thing began
  int fd_ = -1;      ///< an eventfd that the handler writes to
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace muster::repl
