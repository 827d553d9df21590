/// @file
/// The steward on one Boost.Asio io_context.
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
// Asio brackets handlers by fences, which ThreadSanitizer can't see. What handlers share is under a mutex, which it
// can.
#pragma GCC diagnostic ignored "-Wtsan"
#endif

#include "runtime/base/steward.hpp"

#include "runtime/base/deadline.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/unique_fd.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

namespace muster::runtime {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

namespace {

/// How often a child is asked for where the kernel gives no pidfd.
constexpr std::chrono::milliseconds child_poll_period{50};

/// Blocks the signals a program may handle while it lives, so that a thread started meanwhile never runs their
/// handlers. Those that report a fault of the thread itself, and profiling, stay as they are.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) sigdelset(&all, own);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

/// Calls f; what it throws is logged.
/// @return whether it returned
template <class Function>
bool call_logged(const char* kind, const Function& f) {
  try {
    f();
    return true;
  } catch (const std::exception& error) {
    log::error(std::string("a ") + kind + " callback of the steward threw: " + error.what());
  } catch (...) {
    log::error(std::string("a ") + kind + " callback of the steward threw something that is no std::exception");
  }
  return false;
}

/// Wait status of a child that has ended, having reaped it; -1 for a process that is no child of this one and gone (or
/// known to be, `gone`); nothing while it runs.
std::optional<int> ended_status(pid_t os_pid, bool gone) {
  int status = 0;
  pid_t result;
  do result = ::waitpid(os_pid, &status, WNOHANG);
  while (result < 0 && errno == EINTR);
  if (result == os_pid) return status;
  if (result == 0) return std::nullopt;
  if (gone || (::kill(os_pid, 0) != 0 && errno == ESRCH)) return -1;
  return std::nullopt;
}

}  // namespace

/// Asio's objects are not thread-safe by themselves: all use of `timers_` and `watches_` is under `mutex_`. Completion
/// handlers carry only ids; one that comes late, for something cancelled meanwhile, finds its id gone and does nothing.
class Steward::State {
 public:
  explicit State(const std::string& thread_name);
  ~State();

  void post(std::function<void()> f);
  std::uint64_t start_timer(std::chrono::nanoseconds delay, std::chrono::nanoseconds period, std::function<void()> f);
  void cancel(std::uint64_t id);
  std::uint64_t watch(int fd, UniqueFd owned, std::function<bool()> f);
  void unwatch(std::uint64_t id);
  void watch_child(pid_t os_pid, std::function<void(int)> f);
  bool on_own_thread() const { return std::this_thread::get_id() == thread_id_; }

 private:
  struct Timer {
    asio::steady_timer timer;
    std::chrono::nanoseconds period;  ///< zero: once
    std::shared_ptr<std::function<void()>> callback;
  };
  struct Watch {
    UniqueFd owned;  ///< the watched descriptor, where it is the steward's
    asio::posix::stream_descriptor descriptor;
    std::shared_ptr<std::function<bool()>> callback;

    ~Watch() {
      if (descriptor.is_open()) static_cast<void>(descriptor.release());  // removes it from epoll; must not close it
    }
    Watch(UniqueFd owned_fd, asio::posix::stream_descriptor watched, std::shared_ptr<std::function<bool()>> f)
        : owned(std::move(owned_fd)), descriptor(std::move(watched)), callback(std::move(f)) {}
    Watch(Watch&&) = default;
    Watch& operator=(Watch&&) = delete;
  };

