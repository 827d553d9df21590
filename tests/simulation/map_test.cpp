/// @file
/// The schedule of a parallel map on virtual time: random service times, batches, failures, deaths, joins and
/// withdrawals. Hundreds of seeds; MUSTER_SEED=n replays one with a trace.
#include "runtime/calls/map_schedule.hpp"
#include "tests/simulation/seeded_run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace {

using muster::Pid;
using muster::runtime::MapAction;
using muster::runtime::MapFailure;
using muster::runtime::MapRules;
using muster::runtime::MapSchedule;
using muster::runtime::MapSend;
using muster::runtime::MapUnitId;
using muster::runtime::MapWithdraw;
using muster::simulation::run_seeds;
using Nanoseconds = std::chrono::nanoseconds;
using namespace std::chrono_literals;

struct Element {
  Nanoseconds duration{};
  int failures = 0;  ///< throws so many times before it succeeds
  int kills = 0;     ///< brings its worker down so many times
};

struct Setting {
  MapRules rules;
  std::vector<Element> elements;
  int workers = 2;
  std::size_t threads = 1;
  Nanoseconds round_trip = 100us;
  Nanoseconds input_pace{};   ///< time between elements that can be read
  Nanoseconds mean_life{};    ///< of a worker; 0: none dies by itself
  Nanoseconds mean_join{};    ///< time between joins; 0: none
  bool lossy_deaths = false;  ///< what a dying worker sent last may be lost
};

/// A map driven as the real driver does, over workers and links that exist in virtual time only.
class Map : private muster::simulation::SeededRun {
 public:
  Map(std::uint64_t seed, Setting setting, bool traced)
      : SeededRun(seed, traced),
        setting_(std::move(setting)),
        schedule_(setting_.rules),
        outcomes_(setting_.elements.size()) {}

  /// Runs to the end; what went wrong, or nothing.
  std::string run() {
    for (int worker = 0; worker < setting_.workers; ++worker) join();
    if (setting_.mean_join > 0ns) join_later();
    if (setting_.input_pace == 0ns) {
      readable_ = setting_.elements.size();
    } else {
      more_input();
    }
    react();
    while (!schedule_.done() && failure_.empty()) {
      if (events_.empty()) {
        fail("stalled with ", read_, " elements read");
        break;
      }
      const Event event = events_.top();
      events_.pop();
      now_ = event.at;
      event.happen();
      react();
    }
    check_end();
    return failure_;
  }

  Nanoseconds makespan() const { return now_; }
  std::size_t called_back() const { return called_back_; }
  std::size_t lost_elements() const { return lost_; }

 private:
  struct Event {
    Nanoseconds at;
    std::uint64_t number;
    std::function<void()> happen;
    bool operator<(const Event& other) const { return std::tie(at, number) > std::tie(other.at, other.number); }
  };
  struct RemoteUnit {
    MapSend sent;
    std::size_t next;
  };
  struct Worker {
    bool alive = true;
    std::deque<MapSend> queue;
    std::map<MapUnitId, RemoteUnit> running;
    Nanoseconds last_arrival{};  ///< at the caller: a link keeps order
    Nanoseconds silent_from = Nanoseconds::max();
  };
  struct Outcome {
    int delivered = 0, failed = 0;
    std::vector<Pid> killed;  ///< workers that died while they ran it
  };

  template <class... Parts>
  void trace(const Parts&... parts) const {
    SeededRun::trace(now_.count() / 1000, "us ", parts...);
  }

  void after(Nanoseconds delay, std::function<void()> happen) {
    events_.push({now_ + delay, ++numbers_, std::move(happen)});
  }
  MapSchedule::Time time() const {
    return MapSchedule::Time(std::chrono::duration_cast<MapSchedule::Time::duration>(now_));
  }
  Nanoseconds exponential(Nanoseconds mean) {
    return Nanoseconds(
        static_cast<long long>(std::exponential_distribution(1.0 / static_cast<double>(mean.count()))(random_)));
  }

  // -- caller ---------------------------------------------------------------------------------------------------------

