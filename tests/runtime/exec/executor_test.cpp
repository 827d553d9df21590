#include "runtime/exec/executor.hpp"

#include "tests/runtime/exec/scripted_source.hpp"

#include <muster/errors.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <future>
#include <latch>
#include <set>

namespace muster::runtime {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 20s;

/// An event that one thread waits for without the executor.
class Flag {
 public:
  void raise() { promise_.set_value(); }
  bool raised_in_time() const { return future_.wait_for(patience) == std::future_status::ready; }
  bool raised() const { return future_.wait_for(0s) == std::future_status::ready; }

 private:
  std::promise<void> promise_;
  std::shared_future<void> future_ = promise_.get_future().share();
};

class ExecutorTest : public testing::Test {
 protected:
  void start(int slots = 1, std::chrono::nanoseconds spin = 0ns) {
    executor.emplace(slots, spin);
    executor->start(source);
  }
  void submit(std::function<void()> f) { executor->submit(std::make_shared<TestJob>(std::move(f))); }
  /// Blocks this thread until a message that calls wake arrived. @returns what woke it
  Executor::Woken block_until_message() {
    Wakeup wakeup(*executor);
    source.arrive([&] { wakeup.wake(); });
    return executor->block(wakeup, Clock::now() + patience);
  }
  ~ExecutorTest() override {
    if (executor) executor->stop();
  }

  /// One that outlives every job.
  Flag& flag() { return flags.emplace_back(); }