  void arm(std::uint64_t id, Timer& timer);
  void arm(std::uint64_t id, Watch& watch);
  void timer_fired(std::uint64_t id);
  void readable(std::uint64_t id);
  void poll_child(pid_t os_pid, const std::shared_ptr<std::function<void(int)>>& f);
  void wait_until_not_running(std::uint64_t id, std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;                     ///< guards all down to context_
  std::condition_variable not_running_;  ///< running_ has become 0
  std::map<std::uint64_t, Timer> timers_;
  std::map<std::uint64_t, Watch> watches_;
  std::uint64_t last_id_ = 0;
  std::uint64_t running_ = 0;  ///< timer or watch whose callback runs now
  bool stopping_ = false;
  // After the maps, so that handlers dropped with the context still find them.
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  std::thread thread_;
  std::thread::id thread_id_;
};

Steward::State::State(const std::string& thread_name) {
  const AllSignalsBlocked guard;
  const std::unique_lock lock(mutex_);  // the thread waits for thread_id_
  thread_ = std::thread([this] {
    std::unique_lock started(mutex_);
    started.unlock();
    context_.run();
  });
  thread_id_ = thread_.get_id();
  pthread_setname_np(thread_.native_handle(), thread_name.substr(0, 15).c_str());
}

Steward::State::~State() {
  std::map<std::uint64_t, Timer> timers;
  std::map<std::uint64_t, Watch> watches;
  {
    const std::unique_lock lock(mutex_);
    stopping_ = true;
  }
  context_.stop();
  thread_.join();
  const std::unique_lock lock(mutex_);
  timers.swap(timers_);
  watches.swap(watches_);
  // The swapped maps die after the lock: callbacks' captures may call members.
}

void Steward::State::post(std::function<void()> f) {
  {
    const std::unique_lock lock(mutex_);
    if (stopping_) return;
  }
  asio::post(context_, [f = std::move(f)] { call_logged("posted", f); });
}

std::uint64_t Steward::State::start_timer(std::chrono::nanoseconds delay, std::chrono::nanoseconds period,
                                          std::function<void()> f) {
  auto callback = std::make_shared<std::function<void()>>(std::move(f));
  const std::unique_lock lock(mutex_);
  const std::uint64_t id = ++last_id_;
  if (stopping_) return id;
  const auto at =
      timers_.emplace(id, Timer{asio::steady_timer(context_, deadline_after(delay)), period, callback}).first;
  arm(id, at->second);
  return id;
}

void Steward::State::arm(std::uint64_t id, Timer& timer) {
  timer.timer.async_wait([this, id](const boost::system::error_code&) { timer_fired(id); });
}

void Steward::State::timer_fired(std::uint64_t id) {
  std::unique_lock lock(mutex_);
  auto at = timers_.find(id);
  if (at == timers_.end()) return;
  auto callback = at->second.callback;
  const bool once = at->second.period == std::chrono::nanoseconds::zero();
  if (once) timers_.erase(at);
  running_ = id;
  lock.unlock();
  call_logged("timer", *callback);
  callback.reset();
  lock.lock();
  running_ = 0;
  not_running_.notify_all();
  at = timers_.find(id);
  if (once || at == timers_.end()) return;
  Timer& timer = at->second;
  const auto next = timer.timer.expiry() + timer.period;
  const auto now = Clock::now();
  const auto missed = now <= next ? 0 : (now - next) / timer.period + 1;
  timer.timer.expires_at(next + missed * timer.period);
  arm(id, timer);
}

void Steward::State::cancel(std::uint64_t id) {
  std::unique_lock lock(mutex_);
  const auto node = timers_.extract(id);  // dies after the lock
  wait_until_not_running(id, lock);
  lock.unlock();
}

std::uint64_t Steward::State::watch(int fd, UniqueFd owned, std::function<bool()> f) {
  auto callback = std::make_shared<std::function<bool()>>(std::move(f));
  const std::unique_lock lock(mutex_);
  const std::uint64_t id = ++last_id_;
  if (stopping_) return id;
  asio::posix::stream_descriptor descriptor(context_);
  boost::system::error_code error;
  descriptor.assign(fd, error);
  if (error) {
    throw std::system_error(error.value(), std::generic_category(),
                            "cannot watch file descriptor " + std::to_string(fd) + " for reading");
  }
  const auto at = watches_.emplace(id, Watch{std::move(owned), std::move(descriptor), callback}).first;
  arm(id, at->second);
  return id;
}

void Steward::State::arm(std::uint64_t id, Watch& watch) {
  // An error here is a descriptor that epoll can't wait for because it never blocks (a regular file), or one just
  // unwatched, whose id is gone: "readable" is right for both.
  watch.descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                              [this, id](const boost::system::error_code&) { readable(id); });
}

void Steward::State::readable(std::uint64_t id) {
  std::unique_lock lock(mutex_);
  auto at = watches_.find(id);
  if (at == watches_.end()) return;
  auto callback = at->second.callback;
  running_ = id;
  lock.unlock();
  bool go_on = false;
  call_logged("descriptor", [&] { go_on = (*callback)(); });
  callback.reset();
  lock.lock();
  std::map<std::uint64_t, Watch>::node_type ended;
  at = watches_.find(id);
  if (at != watches_.end()) {
    if (go_on) {
      arm(id, at->second);
    } else {
      ended = watches_.extract(at);
      static_cast<void>(ended.mapped().descriptor.release());
    }
  }
  running_ = 0;
  not_running_.notify_all();
  lock.unlock();  // before `ended` and the captures in it die
}

void Steward::State::unwatch(std::uint64_t id) {
  std::unique_lock lock(mutex_);
  auto node = watches_.extract(id);  // dies after the lock
  if (node) static_cast<void>(node.mapped().descriptor.release());
  wait_until_not_running(id, lock);
  lock.unlock();
}

void Steward::State::watch_child(pid_t os_pid, std::function<void(int)> f) {
  auto callback = std::make_shared<std::function<void(int)>>(std::move(f));
  if (os_pid <= 0) return post([callback] { (*callback)(-1); });  // waitpid would take it for a group
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, os_pid, 0)));
  if (!pidfd) {
    if (errno == ESRCH) return post([callback] { (*callback)(-1); });
    return poll_child(os_pid, callback);  // no descriptor left, or an old kernel: slower, but it ends
  }
  const int fd = pidfd.get();
  watch(fd, std::move(pidfd), [os_pid, callback] {
    const std::optional<int> status = ended_status(os_pid, true);
    if (status) (*callback)(*status);
    return !status;
  });
}

