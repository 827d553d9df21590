/// @file
/// Parallel maps of simulated processes: MapSchedule over their real calls, driven as MapDriver does it, on virtual
/// time.
#pragma once

#include "runtime/calls/map_schedule.hpp"
#include "tests/simulation/simulated_work.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <variant>

namespace muster::simulation {

/// What happens to one element.
struct MapElement {
  Nanoseconds duration{0};
  int failures = 0;  ///< so many runs throw
  int kills = 0;     ///< so many runs, before those, end their process
};

class SimulatedMaps;

class SimulatedMap {
 public:
  SimulatedMap(SimulatedMaps& cluster, SimulatedProcess& at, std::size_t number, runtime::MapRules rules,
               std::vector<MapElement> elements)
      : cluster_(cluster),
        at_(at),
        number_(number),
        retries_(rules.retry_delays.size()),
        schedule_(std::move(rules)),
        elements_(std::move(elements)),
        outcomes_(elements_.size()) {}

  SimulatedProcess& at() { return at_; }
  bool done() const { return schedule_.done(); }
  /// In the process of the map.
  void start() {
    update_members();
    go_on();
  }
  void members_changed() {
    if (done()) return;
    update_members();
    go_on();
  }
  std::vector<MapElement>& elements() { return elements_; }
  /// What is wrong with it, once it is done; empty: nothing.
  std::string problem() const {
    if (broken_off_) return {};
    for (std::size_t i = 0; i < outcomes_.size(); ++i) {
      const Outcome& outcome = outcomes_[i];
      if (outcome.delivered + outcome.failed != 1)
        return "element " + std::to_string(i) + " was delivered " + std::to_string(outcome.delivered) +
               " times, and failed " + std::to_string(outcome.failed);
      if (outcome.failed != 0 && !outcome.without_worker && outcome.threw <= retries_ && !outcome.killed)
        return "element " + std::to_string(i) + " failed without a reason";
    }
    return {};
  }
  std::size_t delivered() const {
    return static_cast<std::size_t>(
        std::count_if(outcomes_.begin(), outcomes_.end(), [](const Outcome& one) { return one.delivered == 1; }));
  }

 private:
  struct Outcome {
    int delivered = 0, failed = 0;
    std::size_t threw = 0;
    bool without_worker = false, killed = false;
  };
  struct Unit {
    CorePointer call;
    Pid worker;
    std::size_t first, count;
    CorePointer withdrawal = nullptr;
  };
  using Units = std::map<runtime::MapUnitId, Unit>;
  using Time = runtime::MapSchedule::Time;

  Time now() const;
  void go_on();
  void perform_actions();
  void update_members();
  void send(const runtime::MapSend& what);
  void withdraw(const runtime::MapWithdraw& what);
  void unit_settled(runtime::MapUnitId id);
  void withdrawal_settled(runtime::MapUnitId id);
  void worker_died(Pid pid, bool expected);
  void worker_left(Pid pid, bool died);
  void element_failed(runtime::MapUnitId unit, std::size_t element);
  void settle_failure(std::size_t element, int attempt);

  SimulatedMaps& cluster_;
  SimulatedProcess& at_;
  const std::size_t number_, retries_;
  runtime::MapSchedule schedule_;
  std::vector<MapElement> elements_;
  std::vector<Outcome> outcomes_;
  std::size_t read_ = 0;
  bool broken_off_ = false;
  std::vector<Pid> workers_;
  std::set<Pid> exits_;
  Units units_;
  std::optional<Time> timer_;
};

class SimulatedMaps : public SimulatedWork {
 public:
  explicit SimulatedMaps(const Options& options) : SimulatedWork(options) { running() = this; }
  ~SimulatedMaps() override {
    end();
    running() = nullptr;
  }

  void map(SimulatedProcess& at, runtime::MapRules rules, std::vector<MapElement> elements) {
    trace().say(at.pid(), "starts map ", maps_.size(), " of ", elements.size(), " elements");
    maps_.push_back(std::make_unique<SimulatedMap>(*this, at, maps_.size(), std::move(rules), std::move(elements)));
    maps_.back()->start();
  }
  std::size_t elements_delivered() const {
    std::size_t sum = 0;
    for (const auto& map : maps_) sum += map->delivered();
    return sum;
  }

 protected:
  friend class SimulatedMap;
  void members_changed(Pid at) override {
    for (const auto& map : maps_)
      if (map->at().pid() == at) map->at().enter_after(Nanoseconds(0), [one = map.get()] { one->members_changed(); });
  }
  void check_maps() {
    for (std::size_t i = 0; i < maps_.size(); ++i) {
      if (!maps_[i]->at().alive()) continue;
      if (!maps_[i]->done())
        fail("map ", i, " of process ", maps_[i]->at().pid(), " is not done, and never will be");
      else if (const auto problem = maps_[i]->problem(); !problem.empty())
        fail("map ", i, ": ", problem);
    }
  }

