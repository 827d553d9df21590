#include "runtime/calls/placement.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

namespace {

using muster::Pid;
using muster::runtime::Placement;

std::vector<Pid> chosen(Placement& placement, int times) {
  std::vector<Pid> pids;
  for (int i = 0; i < times; ++i) {
    pids.push_back(placement.choose());
    placement.sent(pids.back());
  }
  return pids;
}

TEST(Placement, WithoutWorkersGivesTheMaster) {
  Placement placement;
  EXPECT_EQ(placement.choose(), 1);
  placement.sent(1);
  EXPECT_EQ(placement.outstanding(1), 0u);
  placement.joined(2);
  EXPECT_EQ(placement.choose(), 2);
  placement.left(2);
  EXPECT_EQ(placement.choose(), 1);
}

// catalogue: 108
TEST(Placement, TiesGoInTurn) {
  Placement placement;
  for (Pid pid : {4, 2, 3}) placement.joined(pid);
  EXPECT_EQ(chosen(placement, 7), (std::vector<Pid>{2, 3, 4, 2, 3, 4, 2}));
}

TEST(Placement, TiesGoInTurnThoughEachCallEndsAtOnce) {
  Placement placement;
  for (Pid pid : {2, 3, 4}) placement.joined(pid);
  for (Pid expected : {2, 3, 4, 2, 3, 4}) {
    const Pid pid = placement.choose();
    EXPECT_EQ(pid, expected);
    placement.sent(pid);
    placement.finished(pid);
  }
}

TEST(Placement, TheLeastLoadedIsFirst) {
  Placement placement;
  for (Pid pid : {2, 3, 4}) placement.joined(pid);
  chosen(placement, 6);
  placement.finished(3);
  placement.finished(3);
  placement.finished(4);
  EXPECT_EQ(placement.outstanding(2), 2u);
  EXPECT_EQ(chosen(placement, 4), (std::vector<Pid>{3, 4, 3, 4}));
}

TEST(Placement, CallsToNamedWorkersCount) {
  Placement placement;
  for (Pid pid : {2, 3}) placement.joined(pid);
  placement.sent(2);
  placement.sent(2);
  EXPECT_EQ(chosen(placement, 3), (std::vector<Pid>{3, 3, 2}));
}

TEST(Placement, ForgetsWorkersThatLeft) {
  Placement placement;
  for (Pid pid : {2, 3}) placement.joined(pid);
  placement.sent(3);
  placement.left(3);
  placement.finished(3);
  EXPECT_EQ(placement.outstanding(3), 0u);
  EXPECT_EQ(chosen(placement, 2), (std::vector<Pid>{2, 2}));
  placement.joined(2);
  EXPECT_EQ(placement.outstanding(2), 2u);
}

TEST(Placement, SpreadsOverManyWorkersEvenly) {
  Placement placement;
  constexpr Pid workers = 10000;
  for (Pid pid = 2; pid < 2 + workers; ++pid) placement.joined(pid);
  chosen(placement, 10 * workers);
  for (Pid pid = 2; pid < 2 + workers; ++pid) ASSERT_EQ(placement.outstanding(pid), 10u);
}

TEST(Placement, AmongSomeTheLeastLoadedIsChosenAndTiesGoInTurn) {
  Placement placement;
  for (const Pid pid : {2, 3, 4, 5}) placement.joined(pid);
  const std::vector<Pid> first{2, 3}, second{4, 5};
  std::vector<Pid> chosen;
  for (int i = 0; i < 3; ++i) {
    chosen.push_back(placement.choose_among(first));
    chosen.push_back(placement.choose_among(second));
  }
  EXPECT_EQ(chosen, (std::vector<Pid>{2, 4, 3, 5, 2, 4})) << "turns of one do not disturb the other's";
  placement.sent(3);
  EXPECT_EQ(placement.choose_among(first), 2);
  EXPECT_EQ(placement.choose_among(first), 2);
  placement.left(2);
  EXPECT_EQ(placement.choose_among(first), 3);
  placement.left(3);
  EXPECT_EQ(placement.choose_among(first), 0);
  EXPECT_EQ(placement.choose_among({}), 0);
}

/// What Placement is meant to do, in the slowest way.
Pid least_loaded(const std::map<Pid, std::size_t>& loads, Pid last) {
  if (loads.empty()) return 1;
  const auto less = [](const auto& a, const auto& b) { return a.second < b.second; };
  const std::size_t least = std::min_element(loads.begin(), loads.end(), less)->second;
  for (const auto& [pid, load] : loads)
    if (pid > last && load == least) return pid;
  for (const auto& [pid, load] : loads)
    if (load == least) return pid;
  return 0;
}

TEST(Placement, DoesAsASearchOfAllWould) {
  std::mt19937 random(7);
  Placement placement;
  std::map<Pid, std::size_t> loads;
  Pid last = 0;
  for (int step = 0; step < 20'000; ++step) {
    const Pid pid = static_cast<Pid>(2 + random() % 40);
    const auto known = loads.find(pid);
    switch (random() % 8) {
      case 0:
        placement.joined(pid);
        loads.try_emplace(pid, 0);
        break;
      case 1:
        if (random() % 4 != 0) break;
        placement.left(pid);
        loads.erase(pid);
        break;
      case 2:
      case 3:
        placement.finished(pid);
        if (known != loads.end() && known->second != 0) --known->second;
        break;
      default: {
        const Pid expected = least_loaded(loads, last);
        const Pid chosen = placement.choose();
        ASSERT_EQ(chosen, expected) << "step " << step;
        if (!loads.empty()) last = chosen;
        placement.sent(chosen);
        if (loads.contains(chosen)) ++loads[chosen];
      }
    }
    for (const auto& [each, load] : loads) ASSERT_EQ(placement.outstanding(each), load);
  }
}

}  // namespace
