#include "runtime/transport/memory/memory_lane.hpp"

namespace muster::runtime {

MemoryLane::MemoryLane(MemoryHub& hub) : hub_(hub) {
  const std::lock_guard lock(hub_.mutex_);
  endpoint_ = "memory:" + std::to_string(++hub_.last_);
  hub_.lanes_[endpoint_] = this;
}

MemoryLane::~MemoryLane() {
  const std::lock_guard lock(hub_.mutex_);
  hub_.lanes_.erase(endpoint_);
  while (!peers_.empty()) drop(peers_.begin()->first, {});
}

LinkId MemoryLane::dial(const std::string& endpoint) {
  const std::lock_guard lock(hub_.mutex_);
  const LinkId link = ++last_link_;
  const auto found = hub_.lanes_.find(endpoint);
  if (found == hub_.lanes_.end()) {
    events_.push_back({LaneEvent::Kind::lost, link, {}, "nobody listens at " + endpoint});
    arrived_.notify_one();
    return link;
  }
  MemoryLane& other = *found->second;
  const LinkId other_link = ++other.last_link_;
  peers_[link] = {&other, other_link};
  other.peers_[other_link] = {this, link};
  return link;
}

void MemoryLane::send(LinkId link, const Header& header, const detail::Payload& payload) {
  std::vector<std::vector<std::byte>> frames;
  frames.emplace_back(frame_size(payload));
  write_frame(frames.front().data(), header, payload);
  for (const auto& part : payload.parts) frames.emplace_back(part.data, part.data + part.size);
  send_raw(link, std::move(frames));
}

void MemoryLane::send_raw(LinkId link, std::vector<std::vector<std::byte>> frames) {
  const std::lock_guard lock(hub_.mutex_);
  push(link, std::move(frames));
}

void MemoryLane::push(LinkId link, std::vector<std::vector<std::byte>> frames) {
  const auto found = peers_.find(link);
  if (found == peers_.end()) return;
  LaneEvent event;
  event.link = found->second.link;
  for (auto& bytes : frames) {
    auto kept = std::make_shared<std::vector<std::byte>>(std::move(bytes));
    const std::byte* data = kept->data();
    const std::size_t size = kept->size();
    event.frames.push_back({data, size, std::shared_ptr<const void>(std::move(kept), data)});
  }
  found->second.lane->events_.push_back(std::move(event));
  found->second.lane->arrived_.notify_one();
}

bool MemoryLane::receive(LaneEvent& event) {
  const std::lock_guard lock(hub_.mutex_);
  if (events_.empty()) return false;
  event = std::move(events_.front());
  events_.pop_front();
  return true;
}

void MemoryLane::wait(Clock::time_point until) {
  std::unique_lock lock(hub_.mutex_);
  const auto something = [this] { return kicked_ || !events_.empty(); };
  if (until == Clock::time_point::max())
    arrived_.wait(lock, something);
  else
    arrived_.wait_until(lock, until, something);
  kicked_ = false;
}

void MemoryLane::kick() {
  const std::lock_guard lock(hub_.mutex_);
  kicked_ = true;
  arrived_.notify_one();
}

void MemoryLane::close(LinkId link) {
  const std::lock_guard lock(hub_.mutex_);
  std::erase_if(events_, [link](const LaneEvent& event) { return event.link == link; });
  drop(link, {});
}

void MemoryLane::drop(LinkId link, const std::string& reason) {
  const auto found = peers_.find(link);
  if (found == peers_.end()) return;
  const Peer other = found->second;
  peers_.erase(found);
  other.lane->peers_.erase(other.link);
  other.lane->events_.push_back(
      {LaneEvent::Kind::lost, other.link, {}, reason.empty() ? "the connection was closed" : reason});
  other.lane->arrived_.notify_one();
}

}  // namespace muster::runtime
