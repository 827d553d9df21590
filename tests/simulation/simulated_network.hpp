/// @file
/// What a simulated cluster runs on: one source of chance, virtual time, a trace, and a network whose links keep the
/// order of their messages, delay them as chance has it, and are lost with whatever is on the way.
#pragma once

#include "runtime/transport/lane.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace muster::simulation {

using Nanoseconds = std::chrono::nanoseconds;

/// All that is left to chance in one run. The same seed gives the same numbers everywhere (splitmix64, Steele et al.,
/// "Fast splittable pseudorandom number generators", 2014).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0xd1342543de82ef95u + 1) {}

  std::uint64_t next() {
    std::uint64_t mixed = state_ += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30u)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27u)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31u);
  }
  /// Both ends included.
  int between(int low, int high) { return low + static_cast<int>(below(static_cast<std::uint64_t>(high - low) + 1)); }
  Nanoseconds between(Nanoseconds low, Nanoseconds high) {
    return low +
           Nanoseconds(static_cast<Nanoseconds::rep>(below(static_cast<std::uint64_t>((high - low).count()) + 1)));
  }
  bool chance(int percent) { return between(1, 100) <= percent; }
  std::size_t index(std::size_t size) { return static_cast<std::size_t>(below(size)); }
  template <class Container>
  auto& one_of(Container& all) {
    return all[index(all.size())];
  }

 private:
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  std::uint64_t state_;
};

/// Virtual time: what happens next, happens at once. Of what happens at the same time, what was planned first is first.
class Timeline {
 public:
  Nanoseconds now() const { return now_; }
  /// How much has happened.
  std::uint64_t steps() const { return steps_; }
  void after(Nanoseconds delay, std::function<void()> what) {
    events_.push_back({now_ + std::max(delay, Nanoseconds(0)), ++last_, std::move(what)});
    std::push_heap(events_.begin(), events_.end(), later);
  }
  /// Lets the next thing happen. @returns false when nothing will any more
  bool step() {
    if (events_.empty()) return false;
    std::pop_heap(events_.begin(), events_.end(), later);
    const Event event = std::move(events_.back());
    events_.pop_back();
    now_ = event.time;
    ++steps_;
    event.what();
    return true;
  }
  /// Nothing that was planned happens.
  void clear() {
    while (!events_.empty()) std::exchange(events_, {}).clear();
  }

 private:
  struct Event {
    Nanoseconds time;
    std::uint64_t number;
    std::function<void()> what;
  };
  static bool later(const Event& a, const Event& b) { return std::tie(a.time, a.number) > std::tie(b.time, b.number); }

  Nanoseconds now_{0};
  std::uint64_t last_ = 0, steps_ = 0;
  std::vector<Event> events_;  ///< a heap
};

/// Who did what when, in a line each; and a number that tells two runs apart.
class Trace {
 public:
  Trace(const Timeline& time, bool shown) : time_(time), shown_(shown) {}
  bool shown() const { return shown_; }
  /// @param who a process; 0: none
  template <class... Parts>
  void say(Pid who, const Parts&... parts) {
    if (!shown_) return;
    std::ostringstream line;
    line << std::fixed << std::setprecision(3) << std::setw(12)
         << std::chrono::duration<double, std::milli>(time_.now()).count() << " ms  ";
    if (who != 0)
      line << "process " << who << ' ';
    else
      line << "-- ";
    (line << ... << parts);
    std::cout << line.str() << '\n';
  }
  void mix(std::uint64_t happened) {
    fingerprint_ = (fingerprint_ ^ happened ^ static_cast<std::uint64_t>(time_.now().count())) * 0x100000001b3u;
  }
  std::uint64_t fingerprint() const { return fingerprint_; }

 private:
  const Timeline& time_;
  const bool shown_;
  std::uint64_t fingerprint_ = 0xcbf29ce484222325u;
};

class SimulatedLane;

/// All that one simulated cluster shares. Outlives its lanes.
struct Surroundings {
  Surroundings(std::uint64_t seed, bool traced) : random(seed), trace(time, traced) {}

  Random random;
  Timeline time;
  Trace trace;
  Nanoseconds least_delay = std::chrono::microseconds(20), most_delay = std::chrono::microseconds(300);
  std::map<std::string, SimulatedLane*> lanes;  ///< by endpoint
  std::size_t messages = 0;                     ///< that arrived
  /// Breaks the network by hand: that message (counted from 1) is lost, and nobody told. 0: none.
  std::size_t lost_message = 0;

  Nanoseconds delay() {
    const Nanoseconds usual = random.between(least_delay, most_delay);
    return random.chance(2) ? std::min<Nanoseconds>(10 * usual, std::chrono::milliseconds(60)) : usual;
  }
};

/// A lane of a simulated process. What arrives is taken with `receive`, in `ready`.
class SimulatedLane final : public runtime::Lane {
 public:
  explicit SimulatedLane(Surroundings& around)
      : around_(around), endpoint_("simulated:" + std::to_string(around.lanes.size() + 1)) {
    around_.lanes[endpoint_] = this;
  }
  ~SimulatedLane() override {
    for (auto& [link, at] : connections_) at.connection->ends[at.side].open = false;
    around_.lanes[endpoint_] = nullptr;
  }

  /// Called when something arrived.
  std::function<void()> ready;

