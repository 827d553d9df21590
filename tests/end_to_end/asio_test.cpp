// Boost.Asio: awaiting futures, and tasks that are its coroutines.

#include "support.hpp"

#include <muster/asio.hpp>

#include <boost/asio/detached.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <future>

namespace {

namespace asio = boost::asio;
using namespace muster;
using namespace muster::test;

class Asio : public testing::Test {
 protected:
  Asio() : pids(at_least(3)) {}
  const std::vector<Pid> pids;
};

/// What a coroutine on an io_context gives.
template <class T>
T run(asio::awaitable<T> task) {
  asio::io_context context;
  auto result = asio::co_spawn(context, std::move(task), asio::use_future);
  context.run();
  return result.get();
}

asio::awaitable<int> sum(Future<int> a, Future<int> b) {
  const int first = co_await as_awaitable(a);
  co_return first + co_await as_awaitable(b);
}

TEST_F(Asio, AwaitsFuturesOnAnyContext) {
  const Future<int> b(3);
  const auto a = spawnat(
      2,
      [](const Future<int>& f) {
        f.put(5);
        return 4;
      },
      b);
  EXPECT_EQ(run(sum(a, b)), 9);
  EXPECT_EQ(run(sum(a, b)), 9);  // both are here
  asio::thread_pool pool(2);
  std::vector<std::future<int>> sums;
  for (int i = 0; i < 50; ++i) {
    const auto slow = spawn(
        [](int n) {
          this_task::sleep_for(1ms);
          return n;
        },
        i);
    sums.push_back(asio::co_spawn(pool, sum(slow, slow), asio::use_future));
  }
  for (int i = 0; i < 50; ++i) EXPECT_EQ(sums[static_cast<std::size_t>(i)].get(), 2 * i);
  pool.join();
}

TEST_F(Asio, ThrowsWhatFetchThrows) {
  const auto failing = spawnat(2, []() -> int { throw std::out_of_range("x"); });
  EXPECT_THROW((void)run(as_awaitable(failing)), RemoteException);
  run(as_awaitable(spawnat(2, [] {})));
  EXPECT_EQ(*run(as_awaitable(spawnat(2, [] { return std::make_unique<int>(3); }))), 3);
  const Future<int> never(2);
  const DeadlineScope scope(20ms);
  EXPECT_THROW((void)run(as_awaitable(never)), TimeoutError);
}

TEST_F(Asio, OthersRunOnTheContextMeanwhile) {
  const Future<int> go(2);
  asio::io_context context;
  bool other_ran = false;
  auto result = asio::co_spawn(context, as_awaitable(go), asio::use_future);
  asio::post(context, [&] {
    other_ran = true;
    go.put(6);
  });
  context.run();
  EXPECT_TRUE(other_ran);
  EXPECT_EQ(result.get(), 6);
}

// -- tasks ------------------------------------------------------------------------------------------------------------

asio::awaitable<std::string> with_timer(std::string text, Future<int> f) {
  asio::steady_timer timer(co_await asio::this_coro::executor, 5ms);
  co_await timer.async_wait(asio::use_awaitable);
  co_return text + std::to_string(co_await as_awaitable(f));
}

asio::awaitable<void> nothing(Future<int> f) { (void)co_await as_awaitable(f); }

TEST_F(Asio, TasksMayReturnAwaitables) {
  for (const Pid pid : {1, 2}) {
    const Future<int> f(3);
    const auto text = spawnat(pid, &with_timer, "n = ", f);
    const auto done = spawnat(pid, &nothing, f);
    EXPECT_FALSE(done.wait_for(20ms));
    // They wait without a slot.
    EXPECT_EQ(fetchfrom(pid, &myid), pid);
    EXPECT_EQ(spawnat(pid, &myid).fetch(), pid);
    f.put(3);
    EXPECT_EQ(text.fetch(patience), "n = 3");
    done.fetch(patience);
    EXPECT_EQ(remotecall_fetch(&with_timer, pid, "m = ", f), "m = 3");
  }
}

std::atomic<int> inside{0};  // NOLINT: a worker's globals
std::atomic<int> most{0};    // NOLINT

TEST_F(Asio, AwaitablesHaveTheirWorkerForThemselvesWhileTheyRun) {
  const auto task = []() -> asio::awaitable<int> {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (int i = 0; i < 20; ++i) {
      timer.expires_after(100us);
      co_await timer.async_wait(asio::use_awaitable);
      if (++inside > most) most = inside.load();
      const auto until = std::chrono::steady_clock::now() + 50us;
      while (std::chrono::steady_clock::now() < until) {
      }
      --inside;
    }
    co_return most.load();
  };
  std::vector<Future<int>> futures;
  for (int i = 0; i < 8; ++i) futures.push_back(spawnat(2, task));
  for (const auto& future : futures) EXPECT_EQ(future.fetch(patience), 1);
}

TEST_F(Asio, AwaitableTasksFailAsOthersDo) {
  const auto thrower = spawnat(2, []() -> asio::awaitable<int> {
    throw std::out_of_range("inside");
    co_return 1;
  });
  const auto error = thrown<RemoteException>([&] { (void)thrower.fetch(patience); });
  ASSERT_TRUE(error);
  EXPECT_TRUE(error->is<std::out_of_range>());
}

std::atomic<bool> ended{false};  // NOLINT

TEST_F(Asio, AwaitableTasksAreCancelledAndEndAtTheirDeadline) {
  const auto sleeper = [](Future<int> begun) -> asio::awaitable<void> {
    struct AtEnd {
      ~AtEnd() { ended = true; }
    } at_end;
    begun.put(1);
    asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
    co_await timer.async_wait(asio::use_awaitable);
  };
  const auto waiter = [](Future<int> begun) -> asio::awaitable<void> {
    struct AtEnd {
      ~AtEnd() { ended = true; }
    } at_end;
    begun.put(1);
    (void)co_await as_awaitable(Future<int>(3));
  };
  const auto check = [](auto body) {
    const Future<int> begun;
    const auto task = spawnat(2, body, begun);
    (void)begun.fetch(patience);
    EXPECT_TRUE(task.cancel());
    EXPECT_THROW(task.fetch(patience), CancelledError);
    EXPECT_TRUE(eventually([] { return remotecall_fetch([] { return ended.exchange(false); }, 2); }));
    const Future<int> again;
    std::optional<Future<void>> late;
    {
      const DeadlineScope scope(500ms);
      late = spawnat(2, body, again);
    }
    EXPECT_THROW(late->fetch(patience), TimeoutError);
    EXPECT_TRUE(eventually([] { return remotecall_fetch([] { return ended.exchange(false); }, 2); }));
  };
  check(sleeper);
  check(waiter);
}

}  // namespace