 private:
  static SimulatedMaps*& running() {
    static thread_local SimulatedMaps* running = nullptr;
    return running;
  }
  /// What runs of a unit where it was sent: its elements, one after the other; the answer has a byte for each.
  static void perform_unit(detail::TaskRun& run) {
    SimulatedMaps& maps = *running();
    if (maps.over()) return;
    runtime::FieldReader in(run.arguments().bytes.bytes());
    const std::size_t map = in.u64();
    const std::size_t first = in.u64(), count = in.u64();
    run.arguments_done();
    auto results = std::make_shared<Payload>();
    maps.perform_element(*SimulatedProcess::current(), run.shared_from_this(), map, first, first + count, results);
  }
  void perform_element(SimulatedProcess& here, const std::shared_ptr<detail::TaskRun>& run, std::size_t map,
                       std::size_t element, std::size_t end, const std::shared_ptr<Payload>& results) {
    if (element == end) {
      run->complete(Payload(*results));
      return;
    }
    MapElement& plan = maps_.at(map)->elements().at(element);
    here.enter_after(plan.duration, [this, &here, run, map, element, end, results] {
      MapElement& mine = maps_.at(map)->elements().at(element);
      if (mine.kills > 0) {
        --mine.kills;
        kill(here.pid());
        return;
      }
      const bool throws = mine.failures > 0;
      if (throws) --mine.failures;
      runtime::FieldWriter(results->bytes).u8(throws ? 0 : 1);
      runtime::FieldWriter(results->bytes).u64(value_of(element));
      perform_element(here, run, map, element + 1, end, results);
    });
  }

