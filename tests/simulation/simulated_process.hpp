/// @file
/// One process of a simulated cluster: the real transport, cluster, calls, references and executor, on a simulated lane
/// and virtual time. It has no threads: what happens in it, happens in `enter`.
#pragma once

#include "runtime/calls/calls.hpp"
#include "runtime/cluster/cluster.hpp"
#include "runtime/exec/executor.hpp"
#include "runtime/transport/transport.hpp"
#include "tests/simulation/simulated_network.hpp"

#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace muster::simulation {

inline const char* name_of(runtime::MessageKind kind) {
  using Kind = runtime::MessageKind;
  switch (kind) {
    case Kind::hello: return "hello";
    case Kind::welcome: return "welcome";
    case Kind::refuse: return "refuse";
    case Kind::news: return "news";
    case Kind::dial: return "dial";
    case Kind::exit: return "exit";
    case Kind::goodbye: return "goodbye";
    case Kind::knock: return "knock";
    case Kind::program_request: return "program_request";
    case Kind::program: return "program";
    case Kind::heartbeat: return "heartbeat";
    case Kind::credit: return "credit";
    case Kind::piece: return "piece";
    case Kind::define_code: return "define_code";
    case Kind::call: return "call";
    case Kind::reply_value: return "reply_value";
    case Kind::reply_stored: return "reply_stored";
    case Kind::reply_failure: return "reply_failure";
    case Kind::cancel: return "cancel";
    case Kind::interrupt: return "interrupt";
    case Kind::module_request: return "module_request";
    case Kind::module: return "module";
    case Kind::reference_request: return "reference_request";
    case Kind::reference_notes: return "reference_notes";
    case Kind::retain: return "retain";
    case Kind::retained: return "retained";
    case Kind::fill: return "fill";
    case Kind::reference_question: return "reference_question";
    case Kind::channel_request: return "channel_request";
    case Kind::channel_word: return "channel_word";
    case Kind::channel_notice: return "channel_notice";
  }
  return "?";
}

class SimulatedProcess final : private runtime::TransportSink, private runtime::Timers {
 public:
  /// @param pid as the simulation calls it; a worker learns its own in the handshake
  SimulatedProcess(Surroundings& around, Pid pid, const runtime::TransportOptions& options,
                   runtime::Cluster::Events events)
      : around_(around),
        pid_(pid),
        lane_(new SimulatedLane(around)),
        transport_(std::unique_ptr<runtime::Lane>(lane_), *this, options),
        cluster_(settings(pid == 1 ? 1 : 0, *lane_), transport_, *this, joining(std::move(events))),
        calls_(pid == 1 ? 1 : 0, transport_, executor_, cluster_) {
    cluster_.set_calls(calls_);
    lane_->ready = [this] {
      enter([this] {
        while (transport_.receive_some(1)) {
        }
      });
    };
  }

  /// The one in which something happens just now, or null.
  static SimulatedProcess*& current() {
    static thread_local SimulatedProcess* current = nullptr;
    return current;
  }

  Pid pid() const { return pid_; }
  bool alive() const { return alive_; }
  runtime::Transport& transport() { return transport_; }
  runtime::Cluster& cluster() { return cluster_; }
  runtime::Calls& calls() { return calls_; }
  const runtime::Calls& calls() const { return calls_; }
  SimulatedLane& lane() { return *lane_; }
  /// What a peer that sent something invalid is reported by: always a bug.
  const std::string& complaint() const { return complaint_; }

  /// Lets something happen in it, unless it is dead.
  template <class F>
  void enter(F&& f) {
    if (!alive_) return;
    SimulatedProcess* const before = std::exchange(current(), this);
    {
      const runtime::Executor::ReceivingScope must_not_block;
      f();
    }
    current() = before;
    if (before != this) go_on();
  }
  /// As enter, later.
  template <class F>
  void enter_after(Nanoseconds delay, F f) {
    around_.time.after(delay, [this, f = std::move(f)] { enter(f); });
  }

