// distributed_reduce and distributed_for, with real workers.

#include "support.hpp"
#include "trace.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <numeric>
#include <string>

namespace {

using namespace std::chrono_literals;
using muster::IndexRange;
using muster::test::add_line;
using muster::test::Trace;

class Distributed : public testing::Test {
 protected:
  void SetUp() override { (void)muster::test::at_least(3); }
};

std::vector<int> joined(std::vector<int> a, const std::vector<int>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// -- reductions -------------------------------------------------------------------------------------------------------

TEST_F(Distributed, SumsAllKindsOfRanges) {
  const auto square = [](auto x) { return x * x; };
  std::vector<int> numbers(1000);
  std::iota(numbers.begin(), numbers.end(), 1);
  const int expected = std::transform_reduce(numbers.begin(), numbers.end(), 0, std::plus<>{}, square);
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, numbers, square), expected);
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, std::vector<int>(numbers), square), expected);
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, std::deque<int>(numbers.begin(), numbers.end()), square),
            expected);
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, std::span<const int>(numbers), square), expected);
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, std::views::iota(1, 1001), square), expected);
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, IndexRange{1, 1001}, square), static_cast<std::size_t>(expected));
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, numbers | std::views::transform([](int x) { return x; }), square),
            expected);
}

// catalogue: 264
TEST_F(Distributed, SumsIntegersOfEveryType) {
  const auto sum = [](auto first, auto last) {
    return muster::distributed_reduce(std::plus<>{}, std::views::iota(first, last), [](auto x) { return x; });
  };
  EXPECT_EQ(sum(static_cast<signed char>(-100), static_cast<signed char>(101)), 0);
  EXPECT_EQ(sum(static_cast<unsigned short>(1), static_cast<unsigned short>(11)), 55);
  EXPECT_EQ(sum(1L, 11L), 55L);
  EXPECT_EQ(sum(std::uint64_t{1}, std::uint64_t{11}), 55U);
  EXPECT_EQ(sum(-5, 6), 0);
}

TEST_F(Distributed, CountsBooleans) {
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, IndexRange{0, 100}, [](std::size_t i) { return i % 4 == 0; }),
            25);
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, std::vector<bool>{true, false, true, true},
                                       [](bool b) { return b ? 1 : 0; }),
            3);
}

// catalogue: 261
TEST_F(Distributed, KeepsTheOrderOfTheRange) {
  const auto pids = muster::distributed_reduce(joined, IndexRange{0, 7},
                                               [](std::size_t) { return std::vector<int>{muster::myid()}; });
  ASSERT_EQ(pids.size(), 7U);
  EXPECT_TRUE(std::is_sorted(pids.begin(), pids.end()));
  const auto workers = muster::workers();
  EXPECT_EQ(std::count(pids.begin(), pids.end(), workers[0]), 3);
  EXPECT_EQ(std::count(pids.begin(), pids.end(), workers[1]), 2);
  EXPECT_EQ(std::count(pids.begin(), pids.end(), workers[2]), 2);
  const std::vector<std::string> words{"a", "b", "c", "d", "e", "f", "g", "h"};
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, words, [](const std::string& word) { return word + "."; }),
            "a.b.c.d.e.f.g.h.");
}

// catalogue: 267
TEST_F(Distributed, FoldsPartsFromTheirFirstElementAndThenEachOther) {
  // 1 ... 7 in parts 1 2 3, 4 5, 6 7: (1-2-3) - (4-5) - (6-7)
  EXPECT_EQ(muster::distributed_reduce(std::minus<>{}, std::views::iota(1, 8), [](int x) { return x; }), -2);
}

// catalogue: 268
TEST_F(Distributed, DoesNotCallTheOperationForOneElement) {
  const auto never = [](int, int) -> int { throw std::logic_error("op was called"); };
  EXPECT_EQ(muster::distributed_reduce(never, std::vector<int>{7}, [](int x) { return x; }), 7);
}

// catalogue: 262
TEST_F(Distributed, TakesRangesSmallerThanTheCluster) {
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, std::views::iota(1, 3), [](int x) { return x; }), 3);
}

// catalogue: 269
TEST_F(Distributed, RefusesAnEmptyRangeWithoutInitialValue) {
  EXPECT_THROW(muster::distributed_reduce(std::plus<>{}, std::vector<int>{}, [](int x) { return x; }),
               std::invalid_argument);
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, 42, std::vector<int>{}, [](int x) { return x; }), 42);
}

