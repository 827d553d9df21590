// Tasks: coroutines, stopping, deadlines, and what a busy worker still does.

#include "support.hpp"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <functional>
#include <stop_token>

namespace {

using namespace muster;
using namespace muster::test;
using Steady = std::chrono::steady_clock;

class Tasks : public testing::Test {
 protected:
  Tasks() : pids(at_least(3)) {}
  const std::vector<Pid> pids;
};

/// A computation that asks nobody.
void compute(std::chrono::nanoseconds duration) {
  const auto until = Steady::now() + duration;
  while (Steady::now() < until) {
  }
}

// -- coroutines -------------------------------------------------------------------------------------------------------

Task<int> plus_one(Future<int> a) { co_return co_await a + 1; }

Task<int> sum_of(std::vector<Future<int>> all) {
  int sum = 0;
  for (const auto& one : all) sum += co_await one;
  co_return sum;
}

Task<std::string> nested(Future<int> a) {
  const int first = co_await plus_one(a);
  const int second = co_await plus_one(a);
  co_return std::to_string(first + second);
}

Task<void> fill(Future<int> a, Future<int> result) {
  const int value = co_await a;
  result.put(value);
}

TEST_F(Tasks, CoroutinesAwaitFuturesOfAnyProcess) {
  for (const Pid pid : {1, 2}) {
    const Future<int> a(3);
    const auto task = spawnat(pid, &plus_one, a);
    const auto text = spawnat(pid, &nested, a);
    EXPECT_FALSE(task.wait_for(5ms));
    a.put(4);
    EXPECT_EQ(task.fetch(patience), 5);
    EXPECT_EQ(text.fetch(patience), "10");
    EXPECT_EQ(remotecall_fetch(&plus_one, pid, a), 5);
    const Future<int> result;
    spawnat(pid, &fill, a, result).fetch(patience);
    EXPECT_EQ(result.fetch(), 4);
    std::vector<Future<int>> list;
    for (int i = 0; i < 10; ++i) list.push_back(spawn([](int n) { return n; }, i));
    EXPECT_EQ(spawnat(pid, &sum_of, list).fetch(patience), 45);
  }
}

TEST_F(Tasks, CoroutinesHoldNoSlotWhileTheyWait) {
  const Future<int> go;
  std::vector<Future<int>> waiting;
  for (int i = 0; i < 200; ++i) waiting.push_back(spawnat(2, &plus_one, go));
  EXPECT_EQ(fetchfrom(2, &myid), 2);
  EXPECT_LT(remotecall_fetch(
                [] {
                  int threads = 0;
                  std::FILE* const file = std::fopen("/proc/self/status", "r");
                  char line[256];
                  while (std::fgets(line, sizeof line, file) != nullptr)
                    (void)std::sscanf(line, "Threads: %d", &threads);
                  std::fclose(file);
                  return threads;
                },
                2),
            50);
  go.put(1);
  for (const auto& future : waiting) ASSERT_EQ(future.fetch(patience), 2);
}

TEST_F(Tasks, LambdaCoroutinesKeepTheirCapturesAndArguments) {
  int k = 3;
  const Future<int> a(3);
  const auto task = spawnat(
      2,
      [k](const std::string& text, Future<int> f) -> Task<std::string> {
        const int n = co_await f;
        co_return text + std::to_string(n * k);
      },
      std::string(100, 'x'), a);
  EXPECT_FALSE(task.wait_for(5ms));
  a.put(5);
  EXPECT_EQ(task.fetch(patience), std::string(100, 'x') + "15");
  const auto bound = spawnat(2,
                             bind_front(
                                 [](const std::vector<int>& v, Future<int> f) -> Task<std::size_t> {
                                   const auto n = static_cast<std::size_t>(co_await f);
                                   co_return v.size() + n;
                                 },
                                 std::vector<int>(1000)),
                             a);
  EXPECT_EQ(bound.fetch(patience), 1005U);
}

TEST_F(Tasks, CoroutinesPassFailuresOn) {
  for (const Pid pid : {1, 2}) {
    const auto failing = spawnat(3, []() -> int { throw std::out_of_range("remote"); });
    const auto task = spawnat(pid, &plus_one, failing);
    const auto error = thrown<RemoteException>([&] { (void)task.fetch(patience); });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->pid(), pid);
    EXPECT_TRUE(error->is<RemoteException>());
    const auto caught = spawnat(
        pid,
        [](Future<int> f) -> Task<bool> {
          try {
            (void)co_await f;
          } catch (const RemoteException& e) {
            co_return e.is<std::out_of_range>();
          }
          co_return false;
        },
        failing);
    EXPECT_TRUE(caught.fetch(patience));
    const auto thrower = spawnat(
        pid,
        [](Future<int> f) -> Task<int> {
          (void)f;
          throw std::invalid_argument("at once");
          co_return 1;
        },
        failing);
    EXPECT_THROW((void)thrower.fetch(patience), RemoteException);
  }
}