  std::deque<Flag> flags;
  ScriptedSource source;
  std::optional<Executor> executor;
};

// -- running ----------------------------------------------------------------------------------------------------------

TEST_F(ExecutorTest, RunsJobsInOrderWithOneSlot) {
  start();
  std::vector<int> order;
  Flag& done = flag();
  for (int i = 0; i < 100; ++i) submit([&, i] { order.push_back(i); });
  submit([&] { done.raise(); });
  ASSERT_TRUE(done.raised_in_time());
  EXPECT_EQ(order.size(), 100U);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_F(ExecutorTest, TheThreadThatReceivesAJobRunsIt) {
  start();
  Flag& done = flag();
  std::thread::id receiver, runner;
  source.arrive([&] {
    receiver = std::this_thread::get_id();
    EXPECT_TRUE(Executor::receiving_here());
    submit([&] {
      runner = std::this_thread::get_id();
      EXPECT_FALSE(Executor::receiving_here());
      done.raise();
    });
  });
  ASSERT_TRUE(done.raised_in_time());
  EXPECT_EQ(receiver, runner);
}

TEST_F(ExecutorTest, ManyJobsInOneBatchDoNotMakeManyThreads) {
  start();
  std::set<std::thread::id> runners;
  Wakeup wakeup(*executor);
  // A blocked thread leads: what it receives goes to others.
  source.arrive([&] {
    for (int i = 0; i < 200; ++i) submit([&] { runners.insert(std::this_thread::get_id()); });
    submit([&] { wakeup.wake(); });
  });
  EXPECT_EQ(executor->block(wakeup, Clock::now() + patience), Executor::Woken::event);
  EXPECT_LE(runners.size(), 4U);
}

TEST_F(ExecutorTest, AsManyAtOnceAsThereAreSlots) {
  start(3);
  std::latch together(3);
  std::atomic<int> running = 0, most = 0;
  std::latch done(9);
  for (int i = 0; i < 9; ++i)
    submit([&, i] {
      const int now = ++running;
      int seen = most;
      while (now > seen && !most.compare_exchange_weak(seen, now)) {
      }
      if (i < 3) together.arrive_and_wait();
      --running;
      done.count_down();
    });
  done.wait();
  EXPECT_EQ(most, 3);
}

TEST_F(ExecutorTest, MoreSlotsStartWhatWaits) {
  start(1);
  Flag& second = flag();
  Flag& go = flag();
  submit([&] { EXPECT_TRUE(go.raised_in_time()); });
  submit([&] { second.raise(); });
  executor->set_slots(2);
  EXPECT_TRUE(second.raised_in_time());
  go.raise();
}

TEST_F(ExecutorTest, WhatOneMessageAfterTheOtherSubmitsRunsInThatOrder) {
  start();
  std::string order;  // of one slot
  Flag& done = flag();
  source.arrive([&] {
    for (const char each : {'a', 'b', 'c'}) submit([&order, each] { order += each; });
    submit([&] { done.raise(); });
  });
  ASSERT_TRUE(done.raised_in_time());
  EXPECT_EQ(order, "abc");
}

TEST_F(ExecutorTest, WhoBecomesFreeWhileTheyComeTakesThemInOrder) {
  start();
  Flag &first_runs = flag(), &go = flag(), &done = flag();
  std::string order;  // of one slot
  submit([&] {
    first_runs.raise();
    EXPECT_TRUE(go.raised_in_time());
  });
  ASSERT_TRUE(first_runs.raised_in_time());
  source.arrive([&] {  // received by another thread than that of the first
    submit([&] { order += 'a'; });
    submit([&] {
      order += 'b';
      done.raise();
    });
    go.raise();
    EXPECT_TRUE(done.raised_in_time());
  });
  ASSERT_TRUE(done.raised_in_time());
  EXPECT_EQ(order, "ab");
}

TEST_F(ExecutorTest, TheReceiverWithdrawsWhatHasJustCome) {
  start();
  std::atomic<int> ran = 0;
  Flag& done = flag();
  source.arrive([&] {
    const auto first = std::make_shared<TestJob>([&] { ++ran; }), second = std::make_shared<TestJob>([&] { ++ran; });
    executor->submit(first);
    executor->submit(second);
    EXPECT_TRUE(executor->withdraw(first.get()));
    EXPECT_TRUE(executor->withdraw(second.get()));
    EXPECT_FALSE(executor->withdraw(first.get()));
    submit([&] { done.raise(); });
  });
  ASSERT_TRUE(done.raised_in_time());
  EXPECT_EQ(ran, 0);
}

TEST_F(ExecutorTest, WithdrawTakesWhatHasNotStarted) {
  start();
  Flag& started = flag();
  Flag& go = flag();
  const auto running = std::make_shared<TestJob>([&] {
    started.raise();
    EXPECT_TRUE(go.raised_in_time());
  });
  bool ran = false;
  const auto queued = std::make_shared<TestJob>([&] { ran = true; });
  executor->submit(running);
  executor->submit(queued);
  ASSERT_TRUE(started.raised_in_time());
  EXPECT_EQ(executor->jobs(), 2U);
  EXPECT_FALSE(executor->withdraw(running.get()));
  EXPECT_TRUE(executor->withdraw(queued.get()));
  EXPECT_FALSE(executor->withdraw(queued.get()));
  EXPECT_EQ(executor->jobs(), 1U);
  go.raise();
  Flag& after = flag();
  submit([&] { after.raise(); });
  ASSERT_TRUE(after.raised_in_time());
  EXPECT_FALSE(ran);
}

// -- leading ----------------------------------------------------------------------------------------------------------

TEST_F(ExecutorTest, ABlockedThreadReceivesItsOwnAnswer) {
  start();
  // The first time the pool's leader has to step back; then the blocked thread leads from the start or takes over.
  bool own = false;
  const auto deadline = Clock::now() + patience;
  while (!own && Clock::now() < deadline) {
    ASSERT_EQ(block_until_message(), Executor::Woken::event);
    own = source.receivers().back() == std::this_thread::get_id();
  }
  EXPECT_TRUE(own) << "another thread received every answer";
}

TEST_F(ExecutorTest, AJobThatArrivesWhileABlockedThreadLeadsRunsElsewhere) {
  start();
  Wakeup wakeup(*executor);
  std::thread::id runner;
  source.arrive([&] {
    submit([&] {
      runner = std::this_thread::get_id();
      wakeup.wake();
    });
  });
  EXPECT_EQ(executor->block(wakeup, Clock::now() + patience), Executor::Woken::event);
  EXPECT_NE(runner, std::this_thread::get_id());
}

TEST_F(ExecutorTest, SomebodyReceivesWhileAJobIsLong) {
  start();
  Flag& received = flag();
  Flag& done = flag();
  submit([&] {
    source.arrive([&] { received.raise(); });
    EXPECT_TRUE(received.raised_in_time()) << "nobody led while the job ran";
    done.raise();
  });
  EXPECT_TRUE(done.raised_in_time());
}

TEST_F(ExecutorTest, SomebodyReceivesWhileJobsOfAllSlotsAreLongAndAnotherThreadWaits) {
  start(2);
  Flag& received = flag();
  std::latch done(2);
  std::thread waiting([&] {
    Wakeup never(*executor);
    EXPECT_EQ(executor->block(never, Clock::now() + 100ms), Executor::Woken::deadline);
  });
  for (int i = 0; i < 2; ++i)
    submit([&] {
      EXPECT_TRUE(received.raised_in_time());
      done.count_down();
    });
  source.arrive([&] { received.raise(); });
  done.wait();
  waiting.join();
  Flag& later = flag();
  source.arrive([&] { later.raise(); });
  EXPECT_TRUE(later.raised_in_time()) << "nobody led after the waiting thread went";
}

TEST_F(ExecutorTest, NoWakeUpIsLostAmongManyWhoBlock) {
  start(4);
  std::atomic<int> events = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) events += block_until_message() == Executor::Woken::event ? 1 : 0;
    });
  std::latch jobs(200);
  for (int i = 0; i < 200; ++i)
    submit([&] {
      events += block_until_message() == Executor::Woken::event ? 1 : 0;
      jobs.count_down();
    });
  for (auto& thread : threads) thread.join();
  jobs.wait();
  EXPECT_EQ(events, 1400);
}