TEST_F(Distributed, FoldsTheInitialValueOnceAndFirst) {
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, 1000, std::views::iota(1, 11), [](int x) { return x; }), 1055);
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, std::string(">"), std::views::iota(0, 5),
                                       [](int x) { return std::to_string(x); }),
            ">01234");
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, 0.5, std::views::iota(1, 4), [](int x) { return x; }), 6.5);
  // Parts of vectors, folded onto a list.
  const auto onto = [](auto a, const auto& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  };
  const auto all = muster::distributed_reduce(onto, std::deque<int>{-1}, IndexRange{0, 5},
                                              [](std::size_t i) { return std::vector<int>{static_cast<int>(i)}; });
  EXPECT_THAT(all, testing::ElementsAre(-1, 0, 1, 2, 3, 4));
}

// catalogue: 265
TEST_F(Distributed, SendsCapturedValuesAndLargeParts) {
  const std::vector<double> factors{2.0, 3.0};
  const std::vector<double> numbers(300'000, 1.0);
  const auto f = muster::bind_front([](const std::vector<double>& by, double x) { return by[0] * by[1] * x; }, factors);
  EXPECT_DOUBLE_EQ(muster::distributed_reduce(std::plus<>{}, numbers, f), 1.8e6);
}

TEST_F(Distributed, TakesElementsThatCannotBeCopied) {
  std::vector<std::unique_ptr<int>> numbers;
  for (int i = 1; i <= 10; ++i) numbers.push_back(std::make_unique<int>(i));
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, numbers, [](std::unique_ptr<int> x) { return *x; }), 55);
  EXPECT_EQ(*numbers.front(), 1);
  const auto sum = [](std::unique_ptr<int> a, const std::unique_ptr<int>& b) { return std::make_unique<int>(*a + *b); };
  EXPECT_EQ(*muster::distributed_reduce(sum, std::views::iota(1, 11), [](int x) { return std::make_unique<int>(x); }),
            55);
}

TEST_F(Distributed, WorksInATask) {
  const auto pid = muster::workers().front();
  EXPECT_EQ(
      muster::remotecall_fetch(
          [] { return muster::distributed_reduce(std::plus<>{}, std::views::iota(1, 101), [](int x) { return x; }); },
          pid),
      5050);
}

// catalogue: 271
TEST_F(Distributed, ThrowsWhatTheFunctionThrew) {
  try {
    muster::distributed_reduce(std::plus<>{}, std::views::iota(0, 30), [](int x) {
      if (x >= 12) throw std::out_of_range("element " + std::to_string(x));
      return x;
    });
    FAIL() << "nothing was thrown";
  } catch (const muster::RemoteException& error) {
    EXPECT_TRUE(error.is<std::out_of_range>());
    EXPECT_THAT(error.message(), testing::StartsWith("element "));
    EXPECT_NE(error.pid(), 1);
  }
}

TEST_F(Distributed, CancelsTheOtherPartsOfAFailedReduction) {
  const Trace trace;
  const auto f = muster::bind_front(
      [](const std::string& path, std::size_t i) {
        if (i == 0) {
          while (muster::test::lines_of(path).size() < 2) muster::this_task::sleep_for(1ms);
          throw std::runtime_error("early");
        }
        muster::test::run_until_stopped(path);
        return 1;
      },
      trace.path());
  const auto before = std::chrono::steady_clock::now();
  EXPECT_THROW(muster::distributed_reduce(std::plus<>{}, IndexRange{0, 3}, f), muster::RemoteException);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 30s);
  EXPECT_TRUE(muster::test::eventually([&] { return trace.count("cancelled") == 2; }));
}

// catalogue: 273
TEST_F(Distributed, FailsWithTheProcessThatDied) {
  const auto victim = muster::workers()[1];
  try {
    muster::distributed_reduce(std::plus<>{}, std::views::iota(0, 9),
                               muster::bind_front(
                                   [](int pid, int x) {
                                     if (muster::myid() == pid && x == 4) ::raise(SIGKILL);
                                     return x;
                                   },
                                   victim));
    FAIL() << "nothing was thrown";
  } catch (const muster::ProcessExitedException& error) {
    EXPECT_EQ(error.pid(), victim);
  }
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, std::views::iota(1, 11), [](int x) { return x; }), 55);
}

TEST_F(Distributed, EndsAtTheDeadline) {
  const muster::DeadlineScope scope(200ms);
  EXPECT_THROW(muster::distributed_reduce(std::plus<>{}, std::views::iota(0, 3),
                                          [](int x) {
                                            muster::this_task::sleep_for(1min);
                                            return x;
                                          }),
               muster::TimeoutError);
}

