/// @file
/// Drives a parallel map: reads elements, sends them where MapSchedule says, and takes in what comes of them.
#pragma once

#include "runtime/base/progress.hpp"
#include "runtime/calls/map_schedule.hpp"
#include "runtime/session/process.hpp"

#include <muster/detail/map.hpp>

#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

namespace muster::runtime {

/// What happened to the calls of a map, told by any thread to the one that drives it.
class MapEvents {
 public:
  struct Event {
    enum class What : std::uint8_t { unit, withdrawal, members };
    What what;
    MapUnitId unit;
  };

  explicit MapEvents(Executor& executor) : executor_(executor) {}
  MapEvents(const MapEvents&) = delete;
  MapEvents& operator=(const MapEvents&) = delete;

  /// Any thread.
  void push(Event event);
  /// The oldest event that was not taken yet, if there is one.
  std::optional<Event> take();
  /// Blocks until there is something. @throws what ends the waiting task; TimeoutError at the task's or scope's
  /// deadline
  void wait(std::optional<Clock::time_point> until);

 private:
  Executor& executor_;
  std::mutex mutex_;  ///< guards the two below; held while waking
  std::vector<Event> events_;
  Wakeup* waiting_ = nullptr;
  std::vector<Event> taken_;  ///< by the one thread that takes and waits
  std::size_t next_ = 0;      ///< of taken_
};

/// Where a map may run.
class MapMembers {
 public:
  MapMembers(Process& process, const detail::MapSettings& settings);
  /// Asks a pool that lives elsewhere, in the background; `tell` when the answer is there. Where that is not needed,
  /// tells at once.
  void refresh(const std::function<void()>& tell);
  /// As far as known.
  std::vector<Pid> now();
  /// Whether asking again tells of news that nobody sends.
  bool elsewhere() const { return elsewhere_.has_value(); }

 private:
  Process& process_;
  const bool distributed_;
  std::optional<WorkerPool> pool_, elsewhere_;  ///< of this process, of another; neither: all workers
  bool alone_ = false;                          ///< there were no workers: this process stands in
  std::vector<Pid> known_;
  detail::CorePointer answer_;
};

/// One map. One thread.
class MapDriver {
 public:
  MapDriver(detail::MapWork& work, detail::MapSettings settings);
  ~MapDriver();
  MapDriver(const MapDriver&) = delete;
  MapDriver& operator=(const MapDriver&) = delete;

  /// @see detail::MapRun
  bool next();
  void go_on();

 private:
  struct Unit {
    detail::CorePointer call;
    Pid worker;
    std::size_t first, count;
    detail::CorePointer withdrawal = nullptr;  ///< under way
  };
  using Units = std::unordered_map<MapUnitId, Unit>;

  void advance();
  void take_in_events();
  void update_members();
  void read_input();
  void perform_actions();
  detail::Payload arguments_of(const MapSend& what);
  void send(const MapSend& what);
  void withdraw(const MapWithdraw& what);
  void fail(const MapFailure& failure);
  void unit_settled(MapUnitId id);
  void withdrawal_settled(MapUnitId id);
  void unit_delivered(Units::iterator unit);
  void unit_failed(Units::iterator unit);
  void batch_delivered(MapUnitId id, const Unit& unit, const detail::Payload& results);
  void worker_died(Pid pid, const WorkerExit& exit);
  void worker_left(Pid pid, bool died);
  void element_failed(MapUnitId unit, std::size_t element, const std::exception_ptr& failure);
  void settle_failure(std::size_t element, int attempt, const std::exception_ptr& failure);
  std::exception_ptr death_of(const MapFailure& failure) const;
  void delivered(std::size_t count);
  void wait();
  void finish();
  void cancel_units() noexcept;

  Process& process_;
  detail::MapWork& work_;
  const detail::MapCode code_;
  const bool first_failure_ends_;  ///< there are neither retries nor replacements
  const std::optional<Clock::time_point> deadline_;
  MapSchedule schedule_;
  std::vector<MapAction> actions_;  ///< being performed
  std::shared_ptr<MapEvents>
      events_;  ///< shared with the calls that tell it of their end, which may come after the map's
  MapMembers members_;
  std::vector<Pid> workers_;  ///< told to the schedule
  std::unordered_map<Pid, WorkerExit> exits_;
  std::shared_ptr<SentFunction> function_;
  std::shared_ptr<SentFunction::Listener> function_came_;
  Units units_;
  std::size_t delivered_ = 0;
  Clock::time_point refreshed_;
  std::optional<ProgressReport> progress_;
  std::optional<Changes::Subscription> subscription_;
  bool finished_ = false;
};

}  // namespace muster::runtime