  void react() {
    for (;;) {
      perform();
      if (!schedule_.need_input()) break;
      if (read_ == setting_.elements.size()) {
        schedule_.input_ended(time());
      } else if (read_ < readable_) {
        ++read_;
        schedule_.element_available(time());
      } else {
        break;
      }
    }
    const auto next = schedule_.next_timer();
    if (!next || (timer_ && *timer_ <= *next && *timer_ > time())) return;
    timer_ = next;
    const Nanoseconds at(std::max(next->time_since_epoch(), time().time_since_epoch()));
    events_.push({at, ++numbers_, [this] {
                    timer_.reset();
                    schedule_.timer(time());
                  }});
  }

  void perform() {
    for (auto actions = schedule_.take_actions(); !actions.empty(); actions = schedule_.take_actions()) {
      for (const MapAction& action : actions) {
        if (const auto* send = std::get_if<MapSend>(&action)) {
          trace("send unit ", send->unit, " to ", send->worker, ": ", send->first, "+", send->count);
          after(setting_.round_trip / 2, [this, sent = *send] { arrived(sent); });
        } else if (const auto* withdraw = std::get_if<MapWithdraw>(&action)) {
          ++called_back_;
          trace("withdraw unit ", withdraw->unit, " from ", withdraw->worker);
          after(setting_.round_trip / 2, [this, asked = *withdraw] { asked_back(asked); });
        } else {
          given_up(std::get<MapFailure>(action));
        }
      }
    }
  }

  void given_up(const MapFailure& failure) {
    trace("element ", failure.element, " failed without a result");
    if (failure.reason == MapFailure::Reason::worker_died) {
      if (failure.deaths.size() <= static_cast<std::size_t>(setting_.rules.max_restarts))
        fail(failure.element, " gave up early");
    }
    answer(failure.element, failure.attempt);
  }
  void answer(std::size_t element, int attempt) {
    if (attempt > static_cast<int>(setting_.rules.retry_delays.size())) fail("asked for attempt ", attempt);
    if (attempt > 0) {
      schedule_.retry(element, time());
    } else {
      ++outcomes_[element].failed;
      schedule_.final_failure(element);
    }
  }

  // A worker reported how one element of a unit ended, and perhaps the unit with it.
  void reported(MapUnitId unit, std::size_t element, bool success, bool last) {
    trace("unit ", unit, " reports ", element, success ? " done" : " failed");
    if (success) {
      if (schedule_.delivered(unit, element)) ++outcomes_[element].delivered;
    } else if (const auto attempt = schedule_.failed(unit, element)) {
      answer(element, *attempt);
    }
    if (last) schedule_.completed(unit, time());
  }

  void join() {
    const Pid pid = ++last_pid_;
    workers_.try_emplace(pid);
    trace(pid, " joins");
    schedule_.worker_joined(pid, time(), setting_.threads, setting_.round_trip);
    if (setting_.mean_life > 0ns) after(exponential(setting_.mean_life), [this, pid] { die(pid); });
  }
  void join_later() {
    after(exponential(setting_.mean_join), [this] {
      join();
      join_later();
    });
  }
  void more_input() {
    if (readable_ == setting_.elements.size()) return;
    after(setting_.input_pace, [this] {
      ++readable_;
      more_input();
    });
  }

  // -- workers --------------------------------------------------------------------------------------------------------

  void arrived(const MapSend& sent) {
    Worker& worker = workers_.at(sent.worker);
    if (!worker.alive) return;
    worker.queue.push_back(sent);
    start(sent.worker);
  }

  void start(Pid pid) {
    Worker& worker = workers_.at(pid);
    while (worker.alive && worker.running.size() < setting_.threads && !worker.queue.empty()) {
      const MapSend sent = worker.queue.front();
      worker.queue.pop_front();
      worker.running.emplace(sent.unit, RemoteUnit{sent, sent.first});
      std::size_t at_once = 0;
      for (const auto& [other, each] : workers_) at_once += each.alive ? each.running.size() : 0;
      if (at_once > setting_.rules.max_units) fail(at_once, " elements run at once");
      run_next(pid, sent.unit);
    }
  }

  void run_next(Pid pid, MapUnitId unit) {
    const std::size_t number = workers_.at(pid).running.at(unit).next;
    after(setting_.elements[number].duration, [this, pid, unit, number] { ran(pid, unit, number); });
  }

