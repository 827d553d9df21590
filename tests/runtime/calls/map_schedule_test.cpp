#include "runtime/calls/map_schedule.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace {

using muster::Pid;
using muster::runtime::MapFailure;
using muster::runtime::MapRules;
using muster::runtime::MapSchedule;
using muster::runtime::MapSend;
using muster::runtime::MapWithdraw;
using namespace std::chrono_literals;

// A schedule, its actions sorted by kind, and a clock that tests move.
struct Driver {
  explicit Driver(MapRules rules, int workers = 1) : schedule(std::move(rules)) {
    for (Pid pid = 2; pid < 2 + workers; ++pid) schedule.worker_joined(pid, now);
  }

  void collect() {
    for (auto& action : schedule.take_actions()) {
      if (auto* send = std::get_if<MapSend>(&action)) {
        sends.push_back(*send);
      } else if (auto* withdraw = std::get_if<MapWithdraw>(&action)) {
        withdraws.push_back(*withdraw);
      } else {
        failures.push_back(std::get<MapFailure>(action));
      }
    }
  }
  // Reads at most n elements, as far as they are wanted.
  std::size_t read(std::size_t n) {
    std::size_t read = 0;
    for (; read < n && schedule.need_input(); ++read) schedule.element_available(now);
    collect();
    return read;
  }
  void end() {
    schedule.input_ended(now);
    collect();
  }
  // The newest unit that this element was sent in.
  MapSend sent(std::size_t element) const {
    for (auto send = sends.rbegin(); send != sends.rend(); ++send) {
      if (element >= send->first && element < send->first + send->count) return *send;
    }
    throw std::runtime_error("element " + std::to_string(element) + " was not sent");
  }
  bool complete(std::size_t element) {
    const bool counts = schedule.completed(sent(element).unit, now);
    collect();
    return counts;
  }
  int fail(std::size_t element) {
    const auto unit = sent(element).unit;
    const auto attempt = schedule.failed(unit, element);
    schedule.completed(unit, now);
    collect();
    return attempt.value_or(-1);
  }
  void die(Pid worker) {
    schedule.worker_left(worker, true, now);
    collect();
  }
  void at(std::chrono::nanoseconds time) {
    now = MapSchedule::Time(time);
    schedule.timer(now);
    collect();
  }

  MapSchedule schedule;
  MapSchedule::Time now{};
  std::vector<MapSend> sends;
  std::vector<MapWithdraw> withdraws;
  std::vector<MapFailure> failures;
};

TEST(MapSchedule, ReadsOnlyWhatWindowsHold) {
  Driver driver({}, 3);
  EXPECT_EQ(driver.read(1000), 27u);
  EXPECT_EQ(driver.sends.size(), 27u);
  EXPECT_EQ(driver.sends[0].worker, 2);
  EXPECT_EQ(driver.sends[1].worker, 3);  // one each first
  EXPECT_EQ(driver.sends[2].worker, 4);
  EXPECT_FALSE(driver.schedule.need_input());
}

TEST(MapSchedule, EndsWhenAllIsDelivered) {
  Driver driver({});
  EXPECT_FALSE(driver.schedule.done());
  driver.read(2);
  driver.end();
  EXPECT_TRUE(driver.complete(0));
  EXPECT_FALSE(driver.complete(0)) << "a second reply must be thrown away";
  EXPECT_FALSE(driver.schedule.done());
  EXPECT_TRUE(driver.complete(1));
  EXPECT_TRUE(driver.schedule.done());
}

TEST(MapSchedule, AnEmptyInputIsDoneAtOnce) {
  Driver driver({});
  EXPECT_TRUE(driver.schedule.need_input());
  driver.end();
  EXPECT_TRUE(driver.schedule.done());
}

// catalogue: 242
TEST(MapSchedule, BatchesAreFullButTheLast) {
  Driver driver({.batch_size = 3});
  driver.read(7);
  driver.end();
  ASSERT_EQ(driver.sends.size(), 3u);
  EXPECT_EQ(driver.sends[1].first, 3u);
  EXPECT_EQ(driver.sends[1].count, 3u);
  EXPECT_EQ(driver.sends[2].count, 1u);
}

