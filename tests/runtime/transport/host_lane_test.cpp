// Which lane a link goes over, and the way from one to the other.

#include "tests/runtime/transport/transport_pair.hpp"

#include <cstdlib>

namespace muster::runtime {
namespace {

using detail::Payload;

const Header call{.kind = MessageKind::call, .number = 5};

std::unique_ptr<ZmqLane> network() { return std::make_unique<ZmqLane>("127.0.0.1"); }

std::string lane_of(const Side& side, const Link& link) {
  return const_cast<Side&>(side).transport.lane().name(link.id);
}

TEST(HostLane, ProcessesOfOneUserShareMemory) {
  Pair pair(LaneKind::host);
  EXPECT_EQ(lane_of(pair.a, *pair.to_b), "shm");
  EXPECT_EQ(lane_of(pair.b, *pair.to_a), "shm");
}

/// Links a host lane and another one, whoever dials, and sends both ways.
void expect_network(Side& dialer, Side& other) {
  const auto link = dialer.transport.dial(other.transport.lane().endpoint());
  std::shared_ptr<Link> back;
  Pair::introduce(dialer, link, 1, other, 2, back);
  EXPECT_EQ(lane_of(dialer, *link), "zmq-tcp");
  dialer.transport.send(*link, call, payload_of(1, 100, {3'000'000}));
  other.transport.send(*back, call, payload_of(2, 100, {3'000'000}));
  ASSERT_TRUE(pump_until({&dialer, &other},
                         [&] { return dialer.recorder.messages.size() == 1 && other.recorder.messages.size() == 1; }));
  EXPECT_TRUE(same_contents(other.recorder.messages[0].payload, payload_of(1, 100, {3'000'000})));
  EXPECT_TRUE(same_contents(dialer.recorder.messages[0].payload, payload_of(2, 100, {3'000'000})));
  dialer.recorder.messages.clear();
  other.recorder.messages.clear();
  dialer.transport.close(link);
  EXPECT_TRUE(pump_until({&dialer, &other}, [&] { return other.recorder.is_lost(back); }));
}

TEST(HostLane, WhoHasNoSharedMemoryIsReachedOverTheNetwork) {
  Side host(std::make_unique<HostLane>(network()), {});
  {
    Side other(network(), {});
    expect_network(host, other);
  }
  Side other(network(), {});
  expect_network(other, host);
}

/// Listens where that lane's peers look for shared memory, and takes nobody.
class Refuser {
 public:
  explicit Refuser(const std::string& endpoint) : listener_(listen_at("muster/" + endpoint)) {}
  /// Closes who came. @returns whether somebody did
  bool refuse() { return static_cast<bool>(accept_from(listener_)); }

 private:
  UniqueFd listener_;
};

TEST(HostLane, WhoRefusesSharedMemoryIsReachedOverTheNetwork) {
  Side host(std::make_unique<HostLane>(network()), {});
  Side other(network(), {});
  Refuser refuser(other.transport.lane().endpoint());
  const auto link = host.transport.dial(other.transport.lane().endpoint());
  host.transport.send(*link, Header{.kind = MessageKind::hello}, {});  // which waits for an answer
  ASSERT_TRUE(refuser.refuse());
  ASSERT_TRUE(pump_until({&host, &other}, [&] { return other.recorder.messages.size() == 1; }));
  const auto back = other.recorder.messages.front().link;
  other.recorder.messages.clear();
  other.transport.admit(*back, 1);
  host.transport.admit(*link, 2);
  EXPECT_EQ(lane_of(host, *link), "zmq-tcp");
  host.transport.send(*link, call, payload_of(1, 10, {3'000'000}));
  other.transport.send(*back, call, payload_of(2, 10));
  ASSERT_TRUE(pump_until({&host, &other},
                         [&] { return other.recorder.messages.size() == 1 && host.recorder.messages.size() == 1; }));
  EXPECT_EQ(host.recorder.messages.front().link, link);
  other.transport.close(back);
  EXPECT_TRUE(pump_until({&host, &other}, [&] { return host.recorder.is_lost(link); }));
}

TEST(HostLane, ARefusalAndNobodyOnTheNetworkIsALostLink) {
  Side host(std::make_unique<HostLane>(network()), {});
  std::string endpoint;
  {
    const auto gone = network();
    endpoint = gone->endpoint();
  }
  Refuser refuser(endpoint);
  const auto link = host.transport.dial(endpoint);
  ASSERT_TRUE(refuser.refuse());
  EXPECT_TRUE(pump_until({&host}, [&] { return host.recorder.is_lost(link); }));
}

TEST(HostLane, BothLanesAreHeardAtOnce) {
  Side host(std::make_unique<HostLane>(network()), {});
  Side near(std::make_unique<HostLane>(network()), {}), far(network(), {});
  const auto to_near = host.transport.dial(near.transport.lane().endpoint());
  const auto to_far = host.transport.dial(far.transport.lane().endpoint());
  std::shared_ptr<Link> from_near, from_far;
  Pair::introduce(host, to_near, 1, near, 2, from_near);
  Pair::introduce(host, to_far, 1, far, 3, from_far);
  constexpr std::size_t count = 2000;
  for (std::size_t i = 0; i < count; ++i) {
    near.transport.send(*from_near, call, payload_of(i, 100));
    far.transport.send(*from_far, call, payload_of(i, 100));
  }
  EXPECT_TRUE(pump_until({&host, &near, &far}, [&] { return host.recorder.messages.size() == 2 * count; }));
}

TEST(HostLane, TheEnvironmentChooses) {
  const auto lane_with = [](const char* value) {
    if (value == nullptr)
      unsetenv("MUSTER_LANE");
    else
      setenv("MUSTER_LANE", value, 1);
    return make_host_lane(network());
  };
  const char* const before = std::getenv("MUSTER_LANE");
  const std::string kept = before == nullptr ? "" : before;
  EXPECT_NE(dynamic_cast<HostLane*>(lane_with(nullptr).get()), nullptr);
  EXPECT_NE(dynamic_cast<HostLane*>(lane_with("shm").get()), nullptr);
  EXPECT_NE(dynamic_cast<ZmqLane*>(lane_with("zmq").get()), nullptr);
  EXPECT_THROW((void)lane_with("pigeon"), std::invalid_argument);
  before == nullptr ? unsetenv("MUSTER_LANE") : setenv("MUSTER_LANE", kept.c_str(), 1);
}

TEST(HostLane, WhereThereIsNoSharedMemoryTheNetworkIsAll) {
  auto lane = network();
  const UniqueFd taken = listen_at("muster/" + lane->endpoint());
  const auto made = make_host_lane(std::move(lane));
  EXPECT_NE(dynamic_cast<ZmqLane*>(made.get()), nullptr);
}

}  // namespace
}  // namespace muster::runtime