  /// It stops in the middle of whatever it does.
  void die() {
    if (!std::exchange(alive_, false)) return;
    around_.trace.say(pid_, "dies");
    lane_->die();
  }
  /// The simulation is over: nothing waits any more.
  void end() {
    alive_ = false;
    calls_.fail_everything(std::make_exception_ptr(NoSession("the simulation is over")));
    cluster_.stop();
    executor_.stop();
  }

 private:
  static runtime::ClusterSettings settings(Pid pid, const SimulatedLane& lane) {
    runtime::ClusterSettings settings;
    settings.cookie = "a simulated cookie";
    settings.self.pid = pid;
    settings.self.endpoint = lane.endpoint();
    settings.self.host = "simulated";
    settings.self.host_identity = "simulated";
    return settings;
  }
  runtime::Cluster::Events joining(runtime::Cluster::Events events) {
    events.joined = [this](const runtime::ClusterFacts& facts) { executor_.set_slots(facts.threads); };
    return events;
  }

  // TransportSink
  void on_message(runtime::Incoming message) override {
    const auto kind = message.header.kind;
    if (around_.trace.shown()) around_.trace.say(pid_, "hears ", text_of(message));
    around_.trace.mix(static_cast<std::uint64_t>(pid_) << 8u | static_cast<std::uint64_t>(kind));
    if (kind < runtime::MessageKind::heartbeat)
      cluster_.on_message(std::move(message));
    else
      calls_.on_message(std::move(message));
  }
  static std::string text_of(const runtime::Incoming& message) {
    const auto kind = message.header.kind;
    std::ostringstream text;
    text << name_of(kind) << ' ' << message.header.number << " from process " << message.link->peer.load();
    if (kind == runtime::MessageKind::reference_notes) {
      runtime::FieldReader in(message.payload.bytes.bytes());
      for (std::uint32_t i = 0; i < message.header.code; ++i) {
        const int what = in.u8();
        const auto ref = in.reference();
        const Pid holder = in.i32(), sender = in.i32();
        text << (i == 0 ? ": " : ", ")
             << (what == 0   ? "add "
                 : what == 1 ? "release "
                             : "settle ")
             << ref << " of holder " << holder << " from " << sender << " x" << in.u32();
      }
    }
    if (kind == runtime::MessageKind::reference_request) {
      runtime::FieldReader in(
          message.payload.bytes.bytes().last(std::min<std::size_t>(message.payload.bytes.size(), 12)));
      text << ": operation " << message.header.code << " about " << in.reference();
    }
    for (const auto& handle : message.handles) text << ", with " << handle.id << " of process " << handle.owner;
    return text.str();
  }
  void on_lost(const std::shared_ptr<runtime::Link>& link, const std::string& reason) override {
    around_.trace.say(pid_, "loses its link to process ", link->peer.load(), ": ", reason);
    if (reason.find("invalid") != std::string::npos) complaint_ = reason;
    cluster_.on_lost(link, reason);
  }
  void on_behind(runtime::Link& link) override { cluster_.tell_news(link); }
  // Timers
  runtime::TimerId after(Nanoseconds delay, std::function<void()> f) override {
    enter_after(delay, std::move(f));
    return {};
  }

  /// What the threads of a process would do next.
  void go_on() {
    if (!alive_) return;
    if (executor_.jobs() > 0 && !std::exchange(will_run_, true))
      enter_after(soon(), [this] {
        will_run_ = false;
        (void)executor_.run_one();
      });
    if (calls_.notes_waiting() && !std::exchange(will_flush_, true))
      enter_after(around_.random.chance(50) ? Nanoseconds(0) : soon(), [this] {
        will_flush_ = false;
        calls_.flush_notes();
      });
  }
  Nanoseconds soon() { return around_.random.between(Nanoseconds(0), around_.most_delay); }

  Surroundings& around_;
  const Pid pid_;
  bool alive_ = true, will_run_ = false, will_flush_ = false;
  std::string complaint_;
  SimulatedLane* const lane_;  ///< the transport's
  runtime::Executor executor_{1, Nanoseconds(0)};
  runtime::Transport transport_;
  runtime::Cluster cluster_;
  runtime::Calls calls_;
};

}  // namespace muster::simulation
