#include "runtime/session/map_driver.hpp"

#include "runtime/base/deadline.hpp"
#include "runtime/base/failure.hpp"
#include "runtime/base/log.hpp"

#include <algorithm>
#include <utility>

namespace muster::detail {

std::shared_ptr<runtime::SentFunction> cached_function(FunctionCache& cache, Thunk keep, Payload&& encoded);

std::vector<std::byte> encode_element_failure(const std::exception_ptr& failure) {
  return runtime::encode_failure(failure, runtime::current_process().pid());
}

std::size_t checked_batch_size(int size) {
  if (size < 1)
    throw std::invalid_argument("muster: batch_size is " + std::to_string(size) +
                                "; it must be at least 1, or muster::Auto to have it chosen");
  return static_cast<std::size_t>(size);
}

std::size_t checked_max_tasks(int tasks) {
  if (tasks < 0)
    throw std::invalid_argument("muster: max_tasks is " + std::to_string(tasks) +
                                "; it must be at least 1, or 0 for no limit");
  return static_cast<std::size_t>(tasks);
}

MapRun::MapRun(MapWork& work, MapSettings settings)
    : driver_(std::make_unique<runtime::MapDriver>(work, std::move(settings))) {
  driver_->go_on();
}
MapRun::~MapRun() = default;
bool MapRun::next() { return driver_->next(); }
void MapRun::go_on() { driver_->go_on(); }

}  // namespace muster::detail

namespace muster::runtime {

using detail::CorePointer;
using detail::FutureCore;
using detail::OutputArchive;
using detail::Payload;
using What = MapEvents::Event::What;

namespace {

/// How often a pool of another process is asked for its members, and progress is shown while nothing happens.
constexpr auto refresh_interval = std::chrono::milliseconds(250);
/// A message to a process of this host, and one back, where both wake up at once.
constexpr auto way_within_host = std::chrono::microseconds(100);
/// Elements sent or taken in before the other is looked at again.
constexpr std::size_t stride = 64;

/// A scope's deadline for a stretch of the map's work.
class MapScope {
 public:
  explicit MapScope(std::optional<Clock::time_point> deadline) : before_(exchange_scope_deadline(std::nullopt)) {
    (void)exchange_scope_deadline(earlier(before_, deadline));
  }
  MapScope(const MapScope&) = delete;
  MapScope& operator=(const MapScope&) = delete;
  ~MapScope() { (void)exchange_scope_deadline(before_); }

