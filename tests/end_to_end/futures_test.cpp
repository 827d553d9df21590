// Futures: fetching, filling, and travelling.

#include "support.hpp"

#include <future>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>
#include <unordered_set>

namespace {

using namespace muster;
using namespace muster::test;

using Numbers = std::vector<double>;

Numbers numbers(std::size_t n) {
  Numbers all(n);
  std::iota(all.begin(), all.end(), 0.5);
  return all;
}

/// The code of the std::future_error that f() throws.
template <class F>
std::optional<std::future_errc> future_error_of(F&& f) {
  const auto error = thrown<std::future_error>(std::forward<F>(f));
  if (!error) return std::nullopt;
  return static_cast<std::future_errc>(error->code().value());
}

constexpr std::size_t large = 100'000;  // values of that many doubles stay where they are computed

class Futures : public testing::Test {
 protected:
  Futures() : pids(at_least(3)) {}
  const std::vector<Pid> pids;
};

// -- fetch, take, wait ------------------------------------------------------------------------------------------------

// catalogue: 116
TEST_F(Futures, FetchAsOftenAsOneLikes) {
  for (const Pid pid : {1, 2}) {
    const auto small = spawnat(pid, [] { return std::string("value"); });
    EXPECT_EQ(small.fetch(), "value");
    EXPECT_EQ(small.fetch(), "value");
    const auto big = spawnat(pid, &numbers, large);
    EXPECT_EQ(big.fetch(), numbers(large));
    EXPECT_EQ(big.fetch(), numbers(large));
    EXPECT_EQ(fetch(big).size(), large);
    EXPECT_EQ(fetch(7), 7);
    EXPECT_EQ(fetch(std::string("plain")), "plain");
  }
}

// catalogue: 115, 125
TEST_F(Futures, TakeMovesTheValueOutOfTheOnlyHandle) {
  auto future = spawnat(2, &numbers, large);
  EXPECT_EQ(std::move(future).take().size(), large);
  EXPECT_EQ(future_error_of([&] { (void)future.fetch(); }), std::future_errc::no_state);
  auto first = spawnat(2, &numbers, large);
  const auto second = first;
  EXPECT_EQ(std::move(first).take(patience).size(), large);
  EXPECT_EQ(second.fetch().size(), large);
}

TEST_F(Futures, MoveOnlyResults) {
  for (const Pid pid : {1, 2}) {
    auto future = spawnat(pid, [](int n) { return std::make_unique<int>(n); }, 5);
    EXPECT_EQ(*std::move(future).take(), 5);
    auto chained = spawnat(pid, [] { return std::make_unique<int>(6); }).then([](std::unique_ptr<int> p) {
      *p += 1;
      return p;
    });
    EXPECT_EQ(*std::move(chained).take(), 7);
  }
}

// catalogue: 123
TEST_F(Futures, WaitLeavesTheValueWhereItIs) {
  const auto future = remotecall_wait(&numbers, 2, large);
  EXPECT_TRUE(future.isready());
  EXPECT_EQ(debug::values_owned(2), 1U);
  future.wait();
  wait(future);
  future.wait(patience);
  EXPECT_TRUE(future.wait_for(patience));
  EXPECT_EQ(debug::values_owned(2), 1U);
  EXPECT_EQ(future.fetch().size(), large);
}

TEST_F(Futures, TimeoutsOfAllForms) {
  const Future<int> never(2);
  const Future<int> go;
  const auto busy = spawnat(3, [](const Future<int>& f) { return f.fetch(); }, go);
  for (const auto& future : {never, busy}) {
    EXPECT_THROW((void)future.fetch(20ms), TimeoutError);
    EXPECT_THROW(future.wait(20ms), TimeoutError);
    EXPECT_FALSE(future.wait_for(20ms));
    auto copy = future;
    EXPECT_THROW((void)std::move(copy).take(20ms), TimeoutError);
    EXPECT_FALSE(future.isready());
  }
  go.put(4);
  EXPECT_EQ(busy.fetch(patience), 4);
  never.put(5);
  EXPECT_EQ(never.fetch(patience), 5);
}

// catalogue: 94, 126
TEST_F(Futures, AFailureIsKeptLikeAValue) {
  for (const Pid pid : {1, 2}) {
    const auto failed = spawnat(pid, []() -> int { throw std::out_of_range("beyond"); });
    for (int i = 0; i < 2; ++i) {
      const auto error = thrown<RemoteException>([&] { (void)failed.fetch(); });
      ASSERT_TRUE(error);
      EXPECT_EQ(error->pid(), pid);
      EXPECT_TRUE(error->is<std::out_of_range>());
    }
    EXPECT_THROW(failed.wait(), RemoteException);
    EXPECT_TRUE(failed.wait_for(1s));
    EXPECT_TRUE(failed.isready());
    EXPECT_THROW((void)remotecall_wait([]() -> int { throw std::runtime_error("x"); }, pid), RemoteException);
    // In another process as well.
    EXPECT_TRUE(remotecall_fetch(
        [](const Future<int>& f) {
          try {
            (void)f.fetch();
          } catch (const RemoteException& e) {
            return e.is<std::out_of_range>();
          }
          return false;
        },
        3, failed));
  }
}

// catalogue: 119
TEST_F(Futures, TenThreadsFetchOne) {
  const Future<std::string> future(2);
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 10; ++i) threads.emplace_back([&] { right += future.fetch() == "for all" ? 1 : 0; });
  future.put("for all");
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, 10);
}

