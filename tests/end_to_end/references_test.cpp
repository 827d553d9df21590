// Distributed reference counting: what processes keep for others, and that nothing is left of it.

#include "support.hpp"

#include <cereal/archives/binary.hpp>
#include <cereal/types/vector.hpp>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>

namespace {

using namespace muster;
using namespace muster::test;

using Numbers = std::vector<double>;

constexpr std::size_t large = 50'000;  // doubles: too large to travel unasked

Numbers numbers(std::size_t n) { return Numbers(n, 1.5); }

/// Futures that a process keeps for a while: a handle there, not touched.
std::vector<Future<Numbers>> kept;      // NOLINT
std::vector<Future<int>> kept_numbers;  // NOLINT

class References : public testing::Test {
 protected:
  References() : pids(at_least(3)) {}
  ~References() override { EXPECT_TRUE(owned.as_before()) << "something is left: " << owned.difference(); }
  const std::vector<Pid> pids;
  const Owned owned;
};

// catalogue: 128
TEST_F(References, ASmallResultThatTravelledIsNone) {
  const auto future = spawnat(2, [] { return 1; });
  future.wait();
  EXPECT_EQ(owned.more_on(2), 0U);
}

// catalogue: 128, 129
TEST_F(References, ALargeResultStaysUntilItIsFetched) {
  const auto future = spawnat(2, &numbers, large);
  future.wait();
  EXPECT_EQ(owned.more_on(2), 1U);
  EXPECT_EQ(future.fetch().size(), large);
  EXPECT_TRUE(owned.as_before());
  EXPECT_EQ(future.fetch().size(), large);
}

// catalogue: 130
TEST_F(References, ALargeResultStaysUntilItsHandleIsGone) {
  for (const Pid pid : {1, 2}) {
    {
      const auto future = remotecall_wait(&numbers, pid, large);
      EXPECT_EQ(owned.more_on(pid), 1U);
    }
    EXPECT_TRUE(owned.as_before());
    (void)spawnat(pid, &numbers, large);  // dropped before it is there
    EXPECT_EQ(remotecall_fetch(&myid, pid), pid);
    EXPECT_TRUE(owned.as_before());
  }
}

// catalogue: 132
TEST_F(References, AnUnusedFutureCostsItsOwnerNothing) {
  for (const Pid pid : {1, 2}) {
    const Future<int> future(pid);
    EXPECT_EQ(owned.more_on(pid), 0U);
    EXPECT_FALSE(future.isready());
    EXPECT_EQ(owned.more_on(pid), 1U);
    future.put(1);
    EXPECT_TRUE(owned.as_before());
    EXPECT_EQ(future.fetch(), 1);
    {
      const Future<int> asked(pid);
      EXPECT_FALSE(asked.isready());
      EXPECT_FALSE(asked.cancel());
      EXPECT_THROW((void)asked.fetch(1ms), TimeoutError);
    }
    EXPECT_TRUE(owned.as_before());
    EXPECT_TRUE(eventually([] { return debug::calls_in_flight(1) == 0; }));
  }
}

// catalogue: 131
TEST_F(References, TheOwnerKeepsAValueForASecondHolder) {
  auto future = std::make_optional(remotecall_wait(&numbers, 2, large));
  remotecall_fetch([](const Future<Numbers>& f) { kept.push_back(f); }, 3, *future);
  EXPECT_EQ(future->fetch().size(), large);
  future.reset();
  remotecall_fetch(&myid, 2);
  EXPECT_EQ(owned.more_on(2), 1U);
  EXPECT_EQ(remotecall_fetch([] { return kept.back().fetch().size(); }, 3), large);
  EXPECT_TRUE(owned.as_before());
  remotecall_fetch([] { kept.clear(); }, 3);
}

TEST_F(References, ASecondHolderThatDropsItUnfetched) {
  auto future = std::make_optional(remotecall_wait(&numbers, 2, large));
  remotecall_fetch([](const Future<Numbers>& f) { kept.push_back(f); }, 3, *future);
  future.reset();
  EXPECT_EQ(owned.more_on(2), 1U);
  remotecall_fetch([] { kept.clear(); }, 3);
}

// catalogue: 133
TEST_F(References, AFilledFutureStaysForAWorkerThatHasNotFetched) {
  const Future<int> future(2);
  remotecall_fetch([](const Future<int>& f) { kept_numbers.push_back(f); }, 3, future);
  future.put(5);
  remotecall_fetch(&myid, 2);
  EXPECT_EQ(owned.more_on(2), 1U);
  EXPECT_EQ(remotecall_fetch([] { return kept_numbers.back().fetch(); }, 3), 5);
  EXPECT_TRUE(owned.as_before());
  remotecall_fetch([] { kept_numbers.clear(); }, 3);
}

// catalogue: 121, 134
TEST_F(References, AHandleSentToItsOwner) {
  auto future = std::make_optional(remotecall_wait(&numbers, 2, large));
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(remotecall_fetch([](const Future<Numbers>& f) { return f.fetch().size(); }, 2, *future), large);
  EXPECT_EQ(owned.more_on(2), 1U);
  future.reset();
  EXPECT_TRUE(owned.as_before());
}

// catalogue: 143
TEST_F(References, AHandleInAnotherArchiveIsAnEmptyOne) {
  std::stringstream file;
  std::vector<Future<Numbers>> futures{remotecall_wait(&numbers, 2, large)};
  Future<void> end = spawnat(2, [] {});
  RemoteChannel<int> channel(2, 2);
  cereal::BinaryOutputArchive to_file(file);
  to_file(futures, end, channel);
  EXPECT_EQ(futures.front().fetch().size(), large) << "written, and as before";
  cereal::BinaryInputArchive from_file(file);
  from_file(futures, end, channel);
  ASSERT_EQ(futures.size(), 1U);
  EXPECT_THROW((void)futures.front().fetch(), std::future_error);
  EXPECT_THROW(end.fetch(), std::future_error);
  EXPECT_THROW(channel.put(1), std::logic_error);
}

TEST_F(References, AHandleThatNamesNothingCantBeSent) {
  auto future = spawnat(2, [] { return 1; });
  RemoteChannel<int> channel(1, 2);
  const auto kept_future = std::move(future);
  const auto kept_channel = std::move(channel);
  // NOLINTBEGIN(bugprone-use-after-move,hicpp-invalid-access-moved): that is what is tested
  EXPECT_THROW(remotecall_wait([](const Future<int>&) {}, 2, future), SerializationError);
  EXPECT_THROW(remotecall_wait([](const RemoteChannel<int>&) {}, 2, channel), SerializationError);
  // NOLINTEND(bugprone-use-after-move,hicpp-invalid-access-moved)
  EXPECT_EQ(kept_future.fetch(), 1);
}

// catalogue: 140
TEST_F(References, AHandleThatIsNeverTouched) {
  const auto future = remotecall_wait(&numbers, 2, large);
  for (int i = 0; i < 50; ++i) remotecall_fetch([](const Future<Numbers>&) {}, 3, future);
  EXPECT_EQ(owned.more_on(2), 1U);
}

// catalogue: 137
TEST_F(References, AHandleThatComesAgainAfterItsValueWasFetched) {
  const auto future = remotecall_wait(&numbers, 2, large);
  remotecall_fetch(
      [](const Future<Numbers>& f) {
        kept.push_back(f);
        (void)f.fetch();
      },
      3, future);
  remotecall_fetch([](const Future<Numbers>&) {}, 3, future);
  EXPECT_EQ(future.fetch().size(), large);
  EXPECT_TRUE(owned.as_before());
  remotecall_fetch([] { kept.clear(); }, 3);
}

// catalogue: 139
TEST_F(References, SentAndReleasedAtOnce) {
  for (int round = 0; round < 200; ++round) {
    std::vector<Future<std::size_t>> sizes;
    {
      const auto future = round % 2 == 0 ? spawnat(2, &numbers, large) : spawnat(2, &numbers, std::size_t{2});
      sizes.push_back(spawnat(3, [](const Future<Numbers>& f) { return f.fetch().size(); }, future));
      sizes.push_back(spawnat(1, [](const Future<Numbers>& f) { return f.fetch().size(); }, future));
    }
    const std::size_t expected = round % 2 == 0 ? large : 2;
    for (const auto& size : sizes) ASSERT_EQ(size.fetch(patience), expected) << round;
  }
}

TEST_F(References, PassedAroundACircle) {
  struct Pass {
    static std::size_t on(Future<Numbers> f, int steps) {
      return steps == 0 ? f.fetch().size() : remotecall_fetch(&Pass::on, myid() % 4 + 1, std::move(f), steps - 1);
    }
  };
  for (int round = 0; round < 20; ++round) {
    const auto future = spawnat(round % 4 + 1, &numbers, large);
    ASSERT_EQ(remotecall_fetch(&Pass::on, 3, future, 9), large);
  }
}

TEST_F(References, HandlesInsideValues) {
  {
    const auto outer = remotecall_wait(
        [] { return std::vector{remotecall_wait(&numbers, 3, large), remotecall_wait(&numbers, 2, large)}; }, 2);
    EXPECT_EQ(owned.more_on(3), 1U);
    EXPECT_EQ(owned.more_on(2), 2U);
    const auto inner = outer.fetch();
    EXPECT_EQ(inner[0].fetch().size() + inner[1].fetch().size(), 2 * large);
  }
  EXPECT_TRUE(owned.as_before());
  {
    (void)remotecall_wait([] { return std::vector{remotecall_wait(&numbers, 3, large)}; }, 2);  // dropped unfetched
  }
  EXPECT_TRUE(owned.as_before());
  const Future<Future<Numbers>> filled(2);
  filled.put(remotecall_wait(&numbers, 3, large));
  EXPECT_THROW(filled.put(remotecall_wait(&numbers, 3, large)), std::future_error);
  EXPECT_EQ(remotecall_fetch([](const Future<Future<Numbers>>& f) { return f.fetch().fetch().size(); }, 1, filled),
            large);
}

TEST_F(References, CallsThatAreRefusedKeepNothing) {
  const auto future = remotecall_wait(&numbers, 2, large);
  EXPECT_THROW((void)spawnat(99, [](const Future<Numbers>&) {}, future), std::invalid_argument);
  const Pid gone = addprocs(1).front();
  rmprocs(gone);
  EXPECT_THROW((void)spawnat(gone, [](const Future<Numbers>&) {}, future), ProcessExitedException);
}

TEST_F(References, CancelledTasksLeaveNothing) {
  for (int round = 0; round < 20; ++round) {
    const auto task = spawnat(
        2,
        [](int r) {
          if (r % 2 == 0) this_task::sleep_for(1ms);
          return numbers(large);
        },
        round);
    const auto reader = spawnat(3, [](const Future<Numbers>& f) { return f.fetch().size(); }, task);
    (void)task.cancel();
    (void)reader.wait_for(patience);
  }
}

TEST_F(References, WaitersThatGiveUpLeaveNothing) {
  for (int round = 0; round < 10; ++round) {
    const Future<int> never(2);
    EXPECT_THROW((void)never.fetch(1ms), TimeoutError);
    EXPECT_THROW((void)remotecall_fetch([](const Future<int>& f) { return f.fetch(1ms); }, 3, never), TimeoutError);
  }
  EXPECT_TRUE(eventually([] { return debug::calls_in_flight(3) == 0 && debug::calls_in_flight(1) == 0; }));
}

// -- deaths -----------------------------------------------------------------------------------------------------------

void kill_worker(Pid pid) {
  const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, pid);
  ASSERT_EQ(::kill(os_pid, SIGKILL), 0);
  ASSERT_TRUE(eventually([pid] {
    const auto all = procs();
    return std::find(all.begin(), all.end(), pid) == all.end();
  }));
}