 private:
  std::optional<Clock::time_point> before_;
};

MapRules rules_of(const detail::MapSettings& settings) {
  return {.batch_size = settings.batch_size,
          .retry_delays = settings.retry_delays,
          .max_restarts = std::max(settings.max_restarts, 0),
          .max_units = settings.max_tasks == 0 ? MapRules::no_limit : settings.max_tasks};
}

std::shared_ptr<SentFunction> function_of(const detail::MapWork& work, const detail::MapSettings& settings) {
  const detail::Thunk keep = work.code().keep;
  if (keep == nullptr) return nullptr;
  if (settings.pool != nullptr && settings.pool->function_cache()) {
    Payload encoded;
    OutputArchive archive(encoded);
    work.write_function(archive);
    return detail::cached_function(*settings.pool->function_cache(), keep, std::move(encoded));
  }
  return std::make_shared<SentFunction>(keep, [&work](Payload& payload, detail::KeptId id) {
    OutputArchive archive(payload);
    detail::write_kept_id(archive, id);
    work.write_function(archive);
  });
}

}  // namespace

// -- events -----------------------------------------------------------------------------------------------------------

void MapEvents::push(Event event) {
  const std::lock_guard lock(mutex_);
  events_.push_back(event);
  if (waiting_ != nullptr) std::exchange(waiting_, nullptr)->wake();
}

std::optional<MapEvents::Event> MapEvents::take() {
  if (next_ == taken_.size()) {
    taken_.clear();
    next_ = 0;
    const std::lock_guard lock(mutex_);
    taken_.swap(events_);
  }
  if (next_ == taken_.size()) return std::nullopt;
  return taken_[next_++];
}

void MapEvents::wait(std::optional<Clock::time_point> until) {
  const auto limit = current_deadline();
  Wakeup wakeup(executor_);
  {
    const std::lock_guard lock(mutex_);
    if (next_ != taken_.size() || !events_.empty()) return;
    waiting_ = &wakeup;
  }
  const auto woken = executor_.block(wakeup, earlier(until, limit));
  {
    const std::lock_guard lock(mutex_);
    waiting_ = nullptr;
    if (!events_.empty()) return;
  }
  if (woken == Executor::Woken::event) return;
  if (const TaskState* task = current_task()) task->check();
  if (executor_.stopped()) throw NoSession("The session ended while a pmap was running");
  if (limit && Clock::now() >= *limit)
    throw TimeoutError("The pmap was not done in time; what was left of it is cancelled");
}

// -- members ----------------------------------------------------------------------------------------------------------

MapMembers::MapMembers(Process& process, const detail::MapSettings& settings)
    : process_(process), distributed_(settings.distributed) {
  if (!distributed_) return;
  if (settings.pool == nullptr || settings.pool->name().number == 0) {
    alone_ = process_.cluster().procs().size() == 1;
  } else if (settings.pool->state()) {
    pool_.emplace(*settings.pool);
  } else {
    const MapScope scope(settings.timeout ? std::optional(deadline_after(*settings.timeout)) : std::nullopt);
    elsewhere_.emplace(*settings.pool);
    known_ = elsewhere_->workers();
  }
}

void MapMembers::refresh(const std::function<void()>& tell) {
  if (!elsewhere_) {
    tell();
    return;
  }
  if (answer_ && !answer_->settled(true)) return;
  answer_ = detail::ask_pool_members(*elsewhere_);
  answer_->when_settled(true, tell);
}

std::vector<Pid> MapMembers::now() {
  if (!distributed_) return {process_.pid()};
  if (pool_) return pool_->workers();
  auto procs = process_.cluster().procs_staying();
  if (elsewhere_) {
    if (answer_ && answer_->state() == FutureCore::State::here)
      known_ = detail::take_value<std::vector<Pid>>(std::exchange(answer_, nullptr));
    std::erase_if(known_, [&](Pid pid) { return !std::binary_search(procs.begin(), procs.end(), pid); });
    return known_;
  }
  if (!alone_) std::erase(procs, 1);
  return procs;
}

// -- from its start to its end ----------------------------------------------------------------------------------------

MapDriver::MapDriver(detail::MapWork& work, detail::MapSettings settings)
    : process_(current_process()),
      work_(work),
      code_(work.code()),
      first_failure_ends_(settings.retry_delays.empty() && !work.replaces()),
      deadline_(settings.timeout ? std::optional(deadline_after(*settings.timeout)) : std::nullopt),
      schedule_(rules_of(settings)),
      events_(std::make_shared<MapEvents>(process_.executor())),
      members_(process_, settings),
      function_(function_of(work, settings)),
      refreshed_(Clock::now()) {
  if (settings.progress) progress_.emplace(*settings.progress, settings.total);
  // Only then subscribed to: what is told while the lists are read is not lost.
  subscription_.emplace(process_.changes(), [this] { events_->push({What::members, 0}); });
  const auto came = [events = events_] { events->push({What::members, 0}); };
  function_came_ = std::make_shared<SentFunction::Listener>(came);
  if (function_) function_->tell(function_came_);
  update_members();
}

MapDriver::~MapDriver() {
  subscription_.reset();
  cancel_units();
}

/// Cancels what still runs.
void MapDriver::cancel_units() noexcept {
  const TaskScope no_task(nullptr, false);  // it may have to stop; this has to be done all the same
  const auto deadline = exchange_scope_deadline(std::nullopt);
  const auto cancel = [this](const CorePointer& call) {
    if (!call || call->settled(false)) return;
    try {
      (void)process_.calls().cancel(call);
    } catch (const std::exception& error) {
      log::debug(std::string("A pmap is over, and a call of it could not be cancelled: ") + error.what());
    }
  };
  for (const auto& [id, unit] : units_) {
    cancel(unit.call);
    cancel(unit.withdrawal);
  }
  (void)exchange_scope_deadline(deadline);
}

bool MapDriver::next() {
  const MapScope scope(deadline_);
  const std::size_t before = delivered_;
  for (;;) {
    advance();
    if (delivered_ != before) return true;
    if (schedule_.done()) {
      finish();
      return false;
    }
    wait();
  }
}

void MapDriver::go_on() {
  const MapScope scope(deadline_);
  advance();
}

void MapDriver::advance() {
  take_in_events();
  read_input();
  const auto timer = schedule_.next_timer();
  if (!timer) return;
  if (const auto now = Clock::now(); now >= *timer) {
    schedule_.timer(now);
    perform_actions();
  }
}

void MapDriver::wait() {
  auto until = schedule_.next_timer();
  if (progress_ || members_.elsewhere()) until = earlier(until, Clock::now() + refresh_interval);
  events_->wait(until);
  if (progress_) progress_->advance(0);
  if (!members_.elsewhere() || Clock::now() < refreshed_ + refresh_interval) return;
  refreshed_ = Clock::now();
  members_.refresh([events = events_] { events->push({What::members, 0}); });
}

void MapDriver::finish() {
  if (std::exchange(finished_, true)) return;
  if (progress_) progress_->finish();
}

// -- input and actions ------------------------------------------------------------------------------------------------

void MapDriver::read_input() {
  std::size_t read = 0;
  while (schedule_.need_input()) {
    if (!work_.read())
      schedule_.input_ended(Clock::now());
    else if (!schedule_.gather())
      schedule_.element_available(Clock::now());
    perform_actions();
    if (++read % stride == 0) take_in_events();
  }
}

void MapDriver::perform_actions() {
  for (schedule_.take_actions(actions_); !actions_.empty(); schedule_.take_actions(actions_)) {
    for (const MapAction& action : actions_) {
      if (const auto* send_it = std::get_if<MapSend>(&action))
        send(*send_it);
      else if (const auto* withdraw_it = std::get_if<MapWithdraw>(&action))
        withdraw(*withdraw_it);
      else
        fail(std::get<MapFailure>(action));
    }
  }
}

Payload MapDriver::arguments_of(const MapSend& what) {
  if (what.count == 1 && !function_) return work_.encode_alone(what.first);
  Payload payload;
  OutputArchive archive(payload);
  if (function_)
    detail::write_kept_id(archive, function_->at(what.worker));
  else
    work_.write_function(archive);
  if (what.count > 1) {
    archive.write(first_failure_ends_);
    archive.write_count(what.count);
  }
  for (std::size_t i = 0; i < what.count; ++i) work_.write_element(archive, what.first + i);
  return payload;
}

void MapDriver::send(const MapSend& what) {
  if (!std::binary_search(workers_.begin(), workers_.end(), what.worker))
    return;  // it left meanwhile; they run elsewhere
  CorePointer call;
  try {
    call = process_.calls().start(what.worker, what.count > 1 ? code_.batch : code_.element, arguments_of(what),
                                  detail::Returns::value, Calls::Hurry::no);
  } catch (const ProcessExitedException& gone) {
    worker_died(what.worker, gone.exit());  // before it got this
    return;
  } catch (const SerializationError&) {
    if (what.count > 1) {
      schedule_.split(what.unit, false, Clock::now());
      return;
    }
    element_failed(what.unit, what.first, std::current_exception());
    (void)schedule_.completed(what.unit, Clock::now());
    return;
  }
  units_.emplace(what.unit, Unit{call, what.worker, what.first, what.count});
  call->when_settled(true, [events = events_, unit = what.unit] { events->push({What::unit, unit}); });
}

void MapDriver::withdraw(const MapWithdraw& what) {
  const auto found = units_.find(what.unit);
  if (found == units_.end()) return;
  auto& answer = found->second.withdrawal = process_.calls().withdraw(found->second.call);
  answer->when_settled(true, [events = events_, unit = what.unit] { events->push({What::withdrawal, unit}); });
}

// -- events -----------------------------------------------------------------------------------------------------------

void MapDriver::take_in_events() {
  bool members_changed = false;
  while (const auto event = events_->take()) {
    switch (event->what) {
      case What::unit: unit_settled(event->unit); break;
      case What::withdrawal: withdrawal_settled(event->unit); break;
      case What::members: members_changed = true; break;
    }
  }
  if (members_changed) update_members();
  perform_actions();
}

void MapDriver::update_members() {
  auto now = members_.now();
  std::sort(now.begin(), now.end());
  const auto before = workers_;
  const Pid self = process_.pid();
  for (const Pid pid : before)
    if (!std::binary_search(now.begin(), now.end(), pid)) worker_left(pid, false);
  if (function_) function_->hand_out(now);
  const bool some_come = function_ && function_->on_its_way();
  if (some_come) schedule_.expect_workers(true, Clock::now());
  for (const Pid pid : now) {
    if (std::binary_search(before.begin(), before.end(), pid) || exits_.contains(pid)) continue;
    if (function_ && function_->on_its_way(pid)) continue;
    workers_.insert(std::upper_bound(workers_.begin(), workers_.end(), pid), pid);
    const auto way = process_.cluster().one_host({self, pid}) ? way_within_host : std::chrono::nanoseconds(0);
    schedule_.worker_joined(pid, Clock::now(), process_.cluster().threads_of(pid), way);
  }
  schedule_.expect_workers(some_come, Clock::now());
}

void MapDriver::worker_died(Pid pid, const WorkerExit& exit) {
  exits_.emplace(pid, exit);
  const bool had_work =
      std::any_of(units_.begin(), units_.end(), [pid](const auto& unit) { return unit.second.worker == pid; });
  worker_left(pid, had_work && !exit.expected);
}

void MapDriver::worker_left(Pid pid, bool died) {
  const auto found = std::lower_bound(workers_.begin(), workers_.end(), pid);
  if (found == workers_.end() || *found != pid) return;
  workers_.erase(found);
  // What it had runs elsewhere; where it lives, as in a pool that dropped it, it need not go on.
  for (auto unit = units_.begin(); unit != units_.end();) {
    if (unit->second.worker != pid) {
      ++unit;
      continue;
    }
    const auto call = unit->second.call;
    unit = units_.erase(unit);
    if (!died && !call->settled(false)) (void)process_.calls().cancel(call);
  }
  schedule_.worker_left(pid, died, Clock::now());
}

void MapDriver::unit_settled(MapUnitId id) {
  // The answer to a withdrawal comes before the call fails of it (see Calls::ask_here); its event may come later.
  withdrawal_settled(id);
  const auto found = units_.find(id);
  if (found == units_.end()) return;
  if (found->second.call->state() == FutureCore::State::failed)
    unit_failed(found);
  else
    unit_delivered(found);
}

void MapDriver::withdrawal_settled(MapUnitId id) {
  const auto found = units_.find(id);
  if (found == units_.end() || !found->second.withdrawal || !found->second.withdrawal->settled(false)) return;
  const auto answer = std::exchange(found->second.withdrawal, nullptr);
  const bool withdrawn = answer->state() == FutureCore::State::here && !answer->take_payload().bytes.empty();
  if (withdrawn) {
    units_.erase(found);
    schedule_.withdrawn(id, Clock::now());
  } else {
    schedule_.not_withdrawn(id, Clock::now());
  }
}

}  // namespace muster::runtime
