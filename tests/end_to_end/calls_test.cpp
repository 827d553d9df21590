// Remote calls: forms, functions, processes, order, failures.

#include "support.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <numeric>
#include <set>

namespace {

using namespace muster;
using namespace muster::test;

int square(int x) { return x * x; }

struct Adder {
  int n = 0;
  int operator()(int x) const { return x + n; }
};

struct Point {
  int x = 0, y = 0;
  bool operator==(const Point&) const = default;
};

/// A closure with a serialize of its own.
struct Scaler {
  std::vector<int> factors;
  int operator()(int x) const { return std::accumulate(factors.begin(), factors.end(), x, std::multiplies<>()); }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(factors);
  }
};

class Calls : public testing::Test {
 protected:
  Calls() : pids(at_least(3)) {}
  const std::vector<Pid> pids;
};

// -- forms ------------------------------------------------------------------------------------------------------------

// catalogue: 80, 106, 111, 123, 274
TEST_F(Calls, EveryFormOnOwnAndOtherProcesses) {
  for (const Pid pid : {1, 2, 3}) {
    EXPECT_EQ(remotecall_fetch(&square, pid, 3), 9);
    EXPECT_EQ(fetchfrom(pid, &square, 4), 16);
    EXPECT_EQ(remotecall(&square, pid, 5).fetch(), 25);
    EXPECT_EQ(spawnat(pid, &square, 6).fetch(), 36);
    const auto waited = remotecall_wait(&square, pid, 7);
    EXPECT_TRUE(waited.isready());
    EXPECT_EQ(waited.where(), pid);
    EXPECT_EQ(waited.fetch(), 49);
    EXPECT_EQ(fetchfrom(pid, &myid), pid);
    remotecall_fetch([] {}, pid);
    spawnat(pid, [] {}).fetch();
  }
  EXPECT_EQ(spawn(&square, 8).fetch(), 64);
}

// catalogue: 80, 81
TEST_F(Calls, RemoteDoRuns) {
  for (const Pid pid : {1, 2}) {
    const Future<int> done(pid);
    remote_do([](const Future<int>& to) { to.put(myid()); }, pid, done);
    EXPECT_EQ(done.fetch(patience), pid);
  }
}

// catalogue: 82, 110, 185
TEST_F(Calls, EveryKindOfFunction) {
  int k = 10;
  EXPECT_EQ(remotecall_fetch([](int x) { return x + 1; }, 2, 1), 2);
  EXPECT_EQ(remotecall_fetch([k](int x) { return x + k; }, 2, 1), 11);
  EXPECT_EQ(remotecall_fetch([k, p = Point{1, 2}](auto x) { return x + k + p.y; }, 2, 1.5), 13.5);
  EXPECT_EQ(remotecall_fetch(Adder{5}, 2, 1), 6);
  EXPECT_EQ(remotecall_fetch(Scaler{{2, 3}}, 2, 4), 24);
  EXPECT_EQ(
      remotecall_fetch(bind_front([](const std::string& a, const std::vector<int>& b,
                                     int c) { return a + std::to_string(b.size() + static_cast<std::size_t>(c)); },
                                  "n", std::vector<int>{1, 2, 3}),
                       2, 4),
      "n7");
  EXPECT_EQ(remotecall_fetch(bind_front(&square, 12), 3), 144);
  EXPECT_EQ(remotecall_fetch([](int (*f)(int), int x) { return f(x); }, 2, &square, 7), 49);
  EXPECT_EQ(remotecall_fetch([](auto f) { return f(3); }, 2, [k](int x) { return x * k; }), 30);
  EXPECT_EQ(remotecall_fetch(&Point::y, 2, Point{4, 5}), 5);
  const auto made = remotecall_fetch([] { return Adder{7}; }, 2);
  EXPECT_EQ(made(1), 8);
}