  std::vector<std::unique_ptr<SimulatedMap>> maps_;
};

inline SimulatedMap::Time SimulatedMap::now() const { return Time(cluster_.time().now()); }

inline void SimulatedMap::go_on() {
  while (schedule_.need_input()) {
    if (read_ < elements_.size()) {
      ++read_;
      schedule_.element_available(now());
    } else {
      schedule_.input_ended(now());
    }
    perform_actions();
  }
  perform_actions();
  const auto next = schedule_.next_timer();
  if (!next || (timer_ && *timer_ <= *next && *timer_ > now())) return;
  timer_ = next;
  at_.enter_after(*next - now(), [this] {
    if (done()) return;
    schedule_.timer(now());
    go_on();
  });
}

inline void SimulatedMap::perform_actions() {
  for (auto actions = schedule_.take_actions(); !actions.empty(); actions = schedule_.take_actions()) {
    for (const auto& action : actions) {
      if (const auto* send_it = std::get_if<runtime::MapSend>(&action)) {
        send(*send_it);
      } else if (const auto* withdraw_it = std::get_if<runtime::MapWithdraw>(&action)) {
        withdraw(*withdraw_it);
      } else {
        const auto& failure = std::get<runtime::MapFailure>(action);
        auto& outcome = outcomes_.at(failure.element);
        (failure.reason == runtime::MapFailure::Reason::no_worker ? outcome.without_worker : outcome.killed) = true;
        settle_failure(failure.element, failure.attempt);
      }
    }
  }
}

inline void SimulatedMap::update_members() {
  auto members = at_.cluster().procs();
  std::erase(members, 1);
  const auto before = workers_;
  for (const Pid pid : before)
    if (!std::binary_search(members.begin(), members.end(), pid)) worker_left(pid, false);
  for (const Pid pid : members) {
    if (std::binary_search(before.begin(), before.end(), pid) || exits_.contains(pid)) continue;
    workers_.insert(std::upper_bound(workers_.begin(), workers_.end(), pid), pid);
    schedule_.worker_joined(pid, now(), at_.cluster().threads_of(pid));
  }
}

inline void SimulatedMap::send(const runtime::MapSend& what) {
  if (!std::binary_search(workers_.begin(), workers_.end(), what.worker)) return;
  units_.emplace(what.unit, Unit{nullptr, what.worker, what.first, what.count});
  cluster_.with_link(at_, what.worker, [this, what](std::exception_ptr failure) {
    const auto unit = units_.find(what.unit);
    if (unit == units_.end()) return;  // it runs elsewhere by now
    try {
      if (failure) std::rethrow_exception(failure);
      Payload payload;
      runtime::FieldWriter out(payload.bytes);
      out.u64(number_);
      out.u64(what.first);
      out.u64(what.count);
      unit->second.call =
          at_.calls().start(what.worker, &SimulatedMaps::perform_unit, std::move(payload), detail::Returns::value);
    } catch (const ProcessExitedException& gone) {
      if (!cluster_.ending(gone.pid())) cluster_.fail("a map takes process ", gone.pid(), " for dead, which lives");
      units_.erase(unit);
      worker_died(what.worker, gone.exit().expected);
      return;
    } catch (const Error& error) {  // thrown by pmap itself
      if (cluster_.cuts() == 0) cluster_.fail("a map ended with: ", error.what());
      (void)schedule_.stop();
      broken_off_ = true;
      return;
    }
    unit->second.call->when_settled(true, [this, id = what.unit] {
      if (cluster_.over()) return;
      at_.enter_after(Nanoseconds(0), [this, id] { unit_settled(id), go_on(); });
    });
  });
}

inline void SimulatedMap::withdraw(const runtime::MapWithdraw& what) {
  const auto found = units_.find(what.unit);
  if (found == units_.end()) return;
  if (!found->second.call) {  // it was not even sent
    schedule_.not_withdrawn(what.unit, now());
    return;
  }
  auto& answer = found->second.withdrawal = at_.calls().withdraw(found->second.call);
  answer->when_settled(true, [this, id = what.unit] {
    if (cluster_.over()) return;
    at_.enter_after(Nanoseconds(0), [this, id] { withdrawal_settled(id), go_on(); });
  });
}

inline void SimulatedMap::worker_died(Pid pid, bool expected) {
  exits_.insert(pid);
  const bool had_work =
      std::any_of(units_.begin(), units_.end(), [pid](const auto& unit) { return unit.second.worker == pid; });
  worker_left(pid, had_work && !expected);
}

inline void SimulatedMap::worker_left(Pid pid, bool died) {
  const auto found = std::lower_bound(workers_.begin(), workers_.end(), pid);
  if (found == workers_.end() || *found != pid) return;
  workers_.erase(found);
  for (auto unit = units_.begin(); unit != units_.end();) {
    if (unit->second.worker != pid) {
      ++unit;
      continue;
    }
    const auto call = unit->second.call;
    unit = units_.erase(unit);
    if (!died && call && !call->settled(false)) (void)at_.calls().cancel(call);
  }
  schedule_.worker_left(pid, died, now());
}

inline void SimulatedMap::withdrawal_settled(runtime::MapUnitId id) {
  const auto found = units_.find(id);
  if (found == units_.end() || !found->second.withdrawal || !found->second.withdrawal->settled(false)) return;
  const auto answer = std::exchange(found->second.withdrawal, nullptr);
  if (answer->state() == FutureCore::State::here && !answer->take_payload().bytes.empty()) {
    units_.erase(found);
    schedule_.withdrawn(id, now());
  } else {
    schedule_.not_withdrawn(id, now());
  }
}

inline void SimulatedMap::unit_settled(runtime::MapUnitId id) {
  withdrawal_settled(id);
  const auto found = units_.find(id);
  if (found == units_.end()) return;
  const Unit unit = std::move(found->second);
  units_.erase(found);
  if (unit.call->state() == FutureCore::State::failed) {
    try {
      std::rethrow_exception(unit.call->failure());
    } catch (const ProcessExitedException& gone) {
      if (!cluster_.ending(gone.pid())) cluster_.fail("a map hears that process ", gone.pid(), " is dead, which lives");
      if (gone.pid() == unit.worker) {
        units_.emplace(id, unit);
        worker_died(unit.worker, gone.exit().expected);
        return;
      }
    } catch (const Error& error) {
      if (cluster_.cuts() == 0 && !cluster_.ending(unit.worker))
        cluster_.fail("a unit of a map failed: ", error.what());
    }
    for (std::size_t element = unit.first; element < unit.first + unit.count; ++element) element_failed(id, element);
    (void)schedule_.completed(id, now());
    return;
  }
  const Payload results = unit.call->take_payload();
  runtime::FieldReader in(results.bytes.bytes());
  for (std::size_t element = unit.first; element < unit.first + unit.count; ++element) {
    const bool good = in.u8() != 0;
    if (in.u64() != SimulatedMaps::value_of(element)) cluster_.fail("element ", element, " has another's result");
    if (!good) {
      element_failed(id, element);
      continue;
    }
    ++outcomes_.at(element).delivered;
    (void)schedule_.delivered(id, element);
  }
  in.finish();
  (void)schedule_.completed(id, now());
}

inline void SimulatedMap::element_failed(runtime::MapUnitId unit, std::size_t element) {
  const auto attempt = schedule_.failed(unit, element);
  if (!attempt) return;
  ++outcomes_.at(element).threw;
  settle_failure(element, *attempt);
}

inline void SimulatedMap::settle_failure(std::size_t element, int attempt) {
  if (attempt > 0) {
    schedule_.retry(element, now());
    return;
  }
  ++outcomes_.at(element).failed;
  schedule_.final_failure(element);
}

}  // namespace muster::simulation
