#include "runtime/transport/shm/unheard.hpp"

#include <gtest/gtest.h>

#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>

namespace muster::runtime {
namespace {

constexpr int long_enough_ms = 10'000;

bool becomes_readable(const Unheard& unheard) {
  pollfd watched{unheard.timer_fd(), POLLIN, 0};
  return ::poll(&watched, 1, long_enough_ms) == 1;
}

TEST(Unheard, WhatWasLeftIsTakenOnce) {
  Unheard unheard;
  EXPECT_FALSE(unheard.take());
  unheard.note();
  unheard.note();
  EXPECT_TRUE(unheard.take());
  EXPECT_FALSE(unheard.take());
}

TEST(Unheard, ItsTimerTellsOfWhatNobodyTook) {
  Unheard unheard;
  const auto before = std::chrono::steady_clock::now();
  unheard.note();
  ASSERT_TRUE(becomes_readable(unheard));
  EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(10));
  unheard.timer_ended();
  EXPECT_TRUE(unheard.take());
}

TEST(Unheard, TheTimerRunsAgainForWhatIsLeftAfterItsEnd) {
  Unheard unheard;
  unheard.note();
  ASSERT_TRUE(becomes_readable(unheard));
  std::uint64_t times = 0;
  ASSERT_EQ(::read(unheard.timer_fd(), &times, sizeof times), static_cast<ssize_t>(sizeof times));
  unheard.timer_ended();
  EXPECT_TRUE(unheard.take());
  unheard.note();
  EXPECT_TRUE(becomes_readable(unheard));
}

}  // namespace
}  // namespace muster::runtime