TEST_F(Calls, ClosuresThatHoldAddressesAreRefusedUnlessTrusted) {
  static int here = 1;
  int* const pointer = &here;
  for (const Pid pid : {1, 2}) {
    EXPECT_THROW((void)spawnat(pid, [pointer] { return pointer != nullptr; }), UnsafeCapture);
    EXPECT_THROW((void)remotecall_fetch([pointer] { return pointer != nullptr; }, pid), UnsafeCapture);
    EXPECT_TRUE(remotecall_fetch(trust([pointer] { return pointer != nullptr; }), pid));
  }
  struct Object {
    int value = 3;
    auto closure() {
      return [this] { return value; };
    }
  } object;
  EXPECT_THROW((void)spawnat(2, object.closure()), UnsafeCapture);
  EXPECT_THROW(remote_do(object.closure(), 2), UnsafeCapture);
  EXPECT_EQ(remotecall_fetch(&square, 2, 2), 4);  // the link still works
}

// -- pids -------------------------------------------------------------------------------------------------------------

// catalogue: 95
TEST_F(Calls, UnknownPidsAreInvalidArguments) {
  for (const Pid pid : {99, -3}) {
    const auto check = [pid](auto&& call) {
      const auto error = thrown<std::invalid_argument>(call);
      ASSERT_TRUE(error);
      EXPECT_NE(std::string(error->what()).find(std::to_string(pid)), std::string::npos) << error->what();
    };
    check([pid] { (void)spawnat(pid, &square, 1); });
    check([pid] { (void)remotecall(&square, pid, 1); });
    check([pid] { (void)remotecall_fetch(&square, pid, 1); });
    check([pid] { (void)remotecall_wait(&square, pid, 1); });
    check([pid] { remote_do(&square, pid, 1); });
    check([pid] { (void)fetchfrom(pid, &square, 1); });
  }
  EXPECT_TRUE(remotecall_fetch(
      [] {
        try {
          (void)spawnat(99, &square, 1);
        } catch (const std::invalid_argument&) {
          return true;
        }
        return false;
      },
      2));
}

