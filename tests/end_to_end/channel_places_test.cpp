// Channels whose owners give places in advance: puts that do not wait, and what must hold all the same.

#include "channels.hpp"

#include <csignal>
#include <map>
#include <thread>

namespace {

using namespace muster;
using namespace muster::test;

/// More than are asked for before there are places, and than these are at once.
constexpr int many = 700;

void put_all(const RemoteChannel<int>& channel, int first, int count) {
  for (int i = 0; i < count; ++i) channel.put(first + i);
}

/// Who is killed as soon as its put has returned has put all the same: all is there, in order.
TEST_F(Channels, WhatAPutterHasPutOutlivesIt) {
  for (const Pid owner : {1, 2}) {
    for (int round = 0; round < 4; ++round) {
      const RemoteChannel<int> channel(many, owner);
      const Pid mortal = addprocs(1).front();
      const auto dying = spawnat(
          mortal,
          [](const RemoteChannel<int>& c, int count) {
            put_all(c, 0, count);
            (void)std::raise(SIGKILL);
          },
          channel, many - round);
      EXPECT_THROW(dying.fetch(patience), ProcessExitedException);
      ASSERT_TRUE(eventually([&] { return channel.size() == static_cast<std::size_t>(many - round); }))
          << channel.size() << " of " << many - round << " at " << owner;
      for (int i = 0; i < many - round; ++i) ASSERT_EQ(channel.take(), i);
      // And the places that it did not use are free.
      for (int i = 0; i < many; ++i) ASSERT_TRUE(channel.try_put(i)) << i;
      EXPECT_FALSE(channel.try_put(0));
    }
  }
}

/// Who hears of a put by a message finds the item there, whichever process it looks from.
TEST_F(Channels, WhoHearsOfAPutFindsIt) {
  const RemoteChannel<int> channel(100, 2);
  const auto take_it = [](const RemoteChannel<int>& c) { return c.try_take().value_or(-1); };
  for (int i = 0; i < 300; ++i) {
    if (i % 2 == 0) {
      remotecall_fetch([](const RemoteChannel<int>& c, int item) { c.put(item); }, 3, channel, i);
      ASSERT_EQ(channel.try_take().value_or(-1), i);
    } else {
      channel.put(i);
      ASSERT_EQ(remotecall_fetch(take_it, 3, channel), i);
    }
  }
  // By way of another channel, which lives where it was put from.
  const RemoteChannel<int> told(100);
  const auto watcher = spawnat(
      3,
      [](const RemoteChannel<int>& items, const RemoteChannel<int>& news, int count) {
        int missed = 0;
        for (int i = 0; i < count; ++i) {
          const int item = news.take();
          if (items.try_take().value_or(-1) != item) ++missed;
        }
        return missed;
      },
      channel, told, 300);
  for (int i = 0; i < 300; ++i) {
    channel.put(i);
    told.put(i);
  }
  EXPECT_EQ(watcher.fetch(patience), 0);
}

/// Each putter is told which of its items are in: these come out, in its order, and no others.
TEST_F(Channels, ClosedWhileManyPut) {
  for (const Pid owner : {1, 2}) {
    for (const std::size_t capacity : {std::size_t{8}, std::size_t{1000}}) {
      const RemoteChannel<int> channel(capacity, owner);
      std::vector<Future<int>> putters;
      for (const Pid pid : {2, 3, 2, 3})
        putters.push_back(spawnat(
            pid,
            [](const RemoteChannel<int>& c, int first) {
              int count = 0;
              try {
                for (;; ++count) c.put(first + count);
              } catch (const ChannelClosed&) {
              }
              return count;
            },
            channel, static_cast<int>(putters.size()) * 10'000'000));
      std::map<int, int> next;
      const auto see = [&](int item) { EXPECT_EQ(next[item / 10'000'000]++, item % 10'000'000); };
      for (int i = 0; i < 1000; ++i) see(channel.take(patience));
      channel.close();
      EXPECT_THROW(channel.put(0), ChannelClosed);
      const auto there =
          thrown<RemoteException>([&] { remotecall_fetch([](const RemoteChannel<int>& c) { c.put(0); }, 3, channel); });
      ASSERT_TRUE(there);
      EXPECT_TRUE(there->is<ChannelClosed>());
      for (const int item : channel) see(item);
      for (std::size_t i = 0; i < putters.size(); ++i)
        EXPECT_EQ(putters[i].fetch(patience), next[static_cast<int>(i)]) << owner << ' ' << capacity;
    }
  }
}

/// Places that somebody has, and does not use, are room for others.
TEST_F(Channels, PlacesOfTheIdleAreRoomForOthers) {
  for (const Pid owner : {1, 2}) {
    const RemoteChannel<int> channel(20, owner);
    for (int round = 0; round < 3; ++round) {
      remotecall_fetch([](const RemoteChannel<int>& c) { put_all(c, 0, 10); }, 3, channel);
      for (int i = 0; i < 10; ++i) EXPECT_EQ(channel.take(), i);
      int room = 0;
      while (channel.try_put(room)) ++room;
      EXPECT_EQ(room, 20);
      for (int i = 0; i < room; ++i) EXPECT_EQ(channel.take(), i);
      for (int i = 0; i < 20; ++i) channel.put(i, patience);
      EXPECT_THROW(channel.put(20, std::chrono::milliseconds(1)), TimeoutError);
      EXPECT_EQ(channel.size(), 20U);
      for (int i = 0; i < 20; ++i) EXPECT_EQ(channel.take(), i);
    }
  }
}

/// A slow taker: never more items than there is room for.
TEST_F(Channels, NeverHoldMoreThanTheirCapacity) {
  for (const Pid owner : {1, 2}) {
    const RemoteChannel<int> channel(16, owner);
    const auto one = spawnat(3, &put_all, channel, 0, 500);
    const auto other = spawnat(2, &put_all, channel, 10'000, 500);
    std::map<int, int> next;
    for (int i = 0; i < 1000; ++i) {
      if (i % 50 == 0) {
        EXPECT_LE(channel.size(), 16U);
      }
      const int item = channel.take(patience);
      EXPECT_EQ(next[item / 10'000]++, item % 10'000);
    }
    one.fetch(patience);
    other.fetch(patience);
    EXPECT_TRUE(channel.isempty());
  }
}

/// Several threads of one process share its places.
TEST_F(Channels, ThreadsShareTheirPlaces) {
  const RemoteChannel<int> channel(64, 2);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back([&, t] { put_all(channel, t * 10'000, 400); });
  std::map<int, int> next;
  for (int i = 0; i < 1600; ++i) {
    const int item = channel.take(patience);
    EXPECT_EQ(next[item / 10'000]++, item % 10'000);
  }
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(channel.isempty());
}

/// Large items, and small ones behind them, keep their order, with and without places.
TEST_F(Channels, LargeAndSmallItemsKeepTheirOrder) {
  const RemoteChannel<std::vector<int>> channel(200, 2);
  for (int i = 0; i < 200; ++i) channel.put(std::vector<int>(i % 3 == 0 ? 200'000 : i % 3 == 1 ? 900 : 1, i));
  for (int i = 0; i < 200; ++i) EXPECT_EQ(channel.take().at(0), i);
}

/// The owner dies in the middle: its putter hears so.
TEST_F(Channels, AnOwnerThatDiesWhileItIsPutInto) {
  const Pid owner = addprocs(1).front();
  const RemoteChannel<int> channel(1'000'000, owner);
  const auto putter = spawnat(
      3,
      [](const RemoteChannel<int>& c) {
        try {
          for (;;) c.put(1);
        } catch (const ProcessExitedException& exited) {
          return exited.pid();
        }
      },
      channel);
  while (channel.size() < 1000) {
  }
  kill_worker(owner);
  EXPECT_EQ(putter.fetch(patience), owner);
  remotecall_fetch([] {}, 3);  // nothing waits for what was put there
}

}  // namespace
