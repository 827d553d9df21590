#include "runtime/calls/map_schedule.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace muster::runtime {

namespace {

constexpr double batch_nanoseconds = 200e3;  // long against the cost of a message, short against a window
constexpr std::size_t largest_batch = 1024;

/// Puts a key in the place of another, either of which may be missing, without an allocation where neither is.
template <class Key>
void exchange_key(std::set<Key>& keys, bool had, const Key& before, bool has, const Key& after) {
  if (!had) {
    if (has) keys.insert(after);
  } else if (!has) {
    keys.erase(before);
  } else if (before != after) {
    auto node = keys.extract(before);
    node.value() = after;
    keys.insert(std::move(node));
  }
}

}  // namespace

// Units that have not started and are not being called back. As many as there are threads run, and those known to have
// started are among them.
std::size_t MapSchedule::Worker::waiting() const {
  const std::size_t unknown = units.size() - withdrawing - started;
  const std::size_t running = threads > started ? threads - started : 0;
  return unknown > running ? unknown - running : 0;
}

// -- workers ----------------------------------------------------------------------------------------------------------

void MapSchedule::worker_joined(Pid pid, Time now, std::size_t threads, std::chrono::nanoseconds round_trip) {
  if (stopped_ || workers_.contains(pid)) return;
  threads = std::max<std::size_t>(threads, 1);
  Worker worker{.pid = pid,
                .threads = threads,
                .window = Window(rules_.window_time, threads),
                .patience = rules_.window_time + 2 * round_trip,
                .units = {}};
  worker.window.round_trip(round_trip);
  index(workers_.emplace(pid, std::move(worker)).first->second);
  place(now);
}

void MapSchedule::worker_left(Pid pid, bool died, Time now) {
  const auto known = workers_.find(pid);
  if (stopped_ || known == workers_.end()) return;
  unindex(known->second);
  const auto gone = workers_.extract(known);
  requeue(gone.mapped(), died);
  place(now);
}

void MapSchedule::expect_workers(bool expected, Time now) {
  if (std::exchange(expected_, expected) && !expected) place(now);
}

void MapSchedule::requeue(const Worker& gone, bool died) {
  std::vector<Work> again;
  for (const MapUnitId id : gone.units) {
    const auto found = units_.find(id);
    Unit unit = found->second;
    units_.erase(found);
    call_back_answered(unit);
    const Work rest{unit.work.first + unit.settled, unit.work.count - unit.settled};
    if (rest.count != 0) again.push_back(rest);
  }
  if (!died) {
    ready_.insert(ready_.begin(), again.begin(), again.end());
  } else if (again.size() == 1 && again.front().count == 1) {
    if (charge(again.front().first, gone.pid)) suspects_.push_back(again.front().first);
  } else if (!again.empty()) {
    suspect(again, gone.pid);
  }
}

void MapSchedule::suspect(const std::vector<Work>& works, Pid worker) {
  unexplained_.emplace(++last_death_, worker);
  for (const Work& work : works) {
    for (std::size_t element = work.first; element < work.first + work.count; ++element) {
      troubles_[element].suspected = last_death_;
      suspects_.push_back(element);
    }
  }
}

// False when the element has had all its restarts.
bool MapSchedule::charge(std::size_t element, Pid worker) {
  Trouble& trouble = troubles_[element];
  // Two deaths with this one there: it was the cause of the first one too.
  if (const auto death = unexplained_.extract(std::exchange(trouble.suspected, 0)); !death.empty()) {
    trouble.deaths.push_back(death.mapped());
    ++trouble.restarts;
  }
  trouble.deaths.push_back(worker);
  if (++trouble.restarts <= rules_.max_restarts) return true;
  fail(element, MapFailure::Reason::worker_died);
  return false;
}

// -- input ------------------------------------------------------------------------------------------------------------

bool MapSchedule::need_input() const {
  return !stopped_ && !input_ended_ && ready_.empty() && suspects_.empty() &&
         (workers_.empty() ? !expected_ : room_ > 0 && !at_limit());
}

bool MapSchedule::gather() {
  if (stopped_ || workers_.empty() || gathering_.count + 1 >= batch_) return false;
  if (gathering_.count++ == 0) gathering_.first = next_element_;
  ++next_element_;
  return true;
}