// catalogue: 138
TEST_F(References, AHolderThatDiesHoldsNothing) {
  const Pid holder = addprocs(1).front();
  auto future = std::make_optional(remotecall_wait(&numbers, 2, large));
  remotecall_fetch([](const Future<Numbers>& f) { kept.push_back(f); }, holder, *future);
  future.reset();
  EXPECT_EQ(owned.more_on(2), 1U);
  kill_worker(holder);
  EXPECT_TRUE(owned.as_before());
}

TEST_F(References, AHolderThatDiesTakesNothingFromOthers) {
  const Pid holder = addprocs(1).front();
  const auto future = remotecall_wait(&numbers, 2, large);
  // From the one that will die to another, so that its count is its word.
  remotecall_fetch(
      [](const Future<Numbers>& f) {
        kept.push_back(f);
        remotecall_fetch([](const Future<Numbers>& g) { kept.push_back(g); }, 3, f);
      },
      holder, future);
  kill_worker(holder);
  EXPECT_EQ(owned.more_on(2), 1U);
  EXPECT_EQ(remotecall_fetch([] { return kept.back().fetch().size(); }, 3), large);
  EXPECT_EQ(future.fetch().size(), large);
  remotecall_fetch([] { kept.clear(); }, 3);
}

TEST_F(References, ACreatorThatDiesLeavesItsResultsToOtherHolders) {
  const Pid creator = addprocs(1).front();
  const auto future = remotecall_fetch([] { return remotecall_wait(&numbers, 2, large); }, creator);
  EXPECT_EQ(owned.more_on(2), 1U);
  kill_worker(creator);
  EXPECT_EQ(future.fetch().size(), large);
}

