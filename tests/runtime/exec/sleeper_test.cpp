// What threads sleep on: no call is lost, and a sleep ends when its time comes.

#include "runtime/exec/sleeper.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace muster::runtime {
namespace {

using Time = std::chrono::steady_clock::time_point;

TEST(Sleeper, WhoWasWokenBeforeDoesNotSleep) {
  Sleeper sleeper;
  sleeper.wake();
  sleeper.wake();
  EXPECT_TRUE(sleeper.sleep(Time::max()));
  EXPECT_FALSE(sleeper.sleep(std::chrono::steady_clock::now() + std::chrono::milliseconds(1))) << "both were one call";
}

TEST(Sleeper, NoCallIsLost) {
  Sleeper sleeper;
  std::atomic<int> slept{0};
  constexpr int times = 2000;
  std::thread thread([&] {
    while (slept < times) {
      EXPECT_TRUE(sleeper.sleep(Time::max()));
      ++slept;
    }
  });
  for (int i = 1; i <= times; ++i) {
    sleeper.wake();
    while (slept < i) std::this_thread::yield();
  }
  thread.join();
}

TEST(Sleeper, EachThreadHasItsOwnWhichOutlivesIt) {
  std::shared_ptr<Sleeper> other;
  std::thread([&] { other = Sleeper::own(); }).join();
  EXPECT_NE(other, Sleeper::own());
  EXPECT_EQ(Sleeper::own(), Sleeper::own());
  other->wake();
}

}  // namespace
}  // namespace muster::runtime