// -- filling ----------------------------------------------------------------------------------------------------------

bool is_refused(const Future<int>& future) {
  return future_error_of([&] { future.put(5); }) == std::future_errc::promise_already_satisfied;
}

// catalogue: 112, 113, 114, 117
TEST_F(Futures, PutOnceWhereverTheOwnerIs) {
  for (const Pid pid : {1, 2}) {
    const Future<int> future(pid);
    EXPECT_EQ(future.where(), pid);
    EXPECT_FALSE(future.isready());
    future.put(3);
    EXPECT_TRUE(future.isready());
    EXPECT_EQ(future.fetch(), 3);
    EXPECT_EQ(future_error_of([&] { future.put(4); }), std::future_errc::promise_already_satisfied);
    // Another process learns it the same way.
    EXPECT_TRUE(remotecall_fetch(&is_refused, 3, future));
    EXPECT_EQ(future.fetch(), 3);
  }
}

// catalogue: 117
TEST_F(Futures, PutElsewhereIsSeenHere) {
  for (int round = 0; round < 100; ++round) {
    const Future<int> future(round % 3 + 1);
    remote_do([](const Future<int>& f) { f.put(myid()); }, 2, future);
    ASSERT_EQ(future.fetch(patience), 2);
    ASSERT_EQ(future_error_of([&] { future.put(1); }), std::future_errc::promise_already_satisfied);
  }
}

// catalogue: 118
TEST_F(Futures, OfTwoPutsOneWins) {
  for (int round = 0; round < 50; ++round) {
    const Future<int> future(round % 2 + 1);
    std::atomic<int> won = 0;
    const auto attempt = [&](int n) {
      try {
        future.put(n);
        ++won;
      } catch (const std::future_error&) {
      }
    };
    std::thread other([&] { attempt(1); });
    attempt(2);
    other.join();
    ASSERT_EQ(won, 1);
  }
}

TEST_F(Futures, NobodyPutsIntoATasksFuture) {
  const Future<int> go;
  for (const Pid pid : {1, 2}) {
    const auto future = spawnat(pid, [](const Future<int>& f) { return f.fetch(); }, go);
    EXPECT_EQ(future_error_of([&] { future.put(9); }), std::future_errc::promise_already_satisfied);
    EXPECT_TRUE(remotecall_fetch(&is_refused, 3, future));
  }
  const auto chained = go.then([](int n) { return n + 1; });
  EXPECT_EQ(future_error_of([&] { chained.put(9); }), std::future_errc::promise_already_satisfied);
  go.put(1);
  EXPECT_EQ(chained.fetch(), 2);
}

