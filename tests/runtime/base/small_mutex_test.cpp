#include <muster/detail/small_mutex.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace muster::detail {
namespace {

TEST(SmallMutex, IsSmall) { EXPECT_EQ(sizeof(SmallMutex), 4U); }

TEST(SmallMutex, OneHoldsItAtATime) {
  SmallMutex mutex;
  EXPECT_TRUE(mutex.try_lock());
  EXPECT_FALSE(mutex.try_lock());
  mutex.unlock();
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
}

TEST(SmallMutex, LosesNoUpdateOfManyThreads) {
  constexpr int threads = 4, rounds = 20'000;
  SmallMutex mutex;
  int count = 0;
  {
    std::vector<std::jthread> all;
    for (int t = 0; t < threads; ++t) {
      all.emplace_back([&] {
        for (int i = 0; i < rounds; ++i) {
          const std::lock_guard lock(mutex);
          ++count;
        }
      });
    }
  }
  EXPECT_EQ(count, threads * rounds);
}

TEST(SmallMutex, WhoSleepsForItIsWoken) {
  SmallMutex mutex;
  mutex.lock();
  auto other = std::async(std::launch::async, [&] { const std::lock_guard lock(mutex); });
  // Long enough to fall asleep; the test holds whether it does or not.
  EXPECT_EQ(other.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  mutex.unlock();
  EXPECT_EQ(other.wait_for(std::chrono::seconds(20)), std::future_status::ready);
}

}  // namespace
}  // namespace muster::detail