  void ran(Pid pid, MapUnitId unit, std::size_t number) {
    Worker& worker = workers_.at(pid);
    if (!worker.alive) return;
    Element& element = setting_.elements[number];
    if (element.kills > 0) {
      --element.kills;
      die(pid);
      return;
    }
    const bool success = element.failures == 0;
    if (!success) --element.failures;
    RemoteUnit& running = worker.running.at(unit);
    const bool last = ++running.next == running.sent.first + running.sent.count;
    reply(pid, [this, unit, number, success, last] { reported(unit, number, success, last); });
    if (last) {
      worker.running.erase(unit);
      start(pid);
    } else {
      run_next(pid, unit);
    }
  }

  void asked_back(const MapWithdraw& asked) {
    Worker& worker = workers_.at(asked.worker);
    if (!worker.alive) return;
    const auto waiting = std::find_if(worker.queue.begin(), worker.queue.end(),
                                      [&](const MapSend& sent) { return sent.unit == asked.unit; });
    const bool waits = waiting != worker.queue.end();
    if (waits) worker.queue.erase(waiting);
    reply(asked.worker, [this, waits, asked] {
      trace("unit ", asked.unit, waits ? " withdrawn" : " not withdrawn");
      waits ? schedule_.withdrawn(asked.unit, time()) : schedule_.not_withdrawn(asked.unit, time());
    });
  }

  // Links keep order; what is sent may be lost when its sender dies before it arrives.
  void reply(Pid pid, std::function<void()> arrive) {
    Worker& worker = workers_.at(pid);
    worker.last_arrival = std::max(worker.last_arrival, now_ + setting_.round_trip / 2);
    after(worker.last_arrival - now_, [this, pid, arrive = std::move(arrive)] {
      if (now_ < workers_.at(pid).silent_from) arrive();
    });
  }

  void die(Pid pid) {
    Worker& worker = workers_.at(pid);
    if (!worker.alive) return;
    worker.alive = false;
    if (worker.running.empty()) died_idle_.insert(pid);
    for (const auto& [id, unit] : worker.running) {
      outcomes_[unit.next].killed.push_back(pid);
      lost_ += unit.sent.count;
    }
    trace(pid, " dies");
    if (setting_.lossy_deaths) worker.silent_from = now_ + setting_.round_trip / 4;
    worker.last_arrival = std::max(worker.last_arrival, now_ + setting_.round_trip / 2);
    after(worker.last_arrival - now_, [this, pid] {
      trace(pid, " is known to be dead");
      schedule_.worker_left(pid, true, time());
    });
  }

  void check_end() {
    for (std::size_t element = 0; element < outcomes_.size(); ++element) {
      const Outcome& outcome = outcomes_[element];
      if (outcome.delivered + outcome.failed != 1) {
        fail("element ", element, " was delivered ", outcome.delivered, " and failed ", outcome.failed, " times");
      }
      const auto restarts = static_cast<std::size_t>(setting_.rules.max_restarts);
      const std::size_t retries = setting_.rules.retry_delays.size();
      if (!setting_.lossy_deaths && setting_.threads == 1 &&
          outcome.killed.size() >
              restarts + 1 + 2 * retries + 1) {  // each attempt may see a death that is not charged to it
        fail("element ", element, " ran on ", outcome.killed.size(), " workers that died");
      }
    }
  }

  Setting setting_;
  MapSchedule schedule_;
  std::vector<Outcome> outcomes_;
  Nanoseconds now_{0};
  std::uint64_t numbers_ = 0;
  std::priority_queue<Event> events_;
  std::optional<MapSchedule::Time> timer_;
  std::map<Pid, Worker> workers_;
  std::set<Pid> died_idle_;
  Pid last_pid_ = 1;
  std::size_t read_ = 0, readable_ = 0, called_back_ = 0, lost_ = 0;
};

// Log-uniform: as many between 0.1 and 1 ms as between 1 and 10.
std::vector<Element> heavy_tailed(std::mt19937_64& random, std::size_t n, double least_us, double most_us) {
  std::uniform_real_distribution<double> exponent(std::log(least_us), std::log(most_us));
  std::vector<Element> elements(n);
  for (Element& element : elements)
    element.duration = Nanoseconds(static_cast<long long>(1e3 * std::exp(exponent(random))));
  return elements;
}