void MapSchedule::element_available(Time now) {
  if (stopped_) return;
  if (gathering_.count == 0) gathering_.first = next_element_;
  ++next_element_;
  if (++gathering_.count >= batch_) ready_.push_back(std::exchange(gathering_, {}));
  place(now);
}

void MapSchedule::input_ended(Time now) {
  if (stopped_) return;
  input_ended_ = true;
  if (gathering_.count != 0) ready_.push_back(std::exchange(gathering_, {}));
  place(now);
}

// -- results ----------------------------------------------------------------------------------------------------------

// Settles a unit's elements up to and with this one; their number, or nothing when that is no news.
std::optional<std::size_t> MapSchedule::settle_until(MapUnitId id, std::size_t element) {
  const auto found = units_.find(id);
  if (found == units_.end()) return std::nullopt;
  Unit& unit = found->second;
  if (element < unit.work.first + unit.settled || element >= unit.work.first + unit.work.count) return std::nullopt;
  const Work earlier{unit.work.first + unit.settled, element - unit.work.first - unit.settled};
  forget_trouble(earlier);
  unit.settled += earlier.count + 1;
  return unit.settled;
}

bool MapSchedule::delivered(MapUnitId unit, std::size_t element) {
  if (!settle_until(unit, element)) return false;
  forget_trouble({element, 1});
  return true;
}

std::optional<int> MapSchedule::failed(MapUnitId unit, std::size_t element) {
  if (!settle_until(unit, element)) return std::nullopt;
  Trouble& trouble = troubles_[element];
  trouble.suspected = 0;
  ++trouble.attempts;
  trouble.asked = true;
  ++asked_;
  return attempt_to_ask(trouble);
}

bool MapSchedule::completed(MapUnitId id, Time now) {
  const auto found = units_.find(id);
  if (found == units_.end()) return false;
  Worker& worker = workers_.at(found->second.worker);
  worker.window.completed(now);
  worker.since = now;
  const Unit unit = take_out(found);
  forget_trouble({unit.work.first + unit.settled, unit.work.count - unit.settled});
  learn_batch(unit, worker);
  place(now);
  return true;
}

void MapSchedule::split(MapUnitId id, bool ran, Time now) {
  const auto found = units_.find(id);
  if (found == units_.end()) return;
  Window& window = workers_.at(found->second.worker).window;
  if (ran)
    window.completed(now);
  else
    window.withdrew();
  const Unit unit = take_out(found);
  for (std::size_t i = unit.work.count; i > unit.settled; --i) ready_.push_front({unit.work.first + i - 1, 1});
  place(now);
}

void MapSchedule::learn_batch(const Unit& unit, const Worker& worker) {
  if (rules_.batch_size != 0) return;
  const double time = static_cast<double>(worker.window.service_time().count()) / static_cast<double>(unit.work.count);
  element_time_ = element_time_ == 0 ? time : element_time_ + (time - element_time_) / 8;
  const double wanted = std::min(batch_nanoseconds / std::max(element_time_, 1.0), static_cast<double>(largest_batch));
  batch_ = std::clamp<std::size_t>(static_cast<std::size_t>(wanted), 1, 2 * batch_);
}

int MapSchedule::attempt_to_ask(const Trouble& trouble) const {
  return static_cast<std::size_t>(trouble.attempts) <= rules_.retry_delays.size() ? trouble.attempts : 0;
}

void MapSchedule::forget_trouble(Work work) {
  if (troubles_.empty()) return;
  for (std::size_t element = work.first; element < work.first + work.count; ++element) troubles_.erase(element);
}

void MapSchedule::fail(std::size_t element, MapFailure::Reason reason) {
  Trouble& trouble = troubles_[element];
  ++trouble.attempts;
  trouble.asked = true;
  ++asked_;
  auto deaths = trouble.deaths;
  if (const auto death = unexplained_.find(trouble.suspected); death != unexplained_.end())
    deaths.push_back(death->second);
  actions_.emplace_back(MapFailure{element, reason, std::move(deaths), attempt_to_ask(trouble)});
}

