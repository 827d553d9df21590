/// @file
/// Transports that talk to each other, for tests.
#pragma once

#include "runtime/transport/host_lane.hpp"
#include "runtime/transport/memory/memory_lane.hpp"
#include "runtime/transport/transport.hpp"

#include <muster/errors.hpp>

#include <gtest/gtest.h>

#include <functional>
#include <map>

namespace muster::runtime {

inline constexpr auto patience = std::chrono::seconds(30);

/// Keeps what arrives.
class Recorder final : public TransportSink {
 public:
  void on_message(Incoming message) override {
    const std::lock_guard lock(mutex_);
    if (!keep_receipts) (void)Receipt(std::move(message.receipt));
    messages.push_back(std::move(message));
  }
  void on_lost(const std::shared_ptr<Link>& link, const std::string& reason) override {
    const std::lock_guard lock(mutex_);
    lost[link->id] = reason;
  }
  std::size_t count() const {
    const std::lock_guard lock(mutex_);
    return messages.size();
  }
  bool is_lost(const std::shared_ptr<Link>& link) const {
    const std::lock_guard lock(mutex_);
    return lost.contains(link->id);
  }

  bool keep_receipts = false;
  std::deque<Incoming> messages;
  std::map<LinkId, std::string> lost;

 private:
  mutable std::mutex mutex_;  ///< guards messages and lost while a thread receives
};

struct Side {
  Side(std::unique_ptr<Lane> lane, TransportOptions options) : transport(std::move(lane), recorder, options) {}
  ~Side() { recorder.messages.clear(); }  // whose receipts know the transport
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;
  /// Waits a moment where nothing is there.
  void pump() {
    if (!transport.receive_some(16)) transport.wait(Clock::now() + std::chrono::milliseconds(1));
  }
  Recorder recorder;
  Transport transport;
};

/// Receives on all sides until the condition holds. @returns false at the deadline
template <class Condition>
bool pump_until(std::initializer_list<Side*> sides, Condition condition) {
  const auto deadline = Clock::now() + patience;
  while (!condition()) {
    if (Clock::now() > deadline) return false;
    for (Side* side : sides) side->pump();
  }
  return true;
}

enum class LaneKind { memory, zmq, curve, shm, host };

inline std::unique_ptr<Lane> make_lane(LaneKind kind, MemoryHub& hub) {
  if (kind == LaneKind::memory) return std::make_unique<MemoryLane>(hub);
  if (kind == LaneKind::zmq) return std::make_unique<ZmqLane>("127.0.0.1");
  if (kind == LaneKind::curve)
    return std::make_unique<ZmqLane>("127.0.0.1", 0, LinkSecurity{Encryption::On, "known to both"});
  if (kind == LaneKind::host) return std::make_unique<HostLane>(std::make_unique<ZmqLane>("127.0.0.1"));
  static std::atomic<int> last{0};
  return std::make_unique<ShmLane>("test-" + std::to_string(getpid()) + "-" + std::to_string(++last));
}

inline std::string name_of(const testing::TestParamInfo<LaneKind>& lane) {
  switch (lane.param) {
    case LaneKind::memory: return "Memory";
    case LaneKind::zmq: return "Zmq";
    case LaneKind::curve: return "Curve";
    case LaneKind::shm: return "Shm";
    case LaneKind::host: return "Host";
  }
  return {};
}

/// Contents that tell their place.
inline std::vector<std::byte> pattern(std::size_t size, std::uint64_t seed) {
  std::vector<std::byte> bytes(size);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
  for (auto& byte : bytes) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    byte = static_cast<std::byte>(state >> 56U);
  }
  return bytes;
}

/// A message of that small part and those parts.
inline detail::Payload payload_of(std::uint64_t seed, std::size_t small, const std::vector<std::size_t>& parts = {}) {
  detail::Payload payload;
  const auto bytes = pattern(small, seed);
  payload.bytes.append(bytes.data(), bytes.size());
  for (const std::size_t size : parts) {
    auto memory = std::make_shared<std::vector<std::byte>>(pattern(size, ++seed));
    const std::byte* data = memory->data();
    payload.parts.push_back({data, size, std::move(memory)});
  }
  return payload;
}

inline bool same_contents(const detail::Payload& a, const detail::Payload& b) {
  const auto same = [](const void* one, std::size_t size, const void* other, std::size_t other_size) {
    return size == other_size && (size == 0 || std::memcmp(one, other, size) == 0);
  };
  if (a.parts.size() != b.parts.size() || !same(a.bytes.data(), a.bytes.size(), b.bytes.data(), b.bytes.size()))
    return false;
  for (std::size_t i = 0; i < a.parts.size(); ++i)
    if (!same(a.parts[i].data, a.parts[i].size, b.parts[i].data, b.parts[i].size)) return false;
  return true;
}

/// Two sides, linked and admitted: a is process 1, b is 2.
struct Pair {
  explicit Pair(LaneKind kind, TransportOptions options = {})
      : a(make_lane(kind, hub), options),
        b(make_lane(kind, hub), options),
        to_b(a.transport.dial(b.transport.lane().endpoint())) {
    introduce(a, to_b, 1, b, 2, to_a);
  }
  /// Handshake without its contents.
  static void introduce(Side& from, const std::shared_ptr<Link>& link, Pid from_pid, Side& to, Pid to_pid,
                        std::shared_ptr<Link>& back) {
    from.transport.send(*link, Header{.kind = MessageKind::hello}, {});
    const auto before = to.recorder.messages.size();
    EXPECT_TRUE(pump_until({&from, &to}, [&] { return to.recorder.messages.size() > before; }));
    back = to.recorder.messages.back().link;
    to.recorder.messages.pop_back();
    to.transport.admit(*back, from_pid);
    from.transport.admit(*link, to_pid);
  }
  /// Sends as a thread that may wait does.
  void send_all(Side& from, Link& link, const Header& header, const detail::Payload& payload) {
    Transport::Progress progress;
    EXPECT_TRUE(pump_until({&a, &b}, [&] { return from.transport.try_send(link, header, payload, progress); }));
  }
  bool pump(const std::function<bool()>& condition) { return pump_until({&a, &b}, condition); }

  MemoryHub hub;
  Side a, b;
  std::shared_ptr<Link> to_b, to_a;
};

}  // namespace muster::runtime
