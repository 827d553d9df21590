// everywhere and everywhere_always.

#include "support.hpp"
#include "trace.hpp"

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace muster;
using namespace muster::test;

class Everywhere : public testing::Test {
 protected:
  Everywhere() : pids(at_least(3)) {}
  const std::vector<Pid> pids;
};

int mark = 0;  // NOLINT: a global of each process, as users have them

TEST_F(Everywhere, RunsOnAllProcessesAndWaits) {
  everywhere([](int n) { mark = n; }, 5);
  for (const Pid pid : procs()) EXPECT_EQ(remotecall_fetch([] { return mark; }, pid), 5) << pid;
}

// catalogue: 275, 276
TEST_F(Everywhere, OnAListRunsOncePerMention) {
  everywhere([] { mark = 0; });
  everywhere({2, 2, 1, 2}, [] { ++mark; });
  EXPECT_EQ(mark, 1);
  EXPECT_EQ(remotecall_fetch([] { return mark; }, 2), 3);
  EXPECT_EQ(remotecall_fetch([] { return mark; }, 3), 0);
  everywhere(std::vector<Pid>{}, [] { ++mark; });
  EXPECT_EQ(mark, 1);
}

TEST_F(Everywhere, RefusesUnknownPidsBeforeAnythingRuns) {
  everywhere([] { mark = 0; });
  EXPECT_THROW(everywhere({1, 2, 77}, [] { ++mark; }), std::invalid_argument);
  EXPECT_EQ(mark, 0);
  EXPECT_EQ(remotecall_fetch([] { return mark; }, 2), 0);
}

// catalogue: 279
TEST_F(Everywhere, CollectsAllFailures) {
  const auto error = thrown<CompositeException>([] {
    everywhere([] {
      if (myid() != 2) throw std::runtime_error("not on " + std::to_string(myid()));
    });
  });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->exceptions().size(), procs().size() - 1);
  for (const auto& one : error->exceptions()) EXPECT_THROW(std::rethrow_exception(one), RemoteException);
  EXPECT_NE(std::string(error->what()).find("more exceptions"), std::string::npos) << error->what();
}

TEST_F(Everywhere, FromAWorker) {
  everywhere([] { mark = 0; });
  remotecall_fetch([] { everywhere([] { ++mark; }); }, 3);
  for (const Pid pid : procs()) EXPECT_EQ(remotecall_fetch([] { return mark; }, pid), 1) << pid;
}

// catalogue: 277
TEST_F(Everywhere, TheOwnProcessMayBeMentionedThreeTimes) {
  everywhere([] { mark = 0; });
  everywhere({1, 1, 1}, [] { ++mark; });
  EXPECT_EQ(mark, 3);
  for (const Pid pid : pids) EXPECT_EQ(fetchfrom(pid, [] { return mark; }), 0);
}

// catalogue: 279, 280
TEST_F(Everywhere, OneProcessThatFailsStopsNoOther) {
  everywhere([] { mark = 0; });
  const auto error = thrown<CompositeException>([&] {
    everywhere({pids[2], 1, pids[0], pids[1]}, [] {
      mark = myid();
      if (myid() > 1 && myid() != 3) throw std::runtime_error("not here");
    });
  });
  for (const Pid pid : procs()) EXPECT_EQ(fetchfrom(pid, [] { return mark; }), pid);
  ASSERT_TRUE(error);
  std::vector<Pid> failed;
  for (const auto& one : error->exceptions()) {
    try {
      std::rethrow_exception(one);
    } catch (const RemoteException& remote) {
      failed.push_back(remote.pid());
    }
  }
  EXPECT_EQ(failed, (std::vector<Pid>{pids[2], pids[0]})) << "in the order of the list";
}

struct CountsSaves {
  static inline std::atomic<int> saves{0};
  template <class Archive>
  void save(Archive& archive) const {
    ++saves;
    archive(1);
  }
  template <class Archive>
  void load(Archive& archive) {
    int ignored = 0;
    archive(ignored);
  }
};

std::atomic<int> arrived{0};  // NOLINT

// catalogue: 284
TEST_F(Everywhere, ABroadcastIsEncodedOnceAndRunsAtOnce) {
  CountsSaves::saves = 0;
  arrived = 0;
  const Future<int> all_there;
  everywhere(
      [](const CountsSaves&, const Future<int>& go, int all) {
        remotecall_fetch(
            [](const Future<int>& f, int n) {
              if (++arrived == n) f.put(1);
            },
            1, go, all);
        (void)go.fetch(patience);  // in vain where one comes after the other
      },
      CountsSaves(), all_there, nprocs());
  EXPECT_EQ(CountsSaves::saves, 1);
}

TEST_F(Everywhere, ACancelledCallerTakesItsTasksAlong) {
  const Trace trace;
  const auto caller = spawnat(
      2,
      [](const std::string& path) {
        try {
          everywhere({1, 2, 3}, run_until_stopped, path);
        } catch (const CancelledError&) {
          add_line(path, "the caller too");
          throw;
        }
      },
      trace.path());
  ASSERT_TRUE(eventually([&] { return trace.count("started") == 3; }));
  EXPECT_TRUE(caller.cancel());
  EXPECT_TRUE(eventually([&] { return trace.count("cancelled") == 3 && trace.count("the caller too") == 1; }));
}

// -- always -----------------------------------------------------------------------------------------------------------

std::vector<std::string> story;  // NOLINT

// catalogue: 190
TEST_F(Everywhere, AlwaysReachesLateWorkersInOrder) {
  everywhere_always([](const std::string& word) { story.push_back(word); }, "first");
  remotecall_fetch(
      [] {
        everywhere_always([](const std::vector<int>& n) { story.push_back(std::to_string(n.size())); },
                          std::vector<int>(5000));
      },
      2);
  const std::vector<std::string> expected{"first", "5000"};
  EXPECT_EQ(story, expected);
  EXPECT_EQ(remotecall_fetch([] { return story; }, 3), expected);
  const OwnWorkers late(2);
  for (const Pid pid : late.pids()) EXPECT_EQ(remotecall_fetch([] { return story; }, pid), expected);
}

TEST_F(Everywhere, AlwaysThatThrowsOnALateWorkerFailsItsStart) {
  // Pids of this test's workers are not known before: everyone from here on, until the session says otherwise.
  static bool refuse = false;
  remotecall_fetch([] { refuse = false; }, 1);
  everywhere_always(
      [](Pid last) {
        if (myid() > last && remotecall_fetch([] { return refuse; }, 1)) throw std::runtime_error("not welcome");
      },
      procs().back());
  refuse = true;
  const auto before = procs();
  const auto error = thrown<LaunchError>([] { (void)addprocs(1); });
  refuse = false;
  ASSERT_TRUE(error);
  ASSERT_EQ(error->failures().size(), 1U);
  EXPECT_NE(error->failures()[0].message.find("not welcome"), std::string::npos) << error->failures()[0].message;
  EXPECT_EQ(procs(), before);
  const OwnWorkers again(1);
  EXPECT_EQ(remotecall_fetch(&myid, again[0]), again[0]);
}

}  // namespace
