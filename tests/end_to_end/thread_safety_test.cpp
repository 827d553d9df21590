// Every public call from many threads at once: of the master, and of workers that run several tasks; on shared objects.

#include "support.hpp"

#include <atomic>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace muster;
using namespace muster::test;

constexpr int threads = 8;
constexpr int rounds = 15;

/// Runs f(thread, round) on that many threads of this process.
void in_threads(const std::function<void(int, int)>& f) {
  std::vector<std::jthread> all;
  for (int thread = 0; thread < threads; ++thread) {
    all.emplace_back([&f, thread] {
      for (int round = 0; round < rounds; ++round) f(thread, round);
    });
  }
}

int triple(int x) { return 3 * x; }
std::vector<double> numbers(std::size_t n) { return std::vector<double>(n, 0.5); }

class ThreadSafety : public testing::Test {
 protected:
  /// Two workers that run four tasks each.
  static const std::vector<Pid>& several() {
    static const std::vector<Pid> pids = addprocs(2, {.threads = 4});
    return pids;
  }
  static Pid worker(int n) { return several()[static_cast<std::size_t>(n) % several().size()]; }
};

/// What any process may do at any time, with processes that stay.
void call_everything(const std::vector<Pid>& pids, int round) {
  const Pid pid = pids[static_cast<std::size_t>(round) % pids.size()];
  EXPECT_EQ(remotecall_fetch(triple, pid, round), 3 * round);
  EXPECT_EQ(remotecall_wait(triple, pid, 2).fetch(), 6);
  remote_do(triple, pid, 1);
  EXPECT_EQ(remotecall(triple, pid, 3).fetch(), 9);
  EXPECT_EQ(spawnat(pid, triple, round).take(), 3 * round);
  EXPECT_EQ(spawn(triple, 4).fetch(), 12);
  EXPECT_EQ(spawnat(pid, numbers, std::size_t{20'000}).fetch().size(), 20'000U);
  EXPECT_EQ(spawnat(pid, triple, 1).then([](int x) { return x + 1; }).fetch(), 4);
  const std::vector<Future<int>> several{spawn(triple, 1), spawn(triple, 2)};
  EXPECT_EQ(when_all(several).fetch(), (std::vector<int>{3, 6}));
  EXPECT_TRUE(when_any(several).fetch() < 2U);
  const auto sleeper = spawnat(pid, [] { this_task::sleep_for(1h); });
  EXPECT_FALSE(sleeper.wait_for(0s));
  EXPECT_TRUE(sleeper.cancel());
  const Future<int> promise(pid);
  promise.put(round);
  EXPECT_EQ(promise.fetch(), round);
  const RemoteChannel<int> channel(2, pid);
  channel.put(round);
  EXPECT_EQ(channel.take(), round);
  channel.close();
  try {
    const DeadlineScope scope(1ms);
    remotecall_fetch([] { this_task::sleep_for(1h); }, pid);
    ADD_FAILURE() << "the deadline was missed";
  } catch (const TimeoutError&) {
  }
  std::vector<int> input(20);
  std::iota(input.begin(), input.end(), 0);
  EXPECT_EQ(pmap(triple, input).back(), 57);
  EXPECT_EQ(distributed_reduce(std::plus<>(), IndexRange{0, 100}, [](std::size_t i) { return i; }), 4950U);
  std::size_t seen = 0;
  for (const auto& [index, value] : pmap_unordered(triple, input)) seen += value == 3 * static_cast<int>(index) ? 1 : 0;
  EXPECT_EQ(seen, input.size());
  EXPECT_FALSE(procs().empty());
  EXPECT_FALSE(workers().empty());
  EXPECT_GE(nprocs(), nworkers());
  EXPECT_FALSE(other_procs().empty());
  EXPECT_TRUE(check_same_host(pids));
  (void)debug::values_owned(myid());
  (void)debug::calls_in_flight(myid());
  (void)debug::links(myid());
}

TEST_F(ThreadSafety, EveryCallFromManyThreadsOfTheMaster) {
  const auto& pids = several();
  in_threads([&](int thread, int round) { call_everything(pids, thread + round); });
}

TEST_F(ThreadSafety, EveryCallFromTasksThatRunBesideEachOther) {
  std::vector<Future<void>> all;
  for (int task = 0; task < threads; ++task) {
    all.push_back(spawnat(
        worker(task),
        [](const std::vector<Pid>& pids, int first) {
          for (int round = 0; round < 4; ++round) call_everything(pids, first + round);
          if (testing::Test::HasFailure()) throw std::runtime_error("see what this worker printed");
        },
        several(), task));
  }
  for (const auto& task : all) task.fetch();
}

TEST_F(ThreadSafety, OneFutureOfAll) {
  for (int round = 0; round < 20; ++round) {
    const auto large = spawnat(worker(round), numbers, std::size_t{50'000});
    const auto small = spawnat(worker(round), triple, round);
    std::atomic<int> cancelled = 0;
    const auto sleeper = spawnat(worker(round), [] { this_task::sleep_for(1h); });
    std::vector<std::jthread> all;
    for (int thread = 0; thread < threads; ++thread) {
      all.emplace_back([&] {
        const auto copy = large;
        EXPECT_EQ(copy.fetch().size(), 50'000U);
        EXPECT_TRUE(large.isready());
        EXPECT_EQ(remotecall_fetch([](const Future<int>& f) { return f.fetch(); }, several()[0], small), 3 * round);
        EXPECT_EQ(small.then([](int x) { return x; }).fetch(), 3 * round);
        if (sleeper.cancel()) ++cancelled;
      });
    }
    all.clear();
    EXPECT_EQ(cancelled, 1);
  }
}

TEST_F(ThreadSafety, OneChannelOfAll) {
  const RemoteChannel<int> channel(4, worker(0));
  std::atomic<int> sum = 0;
  {
    std::vector<std::jthread> takers;
    for (int i = 0; i < threads; ++i) {
      takers.emplace_back([&] {
        for (const int item : channel) sum += item;
      });
    }
    in_threads([&](int, int) { channel.put(1); });
    EXPECT_TRUE(eventually([&] { return sum == threads * rounds; }));
    channel.close();
  }
  EXPECT_EQ(sum, threads * rounds);
}

TEST_F(ThreadSafety, OnePoolOfAll) {
  const WorkerPool pool(several());
  CachingPool caching(several());
  in_threads([&](int, int round) {
    EXPECT_EQ(remotecall_fetch(triple, pool, round), 3 * round);
    EXPECT_EQ(remotecall_fetch(triple, caching, round), 3 * round);
    const Pid lent = pool.take();
    pool.put(lent);
    PmapOptions<> options;
    options.pool = &caching;
    EXPECT_EQ(pmap(triple, std::vector<int>{1, 2, 3}, options), (std::vector<int>{3, 6, 9}));
  });
}

TEST_F(ThreadSafety, WorkersComeAndGoMeanwhile) {
  const auto& pids = several();
  std::atomic<bool> done = false;
  std::atomic<int> added = 0, removed = 0;
  const auto when_added = on_worker_added([&](Pid) { ++added; });
  const auto when_removed = on_worker_removed([&](const WorkerExit&) { ++removed; });
  {
    const std::jthread changing([&] {
      do rmprocs(addprocs(1));
      while (!done);
    });
    const std::jthread telling([&] {
      while (!done) everywhere(pids, [] { (void)myid(); });
    });
    in_threads([&](int thread, int round) {
      EXPECT_EQ(remotecall_fetch(triple, pids[0], thread), 3 * thread);
      std::vector<int> input(10, round);
      EXPECT_EQ(pmap(triple, input).front(), 3 * round);
      (void)procs();
      (void)on_worker_added([](Pid) {});
    });
    done = true;
  }
  EXPECT_GT(added, 0);
  EXPECT_TRUE(eventually([&] { return added == removed; }));
}

}  // namespace
