// Futures that follow from others, and waiting for several: then, when_all, when_any, as_completed, sync.

#include "support.hpp"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

namespace {

using namespace muster;
using namespace muster::test;

std::vector<double> numbers(std::size_t n) { return std::vector<double>(n, 0.5); }

constexpr std::size_t large = 100'000;  // values of that many doubles stay where they are computed

class SeveralFutures : public testing::Test {
 protected:
  SeveralFutures() { (void)at_least(3); }
};

// -- chains and several -----------------------------------------------------------------------------------------------

TEST_F(SeveralFutures, Then) {
  for (const Pid pid : {1, 2}) {
    const auto future = spawnat(pid, [] { return 20; }).then([](int n) { return n + 1; }).then([](int n) {
      return std::to_string(n * 2);
    });
    EXPECT_EQ(future.fetch(), "42");
    EXPECT_EQ(future.where(), 1);
    const auto voids = spawnat(pid, [] {}).then([] {}).then([] { return 3; });
    EXPECT_EQ(voids.fetch(), 3);
    // The continuation runs in this process, and may use all of muster.
    const auto nested =
        spawnat(pid, [] { return 2; }).then([](int n) { return remotecall_fetch(&myid, n + 1) + myid(); });
    EXPECT_EQ(nested.fetch(), 4);
  }
}

TEST_F(SeveralFutures, FailuresPassThroughThen) {
  std::atomic<bool> ran = false;
  const auto future = spawnat(2, []() -> int { throw std::out_of_range("far"); }).then([&](int n) {
    ran = true;
    return n;
  });
  const auto passed = thrown<RemoteException>([&] { (void)future.fetch(); });
  ASSERT_TRUE(passed);
  EXPECT_EQ(passed->pid(), 2);
  EXPECT_TRUE(passed->is<std::out_of_range>());
  EXPECT_FALSE(ran);

  const auto thrower = spawnat(2, [] { return 1; }).then([](int) -> int { throw std::invalid_argument("here"); });
  const auto own = thrown<RemoteException>([&] { (void)thrower.fetch(); });
  ASSERT_TRUE(own);
  EXPECT_EQ(own->pid(), 1);
  EXPECT_TRUE(own->is<std::invalid_argument>());

  const auto nested =
      spawnat(2, [] { return 1; }).then([](int) { return remotecall_fetch([]() -> int { throw 42; }, 3); });
  const auto both = thrown<RemoteException>([&] { (void)nested.fetch(); });
  ASSERT_TRUE(both);
  EXPECT_EQ(both->pid(), 1);
  EXPECT_TRUE(both->is<RemoteException>());
}

TEST_F(SeveralFutures, WhenAllOfDifferentTypes) {
  const auto all =
      when_all(spawnat(2, [] { return 1; }), spawnat(3, [] {}), spawnat(1, [] { return std::string("s"); }));
  const std::tuple<int, std::monostate, std::string> expected{1, {}, "s"};
  EXPECT_EQ(all.fetch(), expected);
  const auto none = when_all();
  (void)none.fetch();
}

TEST_F(SeveralFutures, WhenAllOfAList) {
  std::vector<Future<int>> futures;
  for (int i = 0; i < 20; ++i) futures.push_back(spawn([](int n) { return n * n; }, i));
  const auto values = when_all(futures).fetch();
  ASSERT_EQ(values.size(), 20U);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], i * i);
  EXPECT_TRUE(when_all(std::vector<Future<int>>{}).fetch().empty());
  when_all(std::vector<Future<void>>{}).fetch();
  when_all(std::vector<Future<void>>{spawn([] {}), spawn([] {})}).fetch();
  EXPECT_EQ(when_all(std::vector{spawnat(2, &numbers, large), spawnat(3, &numbers, large)}).fetch()[1], numbers(large));
}

