/// @file
/// The lane between processes of a cluster that live in one program, for tests: queues under one lock.
#pragma once

#include "runtime/transport/lane.hpp"

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

namespace muster::runtime {

class MemoryLane;

/// What the lanes of one test share. Must outlive them.
class MemoryHub {
 public:
  MemoryHub() = default;

 private:
  friend class MemoryLane;
  std::mutex mutex_;  ///< guards everything of all lanes of this hub
  int last_ = 0;
  std::map<std::string, MemoryLane*> lanes_;  ///< by endpoint
};

class MemoryLane final : public Lane {
 public:
  explicit MemoryLane(MemoryHub& hub);
  ~MemoryLane() override;

  const char* name(LinkId /*link*/) const override { return "memory"; }
  std::string endpoint() const override { return endpoint_; }
  LinkId dial(const std::string& endpoint) override;
  void send(LinkId link, const Header& header, const detail::Payload& payload) override;
  bool receive(LaneEvent& event) override;
  void wait(Clock::time_point until) override;
  void kick() override;
  bool handed_over(LinkId /*link*/) const override { return true; }
  void close(LinkId link) override;

  /// Sends bytes that need not be a message, as a hostile peer would.
  void send_raw(LinkId link, std::vector<std::vector<std::byte>> frames);

 private:
  struct Peer {
    MemoryLane* lane;
    LinkId link;  ///< its number of this connection
  };
  void push(LinkId link, std::vector<std::vector<std::byte>> frames);
  void drop(LinkId link, const std::string& reason);

  MemoryHub& hub_;
  std::string endpoint_;
  LinkId last_link_ = 0;
  std::map<LinkId, Peer> peers_;
  std::deque<LaneEvent> events_;
  std::condition_variable arrived_;
  bool kicked_ = false;
};

}  // namespace muster::runtime