// catalogue: 298
TEST_F(References, ACreatorThatDiesBeforeItsTaskEnds) {
  const Pid creator = addprocs(1).front();
  const Future<int> go;
  const auto future = remotecall_fetch(
      [](const Future<int>& f) {
        return spawnat(
            2,
            [](const Future<int>& g) {
              (void)g.fetch();
              return numbers(large);
            },
            f);
      },
      creator, go);
  remote_do(
      [](const Future<int>& f) {
        (void)spawnat(
            2,
            [](const Future<int>& g) {
              (void)g.fetch();
              return numbers(large);
            },
            f);
      },
      creator, go);
  remotecall_fetch(&myid, creator);
  kill_worker(creator);
  go.put(1);
  EXPECT_EQ(future.fetch(patience).size(), large);
}

TEST_F(References, AnOwnerThatDies) {
  const Pid owner = addprocs(1).front();
  const auto future = remotecall_wait(&numbers, owner, large);
  remotecall_fetch([](const Future<Numbers>& f) { kept.push_back(f); }, 3, future);
  kill_worker(owner);
  EXPECT_THROW((void)future.fetch(), ProcessExitedException);
  const auto nested =
      thrown<RemoteException>([] { (void)remotecall_fetch([] { return kept.back().fetch().size(); }, 3); });
  ASSERT_TRUE(nested);
  EXPECT_TRUE(nested->is<ProcessExitedException>());
  remotecall_fetch([] { kept.clear(); }, 3);
}

}  // namespace