// catalogue: 111
TEST_F(Futures, OfVoid) {
  const Future<void> future(2);
  EXPECT_FALSE(future.isready());
  future.put();
  future.fetch();
  future.wait();
  EXPECT_EQ(future_error_of([&] { future.put(); }), std::future_errc::promise_already_satisfied);
  std::atomic<bool> ran = false;
  future.then([&ran] { ran = true; }).fetch();
  EXPECT_TRUE(ran);
  auto copy = future;
  std::move(copy).take();
}

TEST_F(Futures, LargeValuesCanBePut) {
  const Future<Numbers> future(2);
  future.put(numbers(large));
  EXPECT_EQ(future.fetch(), numbers(large));
  EXPECT_TRUE(remotecall_fetch([](const Future<Numbers>& f) { return f.fetch() == numbers(large); }, 3, future));
}

// -- identity ---------------------------------------------------------------------------------------------------------

TEST_F(Futures, NamesAreEqualWhereTheValueIs) {
  const Future<int> a(2), b(2);
  const auto copy = a;
  EXPECT_EQ(a, copy);
  EXPECT_NE(a, b);
  EXPECT_EQ(a.id(), copy.id());
  EXPECT_TRUE(a.id() < b.id() || b.id() < a.id());
  EXPECT_EQ(std::hash<RemoteRefId>{}(a.id()), std::hash<RemoteRefId>{}(copy.id()));
  std::unordered_set<Future<int>> set{a, b, copy};
  EXPECT_EQ(set.size(), 2U);
  std::ostringstream text;
  text << a.id();
  EXPECT_FALSE(text.str().empty());
  EXPECT_EQ(remotecall_fetch([](const Future<int>& f) { return f; }, 3, a), a);
}

// -- travelling -------------------------------------------------------------------------------------------------------

TEST_F(Futures, AsArgumentsResultsCapturedAndElements) {
  const Future<int> a(2), b(3);
  a.put(1);
  const auto sum = spawnat(
      2,
      [](const std::vector<Future<int>>& list, const std::map<std::string, Future<int>>& map) {
        int total = 0;
        for (const auto& f : list) total += f.fetch();
        for (const auto& [name, f] : map) total += f.fetch();
        return total;
      },
      std::vector{a, b}, std::map<std::string, Future<int>>{{"a", a}, {"b", b}});
  b.put(10);
  EXPECT_EQ(sum.fetch(patience), 22);
  EXPECT_EQ(remotecall_fetch(bind_front([](const Future<int>& f, int n) { return f.fetch() + n; }, a), 3, 5), 6);
  const auto outer = spawnat(2, [] { return spawnat(3, &numbers, large); });
  EXPECT_EQ(outer.fetch().fetch().size(), large);
  const auto inner =
      remotecall_fetch([] { return std::vector{spawnat(1, [] { return 5; }), spawnat(2, [] { return 6; })}; }, 3);
  EXPECT_EQ(inner.at(0).fetch() + inner.at(1).fetch(), 11);
}

struct Job {
  std::string name;
  Future<int> result;
  std::vector<Future<Numbers>> parts;
};

TEST_F(Futures, AsMembersOfAggregates) {
  const Job job{"j", Future<int>(2), {spawnat(3, &numbers, large)}};
  job.result.put(4);
  EXPECT_EQ(remotecall_fetch(
                [](const Job& j) { return j.result.fetch() + static_cast<int>(j.parts.at(0).fetch().size()); }, 2, job),
            4 + static_cast<int>(large));
}

