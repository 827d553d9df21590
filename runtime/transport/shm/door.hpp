/// @file
/// How a process learns that something lies in one of its rings: it looks at a word in memory of its own that all its
/// peers write, and, when it sleeps, is woken through an eventfd. A peer that finds it awake makes no system call.
#pragma once

#include "runtime/transport/shm/shared_memory.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

namespace muster::runtime {

/// What the peers of a process share with it: a few words, and two bits for each link.
struct Porch {
  static constexpr std::size_t words = 504;
  using Bits = std::array<std::atomic<std::uint64_t>, words>;
  alignas(64) std::atomic<std::uint32_t> sleeping;  ///< whoever makes it 0 rings the bell
  alignas(64) Bits ready;                           ///< something is there for it
  alignas(64) Bits watched;  ///< its owner looks at the ring itself: of records the bit above need not tell
};
inline constexpr std::size_t porch_size = 8192;
static_assert(sizeof(Porch) <= porch_size);

/// This process's door.
class Door {
 public:
  /// @throws std::system_error
  Door();

  /// A number for a link; none when all are in use.
  std::optional<std::uint32_t> take_slot();
  void free_slot(std::uint32_t slot);

  /// From now on this process looks at that link's ring by itself: its other end need not say that there is a record.
  void watch(std::uint32_t slot);
  /// No longer. Look at the ring once more then.
  void unwatch(std::uint32_t slot);
  /// Appends the links for which something came, and forgets them.
  void collect(std::vector<std::uint32_t>& slots);
  /// From now on peers ring. Look at anything() then, before sleeping.
  void begin_sleep();
  void end_sleep() { porch_->sleeping.store(0, std::memory_order_relaxed); }
  bool anything() const {
    const std::size_t count = words_.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < count; ++i)
      if (porch_->ready[i].load(std::memory_order_relaxed) != 0) return true;
    return false;
  }
  /// Wakes this process's own sleeping thread.
  void ring();

  int memory_fd() const { return memory_fd_.get(); }
  /// Becomes readable, in the sense of an edge, when the bell was rung.
  int bell_fd() const { return bell_.get(); }

 private:
  UniqueFd memory_fd_, bell_;
  SharedMemory memory_;
  Porch* porch_;

  std::mutex mutex_;  ///< guards the following
  std::vector<std::uint32_t> free_;
  std::uint32_t most_ = 0;             ///< slots ever in use
  std::atomic<std::size_t> words_{0};  ///< in which bits can be set
};

/// The door of a peer, as far as one link to it goes.
class PeerDoor {
 public:
  PeerDoor() = default;
  /// @throws std::runtime_error, std::system_error: what came is no door
  PeerDoor(const UniqueFd& memory, UniqueFd bell, std::uint32_t slot);

  /// What it is told of.
  enum class News : std::uint8_t { record, other };
  /// Something was written for it. @param wake false: it may learn of it when it happens to be awake
  void knock(News news, bool wake = true);

 private:
  SharedMemory memory_;
  UniqueFd bell_;
  Porch* porch_ = nullptr;
  std::uint32_t slot_ = 0;
};

}  // namespace muster::runtime
