// Cancels, deadlines and ends that cross a message: whoever gives up loses, doubles and keeps nothing.

#include "support.hpp"
#include "trace.hpp"

#include <muster/muster.hpp>

#include <gtest/gtest.h>

#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <numeric>
#include <thread>
#include <utility>

namespace {

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

class Crossings : public testing::Test {
 protected:
  Crossings() { (void)at_least(3); }
};

/// Keeps the only slot of a process until the file has a second line. (To wait for muster would give the slot up.)
void compute_until_told(const std::string& path) {
  add_line(path, "started");
  while (lines_of(path).size() < 2) {
  }
}

constexpr auto forever = std::chrono::nanoseconds::max();

// -- pools ------------------------------------------------------------------------------------------------------------

Pid take_and_put(const WorkerPool& pool) {
  const Pid pid = pool.take();
  pool.put(pid);
  return pid;
}

TEST_F(Crossings, APoolLosesNobodyToATakeThatIsCancelled) {
  const WorkerPool pool({2});
  for (int i = 0; i < 100; ++i) {
    const Pid mine = pool.take(patience);
    const auto taking = spawnat(3, &take_and_put, pool);
    ASSERT_TRUE(eventually([] { return debug::calls_in_flight(3) > 0; }));
    std::thread other([&] { pool.put(mine); });
    (void)taking.cancel();
    other.join();
  }
  EXPECT_EQ(pool.take(patience), 2);
}

TEST_F(Crossings, APoolLosesNobodyToATakeThatIsOutOfTime) {
  const WorkerPool pool({2});
  for (int i = 0; i < 40; ++i) {
    const Pid mine = pool.take(patience);
    const auto taking = spawnat(
        3,
        [](const WorkerPool& from) {
          const DeadlineScope scope(3ms);
          (void)take_and_put(from);
        },
        pool);
    std::this_thread::sleep_for(2ms + i * 50us);  // so that the two meet, some time
    pool.put(mine);
    try {
      taking.fetch(patience);
    } catch (const TimeoutError&) {
    }
  }
  EXPECT_EQ(pool.take(patience), 2);
}

TEST_F(Crossings, AProcessThatDoesNotAnswerIsNotWaitedFor) {
  const OwnWorkers own(2);
  const auto pool = remotecall_fetch([](Pid member) { return WorkerPool({member}); }, own[0], own[1]);
  EXPECT_EQ(pool.take(patience), own[1]);
  const int frozen = remotecall_fetch([] { return static_cast<int>(getpid()); }, own[0]);
  stop_process(frozen);
  EXPECT_THROW((void)pool.take(10ms), TimeoutError);
  EXPECT_THROW(pool.wait(10ms), TimeoutError);
  WorkerPool same = pool;
  EXPECT_THROW((void)pmap([](int x) { return x; }, std::vector<int>{1}, PmapOptions{.pool = &same, .timeout = 10ms}),
               TimeoutError);
  {
    const DeadlineScope scope(10ms);
    EXPECT_THROW(rmprocs(own[0]), TimeoutError);
  }
  EXPECT_EQ(::kill(frozen, SIGKILL), 0);
}

TEST_F(Crossings, AddprocsEndsWithItsScope) {
  const DeadlineScope scope(50ms);
  EXPECT_THROW((void)addprocs(1, {.exename = "/bin/sh", .exeflags = {"-c", "exec sleep 30"}}), TimeoutError);
}

// -- tasks and loops --------------------------------------------------------------------------------------------------

TEST_F(Crossings, EveryoneWhoWaitsHearsOfACancel) {
  const RemoteChannel<int> started, end;
  const auto busy = spawnat(
      2,
      [](const RemoteChannel<int>& has_started, const RemoteChannel<int>& until) {
        has_started.put(1);
        while (!this_task::stop_token().stop_requested()) {
        }
        while (true) {  // it does not mind
          try {
            if (until.isready()) break;
          } catch (const CancelledError&) {
            break;
          }
        }
        return 5;
      },
      started, end);
  (void)started.take(patience);
  const auto elsewhere = spawnat(3, [](const Future<int>& future) { return future.fetch(); }, busy);
  EXPECT_TRUE(spawnat(3, [](const Future<int>& future) { return future.cancel(); }, busy).fetch(patience));
  EXPECT_THROW((void)elsewhere.fetch(patience), CancelledError);
  EXPECT_THROW((void)busy.fetch(patience), CancelledError);
  end.put(1);
}

TEST_F(Crossings, ACancelledLoopStopsItsParts) {
  const RemoteChannel<int> ran(100);
  const auto loop = distributed_for(splitrange(40, 1).front(), bind_front(
                                                                   [](const RemoteChannel<int>& each, std::size_t i) {
                                                                     each.put(static_cast<int>(i));
                                                                     this_task::sleep_for(i % 10 == 0 ? 10ms : 30s);
                                                                   },
                                                                   ran));
  ASSERT_TRUE(eventually([&] { return ran.size() > 0; }));
  EXPECT_TRUE(loop.cancel());
  EXPECT_THROW(loop.fetch(patience), CancelledError);
  for (const Pid pid : workers()) EXPECT_EQ(remotecall_fetch(&myid, pid), pid) << "its slot is free";
  EXPECT_TRUE(eventually([] { return debug::calls_in_flight(1) == 0; })) << "a part still runs";
  EXPECT_LT(ran.size(), 40U);
}

TEST_F(Crossings, SyncAndEverywhereEndAsTheirCaller) {
  EXPECT_THROW(
      {
        const DeadlineScope scope(50ms);
        sync([] {
          for (const Pid pid : {2, 3}) (void)spawnat(pid, [] { this_task::sleep_for(forever); });
        });
      },
      TimeoutError);
  EXPECT_THROW(
      {
        const DeadlineScope scope(50ms);
        everywhere([] { this_task::sleep_for(forever); });
      },
      TimeoutError);
  const auto waiting = spawnat(2, [] { sync([] { (void)spawnat(3, [] { this_task::sleep_for(forever); }); }); });
  ASSERT_TRUE(eventually([] { return debug::calls_in_flight(2) > 0; }));
  interrupt(2);
  try {
    waiting.fetch(patience);
    FAIL() << "it was interrupted";
  } catch (const RemoteException& error) {
    EXPECT_TRUE(error.is<InterruptedError>()) << error.what();
  }
  interrupt();
}

TEST_F(Crossings, ForEverIsLong) {
  const auto slow = [] {
    this_task::sleep_for(20ms);
    return 1;
  };
  EXPECT_EQ(spawnat(2, slow).fetch(forever), 1);
  EXPECT_TRUE(spawnat(2, slow).wait_for(forever));
  EXPECT_EQ(WorkerPool({2}).take(forever), 2);
  EXPECT_EQ(pmap([](int x) { return x; }, std::vector<int>{7}, PmapOptions{.timeout = forever}).front(), 7);
  const DeadlineScope scope(forever);
  EXPECT_EQ(remotecall_fetch(slow, 2), 1);
  const auto asleep = spawnat(2, [] { this_task::sleep_for(forever); });
  EXPECT_FALSE(asleep.wait_for(20ms));
  EXPECT_TRUE(asleep.cancel());
}

TEST_F(Crossings, WhenAnyKeepsNoLoser) {
  const auto before = debug::values_owned(2);
  for (int i = 0; i < 10; ++i) {
    const Future<int> never(2);
    EXPECT_EQ(when_any(std::vector<Future<int>>{never, spawnat(3, [] { return 1; })}).fetch(patience), 1U);
  }
  EXPECT_TRUE(eventually([&] { return debug::values_owned(2) == before && debug::calls_in_flight(1) == 0; }));
}

// -- items ------------------------------------------------------------------------------------------------------------

TEST_F(Crossings, ACancelledTakerWithoutASlotHoldsNoItem) {
  for (const Pid owner : {1, 3}) {
    const RemoteChannel<int> channel(1, owner);
    const Trace trace;
    const auto taker = spawnat(2, [](const RemoteChannel<int>& from) { return from.take(); }, channel);
    ASSERT_TRUE(eventually([] { return debug::calls_in_flight(2) > 0; }));
    const auto busy = spawnat(2, &compute_until_told, trace.path());
    ASSERT_TRUE(eventually([&] { return trace.count("started") == 1; }));
    EXPECT_TRUE(taker.cancel());
    channel.put(4);
    EXPECT_EQ(channel.take(patience), 4);
    EXPECT_FALSE(busy.isready());
    add_line(trace.path(), "told");
    busy.fetch(patience);
  }
}

TEST_F(Crossings, ACancelledTakerWithoutASlotHoldsNoLocalItem) {
  const auto outcome = spawnat(2, [] {
    static const Channel<int> channel(1);
    const auto taker = spawnat(2, [] { return channel.take(); });
    (void)remotecall_fetch(&nprocs, 3);  // it starts meanwhile
    (void)taker.cancel();
    channel.put(4);  // this task has the only slot
    return channel.take(patience);
  });
  EXPECT_EQ(outcome.fetch(patience), 4);
}

TEST_F(Crossings, ContainersOfWhatCannotBeCopied) {
  using Items = std::vector<std::unique_ptr<int>>;
  const auto make = [] {
    Items items;
    items.push_back(std::make_unique<int>(3));
    return items;
  };
  EXPECT_EQ(*spawnat(2, make).take().front(), 3);
  EXPECT_EQ(spawnat(2, make).then([](const Items& items) { return *items.front(); }).fetch(patience), 3);
  std::vector<Future<std::unique_ptr<int>>> futures;
  futures.push_back(spawnat(2, [] { return std::make_unique<int>(4); }));
  EXPECT_EQ(*when_all(std::move(futures)).take().front(), 4);
  const Channel<std::pair<int, Items>> channel(1);
  channel.put({1, make()});
  EXPECT_EQ(*channel.take().second.front(), 3);
}

}  // namespace
