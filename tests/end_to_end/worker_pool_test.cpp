// Worker pools, and calls that go to a process of a pool.

#include "support.hpp"
#include "trace.hpp"
#include "values.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;
using muster::Pid;
using muster::WorkerPool;
using muster::test::Counted;
using muster::test::eventually;
using muster::test::kill_worker;
using muster::test::OwnWorkers;
using muster::test::thrown;
using testing::ElementsAre;

constexpr const char* no_worker = "No active worker available in pool";

class WorkerPools : public testing::Test {
 protected:
  void SetUp() override { workers = muster::test::at_least(3); }
  std::vector<Pid> workers;
};

// -- one process ------------------------------------------------------------------------------------------------------

TEST_F(WorkerPools, LendsInOrder) {
  const WorkerPool pool({workers[1], workers[0]});
  EXPECT_EQ(pool.size(), 2U);
  EXPECT_THAT(pool.workers(), ElementsAre(workers[1], workers[0]));
  EXPECT_EQ(pool.take(), workers[1]);
  EXPECT_TRUE(pool.isready());
  EXPECT_EQ(pool.take(), workers[0]);
  EXPECT_FALSE(pool.isready());
  EXPECT_EQ(pool.size(), 2U) << "lent ones are members all the same";
  pool.put(workers[0]);
  pool.put(workers[1]);
  EXPECT_EQ(pool.take(), workers[0]);
}

// catalogue: 209
TEST_F(WorkerPools, TakeWaitsUntilOneIsGivenBack) {
  const WorkerPool pool({workers[0]});
  (void)pool.take();
  std::thread giver([&] {
    std::this_thread::sleep_for(50ms);
    pool.put(workers[0]);
  });
  pool.wait();
  EXPECT_EQ(pool.take(), workers[0]) << "waiting does not take";
  giver.join();
}

TEST_F(WorkerPools, WaitingEndsInTime) {
  const WorkerPool pool({workers[0]});
  (void)pool.take();
  EXPECT_THROW(pool.take(20ms), muster::TimeoutError);
  EXPECT_THROW(pool.wait(20ms), muster::TimeoutError);
  {
    const muster::DeadlineScope scope(20ms);
    EXPECT_THROW(pool.take(), muster::TimeoutError);
  }
  pool.put(workers[0]);
  EXPECT_EQ(pool.take(0ns), workers[0]) << "nothing was swallowed";
}

TEST_F(WorkerPools, WhoWaitsLongestIsServedFirst) {
  const WorkerPool pool({workers[0]});
  (void)pool.take();
  std::mutex mutex;
  std::vector<int> order;
  std::vector<std::thread> takers;
  for (int i = 0; i < 3; ++i) {
    std::atomic<bool> started = false;
    takers.emplace_back([&, i] {
      started = true;
      const Pid pid = pool.take();
      {
        const std::lock_guard lock(mutex);
        order.push_back(i);
      }
      pool.put(pid);
    });
    while (!started) std::this_thread::yield();
    std::this_thread::sleep_for(50ms);
  }
  pool.put(workers[0]);
  for (auto& taker : takers) taker.join();
  EXPECT_THAT(order, ElementsAre(0, 1, 2));
}

// catalogue: 214
TEST_F(WorkerPools, StrangersAndWhatIsFreeAlreadyAreIgnored) {
  const WorkerPool pool({workers[0]});
  pool.put(workers[1]);
  pool.put(workers[0]);
  pool.put(9999);
  EXPECT_EQ(pool.take(), workers[0]);
  EXPECT_FALSE(pool.isready());
}

TEST_F(WorkerPools, PushMakesMembers) {
  const WorkerPool pool({});
  EXPECT_EQ(pool.size(), 0U);
  pool.push(workers[0]);
  pool.push(workers[0]);
  EXPECT_THAT(pool.workers(), ElementsAre(workers[0]));
  EXPECT_EQ(pool.take(), workers[0]);
  EXPECT_FALSE(pool.isready());
}

TEST_F(WorkerPools, CopiesAreTheSamePool) {
  const WorkerPool pool({workers[0]});
  const WorkerPool copy = pool;
  EXPECT_EQ(copy, pool);
  (void)pool.take();
  EXPECT_FALSE(copy.isready());
  EXPECT_NE(copy, WorkerPool({workers[0]}));
}

// catalogue: 211, 212, 213
TEST_F(WorkerPools, MissingProcessesAreDropped) {
  const WorkerPool pool({9999, 1});
  EXPECT_EQ(pool.take(), 1);
  EXPECT_FALSE(pool.isready());
  EXPECT_THAT(pool.workers(), ElementsAre(1));
  const WorkerPool waiting({9999, 1});
  waiting.wait();
  EXPECT_TRUE(waiting.isready());
  const WorkerPool nobody({9999});
  EXPECT_FALSE(nobody.isready());
}

