// Large arguments of everywhere, which processes hand on to each other. On one host that is chosen by hand.
// lanes: shm zmq

#include "support.hpp"

#include <muster/debug.hpp>

#include <atomic>
#include <cstdlib>
#include <future>
#include <numeric>
#include <set>

namespace muster::test {
namespace {

constexpr std::size_t elements = std::size_t{1} << 17;  // 1 MiB
constexpr int workers_in_test = 8;

std::atomic<int> runs{0};
std::atomic<double> sum{0};

void take_in(const View<double>& values) {
  ++runs;
  sum = std::accumulate(values.begin(), values.end(), 0.0);
}
int runs_here() { return runs.exchange(0); }
double sum_here() { return sum.exchange(0); }

std::vector<double> ones() { return std::vector<double>(elements, 1.0); }

std::uint64_t bytes_sent() {
  std::uint64_t sent = 0;
  for (const auto& link : debug::links(1)) sent += link.bytes_sent;
  return sent;
}

class HandoutsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_EQ(::setenv("MUSTER_BROADCAST", "tree", 1), 0); }
  static void TearDownTestSuite() { (void)::unsetenv("MUSTER_BROADCAST"); }
  void SetUp() override { (void)runs_here(); }
};

TEST_F(HandoutsTest, EachProcessGetsThemOnceAndTheMasterSendsAFew) {
  const OwnWorkers own(workers_in_test);
  const auto before = bytes_sent();
  everywhere(own.pids(), &take_in, ones());
  const auto sent = static_cast<double>(bytes_sent() - before) / (elements * sizeof(double));
  EXPECT_LT(sent, workers_in_test - 1) << "nobody else handed them on";
  for (const Pid pid : own.pids()) {
    EXPECT_EQ(fetchfrom(pid, &runs_here), 1) << pid;
    EXPECT_EQ(fetchfrom(pid, &sum_here), static_cast<double>(elements)) << pid;
  }
}

TEST_F(HandoutsTest, OncePerMention) {
  const OwnWorkers own(workers_in_test);
  std::vector<Pid> twice = own.pids();
  twice.insert(twice.end(), own.pids().begin(), own.pids().end());
  everywhere(twice, &take_in, ones());
  for (const Pid pid : own.pids()) EXPECT_EQ(fetchfrom(pid, &runs_here), 2) << pid;
}

TEST_F(HandoutsTest, WhoIsBusyHandsOnAllTheSame) {
  const OwnWorkers own(workers_in_test);
  RemoteChannel<int> started;
  const auto busy = spawnat(
      own[0],
      [](const RemoteChannel<int>& channel) {
        channel.put(1);
        const auto end = std::chrono::steady_clock::now() + 2s;
        while (std::chrono::steady_clock::now() < end) {  // keeps its only slot
        }
      },
      started);
  (void)started.take();
  auto all = std::async(std::launch::async, [&] { everywhere(own.pids(), &take_in, ones()); });
  for (std::size_t i = 1; i < own.pids().size(); ++i)
    EXPECT_TRUE(eventually([&] { return fetchfrom(own[i], &sum_here) != 0; }));
  EXPECT_FALSE(busy.isready()) << "the others waited for the busy one";
  all.get();
}

TEST_F(HandoutsTest, WhoStandsStillKeepsNobodyFromThem) {
  const OwnWorkers own(workers_in_test);
  const int still = remotecall_fetch([] { return static_cast<int>(::getpid()); }, own[0]);
  stop_process(still);
  auto all = std::async(std::launch::async, [&] { everywhere(own.pids(), &take_in, ones()); });
  for (std::size_t i = 1; i < own.pids().size(); ++i)
    EXPECT_TRUE(eventually([&] { return fetchfrom(own[i], &sum_here) != 0; })) << own[i];
  ASSERT_EQ(::kill(still, SIGCONT), 0);
  all.get();
  for (const Pid pid : own.pids()) EXPECT_EQ(fetchfrom(pid, &runs_here), 1) << pid;
}