void MapSchedule::retry(std::size_t element, Time now) {
  const auto trouble = troubles_.find(element);
  if (stopped_ || trouble == troubles_.end() || !trouble->second.asked) return;
  const int attempt = attempt_to_ask(trouble->second);
  if (attempt == 0) {
    final_failure(element);
    return;
  }
  trouble->second.asked = false;
  --asked_;
  retries_.emplace(now + rules_.retry_delays[static_cast<std::size_t>(attempt - 1)], element);
  timer(now);
}

void MapSchedule::final_failure(std::size_t element) {
  const auto trouble = troubles_.find(element);
  if (trouble == troubles_.end() || !trouble->second.asked) return;
  troubles_.erase(trouble);
  --asked_;
}

// -- sending ----------------------------------------------------------------------------------------------------------

void MapSchedule::place(Time now) {
  if (stopped_) return;
  if (workers_.empty()) {
    if (!expected_) fail_without_workers();
    return;
  }
  place_suspects(now);
  while (suspects_.empty() && !ready_.empty() && !open_.empty() && !at_limit()) {
    const Work work = ready_.front();
    ready_.pop_front();
    send(workers_.at(std::get<Pid>(*open_.begin())), work, now);
  }
  level(now);
}

// Nothing else is sent while suspects wait, so that workers become free for them.
void MapSchedule::place_suspects(Time now) {
  while (!suspects_.empty() && !open_.empty() && std::get<0>(*open_.begin()) == 0 && !at_limit()) {
    const Work work{suspects_.front(), 1};
    suspects_.pop_front();
    send(workers_.at(std::get<Pid>(*open_.begin())), work, now, true);
  }
}

void MapSchedule::send(Worker& worker, Work work, Time now, bool alone) {
  if (worker.units.empty()) worker.since = now;
  const MapUnitId id = ++last_unit_;
  units_.emplace(id, Unit{.work = work, .worker = worker.pid, .alone = alone});
  worker.alone = worker.alone || alone;
  worker.turn = id;
  worker.units.push_back(id);
  worker.window.sent(now);
  index(worker);
  actions_.emplace_back(MapSend{id, worker.pid, work.first, work.count});
}

void MapSchedule::fail_without_workers() {
  if (gathering_.count != 0) ready_.push_back(std::exchange(gathering_, {}));
  for (const std::size_t element : std::exchange(suspects_, {})) fail(element, MapFailure::Reason::no_worker);
  for (const Work& work : std::exchange(ready_, {})) {
    for (std::size_t element = work.first; element < work.first + work.count; ++element) {
      fail(element, MapFailure::Reason::no_worker);
    }
  }
}

MapSchedule::Unit MapSchedule::take_out(Units::iterator found) {
  const MapUnitId id = found->first;
  Unit unit = found->second;
  units_.erase(found);
  Worker& worker = workers_.at(unit.worker);
  // Near the front when it is over, near the back when it was called back.
  if (unit.withdrawing) {
    const auto place = std::find(worker.units.rbegin(), worker.units.rend(), id);
    worker.units.erase(std::next(place).base());
    --worker.withdrawing;
  } else {
    worker.units.erase(std::find(worker.units.begin(), worker.units.end(), id));
  }
  if (unit.started) --worker.started;
  if (unit.alone) worker.alone = false;
  call_back_answered(unit);
  index(worker);
  return unit;
}

// -- calling back what waits behind something long --------------------------------------------------------------------

bool MapSchedule::may_level() const {
  return !stopped_ && input_ended_ && ready_.empty() && suspects_.empty() && !idle_.empty() && !loaded_.empty();
}

void MapSchedule::level(Time now) {
  while (may_level()) {
    Worker& victim = workers_.at(loaded_.begin()->second);
    const bool has_much = victim.window.service_time() * victim.waiting() >= victim.patience;
    if (!has_much && now - victim.since < victim.patience) return;
    call_back(victim, workers_.at(*idle_.begin()));
  }
}

// Half of what waits there, the last sent first.
void MapSchedule::call_back(Worker& victim, Worker& thief) {
  const std::size_t room = std::max<std::size_t>(thief.room, thief.expecting + 1) - thief.expecting;
  std::size_t wanted = std::min((victim.waiting() + 1) / 2, room);
  for (auto id = victim.units.rbegin(); id != victim.units.rend() && wanted != 0; ++id) {
    Unit& unit = units_.at(*id);
    if (unit.withdrawing || unit.started) continue;
    unit.withdrawing = true;
    unit.thief = thief.pid;
    ++victim.withdrawing;
    ++thief.expecting;
    --wanted;
    actions_.emplace_back(MapWithdraw{*id, victim.pid});
  }
  index(victim);
  index(thief);
}