// catalogue: 215
TEST_F(WorkerPools, AnEmptyPoolHasNoActiveWorker) {
  const WorkerPool pool({});
  EXPECT_THAT(thrown<muster::Error>([&] { (void)pool.take(); })->what(), testing::HasSubstr(no_worker));
  EXPECT_THAT(thrown<muster::Error>([&] { pool.wait(); })->what(), testing::HasSubstr(no_worker));
  EXPECT_THAT(thrown<muster::Error>([&] { muster::remotecall_fetch([] { return 1; }, pool); })->what(),
              testing::HasSubstr(no_worker));
}

// catalogue: 216
TEST_F(WorkerPools, EveryoneWhoWaitsHearsOfTheLastDeath) {
  const OwnWorkers own(1);
  const WorkerPool pool(own.pids());
  (void)pool.take();
  std::atomic<int> ended = 0;
  std::vector<std::thread> takers;
  for (int i = 0; i < 3; ++i)
    takers.emplace_back([&] {
      EXPECT_THAT(thrown<muster::Error>([&] { (void)pool.take(); })->what(), testing::HasSubstr(no_worker));
      ++ended;
    });
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(ended, 0);
  kill_worker(own[0]);
  for (auto& taker : takers) taker.join();
  EXPECT_EQ(pool.size(), 0U);
}

TEST_F(WorkerPools, DeadMembersAreDropped) {
  const OwnWorkers own(1);
  const WorkerPool pool({own[0], workers[0]});
  kill_worker(own[0]);
  ASSERT_TRUE(eventually([&] { return pool.size() == 1; }));
  EXPECT_EQ(pool.take(), workers[0]);
}

// catalogue: 222
TEST_F(WorkerPools, WhoWasAskedToLeaveIsLentNoMore) {
  const OwnWorkers own(1);
  const WorkerPool pool({own[0], workers[0]});
  const WorkerPool only({own[0]});
  (void)only.take();
  auto waiting = std::async(std::launch::async, [&] { (void)only.take(); });
  // It does not hear that it is to leave: it is there until it is killed.
  muster::test::stop_process(muster::remotecall_fetch([] { return static_cast<int>(getpid()); }, own[0]));
  const auto gone = muster::rmprocs_async(own[0]);
  EXPECT_EQ(pool.take(), workers[0]);
  EXPECT_FALSE(pool.isready());
  EXPECT_THAT(pool.workers(), ElementsAre(workers[0]));
  EXPECT_EQ(muster::default_worker_pool().workers(), workers);
  EXPECT_THAT(WorkerPool({own[0], workers[1]}).workers(), ElementsAre(workers[1])) << "a pool made meanwhile";
  EXPECT_THAT(thrown<muster::Error>([&] { waiting.get(); })->what(), testing::HasSubstr(no_worker));
  gone.fetch();
}

// -- other processes --------------------------------------------------------------------------------------------------

// catalogue: 207
TEST_F(WorkerPools, AHandleElsewhereIsTheSamePool) {
  const WorkerPool pool({workers[0], workers[1]});
  const Pid there = workers[2];
  EXPECT_EQ(muster::remotecall_fetch([](WorkerPool sent) { return sent.take(); }, there, pool), workers[0]);
  EXPECT_EQ(pool.take(), workers[1]);
  EXPECT_FALSE(muster::remotecall_fetch([](WorkerPool sent) { return sent.isready(); }, there, pool));
  muster::remotecall_fetch([](WorkerPool sent, Pid pid) { sent.put(pid); }, there, pool, workers[1]);
  EXPECT_TRUE(pool.isready());
  muster::remotecall_fetch([](WorkerPool sent, Pid pid) { sent.push(pid); }, there, pool, workers[2]);
  EXPECT_THAT(muster::remotecall_fetch([](WorkerPool sent) { return sent.workers(); }, there, pool),
              ElementsAre(workers[0], workers[1], workers[2]));
  EXPECT_EQ(muster::remotecall_fetch([](WorkerPool sent) { return sent; }, there, pool), pool);
}

TEST_F(WorkerPools, APoolMayLiveInAnyProcess) {
  const auto pool = muster::remotecall_fetch([](std::vector<Pid> pids) { return WorkerPool(pids); }, workers[0],
                                             std::vector<Pid>{workers[1], workers[2]});
  EXPECT_EQ(pool.take(), workers[1]);
  EXPECT_EQ(pool.take(), workers[2]);
  EXPECT_THROW(pool.take(20ms), muster::TimeoutError);
  pool.put(workers[2]);
  EXPECT_EQ(pool.take(), workers[2]);
}

