#include "runtime/transport/host_lane.hpp"

#include "runtime/base/log.hpp"

#include <cstdlib>
#include <stdexcept>
#include <system_error>

namespace muster::runtime {

namespace {

/// How many calls of receive pass between two looks at a network that was quiet.
constexpr int calls_between_looks = 64;

bool is_local(LinkId link) { return (link & ShmLane::link_bit) != 0; }

}  // namespace

// NOLINTNEXTLINE(cppcoreguidelines-rvalue-reference-param-not-moved): it is, once nothing can fail any more
HostLane::HostLane(std::unique_ptr<ZmqLane>&& network)
    : local_(
          network->endpoint(), [this](ShmPeer& refused) { replace(refused); }, network->descriptors()),
      network_(std::move(network)) {}

const char* HostLane::name(LinkId link) const {
  return is_local(link) && replacement(link) == 0 ? local_.name(link) : network_->name(link);
}

bool HostLane::encrypted(LinkId link) const {
  if (!is_local(link)) return network_->encrypted(link);
  const LinkId other = replacement(link);
  return other != 0 && network_->encrypted(other);
}

std::size_t HostLane::largest_part(LinkId link) const {
  return is_local(link) && replacement(link) == 0 ? local_.largest_part(link) : network_->largest_part(link);
}

LinkId HostLane::dial(const std::string& endpoint) {
  std::string why;
  if (const LinkId link = local_.try_dial(endpoint, why); link != 0) return link;
  if (!why.empty()) log::info("No shared memory with " + endpoint + " (" + why + "): messages go over ZeroMQ");
  return network_->dial(endpoint);
}

void HostLane::send(LinkId link, const Header& header, const detail::Payload& payload) {
  if (is_local(link)) {
    if (local_.try_send(link, header, payload, Urgency::now)) return;
    link = replacement(link);
    if (link == 0) return;
  }
  network_->send(link, header, payload);
}

void HostLane::send_soon(LinkId link, const Header& header, const detail::Payload& payload) {
  if (!is_local(link) || !local_.try_send(link, header, payload, Urgency::soon)) send(link, header, payload);
}

std::shared_ptr<LanePort> HostLane::way_out(LinkId link) const {
  return is_local(link) ? local_.way_out(link) : nullptr;
}

bool HostLane::handed_over(LinkId link) const { return is_local(link) && local_.handed_over(link); }

bool HostLane::finish(LinkId link) { return is_local(link) && replacement(link) == 0 && local_.finish(link); }

void HostLane::close(LinkId link) {
  if (!is_local(link)) return network_->close(link);
  local_.close(link);
  if (const LinkId other = replacement(link); other != 0) network_->close(other);
}

// -- links that the other side did not take ---------------------------------------------------------------------------

LinkId HostLane::replacement(LinkId link) const {
  if (!any_replaced_) return 0;
  const std::lock_guard lock(mutex_);
  const auto found = replaced_.find(link);
  return found == replaced_.end() ? 0 : found->second;
}

void HostLane::replace(ShmPeer& refused) {
  log::info("No shared memory with " + refused.endpoint() + " (it does not take it): messages go over ZeroMQ");
  const LinkId other = network_->dial(refused.endpoint());
  any_replaced_ = true;
  const std::lock_guard lock(mutex_);
  replaced_[refused.id()] = other;
  replacing_[other] = refused.id();
  for (const auto& message : refused.give_up()) network_->send(other, message.header, message.payload);
}

// -- receiving --------------------------------------------------------------------------------------------------------

bool HostLane::receive(LaneEvent& event) {
  if (++since_look_ >= calls_between_looks) {
    since_look_ = 0;
    network_active_ = true;
  }
  if (network_active_ && receive_from_network(event)) return true;
  return local_.receive(event);
}

bool HostLane::receive_from_network(LaneEvent& event) {
  network_active_ = network_->receive(event);
  if (!network_active_ || !any_replaced_) return network_active_;
  const std::lock_guard lock(mutex_);
  const auto found = replacing_.find(event.link);
  if (found == replacing_.end()) return true;
  event.link = found->second;
  if (event.kind == LaneEvent::Kind::lost) {
    replaced_.erase(found->second);
    replacing_.erase(found);
  }
  return true;
}

void HostLane::wait(Clock::time_point until) {
  if (!network_->begin_sleep()) {
    network_active_ = true;
    return;
  }
  local_.wait(until);
  const bool readable = local_.take_watched_ready();
  network_->end_sleep({readable, readable, readable});
  network_active_ = network_active_ || readable;
}

void HostLane::upkeep(Clock::time_point silent_since) {
  local_.upkeep(silent_since);
  network_->upkeep(silent_since);
}

bool shared_memory_wanted() {
  const char* const chosen = std::getenv("MUSTER_LANE");
  const std::string lane = chosen == nullptr || *chosen == '\0' ? "shm" : chosen;
  if (lane != "shm" && lane != "zmq")
    throw std::invalid_argument("MUSTER_LANE is \"" + lane + "\"; it can be shm or zmq");
  return lane == "shm";
}

std::unique_ptr<Lane> make_host_lane(std::unique_ptr<ZmqLane> network) {
  if (!shared_memory_wanted()) return network;
  try {
    return std::make_unique<HostLane>(std::move(network));
  } catch (const std::system_error& error) {
    log::info(std::string("No shared memory (") + error.what() + "): messages go over ZeroMQ");
    return network;  // NOLINT(bugprone-use-after-move): it was left to us
  }
}

}  // namespace muster::runtime