TEST(MapSchedule, AutomaticBatchesGrowForTinyElementsOnly) {
  for (const auto each : {2000ns, 2000000ns}) {
    Driver driver({.batch_size = 0});
    std::size_t next = 0;
    for (int i = 0; i < 2000; ++i) {
      driver.read(100000);
      const MapSend oldest = driver.sends[next++];
      driver.now += each * static_cast<int>(oldest.count);
      driver.schedule.completed(oldest.unit, driver.now);
      driver.collect();
    }
    if (each < 1ms) {
      EXPECT_NEAR(static_cast<double>(driver.sends.back().count), 100, 30);
    } else {
      EXPECT_EQ(driver.sends.back().count, 1u);
    }
  }
}

TEST(MapSchedule, AFailedElementIsRetriedAfterEachDelay) {
  Driver driver({.retry_delays = {10ms, 30ms}});
  driver.read(1);
  driver.end();
  EXPECT_EQ(driver.fail(0), 1);
  EXPECT_FALSE(driver.schedule.done());
  driver.schedule.retry(0, driver.now);
  EXPECT_EQ(driver.schedule.next_timer(), MapSchedule::Time(10ms));
  driver.at(9ms);
  EXPECT_EQ(driver.sends.size(), 1u);
  driver.at(10ms);
  EXPECT_EQ(driver.sends.size(), 2u);
  EXPECT_EQ(driver.fail(0), 2);
  driver.schedule.retry(0, driver.now);
  driver.at(40ms);
  EXPECT_EQ(driver.sends.size(), 3u);
  EXPECT_EQ(driver.fail(0), 0) << "no retry is left";
  driver.schedule.final_failure(0);
  EXPECT_TRUE(driver.schedule.done());
}

// catalogue: 257
TEST(MapSchedule, ARetryMaySucceedAndTheCheckMayRefuseOne) {
  Driver driver({.retry_delays = {0ns, 0ns}});
  driver.read(2);
  driver.end();
  EXPECT_EQ(driver.fail(0), 1);
  driver.schedule.retry(0, driver.now);
  driver.collect();
  EXPECT_EQ(driver.fail(1), 1);
  driver.schedule.final_failure(1);
  EXPECT_TRUE(driver.complete(0));
  EXPECT_TRUE(driver.schedule.done());
}

TEST(MapSchedule, ARetryGoesToWhicheverWorkerIsFree) {
  Driver driver({.retry_delays = {0ns}}, 2);
  driver.read(2);
  driver.end();
  EXPECT_EQ(driver.sent(0).worker, 2);
  EXPECT_EQ(driver.fail(0), 1);
  driver.schedule.worker_joined(9, driver.now);
  driver.schedule.worker_left(2, false, driver.now);
  driver.schedule.retry(0, driver.now);
  driver.collect();
  EXPECT_EQ(driver.sent(0).worker, 9);
}

TEST(MapSchedule, OnlyTheFailedElementsOfABatchRunAgain) {
  Driver driver({.batch_size = 4, .retry_delays = {0ns}});
  driver.read(4);
  driver.end();
  const auto unit = driver.sent(0).unit;
  EXPECT_TRUE(driver.schedule.delivered(unit, 0));
  EXPECT_FALSE(driver.schedule.delivered(unit, 0));
  EXPECT_EQ(driver.schedule.failed(unit, 1), 1);
  driver.schedule.retry(1, driver.now);
  EXPECT_EQ(driver.schedule.failed(unit, 3), 1);
  EXPECT_FALSE(driver.schedule.delivered(unit, 2)) << "it ran before 3: delivered already";
  driver.schedule.retry(3, driver.now);
  EXPECT_TRUE(driver.schedule.completed(unit, driver.now));
  driver.collect();
  ASSERT_EQ(driver.sends.size(), 3u);
  EXPECT_EQ(driver.sends[1].first, 1u);
  EXPECT_EQ(driver.sends[2].first, 3u);
  driver.complete(1);
  driver.complete(3);
  EXPECT_TRUE(driver.schedule.done());
}