// catalogue: 209
TEST_F(WorkerPools, ARemoteTakeWaitsWithoutBlockingTheOwner) {
  const auto pool = muster::remotecall_fetch([](std::vector<Pid> pids) { return WorkerPool(pids); }, workers[0],
                                             std::vector<Pid>{workers[1]});
  (void)pool.take();
  const auto taken = muster::spawnat(workers[2], [](WorkerPool sent) { return sent.take(); }, pool);
  EXPECT_EQ(muster::remotecall_fetch([](int x) { return x; }, workers[0], 1), 1) << "the owner's slot is free";
  EXPECT_FALSE(taken.wait_for(50ms));
  pool.put(workers[1]);
  EXPECT_EQ(taken.fetch(30s), workers[1]);
}

TEST_F(WorkerPools, ACancelledTakeSwallowsNothing) {
  const auto pool = muster::remotecall_fetch([](std::vector<Pid> pids) { return WorkerPool(pids); }, workers[0],
                                             std::vector<Pid>{workers[1]});
  (void)pool.take();
  const auto taken = muster::spawnat(workers[2], [](WorkerPool sent) { return sent.take(); }, pool);
  EXPECT_FALSE(taken.wait_for(100ms));
  EXPECT_TRUE(taken.cancel());
  EXPECT_EQ(muster::remotecall_fetch([] { return 1; }, workers[2]), 1);
  EXPECT_EQ(muster::remotecall_fetch([] { return 1; }, workers[0]), 1);
  pool.put(workers[1]);
  EXPECT_EQ(pool.take(30s), workers[1]);
}

TEST_F(WorkerPools, WhatADeadProcessHadIsFreeAgain) {
  const OwnWorkers own(1);
  const WorkerPool pool({workers[0]});
  EXPECT_EQ(muster::remotecall_fetch([](WorkerPool sent) { return sent.take(); }, own[0], pool), workers[0]);
  EXPECT_FALSE(pool.isready());
  kill_worker(own[0]);
  EXPECT_EQ(pool.take(30s), workers[0]);
}

TEST_F(WorkerPools, APoolEndsWithItsProcess) {
  const OwnWorkers own(1);
  const auto pool = muster::remotecall_fetch([](std::vector<Pid> pids) { return WorkerPool(pids); }, own[0],
                                             std::vector<Pid>{workers[1]});
  kill_worker(own[0]);
  EXPECT_THROW((void)pool.take(), muster::ProcessExitedException);
}

// -- calls ------------------------------------------------------------------------------------------------------------

// catalogue: 80
TEST_F(WorkerPools, TheFourFormsTakeAPool) {
  WorkerPool pool({workers[1]});
  const auto f = [](int a, int b) { return std::pair<int, int>(muster::myid(), a + b); };
  const std::pair<int, int> expected(workers[1], 3);
  EXPECT_EQ(muster::remotecall_fetch(f, pool, 1, 2), expected);
  EXPECT_EQ(muster::remotecall(f, pool, 1, 2).fetch(), expected);
  EXPECT_EQ(muster::remotecall_wait(f, pool, 1, 2).fetch(), expected);
  const muster::test::Trace trace;
  muster::remote_do([](std::string path, int x) { muster::test::add_line(path, std::to_string(x)); }, pool,
                    trace.path(), 7);
  EXPECT_TRUE(eventually([&] { return trace.count("7") == 1; }));
  EXPECT_TRUE(pool.isready());
}

// catalogue: 210
TEST_F(WorkerPools, RemotecallHoldsTheProcessUntilTheCallEnds) {
  WorkerPool pool({workers[0]});
  const auto future = muster::remotecall([] { muster::this_task::sleep_for(200ms); }, pool);
  EXPECT_FALSE(pool.isready());
  future.fetch();
  EXPECT_TRUE(eventually([&] { return pool.isready(); }));
}

// catalogue: 208
TEST_F(WorkerPools, AFailedCallGivesTheProcessBack) {
  WorkerPool pool({workers[0]});
  const auto failing = []() -> int { throw std::runtime_error("no"); };
  EXPECT_THROW(muster::remotecall_fetch(failing, pool), muster::RemoteException);
  EXPECT_TRUE(pool.isready());
  EXPECT_THROW(muster::remotecall_wait(failing, pool), muster::RemoteException);
  EXPECT_TRUE(pool.isready());
  EXPECT_THROW(muster::remotecall(failing, pool).fetch(), muster::RemoteException);
  EXPECT_TRUE(eventually([&] { return pool.isready(); }));
}

