/// @file
/// A mutex of four bytes, for objects of which there may be millions.
#pragma once

#include <atomic>
#include <cstdint>

namespace muster::detail {

/// As std::mutex, a tenth of its size and half its cost where nobody else holds it. To be used with std::lock_guard.
///
/// After Ulrich Drepper, "Futexes Are Tricky", 2011, the second of its mutexes.
class SmallMutex {
 public:
  SmallMutex() = default;
  SmallMutex(const SmallMutex&) = delete;
  SmallMutex& operator=(const SmallMutex&) = delete;

  void lock() noexcept {
    std::uint32_t seen = free;
    if (!state_.compare_exchange_strong(seen, held, std::memory_order_acquire, std::memory_order_relaxed)) wait();
  }
  bool try_lock() noexcept {
    std::uint32_t seen = free;
    return state_.compare_exchange_strong(seen, held, std::memory_order_acquire, std::memory_order_relaxed);
  }
  void unlock() noexcept {
    if (state_.exchange(free, std::memory_order_release) == wanted) state_.notify_one();
  }

 private:
  static constexpr std::uint32_t free = 0, held = 1, wanted = 2;  ///< the last: held, and somebody may wait

  void wait() noexcept {
    while (state_.exchange(wanted, std::memory_order_acquire) != free) state_.wait(wanted, std::memory_order_relaxed);
  }

  std::atomic<std::uint32_t> state_{free};
};

}  // namespace muster::detail