TEST(MapSchedule, ADeathChargesTheOnlyElementThere) {
  Driver driver({.max_restarts = 0}, 1);
  driver.read(2);
  driver.end();
  driver.schedule.worker_joined(3, driver.now);
  driver.complete(0);
  driver.die(2);
  ASSERT_EQ(driver.failures.size(), 1u);
  EXPECT_EQ(driver.failures[0].element, 1u);
  EXPECT_EQ(driver.failures[0].reason, MapFailure::Reason::worker_died);
  EXPECT_EQ(driver.failures[0].deaths, std::vector<Pid>{2});
  EXPECT_EQ(driver.failures[0].attempt, 0);
  driver.schedule.final_failure(1);
  EXPECT_TRUE(driver.schedule.done());
}

TEST(MapSchedule, SuspectsRunAloneUntilTheCauseIsKnown) {
  Driver driver({.max_restarts = 0}, 1);
  driver.read(4);
  driver.end();
  driver.schedule.worker_joined(3, driver.now);
  driver.schedule.worker_joined(4, driver.now);
  driver.sends.clear();
  driver.die(2);
  ASSERT_EQ(driver.sends.size(), 2u) << "one on each worker, and nothing behind it";
  EXPECT_TRUE(driver.failures.empty());
  EXPECT_EQ(driver.sends[0].first, 0u);
  EXPECT_EQ(driver.sends[1].first, 1u);
  driver.complete(0);
  ASSERT_EQ(driver.sends.size(), 3u);
  EXPECT_EQ(driver.sends[2].first, 2u);
  driver.die(driver.sent(1).worker);
  ASSERT_EQ(driver.failures.size(), 1u);
  EXPECT_EQ(driver.failures[0].element, 1u);
  EXPECT_EQ(driver.failures[0].deaths, (std::vector<Pid>{2, 4})) << "the first death was its doing too";
  driver.schedule.final_failure(1);
  driver.complete(2);
  driver.complete(3);
  EXPECT_TRUE(driver.schedule.done());
}

TEST(MapSchedule, OneCauseExplainsADeathOnce) {
  Driver driver({.max_restarts = 1}, 1);
  driver.read(2);
  driver.end();
  for (const Pid pid : {3, 4, 5}) driver.schedule.worker_joined(pid, driver.now);
  driver.die(2);
  driver.die(driver.sent(0).worker);
  ASSERT_EQ(driver.failures.size(), 1u);
  EXPECT_EQ(driver.failures[0].element, 0u);
  driver.schedule.final_failure(0);
  driver.die(driver.sent(1).worker);
  EXPECT_EQ(driver.failures.size(), 1u) << "its first death";
  driver.complete(1);
  EXPECT_TRUE(driver.schedule.done());
}

TEST(MapSchedule, AnElementRunsAgainAtMostMaxRestartsTimes) {
  Driver driver({.max_restarts = 2}, 4);
  driver.read(1);
  driver.end();
  for (Pid worker = 2; worker <= 4; ++worker) {
    EXPECT_TRUE(driver.failures.empty());
    EXPECT_EQ(driver.sent(0).worker, worker);
    driver.die(worker);
  }
  ASSERT_EQ(driver.failures.size(), 1u);
  EXPECT_EQ(driver.failures[0].deaths, (std::vector<Pid>{2, 3, 4}));
}

TEST(MapSchedule, AfterADeathBatchesRunOneByOneWithoutWhatWasDelivered) {
  Driver driver({.batch_size = 4}, 1);
  driver.read(8);
  driver.end();
  driver.schedule.delivered(driver.sent(0).unit, 0);
  driver.sends.clear();
  driver.schedule.worker_joined(3, driver.now);
  driver.collect();
  ASSERT_TRUE(driver.sends.empty());
  driver.die(2);
  for (std::size_t element = 1; element < 8; ++element) {
    ASSERT_EQ(driver.sends.size(), element);
    EXPECT_EQ(driver.sends.back().first, element);
    EXPECT_EQ(driver.sends.back().count, 1u);
    driver.complete(element);
  }
  EXPECT_TRUE(driver.schedule.done());
  EXPECT_TRUE(driver.failures.empty());
}

