/// @file
/// The lane of a process: shared memory to processes of the same user and host, ZeroMQ to all others.
#pragma once

#include "runtime/transport/shm/shm_lane.hpp"
#include "runtime/transport/zmq/zmq_lane.hpp"

#include <memory>
#include <mutex>
#include <unordered_map>

namespace muster::runtime {

class HostLane final : public Lane {
 public:
  /// @param network listens already; shared memory is offered to who would dial it
  /// @throws std::system_error where there can be no shared memory; `network` is left to the caller then
  explicit HostLane(std::unique_ptr<ZmqLane>&& network);

  const char* name(LinkId link) const override;
  bool encrypted(LinkId link) const override;
  std::chrono::nanoseconds spin() const override { return local_.spin(); }
  std::size_t largest_part(LinkId link) const override;
  std::string endpoint() const override { return network_->endpoint(); }
  int listen(const std::string& address, int port) override { return network_->listen(address, port); }
  std::string resolve(const std::string& endpoint) override { return network_->resolve(endpoint); }
  LinkId dial(const std::string& endpoint) override;
  void send(LinkId link, const Header& header, const detail::Payload& payload) override;
  void send_soon(LinkId link, const Header& header, const detail::Payload& payload) override;
  std::shared_ptr<LanePort> way_out(LinkId link) const override;
  bool receive(LaneEvent& event) override;
  bool direct() const override { return !network_active_; }
  bool anything() const override { return network_active_ || local_.anything(); }
  void wait(Clock::time_point until) override;
  void kick() override { local_.kick(); }
  bool handed_over(LinkId link) const override;
  bool finish(LinkId link) override;
  void close(LinkId link) override;
  void upkeep(Clock::time_point silent_since) override;

 private:
  /// The link of the network that took that one's place; 0: none did.
  LinkId replacement(LinkId link) const;
  void replace(ShmPeer& refused);
  bool receive_from_network(LaneEvent& event);

  ShmLane local_;
  std::unique_ptr<ZmqLane> network_;

  // The receiving thread's.
  int since_look_ = 0;          ///< at the network, in calls of receive
  bool network_active_ = true;  ///< it had something the last time

  std::atomic<bool> any_replaced_{false};
  mutable std::mutex mutex_;                      ///< guards the following, and sending what a refused link was to send
  std::unordered_map<LinkId, LinkId> replaced_;   ///< by the link's number as all others know it
  std::unordered_map<LinkId, LinkId> replacing_;  ///< the other way round
};

/// Whether processes of one host are to share memory: what the environment variable MUSTER_LANE says, `shm` (the
/// default) or `zmq`.
/// @throws std::invalid_argument for another value
bool shared_memory_wanted();

/// The lane of a process: with shared memory where that is wanted, and as far as this host has it.
/// @throws std::invalid_argument see shared_memory_wanted
std::unique_ptr<Lane> make_host_lane(std::unique_ptr<ZmqLane> network);

}  // namespace muster::runtime