  /// Its process is no more: nothing comes out any more, and what is on the way may be lost.
  void die() {
    dead_ = true;
    const auto connections = std::exchange(connections_, {});
    for (const auto& [link, at] : connections) hang_up(at, "the process is dead");
    events_.clear();
  }
  /// All connections with that one break. @returns how many
  int cut(const SimulatedLane& other) {
    int count = 0;
    const auto connections = connections_;
    for (const auto& [link, at] : connections) {
      if (at.connection->ends[1 - at.side].lane != &other) continue;
      ++count;
      lose(at.connection, at.side, "the link was cut");
      lose(at.connection, 1 - at.side, "the link was cut");
    }
    return count;
  }

  const char* name(runtime::LinkId /*link*/) const override { return "simulated"; }
  std::string endpoint() const override { return endpoint_; }

  runtime::LinkId dial(const std::string& endpoint) override {
    const runtime::LinkId link = ++last_link_;
    const auto found = around_.lanes.find(endpoint);
    if (found == around_.lanes.end() || found->second == nullptr || found->second->dead_) {
      around_.time.after(around_.delay(), [this, link, endpoint] {
        arrive({.kind = runtime::LaneEvent::Kind::lost,
                .link = link,
                .frames = {},
                .reason = "nobody listens at " + endpoint});
      });
      return link;
    }
    SimulatedLane& other = *found->second;
    const auto connection = std::make_shared<Connection>();
    connection->ends[0] = {this, link};
    connection->ends[1] = {&other, ++other.last_link_};
    connections_[link] = {connection, 0};
    other.connections_[connection->ends[1].link] = {connection, 1};
    return link;
  }

  void send(runtime::LinkId link, const runtime::Header& header, const detail::Payload& payload) override {
    const auto found = connections_.find(link);
    if (found == connections_.end()) return;
    const auto connection = found->second.connection;
    const std::size_t side = 1 - found->second.side;
    End& there = connection->ends[side];
    if (!there.open) return;
    auto event = std::make_shared<runtime::LaneEvent>();
    event->link = there.link;
    event->frames.reserve(1 + payload.parts.size());
    const std::size_t first = runtime::frame_size(payload);
    auto frame = std::make_shared_for_overwrite<std::byte[]>(first);
    runtime::write_frame(frame.get(), header, payload);
    event->frames.push_back({frame.get(), first, std::move(frame)});
    for (const auto& part : payload.parts) {
      auto copy = std::make_shared_for_overwrite<std::byte[]>(part.size);
      std::copy_n(part.data, part.size, copy.get());
      event->frames.push_back({copy.get(), part.size, std::move(copy)});
    }
    if (++around_.messages == around_.lost_message) {
      around_.trace.say(0, "message ", around_.messages, " is lost, as was asked for");
      return;
    }
    there.last_arrival = std::max(there.last_arrival, around_.time.now() + around_.delay());
    around_.time.after(there.last_arrival - around_.time.now(), [connection, side, event] {
      const End& end = connection->ends[side];
      if (end.open) end.lane->arrive(std::move(*event));
    });
  }

  bool receive(runtime::LaneEvent& event) override {
    if (events_.empty()) return false;
    event = std::move(events_.front());
    events_.pop_front();
    return true;
  }
  void wait(runtime::Clock::time_point /*until*/) override { throw std::logic_error("a simulated process waits"); }
  void kick() override {}  // each event of a process ends with a look at what there is to do

  void close(runtime::LinkId link) override {
    std::erase_if(events_, [link](const runtime::LaneEvent& event) { return event.link == link; });
    if (auto found = connections_.extract(link); !found.empty()) hang_up(found.mapped(), "the other side closed it");
  }

 private:
  struct End {
    SimulatedLane* lane = nullptr;
    runtime::LinkId link = 0;
    bool open = true;             ///< it still hears what arrives
    Nanoseconds last_arrival{0};  ///< of the newest message to it
  };
  struct Connection {
    std::array<End, 2> ends;
  };
  struct Place {
    std::shared_ptr<Connection> connection;
    std::size_t side = 0;
  };

  void arrive(runtime::LaneEvent event) {
    if (dead_) return;
    events_.push_back(std::move(event));
    if (ready) ready();
  }
  void hang_up(const Place& at, const std::string& reason) {
    at.connection->ends[at.side].open = false;
    lose(at.connection, 1 - at.side, reason);
  }
  /// That end hears some of what is on the way to it, or all, and then that it is lost.
  void lose(const std::shared_ptr<Connection>& connection, std::size_t side, const std::string& reason) {
    End& end = connection->ends[side];
    if (!end.open) return;
    const Nanoseconds now = around_.time.now();
    const Nanoseconds last = std::max(end.last_arrival, now) + around_.delay();
    const Nanoseconds when = around_.random.chance(50) ? last : around_.random.between(now, last);
    around_.time.after(when - now, [connection, side, reason] {
      End& losing = connection->ends[side];
      if (!std::exchange(losing.open, false)) return;
      losing.lane->connections_.erase(losing.link);
      losing.lane->arrive(
          {.kind = runtime::LaneEvent::Kind::lost, .link = losing.link, .frames = {}, .reason = reason});
    });
  }

  Surroundings& around_;
  const std::string endpoint_;
  bool dead_ = false;
  runtime::LinkId last_link_ = 0;
  std::map<runtime::LinkId, Place> connections_;
  std::deque<runtime::LaneEvent> events_;
};

}  // namespace muster::simulation