TEST(MapSchedule, TheInputIsReadOnAfterSuspectsWereCleared) {
  Driver driver({}, 1);
  driver.read(2);
  driver.schedule.worker_joined(3, driver.now);
  driver.die(2);
  EXPECT_FALSE(driver.schedule.need_input());
  driver.complete(0);
  EXPECT_FALSE(driver.schedule.need_input()) << "the second is alone there";
  driver.complete(1);
  EXPECT_TRUE(driver.schedule.need_input());
}

TEST(MapSchedule, RemovalChargesNobody) {
  Driver driver({.max_restarts = 0}, 2);
  driver.read(1);
  driver.schedule.worker_left(2, false, driver.now);
  driver.collect();
  EXPECT_TRUE(driver.failures.empty());
  EXPECT_EQ(driver.sent(0).worker, 3);
}

TEST(MapSchedule, ResultsOfWorkersThatLeftAreRefused) {
  Driver driver({}, 2);
  driver.read(1);
  const auto old = driver.sent(0).unit;
  driver.die(2);
  EXPECT_FALSE(driver.schedule.completed(old, driver.now));
  EXPECT_FALSE(driver.schedule.delivered(old, 0));
  EXPECT_FALSE(driver.schedule.failed(old, 0));
  EXPECT_TRUE(driver.complete(0));
}

TEST(MapSchedule, WithoutWorkersElementsFail) {
  Driver driver({}, 1);
  driver.read(3);
  driver.die(2);
  ASSERT_EQ(driver.failures.size(), 3u);
  for (const auto& failure : driver.failures) {
    EXPECT_EQ(failure.reason, MapFailure::Reason::no_worker);
    EXPECT_EQ(failure.deaths, std::vector<Pid>{2}) << "it was there when that died";
    driver.schedule.final_failure(failure.element);
  }
  EXPECT_TRUE(driver.schedule.need_input()) << "the rest must fail too";
  driver.read(1);
  ASSERT_EQ(driver.failures.size(), 4u);
  driver.schedule.worker_joined(3, driver.now);
  driver.read(1);
  EXPECT_EQ(driver.sent(4).worker, 3);
}

TEST(MapSchedule, ElementsWaitForWorkersThatAreExpected) {
  Driver driver({}, 1);
  driver.schedule.expect_workers(true, driver.now);
  driver.read(3);
  driver.die(2);
  EXPECT_FALSE(driver.schedule.need_input());
  EXPECT_TRUE(driver.failures.empty());
  driver.schedule.worker_joined(3, driver.now);
  driver.collect();
  for (std::size_t element = 0; element < 3; ++element) {
    EXPECT_EQ(driver.sent(element).worker, 3);
    EXPECT_TRUE(driver.complete(element));
  }
}

TEST(MapSchedule, ElementsFailWhereExpectedWorkersDoNotCome) {
  Driver driver({}, 0);
  driver.schedule.expect_workers(true, driver.now);
  EXPECT_FALSE(driver.schedule.need_input());
  driver.schedule.expect_workers(false, driver.now);
  ASSERT_TRUE(driver.schedule.need_input());
  driver.read(1);
  ASSERT_EQ(driver.failures.size(), 1u);
  EXPECT_EQ(driver.failures[0].reason, MapFailure::Reason::no_worker);
}

TEST(MapSchedule, WhatWaitsBehindALongElementIsCalledBack) {
  Driver driver({}, 2);
  driver.read(4);
  driver.end();
  ASSERT_EQ(driver.sent(2).worker, 2);
  driver.complete(1);
  driver.complete(3);
  EXPECT_TRUE(driver.withdraws.empty());
  EXPECT_EQ(driver.schedule.next_timer(), MapSchedule::Time(500us));
  driver.at(500us);
  ASSERT_EQ(driver.withdraws.size(), 1u);
  EXPECT_EQ(driver.withdraws[0].unit, driver.sent(2).unit);
  EXPECT_EQ(driver.withdraws[0].worker, 2);
  EXPECT_FALSE(driver.schedule.next_timer()) << "nothing more to try";
  driver.schedule.withdrawn(driver.withdraws[0].unit, driver.now);
  driver.collect();
  EXPECT_EQ(driver.sent(2).worker, 3);
  driver.complete(2);
  driver.complete(0);
  EXPECT_TRUE(driver.schedule.done());
}

