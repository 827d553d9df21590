// Channels within one process, in tasks and outside.

#include "channels.hpp"

#include <atomic>
#include <future>
#include <thread>

namespace {

using namespace muster;
using namespace muster::test;

TEST(LocalChannel, ThoseThatWait) {
  const Channel<int> unbuffered(0);
  EXPECT_FALSE(unbuffered.try_put(1));
  EXPECT_THROW(unbuffered.put(1, 1ms), TimeoutError);
  EXPECT_THROW((void)unbuffered.fetch(), std::logic_error);
  auto putter = std::async(std::launch::async, [&] { unbuffered.put(2); });
  unbuffered.wait();
  EXPECT_EQ(unbuffered.size(), 1U);
  EXPECT_EQ(unbuffered.take(), 2);
  putter.get();
  auto taker = std::async(std::launch::async, [&] { return unbuffered.take(); });
  EXPECT_TRUE(eventually([&] { return unbuffered.try_put(3); }));
  EXPECT_EQ(taker.get(), 3);
  auto closed = std::async(std::launch::async, [&] { EXPECT_THROW((void)unbuffered.take(), ChannelClosed); });
  auto closed_too = std::async(std::launch::async, [&] { EXPECT_THROW(unbuffered.wait(), ChannelClosed); });
  unbuffered.close();
  closed.get();
  closed_too.get();
}

TEST(LocalChannel, InATask) {
  (void)at_least(2);
  const auto sum = spawnat(2, [] {
    const Channel<int> channel;
    std::thread other([channel] {
      for (int i = 1; i <= 100; ++i) channel.put(i);
      channel.close();
    });
    int total = 0;
    for (const int item : channel) total += item;
    other.join();
    return total;
  });
  EXPECT_EQ(sum.fetch(patience), 5050);
  const RemoteChannel<int> started;
  const auto waiting = spawnat(
      2,
      [](const RemoteChannel<int>& told) {
        told.put(1);
        (void)Channel<int>().take();
      },
      started);
  (void)started.take();
  EXPECT_EQ(remotecall_fetch(&myid, 2), 2) << "its slot is free";
  EXPECT_TRUE(waiting.cancel());
  EXPECT_THROW(waiting.fetch(patience), CancelledError);
}

Channel<int>& channel_of_this_process() {
  static Channel<int> channel(1);
  return channel;
}

TEST(LocalChannel, WhatIsPutAfterItsTakerWasCancelledStays) {
  (void)at_least(2);
  const Channel<int>& channel = channel_of_this_process();
  for (int i = 0; i < 200; ++i) {
    const Future<void> started(1);
    const auto cancelled = spawnat(
        1,
        [](const Future<void>& is_taking) {
          is_taking.put();
          return channel_of_this_process().take();
        },
        started);
    started.wait();
    EXPECT_TRUE(cancelled.cancel());
    channel.put(i);  // most likely there before the taker wakes up
    EXPECT_EQ(channel.take(patience), i);
    EXPECT_THROW((void)cancelled.fetch(patience), CancelledError);
  }
}

TEST(LocalChannel, EveryItemOnce) {
  for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
    const Channel<int> channel(capacity);
    constexpr int each = 2000;
    std::atomic<long> put_sum{0}, sum{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) {
          try {
            if (t == 0)
              channel.put(i, std::chrono::microseconds(i % 50));
            else
              channel.put(i);
            put_sum += i;
          } catch (const TimeoutError&) {
          }
        }
      });
    }
    std::vector<std::thread> takers;
    for (int t = 0; t < 2; ++t) {
      takers.emplace_back([&, t] {
        for (int i = 0;; ++i) {
          try {
            sum += t == 0 ? channel.take() : channel.take(std::chrono::microseconds(i % 50));
          } catch (const TimeoutError&) {
          } catch (const ChannelClosed&) {
            return;
          }
        }
      });
    }
    for (auto& thread : threads) thread.join();
    channel.close();
    for (auto& thread : takers) thread.join();
    EXPECT_EQ(sum, put_sum) << capacity;
  }
}

}  // namespace
