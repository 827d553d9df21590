// Where pmap runs: pools, other processes, workers that come, go and die.

#include "maps.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <random>
#include <ranges>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace muster;
using namespace muster::test;

// -- where it runs ----------------------------------------------------------------------------------------------------

TEST_F(Pmap, NotDistributedRunsHere) {
  const auto pids = pmap([](int) { return muster::myid(); }, numbers(20), PmapOptions{.distributed = false});
  EXPECT_EQ(pids, std::vector<int>(20, 1));
  EXPECT_EQ(pmap(twice, numbers(20), PmapOptions{.batch_size = 3, .distributed = false}), twice_all(20));
}

/// Waits until as many came as were expected.
int meet_others(int expected) {
  static std::atomic<int> here = 0;
  static muster::Channel<int> gate(100);
  if (++here == expected)
    for (int i = 0; i < expected; ++i) gate.put(i);
  return gate.take();
}

// catalogue: 249
TEST_F(Pmap, ElementsOfALocalMapAreTasksOfTheirOwn) {
  constexpr int at_once = 8;
  const std::vector<int> expected(at_once, at_once);
  auto met = pmap(meet_others, expected, PmapOptions{.distributed = false, .timeout = 20s});
  std::ranges::sort(met);
  EXPECT_EQ(met, numbers(at_once)) << "each waited for the others";
}

// catalogue: 250
TEST_F(Pmap, ALocalMapRunsNoMoreAtOnceThanItsLimit) {
  static std::atomic<int> running, most;
  running = most = 0;
  const auto run = [](int) {
    const int now = ++running;
    for (int before = most; before < now && !most.compare_exchange_weak(before, now);) {
    }
    muster::this_task::sleep_for(2ms);
    --running;
  };
  pmap(run, numbers(20), PmapOptions{.distributed = false, .max_tasks = 5});
  EXPECT_EQ(most, 5);
  pmap(run, numbers(20), PmapOptions{.distributed = false});
  EXPECT_GT(most, 5) << "a limit that binds";
}

// catalogue: 253
TEST_F(Pmap, ResultsOfALocalMapKeepTheirOrder) {
  std::mt19937 random(7);
  std::vector<int> milliseconds(100);
  for (int& each : milliseconds) each = static_cast<int>(random() % 4);
  const auto sleep_for = [](int each) {
    muster::this_task::sleep_for(std::chrono::milliseconds(each));
    return each;
  };
  EXPECT_EQ(pmap(sleep_for, milliseconds, PmapOptions{.batch_size = 5, .distributed = false}), milliseconds);
}

// catalogue: 254
TEST_F(Pmap, ALocalMapTakesRangesThatDoNotKnowTheirSize) {
  std::istringstream text("1 2 3");
  EXPECT_EQ(pmap(twice, std::views::istream<int>(text), PmapOptions{.distributed = false}), (std::vector{2, 4, 6}));
}

// catalogue: 205
TEST_F(Pmap, RunsOnThePoolOnly) {
  const auto workers = muster::workers();
  muster::WorkerPool pool({workers[0], workers[2]});
  const auto pids = pmap(
      [](int) {
        muster::this_task::sleep_for(2ms);
        return muster::myid();
      },
      numbers(20), PmapOptions{.pool = &pool});
  EXPECT_EQ(std::set<int>(pids.begin(), pids.end()), (std::set<int>{workers[0], workers[2]}));
  muster::WorkerPool self({1});
  EXPECT_EQ(pmap([](int) { return muster::myid(); }, numbers(3), PmapOptions{.pool = &self}), std::vector<int>(3, 1));
}

// catalogue: 247
TEST_F(Pmap, AnEmptyPoolHasNoActiveWorker) {
  muster::WorkerPool nobody({9999});
  const auto error = thrown<muster::Error>([&] { pmap(twice, numbers(3), PmapOptions{.pool = &nobody}); });
  EXPECT_THAT(error->what(), testing::HasSubstr("No active worker available in pool"));
  EXPECT_EQ(
      pmap(twice, numbers(3), PmapOptions{.pool = &nobody, .on_error = [](const std::exception_ptr&) { return -1; }}),
      std::vector<int>(3, -1));
  EXPECT_TRUE(pmap(twice, numbers(0), PmapOptions{.pool = &nobody}).empty());
}