TEST_F(Tasks, CoroutinesAwaitMoveOnlyValuesAndLargeOnes) {
  const auto task = spawnat(2, []() -> Task<double> {
    auto pointer = co_await spawnat(3, [] { return std::make_unique<double>(1.5); });
    const auto numbers = co_await spawnat(3, [] { return std::vector<double>(100'000, 2.0); });
    co_await spawnat(1, [] {});
    co_return *pointer* numbers.back();
  });
  EXPECT_EQ(task.fetch(patience), 3.0);
}

TEST_F(Tasks, ContinuationsMayBeCoroutines) {
  const Future<int> a;
  const auto task = a.then([](int n) -> Task<int> {
    const int there = co_await spawnat(2, [](int m) { return m * 2; }, n);
    co_return there + 1;
  });
  a.put(4);
  EXPECT_EQ(task.fetch(patience), 9);
}

TEST_F(Tasks, SuspendedCoroutinesAreCancelled) {
  for (const Pid pid : {1, 2}) {
    const Future<int> never(3);
    const Future<int> told;
    const auto task = spawnat(
        pid,
        [](Future<int> f, Future<int> tell) -> Task<int> {
          try {
            co_return co_await f;
          } catch (const CancelledError&) {
            tell.put(1);
            throw;
          }
        },
        never, told);
    EXPECT_FALSE(task.wait_for(10ms));
    EXPECT_TRUE(task.cancel());
    EXPECT_FALSE(task.cancel());
    EXPECT_THROW((void)task.fetch(), CancelledError);
    // A stopped task may not use muster any more, so it can't tell: but its wait ended.
    EXPECT_EQ(fetchfrom(pid, &myid), pid);
  }
}

TEST_F(Tasks, SuspendedCoroutinesEndAtTheirDeadline) {
  const Future<int> never(3);
  std::optional<Future<int>> task;
  {
    const DeadlineScope scope(100ms);
    task = spawnat(2, &plus_one, never);
  }
  EXPECT_THROW((void)task->fetch(patience), TimeoutError);
  const auto own = spawnat(
      2,
      [](Future<int> f) -> Task<int> {
        const DeadlineScope inner(50ms);
        (void)co_await spawnat(3, [] {
          this_task::sleep_for(5ms);
          return 1;
        });  // the scope goes on with the coroutine
        co_return co_await f;
      },
      never);
  EXPECT_THROW((void)own.fetch(patience), TimeoutError);
  // The thread it ran on has no deadline left.
  for (int i = 0; i < 8; ++i) EXPECT_FALSE(remotecall_fetch([] { return this_task::deadline().has_value(); }, 2));
}

// -- cancel -----------------------------------------------------------------------------------------------------------

std::atomic<int> started{0};  // NOLINT

TEST_F(Tasks, CancelBeforeATaskStarts) {
  for (const Pid pid : {1, 2}) {
    remotecall_fetch([] { started = 0; }, pid);
    const auto busy = spawnat(pid, [] {
      ++started;
      compute(200ms);
    });
    const auto queued = spawnat(pid, [] { ++started; });
    EXPECT_TRUE(queued.cancel());
    EXPECT_THROW(queued.fetch(), CancelledError);
    EXPECT_TRUE(queued.isready());
    EXPECT_FALSE(queued.cancel());
    busy.fetch(patience);
    EXPECT_EQ(remotecall_fetch([] { return started.load(); }, pid), 1);
    EXPECT_FALSE(busy.cancel());
  }
}

struct SaysItEnded {
  ~SaysItEnded() { started = 2; }
};

/// Runs `body` on a worker until it says it has begun, cancels it, and sees that it ends.
template <class Body>
void cancel_running(Body body) {
  for (const Pid pid : {1, 2}) {
    const Future<int> begun;
    const Future<bool> ended;
    const auto task = spawnat(
        pid,
        [](auto inner, const Future<int>& b) {
          started = 1;
          b.put(1);
          const SaysItEnded at_end;
          inner();
        },
        body, begun);
    (void)begun.fetch(patience);
    EXPECT_TRUE(task.cancel());
    EXPECT_THROW(task.fetch(), CancelledError);
    EXPECT_TRUE(eventually([pid] { return remotecall_fetch([] { return started == 2; }, pid); })) << pid;
  }
}

TEST_F(Tasks, CancelWhileChecking) {
  cancel_running([] {
    for (;;) this_task::check();
  });
}
// catalogue: 302
TEST_F(Tasks, CancelWhileSleeping) {
  cancel_running([] { this_task::sleep_for(1h); });
}
TEST_F(Tasks, CancelWhileFetching) {
  cancel_running([] { (void)Future<int>(3).fetch(); });
}
TEST_F(Tasks, CancelWhileWaiting) {
  cancel_running([] { (void)Future<int>().wait_for(1h); });
}
TEST_F(Tasks, CancelByStopToken) {
  cancel_running([] {
    const auto token = this_task::stop_token();
    while (!token.stop_requested()) std::this_thread::yield();
  });
}
TEST_F(Tasks, CancelWhileCallingOthers) {
  cancel_running([] {
    for (;;) (void)remotecall_fetch(&myid, 3);
  });
}

TEST_F(Tasks, CancelFromAThirdProcess) {
  const Future<int> never;
  const auto task = spawnat(2, [](const Future<int>& f) { return f.fetch(); }, never);
  EXPECT_FALSE(task.wait_for(5ms));
  EXPECT_TRUE(remotecall_fetch([](const Future<int>& f) { return f.cancel(); }, 3, task));
  EXPECT_THROW((void)task.fetch(patience), CancelledError);
  EXPECT_FALSE(remotecall_fetch([](const Future<int>& f) { return f.cancel(); }, 3, task));
}

// catalogue: 302
TEST_F(Tasks, DroppingTheHandleDoesNotCancel) {
  const Future<int> done;
  {
    (void)spawnat(
        2,
        [](const Future<int>& f) {
          this_task::sleep_for(20ms);
          f.put(1);
        },
        done);
  }
  EXPECT_EQ(done.fetch(patience), 1);
}

// -- interrupt --------------------------------------------------------------------------------------------------------

// catalogue: 301
TEST_F(Tasks, InterruptStopsWhatRuns) {
  const OwnWorkers own(1, {.threads = 2});
  const auto a = spawnat(own[0], [] { this_task::sleep_for(1h); });
  const auto b = spawnat(own[0], [] {
    for (;;) this_task::check();
  });
  const auto c = spawnat(own[0], &plus_one, Future<int>(3));
  (void)remotecall_fetch([](const Future<void>&) {}, own[0], a);
  ASSERT_TRUE(eventually([] { return debug::calls_in_flight(1) == 3; }));
  EXPECT_FALSE(c.wait_for(20ms));
  interrupt(own[0]);
  for (const auto& check : {std::function([&] { a.fetch(patience); }), std::function([&] { b.fetch(patience); }),
                            std::function([&] { (void)c.fetch(patience); })}) {
    const auto error = thrown<RemoteException>(check);
    ASSERT_TRUE(error);
    EXPECT_TRUE(error->is<InterruptedError>()) << error->what();
  }
  interrupt(own[0]);  // an idle one is left alone
  EXPECT_EQ(fetchfrom(own[0], &myid), own[0]);
  EXPECT_THROW(remotecall_fetch([] { interrupt(); }, 2), RemoteException);
}

// -- deadlines --------------------------------------------------------------------------------------------------------

TEST_F(Tasks, DeadlineScopesBoundEveryCallAndNest) {
  const Future<int> never(2);
  EXPECT_FALSE(this_task::deadline());
  {
    const DeadlineScope outer(60s);
    const auto outer_deadline = this_task::deadline();
    ASSERT_TRUE(outer_deadline);
    {
      const DeadlineScope inner(30ms);
      EXPECT_LT(*this_task::deadline(), *outer_deadline);
      const DeadlineScope longer(1h);
      EXPECT_LT(*this_task::deadline(), *outer_deadline);
      EXPECT_THROW((void)never.fetch(), TimeoutError);
      EXPECT_THROW(never.wait(), TimeoutError);
      EXPECT_THROW((void)never.wait_for(1h), TimeoutError);
      EXPECT_THROW(this_task::sleep_for(1h), TimeoutError);
      EXPECT_THROW(this_task::check(), TimeoutError);
      EXPECT_THROW(remotecall_fetch([] { this_task::sleep_for(1h); }, 2), TimeoutError);
      EXPECT_THROW(remotecall_fetch([] { this_task::sleep_for(1h); }, 1), TimeoutError);
      EXPECT_THROW((void)remotecall_fetch(&myid, 1), TimeoutError) << "in this thread, which would not wait";
    }
    EXPECT_EQ(this_task::deadline(), outer_deadline);
    EXPECT_EQ(fetchfrom(2, &myid), 2);
  }
  EXPECT_FALSE(this_task::deadline());
}

// catalogue: 302
TEST_F(Tasks, DeadlinesTravelWithCalls) {
  std::optional<Future<void>> task;
  std::optional<Future<bool>> nested;
  {
    const DeadlineScope scope(150ms);
    task = spawnat(2, [] { this_task::sleep_for(1h); });
    nested = spawnat(3, [] { return remotecall_fetch([] { return this_task::deadline().has_value(); }, 1); });
  }
  EXPECT_THROW(task->fetch(patience), TimeoutError);
  EXPECT_TRUE(nested->fetch(patience));
  // A task that never started.
  const auto busy = spawnat(2, [] { compute(100ms); });
  {
    const DeadlineScope scope(10ms);
    task = spawnat(2, [] {});
  }
  EXPECT_THROW(task->fetch(patience), TimeoutError);
  busy.fetch();
}

TEST_F(Tasks, AnExpiredDeadlineDoesNotSpoilTheFuture) {
  const auto slow = spawnat(2, [] {
    this_task::sleep_for(50ms);
    return std::vector<int>(100'000, 1);
  });
  {
    const DeadlineScope scope(1ms);
    EXPECT_THROW((void)slow.fetch(), TimeoutError);
  }
  EXPECT_EQ(slow.fetch(patience).size(), 100'000U);
  const Future<int> later(2);
  {
    const DeadlineScope scope(1ms);
    EXPECT_THROW((void)later.fetch(), TimeoutError);
  }
  later.put(2);
  EXPECT_EQ(later.fetch(patience), 2);
}

// -- outside of tasks -------------------------------------------------------------------------------------------------

TEST_F(Tasks, OutsideATask) {
  EXPECT_FALSE(this_task::stop_token().stop_requested());
  EXPECT_NO_THROW(this_task::check());
  const auto begin = Steady::now();
  this_task::sleep_for(20ms);
  EXPECT_GE(Steady::now() - begin, 20ms);
}

// -- who runs meanwhile -----------------------------------------------------------------------------------------------

// catalogue: 102
TEST_F(Tasks, ATaskThatSleepsLetsOthersRun) {
  const auto sleeping = spawnat(2, [] { this_task::sleep_for(1h); });
  for (int i = 0; i < 20; ++i) EXPECT_EQ(remotecall_fetch(&myid, 2), 2);
  EXPECT_TRUE(sleeping.cancel());
}

// catalogue: 102
TEST_F(Tasks, ATaskThatFetchesLetsOthersRun) {
  const Future<int> go;
  const auto first = spawnat(2, [](const Future<int>& f) { return f.fetch(); }, go);
  const auto second = spawnat(2, [](const Future<int>& f) { f.put(7); }, go);  // behind it on the same worker
  EXPECT_EQ(first.fetch(patience), 7);
  second.fetch();
}

// catalogue: 103
TEST_F(Tasks, AComputationDelaysNoOtherTraffic) {
  const OwnWorkers own(1);
  const Pid pid = own[0];
  const auto stored = remotecall_wait([] { return std::vector<int>(100'000, 3); }, pid);
  const Future<int> slot(pid);
  constexpr auto busy_for = 5s;
  const auto begin = Steady::now();
  const auto busy = spawnat(
      pid, [](long ns) { compute(std::chrono::nanoseconds(ns)); },
      static_cast<long>(std::chrono::nanoseconds(busy_for).count()));
  EXPECT_FALSE(slot.isready());
  slot.put(1);
  EXPECT_EQ(remotecall_fetch([](const Future<int>& f) { return f.fetch(); }, 2, slot), 1);
  EXPECT_EQ(stored.fetch().size(), 100'000U);
  const auto queued = spawnat(pid, [] {});
  EXPECT_TRUE(queued.cancel());
  EXPECT_LT(Steady::now() - begin, busy_for) << "waited for the computation";
  EXPECT_FALSE(busy.isready());
  busy.fetch(patience);
}

}  // namespace
