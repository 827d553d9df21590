#include "runtime/exec/core_sharing.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace muster::runtime {
namespace {

using Advice = CoreSharing::Advice;

/// A thread that yields so often in each wait, and loses its core at each of so many in a hundred yields.
struct Yielder {
  CoreSharing sharing;
  int yields = 1;
  long lost = 0;
  int credit = 0;
  /// @returns the first advice that is none to yield; yield where there is none in so many yields
  Advice run(int percent, int limit) {
    for (int i = 0; i < limit; ++i) {
      const Advice advice = sharing.advice(i % yields == 0, [&] { return lost; });
      if (advice != Advice::yield) return advice;
      credit += percent;
      if (credit < 100) continue;
      credit -= 100;
      ++lost;
    }
    return Advice::yield;
  }
};

TEST(CoreSharing, WhoKeepsItsCoreGoesOnYielding) {
  Yielder yielder;
  EXPECT_EQ(yielder.run(0, 100'000), Advice::yield);
  EXPECT_EQ(yielder.run(20, 100'000), Advice::yield);
}

TEST(CoreSharing, WhoSharesItSleepsAndThenLeaves) {
  Yielder yielder;
  EXPECT_EQ(yielder.run(100, 300), Advice::sleep);
  EXPECT_EQ(yielder.run(100, 100), Advice::leave);
}

TEST(CoreSharing, WhoWaitsLongGoesOnYielding) {
  Yielder yielder;
  yielder.yields = 10;
  EXPECT_EQ(yielder.run(100, 100'000), Advice::yield) << "who has its core is not who answers";
}

TEST(CoreSharing, AShortWaitKeepsTheCoreThatIsNotShared) {
  using std::chrono::microseconds;
  Yielder yielder;
  EXPECT_TRUE(yielder.sharing.may_keep_core(microseconds(1)));
  EXPECT_FALSE(yielder.sharing.may_keep_core(microseconds(10)));
  EXPECT_EQ(yielder.run(100, 300), Advice::sleep);
  EXPECT_FALSE(yielder.sharing.may_keep_core(microseconds(1))) << "who would answer waits for it";
  EXPECT_EQ(yielder.run(0, 1000), Advice::yield);
  EXPECT_TRUE(yielder.sharing.may_keep_core(microseconds(1)));
}

TEST(CoreSharing, WhereASleepHelpedNobodyLeaves) {
  Yielder yielder;
  EXPECT_EQ(yielder.run(100, 300), Advice::sleep);
  EXPECT_EQ(yielder.run(0, 100'000), Advice::yield);
  EXPECT_EQ(yielder.run(100, 300), Advice::sleep) << "and the next time it begins anew";
}

TEST(CoreSharing, WhereNothingHelpsItIsTriedEverMoreSeldom) {
  Yielder yielder;
  int tries = 0;
  for (int i = 0; i < 10'000'000; ++i) tries += yielder.run(100, 1) != Advice::yield ? 1 : 0;
  EXPECT_GT(tries, 20);
  EXPECT_LT(tries, 10'000'000 / 500);
}

TEST(CoreSharing, WhoHasSleptBeginsAnew) {
  Yielder yielder;
  for (int i = 0; i < 100'000; ++i) (void)yielder.run(100, 1);  // nothing helps
  yielder.sharing.sleeps();
  EXPECT_TRUE(yielder.sharing.may_keep_core(std::chrono::microseconds(1)));
  EXPECT_EQ(yielder.run(100, 300), Advice::sleep);
}

TEST(CoreSharing, ThatOneOfTwoHasLeftIsSeenByTheOther) {
  Yielder first, second;
  second.lost = 1;  // they count differently
  bool share = true;
  int left = 0;
  for (int i = 0; i < 10'000 && share; ++i) {
    for (Yielder* each : {&first, &second}) {
      if (each->run(share ? 100 : 0, 1) != Advice::leave) continue;
      share = false;
      ++left;
    }
  }
  EXPECT_FALSE(share);
  EXPECT_EQ(left, 1);
}

TEST(CoreSharing, LeavingKeepsTheCoresThatAreAllowed) {
  cpu_set_t before, after;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  bool left = CPU_COUNT(&before) == 1;
  for (int i = 0; i < 1000 && !left; ++i) {  // the scheduler may have it come back at once
    const int here = ::sched_getcpu();
    leave_this_core();
    left = ::sched_getcpu() != here;
  }
  EXPECT_TRUE(left);
  ASSERT_EQ(::sched_getaffinity(0, sizeof after, &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST(CoreSharing, LossesOfACoreAreCounted) {
  cpu_set_t before, one;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(::sched_getcpu()), &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  std::atomic<bool> done{false};
  std::thread other([&] {  // it is on the same core, as threads take their cores from who starts them
    while (!done) ::sched_yield();
  });
  const long lost = cores_lost();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (cores_lost() < lost + 50 && std::chrono::steady_clock::now() < deadline) ::sched_yield();
  EXPECT_GE(cores_lost(), lost + 50);
  done = true;
  other.join();
  ASSERT_EQ(::sched_setaffinity(0, sizeof before, &before), 0);
}

}  // namespace
}  // namespace muster::runtime