// -- blocking ---------------------------------------------------------------------------------------------------------

TEST_F(ExecutorTest, ABlockedJobLetsOthersRun) {
  start();
  Flag& woken = flag();
  Wakeup wakeup(*executor);
  submit([&] {
    EXPECT_EQ(executor->block(wakeup, Clock::now() + patience), Executor::Woken::event);
    woken.raise();
  });
  submit([&] { wakeup.wake(); });
  EXPECT_TRUE(woken.raised_in_time());
}

TEST_F(ExecutorTest, WhoWaitedGoesBeforeWhoIsNew) {
  start();
  std::vector<int> order;
  Flag& done = flag();
  Wakeup wakeup(*executor);
  submit([&] {
    (void)executor->block(wakeup, {});
    order.push_back(1);
  });
  submit([&] {  // holds the only slot while the first becomes ready, and a third is queued
    submit([&] {
      order.push_back(2);
      done.raise();
    });
    wakeup.wake();
    std::this_thread::sleep_for(20ms);  // the first asks for its slot meanwhile
    order.push_back(0);
  });
  ASSERT_TRUE(done.raised_in_time());
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

TEST_F(ExecutorTest, OnlyOneRunsThoughManyWait) {
  start();
  std::atomic<int> inside = 0;
  std::atomic<bool> together = false;
  std::latch done(20);
  for (int i = 0; i < 20; ++i)
    submit([&] {
      for (int k = 0; k < 10; ++k) {
        (void)block_until_message();
        if (++inside > 1) together = true;
        std::this_thread::yield();
        --inside;
      }
      done.count_down();
    });
  done.wait();
  EXPECT_FALSE(together);
}

TEST_F(ExecutorTest, DeadlinesEndBlocking) {
  start();
  Wakeup never(*executor);
  const auto begin = Clock::now();
  EXPECT_EQ(executor->block(never, begin + 20ms), Executor::Woken::deadline);
  EXPECT_GE(Clock::now(), begin + 20ms);
  EXPECT_EQ(executor->block(never, begin), Executor::Woken::deadline);
}

TEST_F(ExecutorTest, AWakeUpBeforeBlockingCounts) {
  start();
  Wakeup wakeup(*executor);
  wakeup.wake();
  EXPECT_EQ(executor->block(wakeup, {}), Executor::Woken::event);
}

TEST_F(ExecutorTest, AWakeupStaysAsLongAsSomebodyIsAboutToWakeIt) {
  start();
  Flag &found = flag(), &given_up = flag();
  std::atomic<bool> finishing{false};
  Wakeup* wakeup = nullptr;
  std::thread waiter([&] {
    {
      Wakeup own(*executor);
      wakeup = &own;
      own.begin_wake();  // as another thread does that finds it under a lock
      found.raise();
      EXPECT_EQ(executor->block(own, Clock::now() + 1ms), Executor::Woken::deadline);
      given_up.raise();
    }
    EXPECT_TRUE(finishing);
  });
  ASSERT_TRUE(found.raised_in_time() && given_up.raised_in_time());
  for (int i = 0; i < 1000; ++i) std::this_thread::yield();  // it would be gone by now
  finishing = true;
  wakeup->finish_wake();
  waiter.join();
}

TEST_F(ExecutorTest, AStopRequestEndsBlockingUnlessItIsIgnored) {
  start();
  const auto task = std::make_shared<OwnedTask>();
  Flag& blocked = flag();
  Flag& done = flag();
  executor->submit(std::make_shared<TestJob>(
      [&] {
        EXPECT_EQ(current_task(), task.get());
        Wakeup never(*executor);
        blocked.raise();
        EXPECT_EQ(executor->block(never, Clock::now() + patience), Executor::Woken::stop);
        EXPECT_EQ(executor->block(never, Clock::now() + patience), Executor::Woken::stop);
        Wakeup other(*executor);
        EXPECT_EQ(executor->block(other, Clock::now() + 10ms, Executor::Stops::ignored), Executor::Woken::deadline);
        done.raise();
      },
      task));
  ASSERT_TRUE(blocked.raised_in_time());
  task->request_stop(StopReason::cancelled);
  EXPECT_TRUE(done.raised_in_time());
}

TEST_F(ExecutorTest, WithoutASlotOthersRun) {
  start();
  Flag& other = flag();
  Flag& done = flag();
  submit([&] {
    {
      const Executor::WithoutSlot without(*executor);
      EXPECT_TRUE(other.raised_in_time());
      EXPECT_TRUE(executor->take_slot_here());
      EXPECT_FALSE(executor->take_slot_here());
      executor->give_slot_up_here();
    }
    done.raise();
  });
  submit([&] { other.raise(); });
  EXPECT_TRUE(done.raised_in_time());
}

// -- the end ----------------------------------------------------------------------------------------------------------

TEST_F(ExecutorTest, StopWakesTheBlockedAndDropsTheQueued) {
  start();
  Flag& blocked = flag();
  std::atomic<bool> ran = false, woken = false;
  std::weak_ptr<TestJob> dropped;
  submit([&] {
    Wakeup never(*executor);
    blocked.raise();
    (void)executor->block(never, {});
    woken = true;
    EXPECT_TRUE(executor->stopped());
  });
  ASSERT_TRUE(blocked.raised_in_time());
  std::thread outside([&] {
    Wakeup never(*executor);
    (void)executor->block(never, {});
  });
  {
    Flag held;
    const auto gate = std::make_shared<TestJob>([&] {
      held.raise();
      while (!executor->stopped()) std::this_thread::yield();
    });
    executor->submit(gate);
    ASSERT_TRUE(held.raised_in_time());
    const auto queued = std::make_shared<TestJob>([&] { ran = true; });
    dropped = queued;
    executor->submit(queued);
    executor->stop();
  }
  outside.join();
  EXPECT_TRUE(woken);
  EXPECT_FALSE(ran);
  EXPECT_TRUE(dropped.expired());
  executor->submit(std::make_shared<TestJob>([&] { ran = true; }));
  EXPECT_FALSE(ran);
}

TEST_F(ExecutorTest, StopWhileManyBlock) {
  for (int round = 0; round < 20; ++round) {
    start(2);
    std::latch blocking(6);
    for (int i = 0; i < 3; ++i)
      submit([&] {
        blocking.count_down();
        Wakeup never(*executor);
        (void)executor->block(never, {});
      });
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
      threads.emplace_back([&] {
        blocking.count_down();
        Wakeup never(*executor);
        (void)executor->block(never, {});
      });
    blocking.wait();
    executor->stop();
    for (auto& thread : threads) thread.join();
  }
}

// -- deadlines of scopes ----------------------------------------------------------------------------------------------

TEST_F(ExecutorTest, AScopesDeadlineDoesNotOutliveItsJob) {
  start();
  Flag& first = flag();
  Flag& second = flag();
  submit([&] {
    (void)exchange_scope_deadline(Clock::now());
    EXPECT_TRUE(current_deadline().has_value());
    first.raise();
  });
  submit([&] {
    EXPECT_FALSE(current_deadline().has_value());
    second.raise();
  });
  EXPECT_TRUE(first.raised_in_time() && second.raised_in_time());
}

}  // namespace
}  // namespace muster::runtime
