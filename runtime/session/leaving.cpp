#include "runtime/session/leaving.hpp"

#include "runtime/base/log.hpp"

#include <muster/spawn.hpp>

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace muster::runtime {

namespace {

constexpr auto leaving_patience = std::chrono::seconds(30);
constexpr std::chrono::milliseconds joining_patience{500};
constexpr auto look_interval = std::chrono::milliseconds(5);

/// What the handler writes to, which can be handed nothing: an eventfd that is never closed.
std::atomic<int> signalled{-1};

void note_signal(int /*signal*/) {
  const int before = errno;
  const std::uint64_t one = 1;
  (void)!::write(signalled.load(), &one, sizeof one);
  errno = before;
}

// At the master:
void no_more_work(Pid pid) { current_process().cluster().set_leaving(pid); }
void remove_now(Pid pid) { current_process().launcher().remove({pid}); }

}  // namespace

LeavingOnSignal::LeavingOnSignal(Process& process, Joins joins) : process_(process), joins_(std::move(joins)) {
  if (signalled.load() < 0) signalled = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  watch_ = process_.steward().watch_readable(signalled.load(), [this] { return on_signal(); });
  struct sigaction action = {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;
  (void)sigaction(SIGTERM, &action, nullptr);
  if (::isatty(STDOUT_FILENO) == 1) (void)sigaction(SIGINT, &action, nullptr);
}

LeavingOnSignal::~LeavingOnSignal() {
  (void)std::signal(SIGTERM, SIG_DFL);
  process_.steward().unwatch(watch_);
  over_ = true;
  if (thread_.joinable()) thread_.join();
}

bool LeavingOnSignal::on_signal() {
  std::uint64_t count = 0;
  (void)!::read(signalled.load(), &count, sizeof count);
  if (signals_.fetch_add(1) != 0) return true;
  thread_ = std::thread([this] {
    (void)pthread_setname_np(pthread_self(), "muster-leave");
    try {
      leave();
    } catch (const std::exception& error) {
      log::debug(std::string("The master could not be told that this worker leaves: ") + error.what());
    }
  });
  return true;
}

void LeavingOnSignal::leave() {
  if (!joins_(joining_patience)) {
    (void)std::signal(SIGTERM, SIG_DFL);
    (void)::kill(::getpid(), SIGTERM);
    return;
  }
  const Pid self = process_.pid();
  log::info("This worker leaves, as it was asked to by a signal, when its tasks have ended");
  remotecall_fetch(&no_more_work, 1, self);
  const auto deadline = Clock::now() + leaving_patience;
  while (process_.executor().jobs() != 0 && Clock::now() < deadline && signals_ == 1 && !over_)
    std::this_thread::sleep_for(look_interval);
  if (!over_) remotecall_fetch(&remove_now, 1, self);
}

}  // namespace muster::runtime
