/// @file
/// The bare shared-memory floor: a ring each way between this process and a child, futex words to sleep on, and
/// nothing else. Its fastest is what the shared-memory lane of the same host could be without calls, tasks or futures.
#pragma once

#include "../../runtime/exec/core_sharing.hpp"
#include "child.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace bench {

/// How a side of the ring waits for the other.
enum class RingWait : int {
  yields,  ///< looks again and again, yielding the core, for 50 us before it sleeps, and not sharing it: as the lane
           ///< does
  sleeps,  ///< on the futex at once
};

/// One direction: messages of at most slot_bytes, one producer, one consumer.
class Ring {
 public:
  static constexpr std::size_t slots = 256, slot_bytes = 248;

  void push(const std::vector<char>& message, RingWait wait) {
    const std::uint32_t next = sent_.load(std::memory_order_relaxed);
    if (next - taken_.load(std::memory_order_acquire) == slots)
      until([&] { return next - taken_.load(std::memory_order_acquire) != slots; }, taken_, taker_told_, wait);
    std::memcpy(slots_[next % slots].data(), message.data(), message.size());
    sent_.store(next + 1);
    if (receiver_sleeps_.load() != 0) wake(sent_, receiver_sleeps_);
  }
  void pop(std::vector<char>& message, RingWait wait) {
    const std::uint32_t next = taken_.load(std::memory_order_relaxed);
    if (sent_.load(std::memory_order_acquire) == next)
      until([&] { return sent_.load(std::memory_order_acquire) != next; }, sent_, receiver_sleeps_, wait);
    std::memcpy(message.data(), slots_[next % slots].data(), message.size());
    taken_.store(next + 1);
    if (taker_told_.load() != 0) wake(taken_, taker_told_);
  }

 private:
  using Word = std::atomic<std::uint32_t>;

  template <class Ready>
  static void until(Ready ready, Word& changes, Word& sleeps, RingWait wait) {
    if (wait == RingWait::yields) {
      using muster::runtime::CoreSharing;
      thread_local CoreSharing core_sharing;
      const auto begin = std::chrono::steady_clock::now();
      auto now = begin;
      bool begins = true;
      for (; now - begin < std::chrono::microseconds(50); now = std::chrono::steady_clock::now()) {
        if (ready()) return;
        if (core_sharing.may_keep_core(now - begin)) {
          if (muster::runtime::look_briefly(ready)) return;
          continue;
        }
        const CoreSharing::Advice advice =
            core_sharing.advice(std::exchange(begins, false), muster::runtime::cores_lost);
        if (advice == CoreSharing::Advice::sleep) break;
        if (advice == CoreSharing::Advice::leave) muster::runtime::leave_this_core();
        sched_yield();
      }
    }
    for (;;) {
      const std::uint32_t seen = changes.load();
      sleeps.store(1);
      if (ready()) break;
      syscall(SYS_futex, &changes, FUTEX_WAIT, seen, nullptr, nullptr, 0);
    }
    sleeps.store(0);
  }
  static void wake(Word& changes, Word& sleeps) {
    sleeps.store(0);
    syscall(SYS_futex, &changes, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }

  alignas(64) Word sent_{0};
  Word receiver_sleeps_{0};
  alignas(64) Word taken_{0};
  Word taker_told_{0};
  alignas(64) std::array<std::array<char, slot_bytes>, slots> slots_;
};

/// Memory with a ring each way, shared with a child by descriptor. Move-only.
class SharedRings {
 public:
  struct Pair {
    Ring out, back;
  };

  /// Makes it. Throws std::system_error.
  SharedRings() : fd_(memfd_create("bench-rings", 0)) {
    if (fd_ < 0 || ftruncate(fd_, sizeof(Pair)) != 0) throw std::system_error(errno, std::generic_category(), "memfd");
    new (map()) Pair;
  }
  /// What a parent made.
  explicit SharedRings(int fd) : fd_(fd) { map(); }
  SharedRings(SharedRings&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), pair_(std::exchange(other.pair_, nullptr)) {}
  SharedRings& operator=(SharedRings&&) = delete;
  ~SharedRings() {
    if (pair_ != nullptr) munmap(pair_, sizeof(Pair));
    if (fd_ >= 0) close(fd_);
  }
  int descriptor() const { return fd_; }
  Pair* operator->() const { return pair_; }

 private:
  void* map() {
    void* const at = mmap(nullptr, sizeof(Pair), PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (at == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    pair_ = static_cast<Pair*>(at);
    return at;
  }

  int fd_;
  Pair* pair_ = nullptr;
};

/// The floor's side in this process.
class RingFloor {
 public:
  /// Starts the child. Each ping-pong is of these sizes (at most Ring::slot_bytes).
  RingFloor(std::size_t request_bytes, std::size_t reply_bytes, RingWait wait)
      : wait_(wait),
        child_({"ring", std::to_string(rings_.descriptor()), std::to_string(request_bytes), std::to_string(reply_bytes),
                std::to_string(static_cast<int>(wait))}),
        request_(request_bytes),
        reply_(reply_bytes) {
    if (request_bytes > Ring::slot_bytes || reply_bytes > Ring::slot_bytes)
      throw std::invalid_argument("the ring's messages are at most " + std::to_string(Ring::slot_bytes) + " bytes");
    ping_pong();
  }

  /// One request and its reply.
  void ping_pong() {
    rings_->out.push(request_, wait_);
    rings_->back.pop(reply_, wait_);
  }
  /// Many requests, as many under way as the ring holds.
  void pipelined(int count) {
    constexpr int window = static_cast<int>(Ring::slots) / 2;
    for (int sent = 0, received = 0; received < count;) {
      for (; sent < count && sent - received < window; ++sent) rings_->out.push(request_, wait_);
      rings_->back.pop(reply_, wait_);
      ++received;
    }
  }
  pid_t child() const { return child_.pid(); }

 private:
  SharedRings rings_;
  RingWait wait_;
  Child child_;
  std::vector<char> request_, reply_;
};

/// The child: answers until it is killed. `arguments` are descriptor, request and reply bytes, and how to wait.
inline void serve_ring_floor(const std::vector<std::string>& arguments) {
  const SharedRings rings(std::stoi(arguments.at(0)));
  std::vector<char> request(std::stoul(arguments.at(1)));
  std::vector<char> reply(std::stoul(arguments.at(2)));
  const auto wait = static_cast<RingWait>(std::stoi(arguments.at(3)));
  for (;;) {
    rings->out.pop(request, wait);
    rings->back.push(reply, wait);
  }
}

}  // namespace bench
