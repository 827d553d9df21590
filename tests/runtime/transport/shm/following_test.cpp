// Blocks that are read while they are written: who follows hears of each step, and when nobody writes any more.

#include "runtime/transport/shm/following.hpp"

#include "runtime/transport/lane.hpp"
#include "runtime/transport/shm/shared_memory.hpp"

#include <gtest/gtest.h>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

namespace muster::runtime {
namespace {

/// In memory that the reader can't write, as blocks are.
struct Followed {
  UniqueFd fd;
  SharedMemory written = SharedMemory::create(4096, fd), seen = SharedMemory::map(fd, 4096, SharedMemory::Access::read);
  SharedMemory words = SharedMemory::create(4096, fd);
  BlockHead& head = *reinterpret_cast<BlockHead*>(written.data());
  const BlockHead& reader_head = *reinterpret_cast<const BlockHead*>(seen.data());
  std::atomic<std::uint32_t>& sleepers = *reinterpret_cast<std::atomic<std::uint32_t>*>(words.data());
};

const auto never = [] { return false; };

/// Waits for it, yielding. @returns false at the deadline
bool comes(auto condition) {
  const auto deadline = Clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(Following, WhatIsWrittenIsNotWaitedFor) {
  Followed block;
  tell_written(block.head, 100, block.sleepers);
  EXPECT_EQ(await_written(block.reader_head, 100, block.sleepers, [] { return true; }), 100u);
}

TEST(Following, EachStepIsHeardOfByThoseWhoSleepAndThoseWhoLook) {
  Followed block;
  constexpr std::uint64_t steps = 300;
  std::atomic<std::uint64_t> heard{0};
  std::thread reader([&] {
    for (std::uint64_t i = 1; i <= steps; ++i) {
      EXPECT_GE(await_written(block.reader_head, i, block.sleepers, never), i);
      heard = i;
    }
  });
  for (std::uint64_t i = 1; i <= steps; ++i) {
    // Every tenth step waits until the reader is asleep.
    EXPECT_TRUE(i % 10 != 0 || comes([&] { return block.sleepers != 0; }));
    tell_written(block.head, i, block.sleepers);
    EXPECT_TRUE(comes([&] { return heard >= i; }));
  }
  reader.join();
  EXPECT_EQ(block.sleepers.load(), 0u);
}

TEST(Following, EndsWhenNobodyWritesAnyMore) {
  Followed block;
  tell_written(block.head, 50, block.sleepers);
  int asked = 0;
  EXPECT_EQ(await_written(block.reader_head, 100, block.sleepers, [&] { return ++asked == 3; }), 50u);
  EXPECT_EQ(asked, 3);
}

TEST(Following, AnotherProcessIsHeardOf) {
  Followed block;
  const pid_t child = fork();
  if (child == 0) {
    (void)comes([&] { return block.sleepers != 0; });
    tell_written(block.head, 7, block.sleepers);
    _exit(0);
  }
  EXPECT_EQ(await_written(block.reader_head, 7, block.sleepers, never), 7u);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

}  // namespace
}  // namespace muster::runtime
