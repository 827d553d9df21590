/// @file
/// Which element of a parallel map goes where, and when: batches, windows, retries, deaths of workers, calling back
/// what waits behind something long, early stop. A state machine without I/O, threads or a clock; the order of results,
/// the elements themselves and their exceptions are its driver's.
#pragma once

#include "runtime/calls/window.hpp"

#include <muster/ids.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <optional>
#include <queue>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace muster::runtime {

/// What is asked of a map.
struct MapRules {
  std::size_t batch_size = 1;  ///< elements per message; 0: chosen so that a batch takes about 200 µs
  std::vector<std::chrono::nanoseconds> retry_delays = {};
  int max_restarts = 3;  ///< of one element, after deaths of its workers
  static constexpr std::size_t no_limit = std::numeric_limits<std::size_t>::max();
  std::size_t max_units = no_limit;  ///< messages that are sent and not over: so many elements run at once, at most
  std::chrono::nanoseconds window_time = std::chrono::microseconds(500);  ///< work that waits at a worker; @see Window
};

/// Names one message of elements to a worker. Never reused.
using MapUnitId = std::uint64_t;

/// Send elements [first, first + count) to that worker, which runs them one after the other, in order.
struct MapSend {
  MapUnitId unit;
  Pid worker;
  std::size_t first, count;
};
/// Cancel that unit at that worker if it has not started, and report withdrawn or not_withdrawn.
struct MapWithdraw {
  MapUnitId unit;
  Pid worker;
};
/// An element failed without having thrown. Answer with retry or final_failure, as for failed.
struct MapFailure {
  enum class Reason {
    worker_died,  ///< more than max_restarts times; `deaths` says where
    no_worker,    ///< "No active worker available in pool": nothing may be left that could run it; a retry makes sense
                  ///< only if one joins
  };
  std::size_t element;
  Reason reason;
  std::vector<Pid> deaths;  ///< workers that died running it, or (no_worker) may have
  int attempt;              ///< what retry_check gets, from 1; 0: no retry is left
};
using MapAction = std::variant<MapSend, MapWithdraw, MapFailure>;

/// The schedule of one map. Elements are numbered 0, 1, 2, ... as the caller reads them. Not thread-safe.
///
/// The driver, in outline: `worker_joined` for each worker of the pool (for `distributed = false` only this process);
/// then until done(): while need_input(), read one element and say element_available, or input_ended; perform
/// take_actions(); wait for an event or next_timer(), and report it. Events may come in any order; those about units
/// that are no longer known (their worker left) are refused, and their results must then be thrown away: the elements
/// run, or ran, elsewhere.
///
/// A result of a unit: for each of its elements in order delivered or failed, and completed at the end.
///
/// Deaths. When a worker dies that had one element, that element is charged with it. When it had several, each of them
/// may have been the cause: results are lost with the process that has just sent them, so not even the oldest is sure.
/// They all become suspects, and run again each alone, on a worker that has nothing else meanwhile. One that ends is
/// cleared; one that brings down its second worker is charged with both deaths.
///
/// Costs: O(log workers) per element, amortised; O(1) memory per element in a window, none for those finished or
/// unread.
class MapSchedule {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit MapSchedule(MapRules rules)
      : rules_(std::move(rules)), batch_(rules_.batch_size == 0 ? 1 : rules_.batch_size) {}

  /// A worker may be used. @param threads tasks it runs at once  @param round_trip of a message, where it is known and
  /// matters
  void worker_joined(Pid worker, Time now, std::size_t threads = 1, std::chrono::nanoseconds round_trip = {});
  /// It may not any more. Its elements run elsewhere. If it died, the one that was running is charged with that as soon
  /// as it is known; it fails when charged more than max_restarts times. With no worker left, all that is at hand
  /// fails.
  void worker_left(Pid worker, bool died, Time now);

  /// Whether some are to join soon: where there is no worker, elements then wait for them.
  void expect_workers(bool expected, Time now);

  /// Whether an element should be read: some worker's window has room. Bounds how far ahead the input is read.
  bool need_input() const;
  /// The next element was read; where it fills no message, nothing follows from it, and nobody needs to know the time.
  /// @returns false where something may follow: it was not taken, and is for element_available
  bool gather();
  /// The next element was read.
  void element_available(Time now);
  /// There are no more.
  void input_ended(Time now);

  /// An element of a unit has its result (and those before it in the unit, unless they failed). False: throw it away.
  bool delivered(MapUnitId unit, std::size_t element);
  /// An element of a unit threw. Empty: throw that away. Else ask retry_check with this attempt number, and answer with
  /// retry or final_failure; 0: no retry is left, answer final_failure.
  std::optional<int> failed(MapUnitId unit, std::size_t element);
  /// A unit is over; what was not reported of it is delivered. (For a batch of one that succeeded this alone will do.)
  /// False: throw it away.
  bool completed(MapUnitId unit, Time now);

  /// The elements of a unit that are not settled do not fit into one message: each runs again alone in one.
  /// @param ran the arguments did fit, the results don't
  void split(MapUnitId unit, bool ran, Time now);

  /// Answers to failed and MapFailure: run it again after its delay, on whichever worker is free then.
  void retry(std::size_t element, Time now);
  /// Or it stays failed, and is finished.
  void final_failure(std::size_t element);