void Steward::State::poll_child(pid_t os_pid, const std::shared_ptr<std::function<void(int)>>& f) {
  start_timer(child_poll_period, {}, [this, os_pid, f] {
    if (const std::optional<int> status = ended_status(os_pid, false)) {
      (*f)(*status);
    } else {
      poll_child(os_pid, f);
    }
  });
}

void Steward::State::wait_until_not_running(std::uint64_t id, std::unique_lock<std::mutex>& lock) {
  if (on_own_thread() || id == 0) return;
  not_running_.wait(lock, [&] { return running_ != id; });
}

Steward::Steward(const std::string& thread_name) : state_(std::make_unique<State>(thread_name)) {}
Steward::~Steward() = default;

void Steward::post(std::function<void()> f) { state_->post(std::move(f)); }
TimerId Steward::after(std::chrono::nanoseconds delay, std::function<void()> f) {
  return TimerId{state_->start_timer(delay, {}, std::move(f))};
}
TimerId Steward::every(std::chrono::nanoseconds period, std::function<void()> f) {
  if (period <= std::chrono::nanoseconds::zero()) throw std::invalid_argument("Steward::every needs a positive period");
  return TimerId{state_->start_timer(period, period, std::move(f))};
}
void Steward::cancel(TimerId timer) { state_->cancel(static_cast<std::uint64_t>(timer)); }
WatchId Steward::watch_readable(int fd, std::function<bool()> f) {
  return WatchId{state_->watch(fd, {}, std::move(f))};
}
void Steward::unwatch(WatchId watch) { state_->unwatch(static_cast<std::uint64_t>(watch)); }
void Steward::watch_child(pid_t os_pid, std::function<void(int)> f) { state_->watch_child(os_pid, std::move(f)); }
bool Steward::on_own_thread() const { return state_->on_own_thread(); }

}  // namespace muster::runtime