TEST_F(Pmap, Nests) {
  const auto inner = [](int x) {
    const auto sums = pmap([](int y) { return y + 1; }, std::vector<int>{x, x});
    return sums[0] + sums[1];
  };
  EXPECT_EQ(pmap(inner, numbers(50)), pmap([](int x) { return 2 * x + 2; }, numbers(50)));
  EXPECT_EQ(pmap(inner, numbers(50), PmapOptions{.batch_size = 5}), pmap([](int x) { return 2 * x + 2; }, numbers(50)));
}

// catalogue: 243
TEST_F(Pmap, NestsOnOnePoolWithAllMembersInUse) {
  muster::WorkerPool pool(muster::workers());
  const auto outer = muster::bind_front(
      [](muster::WorkerPool shared, int x) {
        const auto inner = pmap([](int y) { return 2 * y; }, std::vector<int>{x, x + 1}, PmapOptions{.pool = &shared});
        return inner[0] + inner[1];
      },
      pool);
  const auto results = pmap(outer, numbers(20), PmapOptions{.pool = &pool});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)], 4 * i + 2);
}

// catalogue: 206, 207, 234
TEST_F(Pmap, RunsFromAWorkerOnAPoolThatWasSent) {
  muster::WorkerPool pool(muster::workers());
  const auto pids = muster::remotecall_fetch(
      [](muster::WorkerPool sent) {
        return pmap(
            [](int) {
              muster::this_task::sleep_for(2ms);
              return muster::myid();
            },
            std::views::iota(0, 30), PmapOptions{.pool = &sent});
      },
      muster::workers().front(), pool);
  const auto workers = muster::workers();
  EXPECT_EQ(std::set<int>(pids.begin(), pids.end()), std::set<int>(workers.begin(), workers.end()));
}

// catalogue: 240
TEST_F(Pmap, WorkersThatJoinTakePart) {
  const Trace trace;
  const auto f = muster::bind_front(
      [](const std::string& path, int) {
        add_line(path, "started");
        muster::this_task::sleep_for(20ms);
        return muster::myid();
      },
      trace.path());
  std::vector<int> pids;
  int joined = 0;
  for (const auto& [index, pid] : pmap_unordered(f, std::views::iota(0))) {
    if (joined == 0) joined = muster::addprocs(1).front();
    if (pid == joined) break;
    ASSERT_LT(index, 5000U);
  }
  muster::rmprocs(joined);
}

TEST_F(Pmap, WorkersWithThreadsRunSeveralAtOnce) {
  const OwnWorkers own(1, {.threads = 4});
  muster::WorkerPool pool(own.pids());
  const auto meet = [](int) {
    static std::atomic<int> here = 0;
    const auto end = std::chrono::steady_clock::now() + 20s;
    for (++here; here < 4 && std::chrono::steady_clock::now() < end;) std::this_thread::sleep_for(1ms);
    return here.load();
  };
  EXPECT_EQ(pmap(meet, numbers(4), PmapOptions{.pool = &pool}), std::vector<int>(4, 4));
}

// catalogue: 234
TEST_F(Pmap, AMapOnAWorkerUsesAllWorkers) {
  const auto used = muster::fetchfrom(2, [] {
    const auto on_any = [](int) {
      muster::this_task::sleep_for(2ms);
      return muster::myid();
    };
    return pmap(on_any, std::views::iota(0, 100));
  });
  const auto workers = muster::workers();
  EXPECT_EQ(std::set<muster::Pid>(used.begin(), used.end()), std::set<muster::Pid>(workers.begin(), workers.end()));
}

// -- deaths -----------------------------------------------------------------------------------------------------------

class PmapDeaths : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { (void)at_least(4); }
};

/// Ends its process at the first run of that element, as the trace tells.
int dies_once(const std::string& path, int deadly, int x) {
  if (x == deadly && std::ifstream(path).peek() == std::ifstream::traits_type::eof()) {
    add_line(path, "died");
    ::raise(SIGKILL);
  }
  return 2 * x;
}

// catalogue: 239
TEST_P(PmapDeaths, AnElementWhoseWorkerDiedRunsElsewhere) {
  const Trace trace;
  EXPECT_EQ(pmap(muster::bind_front(dies_once, trace.path(), 7), numbers(40), PmapOptions{.batch_size = GetParam()}),
            twice_all(40));
  EXPECT_EQ(trace.count("died"), 1U);
}

int poison(int x) {
  if (x == 5) ::raise(SIGKILL);
  return x;
}