Setting random_setting(std::uint64_t seed) {
  std::mt19937_64 random(seed * 7919);
  const auto between = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
  Setting setting;
  setting.rules.batch_size = static_cast<std::size_t>(between(0, 3) == 0 ? between(0, 40) : 1);
  setting.rules.max_restarts = between(0, 4);
  setting.rules.retry_delays.assign(static_cast<std::size_t>(between(0, 3)), Nanoseconds(between(0, 3) * 1ms));
  setting.workers = between(1, 12);
  setting.threads = static_cast<std::size_t>(between(0, 4) == 0 ? between(2, 4) : 1);
  setting.round_trip = Nanoseconds(between(2, 400) * 1us);
  if (between(0, 4) == 0) setting.input_pace = Nanoseconds(between(1, 500) * 1us);
  setting.lossy_deaths = between(0, 2) == 0;
  const double least = between(0, 1) == 0 ? 1 : 50;
  setting.elements = heavy_tailed(random, static_cast<std::size_t>(between(1, 3000)), least, least * between(1, 200));
  const int failing = between(0, 2) == 0 ? 0 : between(0, 30), killing = between(0, 2) == 0 ? 0 : between(0, 5);
  for (Element& element : setting.elements) {
    if (between(1, 100) <= failing) element.failures = between(1, 4);
    if (between(1, 1000) <= killing) element.kills = between(1, 7);
  }
  if (between(0, 1) == 0) setting.mean_life = Nanoseconds(between(5, 300) * 1ms);
  if (killing > 0 || setting.mean_life > 0ns) {
    if (between(0, 4) != 0) setting.mean_join = Nanoseconds(between(1, 40) * 1ms);
  }
  if (between(0, 3) == 0) setting.rules.max_units = static_cast<std::size_t>(between(1, 10));
  return setting;
}

TEST(MapSimulation, EveryElementIsDeliveredOrFailsOnce) {
  std::size_t called_back = 0, lost = 0;
  bool ran_all = true;
  run_seeds(400, [&](std::uint64_t seed, bool traced) {
    Map map(seed, random_setting(seed), traced);
    auto failure = map.run();
    called_back += map.called_back();
    lost += map.lost_elements();
    ran_all = !traced && failure.empty();
    return failure;
  });
  if (!ran_all) return;
  EXPECT_GT(called_back, 100u) << "these runs test no withdrawals";
  EXPECT_GT(lost, 100u) << "these runs test no deaths";
}

TEST(MapSimulation, HeavyTailedElementsKeepBothWorkersBusyToTheEnd) {
  double sum = 0, worst = 0;
  constexpr int seeds = 200;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    std::mt19937_64 random(seed);
    Setting setting;
    setting.elements = heavy_tailed(random, 400, 100, 20000);
    Nanoseconds total{};
    for (const Element& element : setting.elements) total += element.duration;
    Map map(seed, std::move(setting), false);
    ASSERT_EQ(map.run(), "");
    const double ratio = static_cast<double>(map.makespan().count()) / (static_cast<double>(total.count()) / 2);
    sum += ratio;
    worst = std::max(worst, ratio);
  }
  RecordProperty("mean_ratio", std::to_string(sum / seeds));
  std::cout << "makespan / ideal: mean " << sum / seeds << ", worst " << worst << '\n';
  EXPECT_LE(sum / seeds, 1.05);
}

TEST(MapSimulation, TinyElementsHideTheRoundTrip) {
  Setting setting;
  setting.elements.assign(20000, Element{5us});
  setting.workers = 4;
  setting.round_trip = 300us;
  Map map(1, std::move(setting), false);
  ASSERT_EQ(map.run(), "");
  const double ratio = static_cast<double>(map.makespan().count()) / (20000.0 / 4 * 5e3);
  std::cout << "makespan / ideal: " << ratio << '\n';
  EXPECT_LE(ratio, 1.2);
}

TEST(MapSimulation, OneElementBlocksItsWorkerOnly) {
  // 1000 elements of 0.2 ms on four workers, and among the last a long one.
  Setting setting;
  setting.elements.assign(1000, Element{200us});
  setting.elements[950].duration = 30ms;
  setting.workers = 4;
  Map map(1, std::move(setting), false);
  ASSERT_EQ(map.run(), "");
  EXPECT_LE(map.makespan(), 30ms + 950 * 200us / 4 + 5ms);
}

}  // namespace