// catalogue: 96, 296
TEST_F(Calls, RemovedPidsAreProcessExitedExceptions) {
  const Pid gone = addprocs(1).front();
  const auto stranded = spawnat(gone, [] { return std::vector<int>(100'000, 1); });
  stranded.wait();
  rmprocs(gone);
  for (int i = 0; i < 2; ++i) {
    const auto error = thrown<ProcessExitedException>([gone] { (void)spawnat(gone, &square, 1); });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->pid(), gone);
    EXPECT_THROW((void)remotecall_fetch(&square, gone, 1), ProcessExitedException);
    EXPECT_THROW((void)remotecall_wait(&square, gone, 1), ProcessExitedException);
    EXPECT_THROW(remote_do(&square, gone, 1), ProcessExitedException);
    EXPECT_THROW((void)stranded.fetch(), ProcessExitedException);
  }
  EXPECT_TRUE(eventually([gone] {
    return remotecall_fetch(
        [](Pid pid) {
          try {
            (void)spawnat(pid, &square, 1);
          } catch (const ProcessExitedException&) {
            return true;
          }
          return false;
        },
        2, gone);
  }));
  EXPECT_THROW(everywhere({1, gone}, [] {}), ProcessExitedException);
}

// catalogue: 107, 108
TEST_F(Calls, SpawnTakesTheLeastLoadedAndTiesInTurn) {
  const std::vector<Pid> all = workers();
  std::vector<Pid> order;
  for (std::size_t i = 0; i < all.size() + 1; ++i) order.push_back(spawn(&myid).fetch());
  std::vector<Pid> sorted(order.begin(), order.end() - 1);
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, all) << "each once";
  EXPECT_EQ(order.back(), order.front());
  // Without anything that ends, the order is that of the pids.
  const Future<int> go;
  std::vector<Future<Pid>> waiting;
  for (std::size_t i = 0; i < 2 * all.size(); ++i)
    waiting.push_back(spawn([](const Future<int>& f) { return static_cast<Pid>(f.fetch() * 0 + myid()); }, go));
  go.put(1);
  std::map<Pid, int> count;
  for (const auto& future : waiting) ++count[future.fetch()];
  for (const Pid pid : all) EXPECT_EQ(count[pid], 2) << pid;
}

// -- order and exclusion ----------------------------------------------------------------------------------------------

int counter = 0;        // NOLINT: a worker's global, as users have them
std::vector<int> seen;  // NOLINT

// catalogue: 104
TEST_F(Calls, CallsOfOneThreadStartInOrder) {
  remotecall_fetch([] { seen.clear(); }, 2);
  std::vector<Future<void>> futures;
  for (int i = 0; i < 500; ++i) futures.push_back(spawnat(2, [](int n) { seen.push_back(n); }, i));
  std::vector<int> expected(500);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(remotecall_fetch([] { return seen; }, 2), expected);
}

// catalogue: 84
TEST_F(Calls, TenThousandSmallCalls) {
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(remotecall_fetch([](int n) { return n + 1; }, 2, i), i + 1);
}

TEST_F(Calls, ATaskHasItsWorkerForItselfWhileItDoesNotWait) {
  remotecall_fetch([] { counter = 0; }, 3);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([] {
      for (int i = 0; i < 100; ++i)
        remotecall_fetch(
            [] {
              const int before = counter;
              const auto until = std::chrono::steady_clock::now() + 20us;
              while (std::chrono::steady_clock::now() < until) {
              }
              counter = before + 1;
            },
            3);
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(remotecall_fetch([] { return counter; }, 3), 400);
}

std::atomic<int> inside{0};  // NOLINT

TEST_F(Calls, WorkersWithSeveralThreadsRunSoManyTasksAtOnce) {
  const OwnWorkers two(1, {.threads = 2});
  const auto meet = [] {  // both must be there at once, without any muster call
    ++inside;
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (inside < 2 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    return inside.load();
  };
  const auto a = spawnat(two[0], meet);
  const auto b = spawnat(two[0], meet);
  EXPECT_EQ(a.fetch(), 2);
  EXPECT_EQ(b.fetch(), 2);
}

TEST_F(Calls, ThousandConcurrentCallsFromEightThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([t, &right, this] {
      std::vector<std::pair<int, Future<int>>> futures;
      for (int i = 0; i < 125; ++i) {
        const int n = t * 125 + i;
        futures.emplace_back(n, spawnat(pids[static_cast<std::size_t>(n) % pids.size()], &square, n));
      }
      for (const auto& [n, future] : futures) right += future.fetch() == n * n ? 1 : 0;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, 1000);
  EXPECT_EQ(debug::calls_in_flight(1), 0U);
}

TEST_F(Calls, MoreThreadsThanThereArePlacesForMayWaitAtOnce) {
  constexpr int callers = 300;
  const auto occupied = spawnat(pids[1], [] {
    while (!this_task::stop_token().stop_requested()) std::this_thread::yield();
  });
  std::atomic<int> right = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < callers; ++i)
    threads.emplace_back([&, i] { right += remotecall_fetch(&square, pids[1], i) == i * i ? 1 : 0; });
  EXPECT_TRUE(eventually([] { return debug::calls_in_flight(1) == callers + 1; })) << debug::calls_in_flight(1);
  EXPECT_TRUE(occupied.cancel());
  threads.clear();
  EXPECT_EQ(right, callers);
  EXPECT_EQ(debug::calls_in_flight(1), 0U);
}

// -- nested and mutual ------------------------------------------------------------------------------------------------

// catalogue: 89, 90
TEST_F(Calls, WorkersCallEachOtherAndTheMaster) {
  EXPECT_EQ(remotecall_fetch([] { return remotecall_fetch(&myid, 3); }, 2), 3);
  EXPECT_EQ(remotecall_fetch([] { return remotecall_fetch(&myid, 1); }, 2), 1);
  EXPECT_EQ(remotecall_fetch([] { return remotecall_fetch([] { return remotecall_fetch(&myid, 2); }, 1); }, 2), 2);
}

int ping_pong(int depth, Pid here, Pid there) {
  return depth == 0 ? 0 : 1 + remotecall_fetch(&ping_pong, there, depth - 1, there, here);
}

TEST_F(Calls, MutualRecursionFiftyDeep) {
  EXPECT_EQ(remotecall_fetch(&ping_pong, 2, 50, 2, 3), 50);
  EXPECT_EQ(ping_pong(50, 1, 2), 50);
}

int around(int steps) {
  const int next = myid() % 4 + 1;
  return steps == 0 ? 0 : 1 + spawnat(next, &around, steps - 1).fetch();
}

// catalogue: 91
TEST_F(Calls, ChainsAroundAllProcesses) {
  std::vector<Future<int>> futures;
  for (int i = 0; i < 8; ++i) futures.push_back(spawnat(i % 4 + 1, &around, 20));
  for (const auto& future : futures) EXPECT_EQ(future.fetch(), 20);
}

// catalogue: 92, 290
TEST_F(Calls, FreshWorkersThatCallEachOtherAtOnceMakeOneConnection) {
  const OwnWorkers fresh(3);
  std::vector<Future<int>> futures;
  for (const Pid from : fresh.pids())
    for (const Pid to : fresh.pids())
      if (from != to) futures.push_back(spawnat(from, [](Pid target) { return remotecall_fetch(&myid, target); }, to));
  std::size_t at = 0;
  for (const Pid from : fresh.pids())
    for (const Pid to : fresh.pids()) {
      if (from == to) continue;
      EXPECT_EQ(futures[at++].fetch(patience), to);
    }
  for (const Pid pid : fresh.pids()) {
    std::multiset<Pid> peers;
    for (const auto& link : debug::links(pid)) peers.insert(link.peer);
    for (const Pid other : fresh.pids())
      EXPECT_EQ(peers.count(other), other == pid ? 0U : 1U) << pid << " and " << other;
  }
}

// -- failures of remote_do --------------------------------------------------------------------------------------------

// catalogue: 97, 98, 200
TEST_F(Calls, FailuresOfRemoteDoAreLoggedWhereTheyHappen) {
  const CapturedStderr captured;
  remote_do([] { throw std::runtime_error("lost in the master"); }, 1);
  remote_do([] { throw std::runtime_error("lost in a worker"); }, 2);
  EXPECT_TRUE(eventually([&captured] {  // what workers print comes through pipes
    const auto all = captured.text();
    return all.find("lost in the master") != std::string::npos && all.find("lost in a worker") != std::string::npos;
  })) << captured.text();
  EXPECT_EQ(remotecall_fetch(&square, 2, 3), 9);
}

// -- deaths -----------------------------------------------------------------------------------------------------------

// catalogue: 294, 297
TEST_F(Calls, AWorkerThatDiesFailsTheCallsThatWaitForIt) {
  const OwnWorkers victim(1);
  const auto os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, victim[0]);
  const auto stuck = spawnat(victim[0], [] { std::this_thread::sleep_for(1h); });
  const auto chained =
      spawnat(2, [](Pid pid) { remotecall_fetch([] { std::this_thread::sleep_for(1h); }, pid); }, victim[0]);
  ASSERT_TRUE(eventually([] { return debug::calls_in_flight(2) == 1; }));
  ASSERT_EQ(::kill(os_pid, SIGKILL), 0);
  EXPECT_THROW(stuck.fetch(patience), ProcessExitedException);
  const auto nested = thrown<RemoteException>([&] { chained.fetch(patience); });
  ASSERT_TRUE(nested);
  EXPECT_TRUE(nested->is<ProcessExitedException>()) << nested->what();
  EXPECT_EQ(remotecall_fetch(&square, 2, 3), 9);
}

}  // namespace
