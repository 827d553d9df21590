// The table of calls whose callers wait: numbers that find them, once, and places that are used again.

#include "runtime/calls/awaited_calls.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <set>

namespace muster::runtime {
namespace {

class AwaitedCallsTest : public testing::Test {
 protected:
  AwaitedCall& made(Pid callee = 2) { return made_.emplace_back(executor_, callee); }

  Executor executor_{1, {}};
  std::deque<AwaitedCall> made_;
  AwaitedCalls calls_;
};

TEST_F(AwaitedCallsTest, AreFoundByTheirNumbersAsLongAsTheyAreThere) {
  AwaitedCall& one = made();
  AwaitedCall& other = made();
  ASSERT_TRUE(calls_.add(one));
  ASSERT_TRUE(calls_.add(other));
  EXPECT_NE(one.number, other.number);
  EXPECT_TRUE(AwaitedCalls::numbers(one.number));
  EXPECT_FALSE(AwaitedCalls::numbers(1)) << "as of a call with a future";
  EXPECT_EQ(calls_.find(one.number), &one);
  calls_.remove(one);
  EXPECT_EQ(calls_.find(one.number), nullptr);
  EXPECT_EQ(calls_.find(other.number), &other);
  EXPECT_EQ(calls_.size(), 1u);
}

TEST_F(AwaitedCallsTest, ANumberIsNeverUsedAgain) {
  std::set<std::uint64_t> numbers;
  for (int i = 0; i < 1000; ++i) {
    AwaitedCall& call = made();
    ASSERT_TRUE(calls_.add(call));
    EXPECT_TRUE(numbers.insert(call.number).second);
    calls_.remove(call);
  }
  for (const std::uint64_t number : numbers) EXPECT_EQ(calls_.find(number), nullptr);
}

TEST_F(AwaitedCallsTest, MoreThanThereAreNumbersForAreNotTaken) {
  for (std::size_t i = 0; i < AwaitedCalls::most; ++i) ASSERT_TRUE(calls_.add(made())) << i;
  EXPECT_FALSE(calls_.add(made()));
  calls_.remove(made_[7]);
  EXPECT_TRUE(calls_.add(made_.back()));
  EXPECT_FALSE(calls_.add(made()));
  for (std::size_t i = 8; i < AwaitedCalls::most; ++i) EXPECT_EQ(calls_.find(made_[i].number), &made_[i]);
}

TEST_F(AwaitedCallsTest, TakenOnesAreGoneAndTheirCallersWoken) {
  for (const Pid callee : {2, 3, 2, 4}) ASSERT_TRUE(calls_.add(made(callee)));
  {
    const auto taken = calls_.take_if([](const AwaitedCall& call) { return call.callee == 2; });
    ASSERT_EQ(taken.size(), 2u);
    EXPECT_EQ(calls_.size(), 2u);
    EXPECT_EQ(calls_.find(made_[0].number), nullptr);
    EXPECT_FALSE(made_[0].wakeup.happened()) << "not before the answer is set";
  }
  EXPECT_TRUE(made_[0].wakeup.happened() && made_[2].wakeup.happened());
  EXPECT_FALSE(made_[1].wakeup.happened() || made_[3].wakeup.happened());
}

}  // namespace
}  // namespace muster::runtime
