#include "runtime/transport/shm/following.hpp"

#include "runtime/transport/lane.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <climits>
#include <ctime>

namespace muster::runtime {

namespace {

/// As long as it takes to write a few of the steps that are told of.
constexpr auto look_limit = std::chrono::microseconds(200);
constexpr timespec nap{0, 1'000'000};

/// The kernel waits for four bytes: the lower ones.
const std::uint32_t* word_of(const BlockHead& head) {
  static_assert(std::endian::native == std::endian::little);
  return reinterpret_cast<const std::uint32_t*>(&head.written);
}

bool look(const BlockHead& head, std::uint64_t bytes) {
  const auto limit = Clock::now() + look_limit;
  do {
    if (head.written.load(std::memory_order_acquire) >= bytes) return true;
    (void)::sched_yield();
  } while (Clock::now() < limit);
  return false;
}

}  // namespace

void tell_written(BlockHead& head, std::uint64_t bytes, std::atomic<std::uint32_t>& sleepers) {
  head.written.store(bytes);  // in one order with sleepers: either it sees this, or we see that it sleeps
  if (sleepers.load() != 0) (void)::syscall(SYS_futex, word_of(head), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

std::uint64_t await_written(const BlockHead& head, std::uint64_t bytes, std::atomic<std::uint32_t>& sleepers,
                            const std::function<bool()>& lost) {
  if (look(head, bytes)) return head.written.load(std::memory_order_acquire);
  while (head.written.load(std::memory_order_acquire) < bytes && !lost()) {
    sleepers.fetch_add(1);
    const std::uint64_t seen = head.written.load();
    if (seen < bytes)
      (void)::syscall(SYS_futex, word_of(head), FUTEX_WAIT, static_cast<std::uint32_t>(seen), &nap, nullptr, 0);
    sleepers.fetch_sub(1);
  }
  return head.written.load(std::memory_order_acquire);
}

}  // namespace muster::runtime
