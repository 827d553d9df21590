#include "runtime/base/serial_thread.hpp"

#include "runtime/base/log.hpp"

#include <pthread.h>

namespace muster::runtime {

void SerialThread::run(std::function<void()> f) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  jobs_.push_back(std::move(f));
  if (!thread_.joinable()) thread_ = std::thread([this] { main(); });
  changed_.notify_one();
}

void SerialThread::stop() {
  std::thread thread;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    thread.swap(thread_);
    changed_.notify_one();
  }
  if (thread.joinable()) thread.join();
}

void SerialThread::main() {
  (void)pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    try {
      job();
    } catch (const std::exception& error) {
      log::error(name_ + ": " + error.what());
    } catch (...) {
      log::error(name_ + ": something that is no std::exception was thrown");
    }
    job = nullptr;  // destroyed without the lock
    lock.lock();
  }
}

}  // namespace muster::runtime