// -- loops ------------------------------------------------------------------------------------------------------------

TEST_F(Distributed, RunsALoopOverEveryElementOnce) {
  const Trace trace;
  const auto body = muster::bind_front(
      [](const std::string& path, std::size_t i) { add_line(path, std::to_string(i)); }, trace.path());
  muster::distributed_for(IndexRange{10, 30}, body).fetch();
  std::vector<int> seen;
  for (const auto& line : trace.lines()) seen.push_back(std::stoi(line));
  std::sort(seen.begin(), seen.end());
  std::vector<int> expected(20);
  std::iota(expected.begin(), expected.end(), 10);
  EXPECT_EQ(seen, expected);
}

// catalogue: 266
TEST_F(Distributed, LoopsReturnAtOnceAndSyncWaits) {
  const Trace trace;
  const auto body = muster::bind_front(
      [](const std::string& path, int i) {
        muster::this_task::sleep_for(500ms);
        add_line(path, std::to_string(i));
      },
      trace.path());
  muster::sync([&] {
    const auto done = muster::distributed_for(std::vector<int>{1, 2, 3}, body);
    EXPECT_FALSE(done.isready());
  });
  EXPECT_EQ(trace.lines().size(), 3U);
}

// catalogue: 270
TEST_F(Distributed, AnEmptyLoopIsDone) {
  auto done = muster::distributed_for(std::vector<int>{}, [](int) {});
  EXPECT_TRUE(done.isready());
  done.fetch();
}

// catalogue: 271
TEST_F(Distributed, ALoopFailsWithItsFirstPart) {
  const auto done = muster::distributed_for(IndexRange{0, 9}, [](std::size_t i) {
    if (i == 1) muster::this_task::sleep_for(100ms);
    if (i % 3 == 1) throw std::runtime_error("index " + std::to_string(i));
  });
  try {
    done.fetch();
    FAIL() << "nothing was thrown";
  } catch (const muster::RemoteException& error) {
    EXPECT_EQ(error.message(), "index 1");
  }
}

TEST_F(Distributed, SyncCollectsAFailedLoop) {
  try {
    muster::sync(
        [] { (void)muster::distributed_for(IndexRange{0, 3}, [](std::size_t) { throw std::runtime_error("no"); }); });
    FAIL() << "nothing was thrown";
  } catch (const muster::CompositeException& error) {
    EXPECT_EQ(error.exceptions().size(), 1U);
  }
}

// catalogue: 271
TEST_F(Distributed, LogsTheFailuresOfALoopThatNobodyWaitsFor) {
  testing::internal::CaptureStderr();
  (void)muster::distributed_for(IndexRange{0, 9}, [](std::size_t i) {
    if (i == 7) throw std::runtime_error("unseen failure");
  });
  // Seen, and so not logged.
  const auto looked_at =
      muster::distributed_for(IndexRange{0, 3}, [](std::size_t) { throw std::runtime_error("looked at"); });
  EXPECT_THROW(looked_at.fetch(), muster::RemoteException);
  {
    const auto kept =
        muster::distributed_for(IndexRange{0, 3}, [](std::size_t) { throw std::runtime_error("late drop"); });
    while (!kept.isready()) muster::this_task::sleep_for(1ms);
  }
  std::string text;
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  do {
    muster::this_task::sleep_for(20ms);
    text += testing::internal::GetCapturedStderr();
    testing::internal::CaptureStderr();
  } while (text.find("unseen failure") == std::string::npos && std::chrono::steady_clock::now() < deadline);
  text += testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, testing::HasSubstr("indexes 6 to 8 failed on process " + std::to_string(muster::workers()[2])));
  EXPECT_THAT(text, testing::HasSubstr("unseen failure"));
  EXPECT_THAT(text, testing::HasSubstr("late drop"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("looked at")));
}

// catalogue: 4
TEST_F(Distributed, WorksWithoutWorkers) {
  muster::rmprocs(muster::other_workers());
  EXPECT_EQ(muster::distributed_reduce(std::plus<>{}, IndexRange{0, 100}, [](std::size_t) { return 1; }), 100);
  EXPECT_EQ(muster::distributed_reduce(joined, IndexRange{0, 2},
                                       [](std::size_t) { return std::vector<int>{muster::myid()}; }),
            (std::vector<int>{1, 1}));
  muster::distributed_for(IndexRange{0, 2}, [](std::size_t) {}).fetch();
}

}  // namespace
