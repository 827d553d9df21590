// Takers, putters and owners of channels that give up, are cancelled or die.

#include "channels.hpp"

#include <atomic>
#include <future>
#include <numeric>
#include <thread>

namespace {

using namespace muster;
using namespace muster::test;

// -- takers and putters that end --------------------------------------------------------------------------------------

// catalogue: 3.8.158
TEST_F(Channels, ATakerThatGaveUpSwallowsNothing) {
  for (const Pid owner : {1, 2}) {
    for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}}) {
      const RemoteChannel<int> channel(capacity, owner);
      EXPECT_THROW((void)channel.take(1ms), TimeoutError);
      const auto late = spawnat(3, [](const RemoteChannel<int>& c) { return c.take(1ms); }, channel);
      EXPECT_THROW((void)late.fetch(patience), TimeoutError);
      const auto cancelled = spawnat(3, [](const RemoteChannel<int>& c) { return c.take(); }, channel);
      ASSERT_TRUE(waits(3));
      EXPECT_TRUE(cancelled.cancel());
      ASSERT_TRUE(eventually([] { return debug::calls_in_flight(3) == 0; }));
      {
        const DeadlineScope scope(1ms);
        EXPECT_THROW((void)channel.take(), TimeoutError);
      }
      const auto putter = spawnat(3, [](const RemoteChannel<int>& c) { c.put(9); }, channel);
      EXPECT_EQ(channel.take(patience), 9);
      putter.fetch(patience);
    }
  }
}

// catalogue: 3.8.158
TEST_F(Channels, WhatIsPutAfterItsTakerWasCancelledStays) {
  for (const Pid owner : {1, 2, 3}) {
    const RemoteChannel<int> channel(1, owner);
    for (int i = 0; i < 20; ++i) {
      const auto cancelled = spawnat(3, [](const RemoteChannel<int>& c) { return c.take(); }, channel);
      ASSERT_TRUE(waits(3));
      EXPECT_TRUE(cancelled.cancel());
      channel.put(i);  // most likely there before the taker has said that it gave up
      EXPECT_EQ(channel.take(patience), i);
    }
  }
}

/// Puts numbers into a channel whose takers give up all the time: each number arrives just once, in order.
// catalogue: 3.8.158
TEST_F(Channels, TakersThatGiveUpWhileItemsCome) {
  for (const Pid owner : {1, 2}) {
    for (const std::size_t capacity : {std::size_t{0}, std::size_t{2}}) {
      const RemoteChannel<int> channel(capacity, owner);
      constexpr int count = 500;
      const auto putter = spawnat(
          3,
          [](const RemoteChannel<int>& c) {
            for (int i = 0; i < count; ++i) {
              c.put(i);
              if (i % 7 == 0) this_task::sleep_for(std::chrono::microseconds(i % 50 * 10));
            }
            c.close();
          },
          channel);
      std::vector<int> got;
      int in_vain = 0;
      for (int round = 0; channel.isopen() || channel.isready() || !putter.isready(); ++round) {
        try {
          got.push_back(channel.take(std::chrono::microseconds(round % 40 * 5)));
        } catch (const TimeoutError&) {
          ++in_vain;
        } catch (const ChannelClosed&) {
        }
      }
      putter.fetch(patience);
      std::vector<int> all(count);
      std::iota(all.begin(), all.end(), 0);
      EXPECT_EQ(got, all) << owner << ' ' << capacity << ", in vain: " << in_vain;
    }
  }
}

TEST_F(Channels, APutterThatGaveUpLeavesNothing) {
  for (const Pid owner : {1, 2}) {
    const RemoteChannel<int> channel(1, owner);
    channel.put(1);
    EXPECT_THROW(channel.put(2, 1ms), TimeoutError);
    const auto late = spawnat(3, [](const RemoteChannel<int>& c) { c.put(3, 1ms); }, channel);
    EXPECT_THROW(late.fetch(patience), TimeoutError);
    const auto cancelled = spawnat(3, [](const RemoteChannel<int>& c) { c.put(4); }, channel);
    ASSERT_TRUE(waits(3));
    EXPECT_TRUE(cancelled.cancel());
    ASSERT_TRUE(eventually([] { return debug::calls_in_flight(3) == 0; }));
    EXPECT_EQ(channel.take(), 1);
    EXPECT_EQ(channel.try_take(), std::nullopt);
  }
}

