/// @file
/// Memory of objects that come and go with every call, used again: malloc and free of two threads cost more.
#pragma once

#include <sched.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>

namespace muster::runtime {

/// Keeps blocks of one size, that of the first asked for. Any thread. The blocks may outlive its owner.
class RecycledMemory {
 public:
  /// Ends it: once all blocks came back, its memory goes.
  struct Retire {
    void operator()(RecycledMemory* memory) const noexcept { memory->retire(); }
  };
  using Owner = std::unique_ptr<RecycledMemory, Retire>;
  static Owner make() { return Owner(new RecycledMemory); }

  RecycledMemory(const RecycledMemory&) = delete;
  RecycledMemory& operator=(const RecycledMemory&) = delete;

  void* take(std::size_t size) {
    {
      const std::lock_guard lock(latch_);
      ++lent_;
      if (size_ == 0 && size >= sizeof(Free)) size_ = size;
      if (size == size_ && free_ != nullptr) return take_free();
    }
    return ::operator new(size);
  }
  void give_back(void* memory, std::size_t size) noexcept {
    bool last = false;
    {
      const std::lock_guard lock(latch_);
      --lent_;
      last = retired_ && lent_ == 0;
      if (size == size_ && count_ < most_kept && !retired_) {
        free_ = new (memory) Free{free_};
        ++count_;
        return;
      }
    }
    ::operator delete(memory);
    if (last) delete this;
  }

 private:
  struct Free {
    Free* next;
  };
  /// For a few instructions, and never a system call: who finds it taken lets the other thread run.
  class Latch {
   public:
    void lock() noexcept {
      while (taken_.exchange(true, std::memory_order_acquire)) sched_yield();
    }
    void unlock() noexcept { taken_.store(false, std::memory_order_release); }

   private:
    std::atomic<bool> taken_{false};
  };
  static constexpr std::size_t most_kept = std::size_t{1} << 14;

  RecycledMemory() = default;
  ~RecycledMemory() {
    while (free_ != nullptr) ::operator delete(take_free());
  }
  void retire() noexcept {
    bool last = false;
    {
      const std::lock_guard lock(latch_);
      retired_ = true;
      last = lent_ == 0;
    }
    if (last) delete this;
  }
  void* take_free() {
    --count_;
    return std::exchange(free_, free_->next);
  }

  Latch latch_;  ///< guards everything
  bool retired_ = false;
  std::size_t size_ = 0, count_ = 0, lent_ = 0;
  Free* free_ = nullptr;
};

/// Allocator of single objects from there; arrays come from the heap.
template <class T>
class RecyclingAllocator {
 public:
  using value_type = T;
  using propagate_on_container_swap = std::true_type;
  using propagate_on_container_move_assignment = std::true_type;

  /// The memory's owner may go before the objects, but not before the last is made.
  explicit RecyclingAllocator(const RecycledMemory::Owner& memory) : memory_(memory.get()) {}
  template <class U>
  RecyclingAllocator(const RecyclingAllocator<U>& other)  // NOLINT(google-explicit-constructor): as allocators must
      : memory_(other.memory()) {}

  T* allocate(std::size_t n) {
    static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
    return static_cast<T*>(n == 1 ? memory_->take(sizeof(T)) : ::operator new(n * sizeof(T)));
  }
  void deallocate(T* place, std::size_t n) noexcept {
    if (n == 1)
      memory_->give_back(place, sizeof(T));
    else
      ::operator delete(place);
  }
  RecycledMemory* memory() const { return memory_; }
  template <class U>
  bool operator==(const RecyclingAllocator<U>& other) const {
    return memory_ == other.memory();
  }

 private:
  RecycledMemory* memory_;
};

}  // namespace muster::runtime
