#include "runtime/exec/spinning.hpp"

#include <gtest/gtest.h>

namespace muster::runtime {
namespace {

using std::chrono::microseconds, std::chrono::nanoseconds, std::chrono::seconds;

TEST(Spinning, ShortWaitsAreWorthLookingFor) {
  Spinning spinning(microseconds(50));
  EXPECT_EQ(spinning.budget(), microseconds(50));
  for (int i = 0; i < 100; ++i) spinning.waited(microseconds(2));
  spinning.waited(seconds(10));
  EXPECT_EQ(spinning.budget(), microseconds(50)) << "one pause says nothing";
}

TEST(Spinning, AfterLongWaitsThereIsNone) {
  Spinning spinning(microseconds(50));
  for (int i = 0; i < 10; ++i) spinning.waited(seconds(1));
  EXPECT_EQ(spinning.budget(), nanoseconds(0));
}

TEST(Spinning, SleepersThatWakeEachOtherStartToLook) {
  Spinning spinning(microseconds(50));
  for (int i = 0; i < 1000; ++i) spinning.waited(seconds(1));
  int waits = 0;
  while (spinning.budget() == nanoseconds(0)) {
    spinning.waited(microseconds(80));
    ASSERT_LT(++waits, 20);
  }
}

TEST(Spinning, WithoutSpinningThereIsNone) {
  Spinning spinning(nanoseconds(0));
  spinning.waited(microseconds(0));
  EXPECT_EQ(spinning.budget(), nanoseconds(0));
}

}  // namespace
}  // namespace muster::runtime