/// Putters that give up all the time while somebody takes: a put that threw left nothing, one that did not is there
/// once.
TEST_F(Channels, PuttersThatGiveUpWhileItemsGo) {
  for (const Pid owner : {1, 2}) {
    for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}}) {
      const RemoteChannel<int> channel(capacity, owner);
      const auto taker = spawnat(
          3,
          [](const RemoteChannel<int>& c) {
            std::vector<int> got;
            for (const int item : c) {
              got.push_back(item);
              if (item % 5 == 0) this_task::sleep_for(std::chrono::microseconds(item % 30 * 10));
            }
            return got;
          },
          channel);
      std::vector<int> put;
      for (int i = 0; i < 500; ++i) {
        try {
          channel.put(i, std::chrono::microseconds(i % 40 * 5));
          put.push_back(i);
        } catch (const TimeoutError&) {
        }
      }
      channel.close();
      EXPECT_EQ(taker.fetch(patience), put) << owner << ' ' << capacity;
    }
  }
}

// catalogue: 3.8.157
TEST_F(Channels, ATakerThatDiesSwallowsNothing) {
  for (const Pid owner : {1, 2}) {
    for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}}) {
      const RemoteChannel<int> channel(capacity, owner);
      const Pid mortal = addprocs(1).front();
      const auto dying = spawnat(mortal, [](const RemoteChannel<int>& c) { return c.take(); }, channel);
      ASSERT_TRUE(waits(mortal));
      const auto living = spawnat(3, [](const RemoteChannel<int>& c) { return c.take(); }, channel);
      ASSERT_TRUE(waits(3));
      kill_worker(mortal);
      EXPECT_THROW((void)dying.fetch(patience), ProcessExitedException);
      channel.put(6);
      EXPECT_EQ(living.fetch(patience), 6);
    }
  }
}

TEST_F(Channels, APutterThatDiesLeavesNothing) {
  for (const Pid owner : {1, 2}) {
    const RemoteChannel<int> channel(0, owner);
    const Pid mortal = addprocs(1).front();
    const auto dying = spawnat(mortal, [](const RemoteChannel<int>& c) { c.put(2); }, channel);
    channel.wait(patience);
    kill_worker(mortal);
    EXPECT_THROW(dying.fetch(patience), ProcessExitedException);
    EXPECT_TRUE(eventually([&] { return channel.isempty(); }));
    EXPECT_EQ(channel.try_take(), std::nullopt);
  }
}

/// A process that is stopped can't say that it has an item: it goes back when the process is killed.
// catalogue: 3.8.157
TEST_F(Channels, AnItemOnItsWayToOneWhoDiesComesBack) {
  for (const std::size_t capacity : {std::size_t{0}, std::size_t{2}}) {
    const RemoteChannel<int> channel(capacity);
    const Pid mortal = addprocs(1).front();
    const auto dying = spawnat(mortal, [](const RemoteChannel<int>& c) { return c.take(); }, channel);
    ASSERT_TRUE(waits(mortal));
    const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, mortal);
    ASSERT_NO_FATAL_FAILURE(stop_process(os_pid));
    auto puts = std::async(std::launch::async, [&] {
      channel.put(1);
      channel.put(2);
    });
    if (capacity != 0) {
      puts.wait();
      EXPECT_EQ(channel.size(), 1U) << "one is under way";
    }
    ASSERT_EQ(::kill(os_pid, SIGKILL), 0);
    EXPECT_THROW((void)dying.fetch(patience), ProcessExitedException);
    ASSERT_TRUE(eventually([&] { return channel.size() >= (capacity == 0 ? 1U : 2U); }));
    EXPECT_EQ(channel.take(), 1);
    EXPECT_EQ(channel.take(), 2);
    puts.get();
  }
}