// catalogue: 120, 121
TEST_F(Futures, SentToAThirdProcessBeforeAndAfterTheyComplete) {
  for (const std::size_t size : {std::size_t{2}, large}) {
    for (int round = 0; round < 20; ++round) {
      const Future<int> go;
      const auto before = spawnat(
          2,
          [](std::size_t n, const Future<int>& f) {
            (void)f.fetch();
            return numbers(n);
          },
          size, go);
      const auto there = spawnat(3, [](const Future<Numbers>& f) { return f.fetch().size(); }, before);
      const auto back = spawnat(2, [](const Future<Numbers>& f) { return f.fetch().size(); }, before);
      go.put(1);
      ASSERT_EQ(there.fetch(patience), size);
      ASSERT_EQ(back.fetch(patience), size);
      ASSERT_EQ(before.fetch(patience), numbers(size));
      const auto racing = spawnat(2, &numbers, size);  // may be done, or not
      ASSERT_EQ(remotecall_fetch([](const Future<Numbers>& f) { return f.fetch().size(); }, 3, racing), size);
      const auto after = remotecall_wait(&numbers, 2, size);
      ASSERT_EQ(remotecall_fetch([](const Future<Numbers>& f) { return f.fetch().size(); }, 3, after), size);
      (void)after.fetch();
      ASSERT_EQ(remotecall_fetch([](const Future<Numbers>& f) { return f.fetch().size(); }, 3, after), size);
    }
  }
}

TEST_F(Futures, ChainedFuturesTravelToo) {
  const Future<int> go;
  const auto chained = go.then([](int n) { return n + 1; });
  const auto there = spawnat(2, [](const Future<int>& f) { return f.fetch(); }, chained);
  const auto failing = go.then([](int) -> int { throw std::out_of_range("chained"); });
  const auto fails = spawnat(2, [](const Future<int>& f) { return f.fetch(); }, failing);
  go.put(1);
  EXPECT_EQ(there.fetch(patience), 2);
  const auto error = thrown<RemoteException>([&] { (void)fails.fetch(patience); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->pid(), 2);
}

TEST_F(Futures, AFutureThatWasMovedFromSaysSo) {
  auto from = spawnat(2, [] { return 1; });
  const auto to = std::move(from);
  EXPECT_EQ(to.fetch(), 1);
  // NOLINTBEGIN(bugprone-use-after-move): what is tested
  EXPECT_THROW((void)from.fetch(), std::future_error);
  EXPECT_THROW(from.wait(), std::future_error);
  EXPECT_THROW((void)from.isready(), std::future_error);
  EXPECT_THROW(from.put(1), std::future_error);
  EXPECT_THROW((void)from.cancel(), std::future_error);
  EXPECT_THROW((void)from.then([](int) {}), std::future_error);
  RemoteChannel<int> channel;
  const auto kept = std::move(channel);
  EXPECT_THROW(channel.put(1), std::logic_error);
  EXPECT_THROW((void)channel.isopen(), std::logic_error);
  // NOLINTEND(bugprone-use-after-move)
}

// catalogue: 124, 127
TEST_F(Futures, ThirdProcessesFetchWhatIsCachedHereWithoutTheOwner) {
  const OwnWorkers owner(1);
  const auto future = spawnat(owner[0], &numbers, large);
  (void)future.fetch();
  rmprocs(owner[0]);
  EXPECT_EQ(future.fetch().size(), large);
  EXPECT_EQ(remotecall_fetch([](const Future<Numbers>& f) { return f.fetch().size(); }, 2, future), large);
}

// catalogue: 124
TEST_F(Futures, OwnersThatDieFailTheirFutures) {
  const OwnWorkers owner(1);
  const Future<int> unset(owner[0]);
  const auto stays = remotecall_wait(&numbers, owner[0], large);
  const auto waiting = spawnat(2, [](const Future<int>& f) { return f.fetch(); }, unset);
  std::thread here([&] { EXPECT_THROW((void)unset.fetch(patience), ProcessExitedException); });
  EXPECT_FALSE(unset.isready());
  rmprocs(owner[0]);
  here.join();
  EXPECT_THROW((void)unset.fetch(), ProcessExitedException);
  EXPECT_THROW((void)unset.isready(), ProcessExitedException);
  EXPECT_THROW(unset.put(1), ProcessExitedException);
  EXPECT_THROW((void)stays.fetch(), ProcessExitedException);
  const Future<int> too_late(owner[0]);
  EXPECT_THROW(too_late.put(1), ProcessExitedException);
  EXPECT_THROW((void)too_late.isready(), ProcessExitedException);
  const auto nested = thrown<RemoteException>([&] { (void)waiting.fetch(patience); });
  ASSERT_TRUE(nested);
  EXPECT_TRUE(nested->is<ProcessExitedException>());
}

}  // namespace