  /// Answers to MapWithdraw: it will not run there.
  void withdrawn(MapUnitId unit, Time now);
  /// It had started, or is over.
  void not_withdrawn(MapUnitId unit, Time now);

  /// next_timer has come (or any other time).
  void timer(Time now);
  /// When timer is to be called, if nothing happens before. To be asked again after each event.
  std::optional<Time> next_timer() const;

  /// What is to be done, in order, since the last call. To be asked after each event.
  std::vector<MapAction> take_actions() { return std::exchange(actions_, {}); }
  /// The same, in place of what is there, whose memory is used again.
  void take_actions(std::vector<MapAction>& actions) {
    actions.clear();
    actions.swap(actions_);
  }

  /// Ends the map early: nothing is sent any more, every later event is refused. Returns what is to be cancelled.
  std::vector<MapWithdraw> stop();
  /// Every element was delivered or stays failed, and there are no more; or it was stopped.
  bool done() const;

 private:
  /// Elements that go together.
  struct Work {
    std::size_t first = 0, count = 0;
  };
  struct Unit {
    Work work;
    Pid worker;
    std::size_t settled = 0;   ///< leading elements that were delivered or failed
    bool withdrawing = false;  ///< being called back
    bool started = false;      ///< refused to be
    Pid thief = 0;             ///< idle worker it is called back for
    bool alone = false;        ///< a suspect: nothing else is sent there before it ends
  };
  /// Units outstanding, then who waited longest: ties go in turn, so that a worker that fails fast does not get all
  /// retries.
  using OpenKey = std::tuple<std::size_t, std::uint64_t, Pid>;
  struct Worker {
    Pid pid;
    std::size_t threads;
    Window window;
    std::chrono::nanoseconds patience;  ///< without progress for so long, its work is better done elsewhere
    std::deque<MapUnitId> units;        ///< oldest first
    Time since{};                       ///< last completion, or when it got work after having none
    std::size_t withdrawing = 0, started = 0;
    std::size_t expecting = 0;  ///< units being called back for it
    bool alone = false;         ///< has a unit that must be alone
    // What the indexes below hold of it.
    std::size_t room = 0;
    bool open = false, loaded = false;
    OpenKey open_key{};
    std::uint64_t turn = 0;  ///< when something was last sent there
    Time loaded_key{};
    bool idle = false;

    std::size_t waiting() const;
    bool spare() const { return !alone && units.size() + expecting < threads; }
  };
  /// An element that something went wrong with.
  struct Trouble {
    int attempts = 0, restarts = 0;
    std::vector<Pid> deaths;
    bool asked = false;         ///< retry or final_failure is to come
    std::size_t suspected = 0;  ///< of being the cause of that death; 0: of none
  };
  using Units = std::unordered_map<MapUnitId, Unit>;
  using Retry = std::pair<Time, std::size_t>;

  void place(Time now);
  bool at_limit() const { return units_.size() >= rules_.max_units; }
  void send(Worker& worker, Work work, Time now, bool alone = false);
  void place_suspects(Time now);
  void run_again(std::size_t element);
  void fail_without_workers();
  void fail(std::size_t element, MapFailure::Reason reason);
  int attempt_to_ask(const Trouble& trouble) const;
  void forget_trouble(Work work);
  std::optional<std::size_t> settle_until(MapUnitId unit, std::size_t element);
  void requeue(const Worker& gone, bool died);
  void suspect(const std::vector<Work>& works, Pid worker);
  bool charge(std::size_t element, Pid worker);
  void learn_batch(const Unit& unit, const Worker& worker);

  bool may_level() const;
  void level(Time now);
  void call_back(Worker& victim, Worker& thief);
  void call_back_answered(Unit& unit);
  Unit take_out(Units::iterator unit);

  void index(Worker& worker);
  void unindex(Worker& worker);

  MapRules rules_;
  std::size_t batch_;
  double element_time_ = 0;  ///< nanoseconds per element, for automatic batches

  std::size_t next_element_ = 0;
  bool input_ended_ = false, stopped_ = false;
  bool expected_ = false;                             ///< some workers are
  Work gathering_;                                    ///< a batch being filled from the input
  std::deque<Work> ready_;                            ///< to be sent as soon as a window has room
  std::deque<std::size_t> suspects_;                  ///< elements to be run alone, before all that is ready
  std::unordered_map<std::size_t, Pid> unexplained_;  ///< deaths whose cause is not known
  std::size_t last_death_ = 0;
  std::priority_queue<Retry, std::vector<Retry>, std::greater<>> retries_;
  std::unordered_map<std::size_t, Trouble> troubles_;
  std::size_t asked_ = 0;

  MapUnitId last_unit_ = 0;
  Units units_;
  std::unordered_map<Pid, Worker> workers_;
  std::size_t room_ = 0;                   ///< in all windows
  std::set<OpenKey> open_;                 ///< workers with room
  std::set<std::pair<Time, Pid>> loaded_;  ///< workers where something waits, by last progress
  std::set<Pid> idle_;                     ///< workers with a thread to spare that nothing is called back for

  std::vector<MapAction> actions_;
};

}  // namespace muster::runtime
