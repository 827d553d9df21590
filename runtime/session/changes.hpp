/// @file
/// Word of changes: of the cluster's members, and of pools.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

namespace muster::runtime {

/// Tells those who asked that something changed; what, they look up. Any thread.
class Changes {
 public:
  /// Calls f at each change while it lives; when its destructor returns, f is not running. f is quick, throws nothing
  /// and does not call Changes; who destroys this holds no lock that f takes.
  class Subscription {
   public:
    Subscription(Changes& changes, std::function<void()> f) : changes_(&changes) {
      const std::lock_guard lock(changes.mutex_);
      number_ = ++changes.last_;
      changes.subscribers_.emplace(number_, std::move(f));
    }
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;
    ~Subscription() {
      const std::lock_guard lock(changes_->mutex_);
      changes_->subscribers_.erase(number_);
    }

   private:
    Changes* changes_;
    std::uint64_t number_;
  };

  void tell() {
    const std::lock_guard lock(mutex_);
    for (const auto& [number, f] : subscribers_) f();
  }

 private:
  std::mutex mutex_;  ///< guards both; held while they are told
  std::uint64_t last_ = 0;
  std::map<std::uint64_t, std::function<void()>> subscribers_;
};

}  // namespace muster::runtime