TEST_F(WorkerPools, PoolCallsFromAWorker) {
  const WorkerPool pool({workers[0]});
  const auto pid = muster::remotecall_fetch(
      [](WorkerPool sent) {
        const auto future = muster::remotecall([] { return muster::myid(); }, sent);
        return std::pair<int, int>(muster::remotecall_fetch([] { return muster::myid(); }, sent), future.fetch());
      },
      workers[1], pool);
  EXPECT_EQ(pid, (std::pair<int, int>(workers[0], workers[0])));
  EXPECT_TRUE(eventually([&] { return pool.isready(); }));
}

// -- the default pool -------------------------------------------------------------------------------------------------

// catalogue: 221
TEST_F(WorkerPools, TheDefaultPoolHasAllWorkers) {
  auto& pool = muster::default_worker_pool();
  EXPECT_EQ(&pool, &muster::default_worker_pool());
  EXPECT_EQ(pool.workers(), muster::workers());
  {
    const OwnWorkers own(1);
    EXPECT_EQ(pool.size(), workers.size() + 1);
  }
  EXPECT_TRUE(eventually([&] { return pool.size() == workers.size(); }));
  EXPECT_EQ(muster::remotecall_fetch([] { return muster::default_worker_pool().workers(); }, workers[0]), workers);
}

// catalogue: 203
TEST_F(WorkerPools, RemoteTakesProcessesOfTheDefaultPool) {
  const muster::Future<int> gate(1);
  auto& pool = muster::default_worker_pool();
  const auto blocking = muster::remote([](muster::Future<int> until) { return until.fetch(); });
  std::vector<std::thread> callers;
  for (std::size_t i = 0; i < workers.size(); ++i) {
    EXPECT_TRUE(pool.isready());
    callers.emplace_back([&] { (void)blocking(gate); });
    const std::size_t busy = i + 1;
    ASSERT_TRUE(eventually([&] {
      std::size_t in_flight = 0;
      for (const Pid pid : workers) in_flight += muster::debug::calls_in_flight(pid);
      return in_flight >= busy;
    }));
  }
  EXPECT_FALSE(pool.isready());
  gate.put(1);
  EXPECT_TRUE(eventually([&] { return pool.isready(); }));
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(muster::remote([](int x) { return x + 1; })(1), 2);
  const auto sent = muster::remote([](int x) { return x + 1; });
  EXPECT_EQ(muster::remotecall_fetch(sent, workers[0], 2), 3);
}

// -- caching pools ----------------------------------------------------------------------------------------------------

// catalogue: 181, 182, 187, 217
TEST_F(WorkerPools, ACachingPoolSendsAFunctionOnce) {
  muster::CachingPool pool({workers[0]});
  const auto reads = [&] { return muster::remotecall_fetch([] { return Counted::reads; }, workers[0]); };
  const auto f = muster::bind_front([](const Counted& counted, int x) { return counted.value + x; }, Counted{10});
  const int before = reads();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(muster::remotecall_fetch(f, pool, i), 10 + i);
    EXPECT_EQ(muster::pmap(f, std::vector<int>{i}, muster::PmapOptions{.pool = &pool}), std::vector<int>{10 + i});
  }
  EXPECT_EQ(muster::remotecall(f, pool, 1).fetch(), 11);
  EXPECT_EQ(reads(), before + 1);
  const auto other = muster::bind_front([](const Counted& counted, int x) { return counted.value + x; }, Counted{20});
  EXPECT_EQ(muster::remotecall_fetch(other, pool, 1), 21);
  EXPECT_EQ(reads(), before + 2);
  pool.clear();
  EXPECT_EQ(muster::remotecall_fetch(f, pool, 1), 11);
  EXPECT_EQ(reads(), before + 3);
  EXPECT_EQ(muster::remotecall_fetch([](int x) { return x; }, pool, 5), 5);
}

// catalogue: 219
TEST_F(WorkerPools, CachingPoolsDoNotTravel) {
  EXPECT_TRUE(muster::detail::serializable<WorkerPool>);
  EXPECT_FALSE(muster::detail::serializable<muster::CachingPool>);
}

// catalogue: 2, 215
TEST_F(WorkerPools, WithoutWorkers) {
  const WorkerPool pool({workers[0]});
  muster::rmprocs(muster::other_workers());
  auto& all = muster::default_worker_pool();
  EXPECT_TRUE(all.isready());
  all.wait();
  EXPECT_EQ(all.take(), 1);
  EXPECT_EQ(all.take(), 1);
  all.put(1);
  EXPECT_EQ(all.workers(), std::vector<Pid>{1});
  EXPECT_EQ(muster::remote([](int x) { return x * muster::myid(); })(7), 7);
  EXPECT_THROW((void)pool.take(), muster::Error);
}

}  // namespace