// catalogue: 3.8.159
TEST_F(Channels, AnOwnerThatDies) {
  const Pid owner = addprocs(1).front();
  const RemoteChannel<int> empty(1, owner), full(1, owner);
  full.put(1);
  const auto ends = [](const RemoteChannel<int>& c, int what) {
    try {
      if (what == 0) (void)c.take();
      if (what == 1) c.put(1);
      if (what == 2) (void)c.fetch();
      if (what == 3) c.wait();
    } catch (const ProcessExitedException& exited) {
      return exited.pid();
    }
    return 0;
  };
  std::vector<Future<int>> waiting;
  for (const Pid pid : {1, 2})
    for (int what = 0; what < 4; ++what) waiting.push_back(spawnat(pid, ends, what == 1 ? full : empty, what));
  ASSERT_TRUE(waits(2, 4));
  ASSERT_TRUE(waits(1, 8));
  kill_worker(owner);
  for (const auto& one : waiting) EXPECT_EQ(one.fetch(patience), owner);
  EXPECT_THROW((void)full.take(), ProcessExitedException);
  EXPECT_THROW((void)full.try_take(), ProcessExitedException);
  EXPECT_THROW(full.put(1), ProcessExitedException);
  EXPECT_THROW((void)full.try_put(1), ProcessExitedException);
  EXPECT_THROW((void)full.fetch(), ProcessExitedException);
  EXPECT_THROW(full.wait(1s), ProcessExitedException);
  EXPECT_THROW((void)full.isready(), ProcessExitedException);
  EXPECT_THROW((void)full.isopen(), ProcessExitedException);
  EXPECT_THROW(full.close(), ProcessExitedException);
}

TEST_F(Channels, AnOwnerThatDoesNotAnswer) {
  const Pid owner = addprocs(1).front();
  {
    const RemoteChannel<int> channel(2, owner);
    channel.put(1);
    const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, owner);
    ASSERT_NO_FATAL_FAILURE(stop_process(os_pid));
    const auto start = std::chrono::steady_clock::now();
    EXPECT_THROW((void)channel.take(10ms), TimeoutError);
    const auto late = thrown<TimeoutError>([&] { channel.put(2, 10ms); });
    ASSERT_TRUE(late);
    EXPECT_NE(std::string(late->what()).find("not known"), std::string::npos) << late->what();
    EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
    ASSERT_EQ(::kill(os_pid, SIGCONT), 0);
    EXPECT_EQ(channel.take(patience), 1) << "the take that gave up got it, and gave it back";
  }
  rmprocs(owner);
}

TEST_F(Channels, AStoppedTaskWaitsForNothing) {
  for (const Pid owner : {1, 2, 3}) {
    const RemoteChannel<int> channel(5, owner);
    const RemoteChannel<std::string> told(10, 2);
    const auto task = spawnat(
        3,
        [](const RemoteChannel<int>& c, const RemoteChannel<std::string>& started) {
          started.put("started");
          while (!this_task::stop_token().stop_requested()) {
          }
          EXPECT_THROW(c.put(1), CancelledError);
          EXPECT_THROW((void)c.take(), CancelledError);
          EXPECT_THROW((void)c.try_take(), CancelledError);
          EXPECT_THROW((void)c.isready(), CancelledError);
          EXPECT_THROW(Channel<int>().put(1), CancelledError);
        },
        channel, told);
    EXPECT_EQ(told.take(), "started");
    EXPECT_TRUE(task.cancel());
    ASSERT_EQ(remotecall_fetch([] { return testing::Test::HasFailure(); }, 3), false);
    EXPECT_TRUE(channel.isempty());
  }
}

// catalogue: 3.8.161
TEST_F(Channels, ThreadsOfTwoWorkers) {
  const OwnWorkers two(2, {.threads = 2});
  const RemoteChannel<int> channel(1, two[0]);
  std::vector<Future<void>> puts;
  std::vector<Future<int>> takes;
  for (int combination = 0; combination < 16; ++combination) {
    puts.push_back(spawnat(two[0], [](const RemoteChannel<int>& c, int i) { c.put(i); }, channel, combination));
    takes.push_back(spawnat(two[1], [](const RemoteChannel<int>& c) { return c.take(); }, channel));
  }
  int sum = 0;
  for (const auto& put : puts) put.fetch(60s);
  for (const auto& take : takes) sum += take.fetch(60s);
  EXPECT_EQ(sum, 120);
}

TEST_F(Channels, ManyThreadsOfTheMaster) {
  for (const Pid owner : {1, 2}) {
    const RemoteChannel<int> channel(3, owner);
    std::atomic<int> sum{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 1; i <= 100; ++i) channel.put(i);
      });
      threads.emplace_back([&] {
        for (int i = 1; i <= 100; ++i) sum += channel.take();
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(sum, 4 * 5050);
  }
}

}  // namespace