TEST(MapSchedule, AnIdleWorkerGetsItsShareAtOnceWhereMuchWaits) {
  Driver driver({}, 2);
  driver.read(18);
  driver.end();
  driver.now = MapSchedule::Time(300us);
  driver.complete(0);
  driver.now = MapSchedule::Time(600us);
  driver.complete(2);
  for (std::size_t element = 1; element < 17; element += 2) driver.complete(element);
  EXPECT_TRUE(driver.withdraws.empty()) << "it has one left";
  driver.complete(17);
  ASSERT_EQ(driver.withdraws.size(), 3U) << "half of the six behind the one that runs";
  EXPECT_EQ(driver.withdraws[0].worker, 2);
}

TEST(MapSchedule, WhatHadStartedStaysWhereItIs) {
  Driver driver({}, 2);
  driver.read(4);
  driver.end();
  driver.complete(1);
  driver.complete(3);
  driver.at(1ms);
  ASSERT_EQ(driver.withdraws.size(), 1u);
  driver.schedule.not_withdrawn(driver.withdraws[0].unit, driver.now);
  driver.collect();
  EXPECT_EQ(driver.sends.size(), 4u);
  for (const auto& withdraw : driver.withdraws) driver.schedule.not_withdrawn(withdraw.unit, driver.now);
  driver.at(10ms);
  EXPECT_LE(driver.withdraws.size(), 2u) << "none is asked for twice";
  EXPECT_TRUE(driver.complete(2));
  EXPECT_TRUE(driver.complete(0));
  EXPECT_TRUE(driver.schedule.done());
}

TEST(MapSchedule, NothingIsCalledBackWhileThereIsInput) {
  Driver driver({}, 2);
  driver.read(4);
  driver.complete(1);
  driver.complete(3);
  driver.at(1s);
  EXPECT_TRUE(driver.withdraws.empty());
}

TEST(MapSchedule, StopEndsEverything) {
  Driver driver({.retry_delays = {1ms}}, 2);
  driver.read(5);
  EXPECT_EQ(driver.fail(0), 1);
  EXPECT_EQ(driver.schedule.stop().size(), 4u);
  EXPECT_TRUE(driver.schedule.done());
  EXPECT_FALSE(driver.schedule.need_input());
  driver.schedule.retry(0, driver.now);
  driver.at(1s);
  driver.schedule.worker_joined(9, driver.now);
  EXPECT_FALSE(driver.complete(1));
  EXPECT_EQ(driver.sends.size(), 5u);
  EXPECT_FALSE(driver.schedule.next_timer());
}

TEST(MapSchedule, WhatIsTooLargeTogetherGoesAlone) {
  Driver driver({.batch_size = 3}, 1);
  driver.read(6);
  ASSERT_GE(driver.sends.size(), 2U);
  ASSERT_EQ(driver.sends[0].count, 3U);
  const auto before = driver.sends.size();
  driver.schedule.split(driver.sends[0].unit, false, driver.now);
  EXPECT_FALSE(driver.schedule.completed(driver.sends[0].unit, driver.now)) << "it is no more";
  driver.end();
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_LT(before + i, driver.sends.size());
    EXPECT_EQ(driver.sends[before + i].first, i);
    EXPECT_EQ(driver.sends[before + i].count, 1U);
  }
}

TEST(MapSchedule, NoMoreMessagesAreOutstandingThanItsLimit) {
  Driver driver({.max_units = 3}, 2);
  EXPECT_EQ(driver.read(100), 3U);
  EXPECT_EQ(driver.sends.size(), 3U);
  EXPECT_TRUE(driver.complete(1));
  EXPECT_EQ(driver.read(100), 1U);
  driver.die(2);  // what it had waits for the limit too, each alone
  EXPECT_LE(driver.sends.size(), 4U + 3U);
  EXPECT_EQ(driver.read(100), 0U);
}

TEST(MapSchedule, WorkersWithThreadsRunSeveralAtOnce) {
  Driver driver({}, 0);
  driver.schedule.worker_joined(2, driver.now, 4);
  EXPECT_EQ(driver.read(100), 12u);
}

}  // namespace
