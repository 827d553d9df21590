#include "runtime/cluster/life_callbacks.hpp"

#include "runtime/base/log.hpp"

#include <pthread.h>

#include <exception>
#include <map>
#include <string>
#include <utility>

namespace muster::runtime {

namespace {

void run_logged(const std::function<void()>& f) {
  try {
    f();
  } catch (const std::exception& error) {
    log::error(std::string("A callback of the cluster threw: ") + error.what());
  } catch (...) {
    log::error("A callback of the cluster threw something that is no std::exception");
  }
}

}  // namespace

/// The functions, in order of registration. Shared with the handles, which may outlive the session.
class LifeCallbacks::Registered : public std::enable_shared_from_this<Registered> {
 public:
  /// Either is empty.
  struct Function {
    std::function<void(Pid)> added;
    std::function<void(const WorkerExit&)> removed;
  };

  CallbackHandle add(Function function) {
    const std::lock_guard lock(mutex_);
    const auto number = ++last_;
    functions_.emplace(number, std::move(function));
    return CallbackHandle([self = shared_from_this(), number] { self->remove(number); });
  }

  /// The number of the last one.
  std::uint64_t last() const {
    const std::lock_guard lock(mutex_);
    return last_;
  }

  /// Calls `call` with each up to that number that is still registered when its turn comes.
  void for_each(std::uint64_t last, const std::function<void(const Function&)>& call) {
    std::unique_lock lock(mutex_);
    thread_ = std::this_thread::get_id();
    for (std::uint64_t number = 0;;) {
      const auto next = functions_.upper_bound(number);
      if (next == functions_.end() || next->first > last) return;
      number = running_ = next->first;
      const Function function = next->second;
      lock.unlock();
      run_logged([&] { call(function); });
      lock.lock();
      running_ = 0;
      not_running_.notify_all();
    }
  }

 private:
  void remove(std::uint64_t number) {
    std::unique_lock lock(mutex_);
    const auto function = functions_.extract(number);  // dies after the lock
    if (thread_ != std::this_thread::get_id()) not_running_.wait(lock, [&] { return running_ != number; });
    lock.unlock();
  }

  mutable std::mutex mutex_;  ///< guards all below
  std::condition_variable not_running_;
  std::map<std::uint64_t, Function> functions_;
  std::uint64_t last_ = 0;
  std::uint64_t running_ = 0;  ///< its number; 0: none
  std::thread::id thread_;     ///< that calls them
};

LifeCallbacks::LifeCallbacks() : registered_(std::make_shared<Registered>()) {}

LifeCallbacks::~LifeCallbacks() { stop(); }

void LifeCallbacks::stop() {
  std::thread thread;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_one();
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
}

CallbackHandle LifeCallbacks::on_added(std::function<void(Pid)> f) {
  return registered_->add({.added = std::move(f), .removed = {}});
}

CallbackHandle LifeCallbacks::on_removed(std::function<void(const WorkerExit&)> f) {
  return registered_->add({.added = {}, .removed = std::move(f)});
}

void LifeCallbacks::added(Pid pid) {
  const auto last = registered_->last();
  if (last == 0) return;
  post([this, pid, last] {
    registered_->for_each(last, [pid](const auto& function) {
      if (function.added) function.added(pid);
    });
  });
}

void LifeCallbacks::removed(const WorkerExit& exit) {
  const auto last = registered_->last();
  if (last == 0) return;
  post([this, exit, last] {
    registered_->for_each(last, [&exit](const auto& function) {
      if (function.removed) function.removed(exit);
    });
  });
}

void LifeCallbacks::post(std::function<void()> f) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  if (!thread_.joinable()) thread_ = std::thread([this] { main(); });
  queue_.push_back(std::move(f));
  changed_.notify_one();
}

void LifeCallbacks::main() {
  (void)pthread_setname_np(pthread_self(), "muster-callback");
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    auto work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    run_logged(work);
    work = nullptr;  // with what it captured
    lock.lock();
  }
}

}  // namespace muster::runtime