TEST_F(HandoutsTest, WhoDiesLeavesNobodyWithoutAndIsNamed) {
  const OwnWorkers own(workers_in_test);
  // The first ones to have them are those that hand them on; they die as they run, in the middle of it.
  const std::set<Pid> dying{own[0], own[1]};
  const auto f = [first = own[0], second = own[1]](const View<double>& values) {
    if (myid() == first || myid() == second) (void)::kill(::getpid(), SIGKILL);
    take_in(values);
  };
  try {
    everywhere(own.pids(), f, ones());
    FAIL() << "nothing was thrown";
  } catch (const CompositeException& failures) {
    std::set<Pid> named;
    for (const auto& each : failures.exceptions()) {
      try {
        std::rethrow_exception(each);
      } catch (const ProcessExitedException& exited) {
        named.insert(exited.pid());
      }
    }
    EXPECT_EQ(named, dying);
    EXPECT_EQ(failures.exceptions().size(), dying.size());
  }
  for (const Pid pid : own.pids()) {
    if (dying.contains(pid)) continue;
    EXPECT_EQ(fetchfrom(pid, &runs_here), 1) << pid;
  }
}

// -- functions of maps ------------------------------------------------------------------------------------------------

std::atomic<int> kept{0};
int kept_here() { return kept; }

struct Counted {
  Counted() { ++kept; }
  Counted(const Counted&) { ++kept; }
  Counted& operator=(const Counted&) = default;
  ~Counted() { --kept; }
  template <class Archive>
  void serialize(Archive& /*archive*/) {}
};

/// A function that is large, and counted where it is kept.
struct PlusSum {
  std::vector<double> values = ones();
  std::set<Pid> deadly_at = {};
  Counted counted = {};
  template <class Archive>
  void serialize(Archive& archive) {
    archive(values, deadly_at, counted);
  }
  double operator()(int x) const {
    if (deadly_at.contains(myid())) (void)::kill(::getpid(), SIGKILL);
    if (x < 0) throw std::invalid_argument("negative");
    return x + std::accumulate(values.begin(), values.end(), 0.0);
  }
};

std::vector<int> numbers() {
  std::vector<int> all(200);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

void expect_right(const std::vector<double>& results) {
  ASSERT_EQ(results.size(), numbers().size());
  for (std::size_t i = 0; i < results.size(); ++i)
    EXPECT_EQ(results[i], static_cast<double>(i + elements)) << "element " << i;
}

TEST_F(HandoutsTest, AMapsFunctionIsHandedOnToo) {
  const OwnWorkers own(workers_in_test);
  WorkerPool pool(own.pids());
  expect_right(pmap(PlusSum(), numbers(), PmapOptions{.pool = &pool}));
  EXPECT_TRUE(eventually([&] { return sent_between(own.pids()) > elements * sizeof(double); }))
      << "nobody handed it on";
  for (const Pid pid : own.pids())
    EXPECT_TRUE(eventually([&] { return fetchfrom(pid, &kept_here) == 0; })) << "it stays at " << pid;
}

TEST_F(HandoutsTest, AMapDoesNotWaitForWhoStandsStill) {
  const OwnWorkers own(workers_in_test);
  WorkerPool pool(own.pids());
  const int still = remotecall_fetch([] { return static_cast<int>(::getpid()); }, own[0]);
  stop_process(still);
  expect_right(pmap(PlusSum(), numbers(), PmapOptions{.pool = &pool}));
  ASSERT_EQ(::kill(still, SIGCONT), 0);
  for (const Pid pid : own.pids())
    EXPECT_TRUE(eventually([&] { return fetchfrom(pid, &kept_here) == 0; })) << "it stays at " << pid;
}

TEST_F(HandoutsTest, AMapGoesOnWhereSomeDieOfIt) {
  const OwnWorkers own(workers_in_test);
  WorkerPool pool(own.pids());
  PlusSum deadly;
  deadly.deadly_at = {own[0], own[1]};
  expect_right(pmap(deadly, numbers(), PmapOptions{.pool = &pool}));
}

TEST_F(HandoutsTest, AMapThatFailsLeavesNothing) {
  const OwnWorkers own(workers_in_test);
  WorkerPool pool(own.pids());
  for (int round = 0; round < 10; ++round)
    EXPECT_THROW((void)pmap(PlusSum(), std::vector<int>{-1, 1, 2, 3}, PmapOptions{.pool = &pool}), RemoteException);
  for (const Pid pid : own.pids())
    EXPECT_TRUE(eventually([&] { return fetchfrom(pid, &kept_here) == 0; })) << "it stays at " << pid;
}

}  // namespace
}  // namespace muster::test