void MapSchedule::call_back_answered(Unit& unit) {
  if (!unit.withdrawing) return;
  unit.withdrawing = false;
  const auto thief = workers_.find(unit.thief);
  if (thief == workers_.end() || thief->second.expecting == 0) return;
  --thief->second.expecting;
  index(thief->second);
}

void MapSchedule::withdrawn(MapUnitId id, Time now) {
  const auto found = units_.find(id);
  if (found == units_.end() || !found->second.withdrawing) return;
  workers_.at(found->second.worker).window.withdrew();
  ready_.push_front(take_out(found).work);
  place(now);
}

void MapSchedule::not_withdrawn(MapUnitId id, Time now) {
  const auto found = units_.find(id);
  if (found == units_.end() || !found->second.withdrawing) return;
  Worker& worker = workers_.at(found->second.worker);
  --worker.withdrawing;
  ++worker.started;
  found->second.started = true;
  call_back_answered(found->second);
  index(worker);
  place(now);
}

// -- time, end --------------------------------------------------------------------------------------------------------

void MapSchedule::timer(Time now) {
  if (stopped_) return;
  while (!retries_.empty() && retries_.top().first <= now) {
    run_again(retries_.top().second);
    retries_.pop();
  }
  place(now);
}

void MapSchedule::run_again(std::size_t element) {
  if (troubles_[element].deaths.empty())
    ready_.push_back({element, 1});
  else
    suspects_.push_back(element);
}

std::optional<MapSchedule::Time> MapSchedule::next_timer() const {
  std::optional<Time> next;
  if (stopped_) return next;
  if (!retries_.empty()) next = retries_.top().first;
  if (may_level()) {
    const Time tried = loaded_.begin()->first + workers_.at(loaded_.begin()->second).patience;
    next = next ? std::min(*next, tried) : tried;
  }
  return next;
}

std::vector<MapWithdraw> MapSchedule::stop() {
  std::vector<MapWithdraw> running;
  running.reserve(units_.size());
  for (const auto& [id, unit] : units_) running.push_back({id, unit.worker});
  stopped_ = true;
  units_.clear();
  workers_.clear();
  open_.clear();
  loaded_.clear();
  idle_.clear();
  ready_.clear();
  suspects_.clear();
  troubles_.clear();
  actions_.clear();
  asked_ = room_ = 0;
  return running;
}

bool MapSchedule::done() const {
  if (stopped_) return true;
  return input_ended_ && ready_.empty() && suspects_.empty() && units_.empty() && retries_.empty() && asked_ == 0;
}

// -- indexes ----------------------------------------------------------------------------------------------------------

void MapSchedule::unindex(Worker& worker) {
  room_ -= std::exchange(worker.room, 0);
  if (std::exchange(worker.open, false)) open_.erase(worker.open_key);
  if (std::exchange(worker.loaded, false)) loaded_.erase({worker.loaded_key, worker.pid});
  if (std::exchange(worker.idle, false)) idle_.erase(worker.pid);
}

void MapSchedule::index(Worker& worker) {
  const std::size_t size = worker.window.size();
  const std::size_t room = worker.alone ? 0 : size - std::min(size, worker.units.size());
  room_ += room - std::exchange(worker.room, room);

  const OpenKey open_key{worker.units.size(), worker.turn, worker.pid};
  const bool was_open = std::exchange(worker.open, room > 0);
  exchange_key(open_, was_open, std::exchange(worker.open_key, open_key), worker.open, open_key);

  const bool was_loaded = std::exchange(worker.loaded, worker.waiting() > 0);
  const Time loaded_before = std::exchange(worker.loaded_key, worker.since);
  exchange_key(loaded_, was_loaded, {loaded_before, worker.pid}, worker.loaded, {worker.since, worker.pid});

  const bool was_idle = std::exchange(worker.idle, worker.spare());
  exchange_key(idle_, was_idle, worker.pid, worker.idle, worker.pid);
}

}  // namespace muster::runtime
