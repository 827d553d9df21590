#include "runtime/code/module_arrivals.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <utility>

namespace muster::runtime {
namespace {

using Actions = ModuleArrivals::Actions;
using Asks = std::vector<Actions::Ask>;
using Loads = std::vector<std::uint64_t>;
using SettledList = std::vector<Actions::Settled>;

class Arrivals : public testing::Test {
 protected:
  Actions want(std::uint64_t module, std::vector<Pid> holders) { return arrivals.want(module, holders); }
  Actions load(std::uint64_t module) {
    here.insert(module);
    return arrivals.loaded(module);
  }
  std::set<std::uint64_t> here;
  ModuleArrivals arrivals{[this](std::uint64_t module) { return here.contains(module); }};
};

TEST_F(Arrivals, AsksOnceHoweverManyWantIt) {
  EXPECT_EQ(want(7, {2, 1}).ask, (Asks{{7, 2}}));
  EXPECT_TRUE(want(7, {2, 3}).ask.empty());
  EXPECT_TRUE(arrivals.coming(7));
  EXPECT_TRUE(arrivals.expects(7, 2));
  EXPECT_FALSE(arrivals.expects(7, 3));
  EXPECT_EQ(arrivals.arrived(7, {}).load, (Loads{7}));
  EXPECT_FALSE(arrivals.expects(7, 2));
  EXPECT_TRUE(want(7, {3}).ask.empty());  // it is being loaded
  EXPECT_EQ(load(7).settled, (SettledList{{7, ""}}));
  EXPECT_FALSE(arrivals.coming(7));
  EXPECT_TRUE(want(7, {2}).ask.empty());
}

TEST_F(Arrivals, AsksTheNextWhereOneRefusesOrDies) {
  (void)want(7, {2, 3});
  (void)want(7, {4});
  EXPECT_EQ(arrivals.refused(7, 2, "not here").ask, (Asks{{7, 3}}));
  EXPECT_TRUE(arrivals.gone(4, "it ended").ask.empty());  // asked it will not be
  const auto actions = arrivals.gone(3, "it ended");
  EXPECT_TRUE(actions.ask.empty());
  EXPECT_EQ(actions.settled, (SettledList{{7, "process 2: not here; process 3: it ended"}}));
  EXPECT_FALSE(arrivals.coming(7));
  EXPECT_EQ(arrivals.failure(7), "process 2: not here; process 3: it ended");
}

TEST_F(Arrivals, AFailureIsTriedAgainWhenItIsWantedAgain) {
  (void)want(7, {2});
  (void)arrivals.refused(7, 2, "no");
  EXPECT_EQ(want(7, {2}).ask, (Asks{{7, 2}}));
  EXPECT_EQ(arrivals.failure(7), "");
  // Where the bytes came, they need not come again.
  (void)arrivals.arrived(7, {});
  EXPECT_EQ(arrivals.load_failed(7, "no libm").settled, (SettledList{{7, "no libm"}}));
  const auto again = want(7, {3});
  EXPECT_TRUE(again.ask.empty());
  EXPECT_EQ(again.load, (Loads{7}));
}

TEST_F(Arrivals, OthersWaitForItOnlyUntilItDisappoints) {
  EXPECT_FALSE(arrivals.worth_waiting_for(7));
  (void)want(7, {2, 3});
  EXPECT_TRUE(arrivals.worth_waiting_for(7));
  (void)arrivals.refused(7, 2, "no");
  EXPECT_FALSE(arrivals.worth_waiting_for(7));
  (void)arrivals.refused(7, 3, "no");
  (void)want(7, {2});
  EXPECT_FALSE(arrivals.worth_waiting_for(7));
  (void)want(8, {2});
  (void)arrivals.arrived(8, {});
  EXPECT_TRUE(arrivals.worth_waiting_for(8));
  (void)load(8);
  EXPECT_FALSE(arrivals.worth_waiting_for(8));
}

TEST_F(Arrivals, WithoutAHolderItFailsAtOnce) {
  EXPECT_EQ(want(7, {}).settled.size(), 1U);
  EXPECT_FALSE(arrivals.coming(7));
}

TEST_F(Arrivals, LoadsWhatItNeedsFirst) {
  (void)want(9, {2});
  here.insert(5);
  EXPECT_EQ(arrivals.arrived(9, {5, 7, 8}).ask, (Asks{{7, 2}, {8, 2}}));
  EXPECT_TRUE(arrivals.arrived(8, {7}).load.empty());
  EXPECT_EQ(arrivals.arrived(7, {}).load, (Loads{7}));
  EXPECT_EQ(load(7).load, (Loads{8}));
  EXPECT_EQ(load(8).load, (Loads{9}));
}

TEST_F(Arrivals, IsLoadedThoughOneThatItNeedsDidNotCome) {
  (void)want(9, {2});
  (void)arrivals.arrived(9, {7});
  EXPECT_EQ(arrivals.refused(7, 2, "no").load, (Loads{9}));
}

TEST_F(Arrivals, TwoThatNeedEachOtherAreBothLoaded) {
  (void)want(7, {2});
  (void)want(8, {3});
  EXPECT_TRUE(arrivals.arrived(7, {8}).load.empty());
  EXPECT_EQ(arrivals.arrived(8, {7}).load, (Loads{8}));
  EXPECT_EQ(load(8).load, (Loads{7}));
}

TEST_F(Arrivals, WhatIsLoadedByOthersIsNotAskedFor) {
  (void)want(7, {2});
  here.insert(7);
  EXPECT_EQ(arrivals.refused(7, 2, "no").settled, (SettledList{{7, ""}}));
}

/// Modules that need each other at random, holders that give, refuse and die at random: each module that is wanted is
/// settled in the end, and is loaded if somebody who lives would give it.
class World {
 public:
  explicit World(unsigned seed) : random_(seed) {
    for (std::uint64_t module = 1; module <= modules; ++module)
      for (std::uint64_t need = 1; need <= modules; ++need)
        if (chance(4)) needs_[module].push_back(need);
  }

