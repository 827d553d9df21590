#include "repl/prompt/interrupts.hpp"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <stdexcept>

namespace muster::repl {

namespace {

// What a signal handler can reach: written once before the handler is installed.
// NOLINTBEGIN(cppcoreguidelines-avoid-non-const-global-variables)
int handler_fd = -1;
pthread_t main_thread;
// NOLINTEND(cppcoreguidelines-avoid-non-const-global-variables)

void on_sigint(int number) {
  const int error = errno;
  if (!pthread_equal(pthread_self(), main_thread)) {
    pthread_kill(main_thread, number);  // whose read is to be cut short
  } else {
    const std::uint64_t one = 1;
    (void)!::write(handler_fd, &one, sizeof one);
  }
  errno = error;
}

}  // namespace

Interrupts::Interrupts() : fd_(::eventfd(0, EFD_CLOEXEC)) {
  if (fd_ < 0) throw std::runtime_error("no descriptor left for Ctrl-C");
  handler_fd = fd_;
  main_thread = pthread_self();
  struct sigaction action = {};
  action.sa_handler = on_sigint;
  (void)sigaction(SIGINT, &action, nullptr);
  thread_ = std::thread([this] { watch(); });
}

Interrupts::~Interrupts() {
  (void)std::signal(SIGINT, SIG_DFL);
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  const std::uint64_t one = 1;
  (void)!::write(fd_, &one, sizeof one);
  thread_.join();
  ::close(fd_);
}

void Interrupts::watch() {
  (void)pthread_setname_np(pthread_self(), "muster-ctrl-c");
  for (std::uint64_t count = 0;;) {
    if (::read(fd_, &count, sizeof count) < 0 && errno == EINTR) continue;
    const std::lock_guard lock(mutex_);
    if (ending_) return;
    pressed_ = true;
    if (scope_ == nullptr) continue;
    scope_->stop();
    presses_ += 1;
    if (presses_ == 2)
      std::fputs(
          "\nmuster: this code has not noticed yet: it looks in waits and loops only. Ctrl-C again ends muster.\n",
          stderr);
    if (presses_ > 2) ::_exit(130);
  }
}

Interrupts::Running::Running(Interrupts& interrupts) : interrupts_(interrupts) {
  const std::lock_guard lock(interrupts_.mutex_);
  interrupts_.scope_ = &scope_;
  interrupts_.presses_ = 0;
  interrupts_.pressed_ = false;
}

Interrupts::Running::~Running() {
  const std::lock_guard lock(interrupts_.mutex_);
  interrupts_.scope_ = nullptr;
}

}  // namespace muster::repl
