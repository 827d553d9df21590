/// @file
/// Memory of objects that come and go with every call, used again: malloc and free of two threads cost more.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>

namespace muster::runtime {

/// Keeps blocks of one size, that of the first asked for. Any thread.
class RecycledMemory {
 public:
  RecycledMemory() = default;
  RecycledMemory(const RecycledMemory&) = delete;
  RecycledMemory& operator=(const RecycledMemory&) = delete;
  ~RecycledMemory() {
    while (free_ != nullptr) ::operator delete(take_free());
  }

  void* take(std::size_t size) {
    {
      const std::lock_guard lock(mutex_);
      if (size_ == 0 && size >= sizeof(Free)) size_ = size;
      if (size == size_ && free_ != nullptr) return take_free();
    }
    return ::operator new(size);
  }
  void give_back(void* memory, std::size_t size) noexcept {
    {
      const std::lock_guard lock(mutex_);
      if (size == size_ && count_ < most_kept) {
        free_ = new (memory) Free{free_};
        ++count_;
        return;
      }
    }
    ::operator delete(memory);
  }

 private:
  struct Free {
    Free* next;
  };
  static constexpr std::size_t most_kept = std::size_t{1} << 14;

  void* take_free() {
    --count_;
    return std::exchange(free_, free_->next);
  }

  std::mutex mutex_;  ///< guards everything
  std::size_t size_ = 0, count_ = 0;
  Free* free_ = nullptr;
};

/// Allocator of single objects from there; arrays come from the heap.
template <class T>
class RecyclingAllocator {
 public:
  using value_type = T;
  using propagate_on_container_swap = std::true_type;
  using propagate_on_container_move_assignment = std::true_type;

  RecyclingAllocator() : memory_(std::make_shared<RecycledMemory>()) {}
  explicit RecyclingAllocator(std::shared_ptr<RecycledMemory> memory) : memory_(std::move(memory)) {}
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
  const std::shared_ptr<RecycledMemory>& memory() const { return memory_; }
  template <class U>
  bool operator==(const RecyclingAllocator<U>& other) const {
    return memory_ == other.memory();
  }

 private:
  std::shared_ptr<RecycledMemory> memory_;  ///< whose objects may outlive who made it
};

}  // namespace muster::runtime