  void run() {
    for (int step = 0; step < 200; ++step) {
      if (chance(3)) {
        std::vector<Pid> holders;
        for (Pid pid = 1; pid <= peers; ++pid)
          if (chance(2)) holders.push_back(pid);
        const auto module = 1 + random_() % modules;
        wanted_.insert(module);
        take(arrivals_.want(module, holders));
      }
      if (chance(20)) {
        const Pid pid = 1 + static_cast<Pid>(random_() % peers);
        dead_.insert(pid);
        std::erase_if(asked_, [&](const Actions::Ask& ask) { return ask.whom == pid; });
        take(arrivals_.gone(pid, "it ended"));
      }
      answer_one();
      load_one();
    }
    while (!asked_.empty() || !loading_.empty()) {
      answer_one();
      load_one();
    }
    for (const auto module : wanted_) EXPECT_FALSE(arrivals_.coming(module)) << module;
    for (const auto& [module, times] : loaded_) EXPECT_EQ(times, 1) << module;
  }

 private:
  static constexpr std::uint64_t modules = 9;
  static constexpr Pid peers = 4;

  bool chance(unsigned of) { return random_() % of == 0; }
  void take(Actions actions) {
    for (const auto& ask : actions.ask) {
      if (dead_.contains(ask.whom))
        take(arrivals_.refused(ask.module, ask.whom, "it can't be reached"));
      else
        asked_.push_back(ask);
    }
    loading_.insert(loading_.end(), actions.load.begin(), actions.load.end());
  }
  void answer_one() {
    if (asked_.empty()) return;
    const auto at = asked_.begin() + static_cast<std::ptrdiff_t>(random_() % asked_.size());
    const auto ask = *at;
    asked_.erase(at);
    ASSERT_TRUE(arrivals_.expects(ask.module, ask.whom));
    take(chance(3) ? arrivals_.refused(ask.module, ask.whom, "no") : arrivals_.arrived(ask.module, needs_[ask.module]));
  }
  void load_one() {
    if (loading_.empty()) return;
    const auto module = loading_.front();
    loading_.erase(loading_.begin());
    if (chance(5)) {
      take(arrivals_.load_failed(module, "no"));
      return;
    }
    here_.insert(module);
    ++loaded_[module];
    take(arrivals_.loaded(module));
  }

  std::mt19937 random_;
  std::map<std::uint64_t, std::vector<std::uint64_t>> needs_;
  std::set<std::uint64_t> here_, wanted_;
  std::set<Pid> dead_;
  std::vector<Actions::Ask> asked_;
  std::vector<std::uint64_t> loading_;
  std::map<std::uint64_t, int> loaded_;
  ModuleArrivals arrivals_{[this](std::uint64_t module) { return here_.contains(module); }};
};

TEST(ArrivalsAtRandom, EverythingThatIsWantedIsSettled) {
  for (unsigned seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE(seed);
    World(seed).run();
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace muster::runtime
