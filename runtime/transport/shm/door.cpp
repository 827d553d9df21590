#include "runtime/transport/shm/door.hpp"

#include <sys/eventfd.h>

#include <bit>
#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace muster::runtime {

namespace {

constexpr std::size_t bits = 64;

void ring_bell(const UniqueFd& bell) {
  const std::uint64_t one = 1;
  (void)!::write(bell.get(), &one, sizeof one);
}

std::atomic<std::uint64_t>& word_of(Porch::Bits& of_links, std::uint32_t slot) { return of_links[slot / bits]; }
std::uint64_t bit_of(std::uint32_t slot) { return std::uint64_t{1} << (slot % bits); }

Porch* porch_in(const SharedMemory& memory) { return reinterpret_cast<Porch*>(memory.data()); }

}  // namespace

// The bell is never read, since only its edges count; it overflows after 2^64 rings.
Door::Door()
    : bell_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      memory_(SharedMemory::create(porch_size, memory_fd_)),
      porch_(porch_in(memory_)) {
  if (!bell_) throw std::system_error(errno, std::generic_category(), "eventfd");
}

std::optional<std::uint32_t> Door::take_slot() {
  const std::lock_guard lock(mutex_);
  if (!free_.empty()) {
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    return slot;
  }
  if (most_ == Porch::words * bits) return std::nullopt;
  words_ = most_ / bits + 1;
  return most_++;
}

void Door::free_slot(std::uint32_t slot) {
  unwatch(slot);
  const std::lock_guard lock(mutex_);
  free_.push_back(slot);
}

void Door::watch(std::uint32_t slot) {
  word_of(porch_->watched, slot).fetch_or(bit_of(slot), std::memory_order_relaxed);
}

void Door::unwatch(std::uint32_t slot) {
  // Either the peer sees that, or the look that follows sees its record: see PeerDoor::knock.
  word_of(porch_->watched, slot).fetch_and(~bit_of(slot), std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Door::collect(std::vector<std::uint32_t>& slots) {
  const std::size_t count = words_.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < count; ++i) {
    if (porch_->ready[i].load(std::memory_order_relaxed) == 0) continue;
    // Before the rings are looked at: who writes after that sets its bit again.
    for (std::uint64_t word = porch_->ready[i].exchange(0, std::memory_order_seq_cst); word != 0; word &= word - 1)
      slots.push_back(static_cast<std::uint32_t>(i * bits) + static_cast<std::uint32_t>(std::countr_zero(word)));
  }
}

void Door::begin_sleep() {
  porch_->sleeping.store(1, std::memory_order_seq_cst);
  // Either the peer sees that we sleep, or we see its bit: see PeerDoor::knock.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Door::ring() {
  if (porch_->sleeping.load(std::memory_order_seq_cst) != 0 && porch_->sleeping.exchange(0) != 0) ring_bell(bell_);
}

PeerDoor::PeerDoor(const UniqueFd& memory, UniqueFd bell, std::uint32_t slot)
    : memory_(SharedMemory::map(memory, porch_size, SharedMemory::Access::write)),
      bell_(std::move(bell)),
      porch_(porch_in(memory_)),
      slot_(slot) {
  if (slot >= Porch::words * bits) throw std::runtime_error("it named a link that it can't have");
}

void PeerDoor::knock(News news, bool wake) {
  if (porch_ == nullptr) return;
  // What was written in the ring comes before the look at the bits: were one still set of an earlier message, the peer
  // looks at the ring after it has cleared it.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (news == News::other || (word_of(porch_->watched, slot_).load(std::memory_order_relaxed) & bit_of(slot_)) == 0) {
    std::atomic<std::uint64_t>& word = word_of(porch_->ready, slot_);
    if ((word.load(std::memory_order_relaxed) & bit_of(slot_)) == 0)
      word.fetch_or(bit_of(slot_), std::memory_order_seq_cst);
  }
  if (wake && porch_->sleeping.load(std::memory_order_seq_cst) != 0 && porch_->sleeping.exchange(0) != 0)
    ring_bell(bell_);
}

}  // namespace muster::runtime