TEST_P(PmapDeaths, APoisonousElementFailsAfterMaxRestarts) {
  const auto before = muster::workers();
  const auto error = thrown<muster::ProcessExitedException>(
      [] { pmap(poison, numbers(20), PmapOptions{.batch_size = GetParam(), .max_restarts = 1}); });
  ASSERT_TRUE(error);
  const auto after = muster::workers();
  EXPECT_EQ(before.size() - after.size(), 2U) << "as many as it was allowed";
  EXPECT_THAT(error->what(), testing::HasSubstr("Element 5"));
  for (const int pid : before) {
    if (std::binary_search(after.begin(), after.end(), pid)) continue;
    EXPECT_THAT(error->what(), testing::HasSubstr("process " + std::to_string(pid)));
  }
}

// catalogue: 238, 239
TEST_P(PmapDeaths, OnErrorReplacesThePoisonousElementOnly) {
  const auto results =
      pmap(poison, numbers(20),
           PmapOptions{.batch_size = GetParam(),
                       .on_error =
                           [](const std::exception_ptr& failure) {
                             EXPECT_THROW(std::rethrow_exception(failure), muster::ProcessExitedException);
                             return -1;
                           },
                       .max_restarts = 0});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)], i == 5 ? -1 : i);
}

// catalogue: 239
TEST_P(PmapDeaths, RetriesCountAfterRestarts) {
  const Trace trace;
  int asked = 0;
  const auto results = pmap(muster::bind_front(dies_once, trace.path(), 3), std::vector<int>{3},
                            PmapOptions{.batch_size = GetParam(),
                                        .retry_delays = {1ms},
                                        .retry_check =
                                            [&](int, const std::exception_ptr&) {
                                              ++asked;
                                              return true;
                                            },
                                        .max_restarts = 0});
  EXPECT_EQ(results, std::vector<int>{6});
  EXPECT_EQ(asked, 1);
}

INSTANTIATE_TEST_SUITE_P(Batches, PmapDeaths, testing::Values(1, 4));

TEST_F(Pmap, WorkersKilledFromOutsideCostNothingButTime) {
  (void)at_least(4);
  const auto f = [](int x) {
    std::this_thread::sleep_for(5ms);
    return std::pair<int, int>(2 * x, muster::remotecall_fetch([] { return 0; }, muster::myid()));
  };
  const int victim = muster::workers().front();
  const int os_pid = muster::remotecall_fetch([] { return static_cast<int>(getpid()); }, victim);
  std::size_t seen = 0;
  for (const auto& [index, value] : pmap_unordered(f, numbers(100), PmapOptions{.max_restarts = 0})) {
    EXPECT_EQ(value.first, 2 * static_cast<int>(index));
    if (++seen == 10) ::kill(os_pid, SIGKILL);
  }
  EXPECT_EQ(seen, 100U);
}

TEST_F(Pmap, RemovedWorkersLeaveQuietly) {
  (void)at_least(4);
  std::size_t seen = 0;
  const auto f = [](int x) {
    muster::this_task::sleep_for(10ms);
    return 2 * x;
  };
  for (const auto& [index, value] : pmap_unordered(f, numbers(100), PmapOptions{.max_restarts = 0})) {
    EXPECT_EQ(value, 2 * static_cast<int>(index));
    if (++seen == 10) muster::rmprocs(muster::workers().front());
  }
  EXPECT_EQ(seen, 100U);
}

TEST_F(Pmap, WhenTheLastWorkerOfThePoolDiesItFails) {
  const OwnWorkers own(1);
  muster::WorkerPool pool(own.pids());
  const auto error = thrown<muster::ProcessExitedException>([&] {
    pmap(
        [](int x) {
          if (x == 1) ::raise(SIGKILL);
          return x;
        },
        numbers(10), PmapOptions{.pool = &pool});
  });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), testing::HasSubstr("No active worker available in pool"));
  EXPECT_EQ(error->pid(), own[0]);
}

// catalogue: 3
TEST_F(Pmap, WithoutWorkersItRunsHere) {
  muster::rmprocs(muster::other_workers());
  EXPECT_EQ(pmap([](int x) { return x * muster::myid(); }, numbers(100)), numbers(100));
  EXPECT_EQ(pmap(twice, numbers(100), PmapOptions{.batch_size = muster::Auto}), twice_all(100));
  const auto f = muster::bind_front([](const std::string& text, int x) { return text + std::to_string(x); }, "here ");
  EXPECT_EQ(pmap(f, numbers(2)), (std::vector<std::string>{"here 0", "here 1"}));
  EXPECT_THROW(pmap(odd_only, numbers(10)), muster::RemoteException);
  const auto nested = [](int x) { return pmap(twice, std::vector<int>{x}).front(); };
  EXPECT_EQ(pmap(nested, numbers(10)), twice_all(10));
}

}  // namespace