TEST_F(SeveralFutures, WhenAllFailsWithTheFirstFailureInOrder) {
  const Future<int> go;
  const std::vector futures{
      spawnat(2, [] { return 1; }),
      spawnat(
          3, [](const Future<int>& f) -> int { throw std::out_of_range(std::to_string(f.fetch())); }, go),
      spawnat(2, []() -> int { throw std::invalid_argument("second"); })};
  const auto all = when_all(futures);
  EXPECT_FALSE(all.wait_for(10ms));
  go.put(1);
  const auto error = thrown<RemoteException>([&] { (void)all.fetch(patience); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->pid(), 3);
  EXPECT_TRUE(error->is<std::out_of_range>());
}

TEST_F(SeveralFutures, WhenAny) {
  const Future<int> never(2);
  EXPECT_EQ(when_any(std::vector{never, spawnat(2, [] { return 1; })}).fetch(patience), 1U);
  const auto failed = spawnat(2, []() -> int { throw 1; });
  EXPECT_EQ(when_any(std::vector{never, never, failed}).fetch(patience), 2U);
  const Future<void> nothing;
  nothing.put();
  EXPECT_EQ(when_any(std::vector{nothing}).fetch(), 0U);
  EXPECT_THROW((void)when_any(std::vector<Future<int>>{}), std::invalid_argument);
  const auto stays = spawnat(3, &numbers, large);  // ready counts, not fetched
  EXPECT_EQ(when_any(std::vector{stays}).fetch(patience), 0U);
}

TEST_F(SeveralFutures, AsCompletedGivesThemInTheirOrderOfCompletion) {
  std::vector<Future<int>> futures;
  for (int i = 0; i < 4; ++i) futures.emplace_back(i % 2 + 1);
  const std::vector<int> order{2, 0, 3, 1};
  auto range = as_completed(futures);
  std::size_t next = 0;
  futures[2].put(2);
  for (const auto& future : range) {
    EXPECT_EQ(future.fetch(), order[next]) << next;
    if (++next < order.size()) futures[static_cast<std::size_t>(order[next])].put(order[next]);
  }
  EXPECT_EQ(next, 4U);
  std::size_t failures = 0;
  for (const auto& future :
       as_completed(std::vector{spawnat(2, []() -> int { throw 1; }), spawnat(3, [] { return 1; })})) {
    try {
      (void)future.fetch();
    } catch (const RemoteException&) {
      ++failures;
    }
  }
  EXPECT_EQ(failures, 1U);
  for (const auto& future : as_completed(std::vector<Future<void>>{})) future.fetch();
}

// -- sync -------------------------------------------------------------------------------------------------------------

TEST_F(SeveralFutures, SyncWaitsForAllMadeInIt) {
  std::vector<Future<int>> futures;
  const int value = sync([&] {
    for (int i = 0; i < 6; ++i)
      futures.push_back(spawn(
          [](int n) {
            this_task::sleep_for(10ms);
            return n;
          },
          i));
    futures.push_back(spawnat(2, [] { return 6; }));
    futures.push_back(remotecall([] { return 7; }, 3));
    return 11;
  });
  EXPECT_EQ(value, 11);
  for (const auto& future : futures) EXPECT_TRUE(future.isready());
  sync([] {});
}

// catalogue: 195
TEST_F(SeveralFutures, SyncCollectsFailuresInOrderOfStart) {
  const Future<int> go;
  const auto error = thrown<CompositeException>([&] {
    sync([&] {
      (void)spawnat(2, [](const Future<int>& f) -> int { throw std::out_of_range(std::to_string(f.fetch())); }, go);
      (void)spawnat(3, [] { return 1; });
      (void)spawnat(3, []() -> int { throw std::invalid_argument("two"); });
      go.put(1);
    });
  });
  ASSERT_TRUE(error);
  ASSERT_EQ(error->exceptions().size(), 2U);
  const auto first = thrown<RemoteException>([&] { std::rethrow_exception(error->exceptions()[0]); });
  const auto second = thrown<RemoteException>([&] { std::rethrow_exception(error->exceptions()[1]); });
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(first->is<std::out_of_range>());
  EXPECT_TRUE(second->is<std::invalid_argument>());
}

TEST_F(SeveralFutures, SyncWaitsAlsoWhenItsBlockThrows) {
  std::optional<Future<void>> slow;
  const auto error = thrown<CompositeException>([&] {
    sync([&]() -> int {
      slow = spawnat(2, [] { this_task::sleep_for(50ms); });
      (void)spawnat(3, []() -> int { throw 3; });
      throw std::runtime_error("the block");
    });
  });
  ASSERT_TRUE(error);
  ASSERT_EQ(error->exceptions().size(), 2U);
  EXPECT_THROW(std::rethrow_exception(error->exceptions()[0]), std::runtime_error);
  EXPECT_STREQ(thrown<std::runtime_error>([&] { std::rethrow_exception(error->exceptions()[0]); })->what(),
               "the block");
  EXPECT_TRUE(slow->isready());
}

// catalogue: 109
TEST_F(SeveralFutures, SyncNests) {
  const int sum = sync([] {
    int inner = sync([] {
      (void)spawn([] { this_task::sleep_for(5ms); });
      return 1;
    });
    const auto there = spawnat(2, [] {
      return sync([] {
        const auto a = spawnat(3, [] { return 2; });
        return a.fetch();
      });
    });
    return inner + there.fetch();
  });
  EXPECT_EQ(sum, 3);
  EXPECT_THROW(sync([] { sync([] { (void)spawn([] { throw 1; }); }); }), CompositeException);
  // What a call to the own process starts is not the caller's.
  const Future<int> never;
  sync([&] {
    remotecall_fetch([](const Future<int>& f) { (void)spawnat(2, [](const Future<int>& g) { g.fetch(); }, f); }, 1,
                     never);
  });
  never.put(1);
}

}  // namespace
