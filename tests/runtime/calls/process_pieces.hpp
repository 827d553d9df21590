/// @file
/// Several processes of a cluster in one program, as far as calls need them: real transports and executors over the
/// memory lane, with a router that only knows who is there.
#pragma once

#include "runtime/base/failure.hpp"
#include "runtime/calls/calls.hpp"
#include "runtime/exec/executor.hpp"
#include "runtime/transport/memory/memory_lane.hpp"
#include "runtime/transport/transport.hpp"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

namespace muster::runtime {

/// Long enough for anything that happens at all.
inline constexpr auto patience = std::chrono::seconds(20);

/// Whether that becomes true in time.
template <class Predicate>
bool eventually(const Predicate& predicate) {
  const auto deadline = Clock::now() + patience;
  while (!predicate()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return true;
}

class PieceOfProcess final : private TransportSink, private MessageSource, private Router {
 public:
  PieceOfProcess(MemoryHub& hub, Pid self)
      : self_(self),
        lane_(new MemoryLane(hub)),
        transport_(std::unique_ptr<Lane>(lane_), *this, {}),
        executor_(1, std::chrono::nanoseconds(0)),
        calls_(self, transport_, executor_, *this) {
    executor_.start(*this);
  }
  ~PieceOfProcess() override {
    calls_.fail_everything(std::make_exception_ptr(NoSession("over")));
    calls_.interrupt_here();
    executor_.stop();
    calls_.anchor()->release();
  }

  Calls& calls() { return calls_; }
  Transport& transport() { return transport_; }
  MemoryLane& lane() { return *lane_; }
  Pid self() const { return self_; }

  /// Connects the two; both know each other when this returns.
  void connect(PieceOfProcess& other) {
    const auto link = transport_.dial(other.lane_->endpoint());
    transport_.admit(*link, other.self_);
    know(other.self_, link);
    transport_.send(*link, Header{.kind = MessageKind::hello, .number = static_cast<std::uint64_t>(self_)}, {});
    other.wait_for([&] { return other.links_.contains(self_); });
  }
  std::shared_ptr<Link> link_with(Pid pid) { return link_to(pid); }

  /// From now on what that peer sends waits outside, until let_in.
  void hold(Pid peer) {
    const std::lock_guard lock(mutex_);
    held_.insert(peer);
  }
  void let_in(Pid peer) {
    const std::lock_guard one_at_a_time(delivery_);
    std::deque<Incoming> outside;
    {
      const std::lock_guard lock(mutex_);
      held_.erase(peer);
      outside.swap(outside_[peer]);
    }
    for (auto& message : outside) calls_.on_message(std::move(message));
    calls_.flush_notes();
  }
  std::size_t outside(Pid peer) {
    const std::lock_guard lock(mutex_);
    return outside_[peer].size();
  }
  bool holds(Pid peer) {
    const std::lock_guard lock(mutex_);
    return held_.contains(peer);
  }
  /// Waits until so many messages of that peer wait outside.
  void wait_outside(Pid peer, std::size_t count) {
    wait_for([&] { return outside_[peer].size() >= count; });
  }
  /// That peer is dead.
  void lose(Pid peer) {
    std::shared_ptr<Link> link;
    WorkerExit exit;
    exit.pid = peer;
    {
      const std::lock_guard lock(mutex_);
      dead_[peer] = exit;
      if (auto found = links_.extract(peer); !found.empty()) link = std::move(found.mapped());
    }
    if (link) transport_.close(link);
    calls_.process_gone(exit);
  }
  /// Why the link to that peer was lost; waits for it.
  std::string reason_of_loss(Pid peer) {
    wait_for([&] { return lost_.contains(peer); });
    const std::lock_guard lock(mutex_);
    return lost_.at(peer);
  }

 private:
  // TransportSink
  void on_message(Incoming message) override {
    if (message.header.kind == MessageKind::hello) {
      const auto pid = static_cast<Pid>(message.header.number);
      transport_.admit(*message.link, pid);
      know(pid, message.link);
      return;
    }
    const std::lock_guard one_at_a_time(delivery_);
    {
      const std::lock_guard lock(mutex_);
      if (held_.contains(message.link->peer)) {
        outside_[message.link->peer].push_back(std::move(message));
        changed_.notify_all();
        return;
      }
    }
    calls_.on_message(std::move(message));
  }
  void on_lost(const std::shared_ptr<Link>& link, const std::string& reason) override {
    const std::lock_guard lock(mutex_);
    lost_[link->peer] = reason;
    changed_.notify_all();
  }
  // MessageSource
  bool drain(int most) override {
    const bool any = transport_.receive_some(most);
    if (calls_.notes_waiting()) calls_.flush_notes();
    return any;
  }
  void wait(Clock::time_point until) override { transport_.wait(until); }
  void kick() override { transport_.kick(); }
  // Router
  std::shared_ptr<Link> link_to(Pid pid) override {
    const std::lock_guard lock(mutex_);
    if (const auto gone = dead_.find(pid); gone != dead_.end()) throw ProcessExitedException(gone->second);
    if (const auto found = links_.find(pid); found != links_.end()) return found->second;
    throw std::invalid_argument("there is no process " + std::to_string(pid));
  }
  void heard_of(Pid /*pid*/) override {}
  void when_linked(Pid pid, std::function<void(const std::shared_ptr<Link>&)> f) override { f(link_to(pid)); }

  void know(Pid pid, const std::shared_ptr<Link>& link) {
    const std::lock_guard lock(mutex_);
    links_[pid] = link;
    changed_.notify_all();
  }
  template <class Predicate>
  void wait_for(Predicate predicate) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, patience, predicate)) throw std::runtime_error("waited in vain");
  }

  const Pid self_;
  MemoryLane* const lane_;  ///< the transport's
  std::mutex delivery_;     ///< held while a message is delivered; taken before mutex_
  std::mutex mutex_;        ///< guards everything below
  std::condition_variable changed_;
  std::map<Pid, std::shared_ptr<Link>> links_;
  std::map<Pid, WorkerExit> dead_;
  std::map<Pid, std::string> lost_;
  std::set<Pid> held_;
  std::map<Pid, std::deque<Incoming>> outside_;
  Transport transport_;
  Executor executor_;
  Calls calls_;
};

}  // namespace muster::runtime
