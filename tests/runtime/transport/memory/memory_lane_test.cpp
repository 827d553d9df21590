#include "runtime/transport/memory/memory_lane.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace muster::runtime {
namespace {

const Header heartbeat{.kind = MessageKind::heartbeat};

/// The next event, which must be there.
LaneEvent next(Lane& lane) {
  LaneEvent event;
  EXPECT_TRUE(lane.receive(event));
  return event;
}

bool nothing(Lane& lane) {
  LaneEvent event;
  return !lane.receive(event);
}

TEST(MemoryLane, CarriesMessagesBothWaysInOrder) {
  MemoryHub hub;
  MemoryLane a(hub), b(hub);
  EXPECT_NE(a.endpoint(), b.endpoint());
  const LinkId to_b = a.dial(b.endpoint());
  for (std::uint64_t i = 0; i < 10; ++i) a.send(to_b, {.kind = MessageKind::call, .number = i}, {});
  LinkId to_a = 0;
  for (std::uint64_t i = 0; i < 10; ++i) {
    const LaneEvent event = next(b);
    ASSERT_EQ(event.kind, LaneEvent::Kind::message);
    to_a = event.link;
    EXPECT_EQ(read_frame({event.frames.at(0).data, event.frames.at(0).size}, 1000).header.number, i);
  }
  b.send(to_a, heartbeat, {});
  EXPECT_EQ(next(a).link, to_b);
  EXPECT_TRUE(nothing(a));
  EXPECT_TRUE(nothing(b));
}

TEST(MemoryLane, PartsAreFramesOfTheirOwn) {
  MemoryHub hub;
  MemoryLane a(hub), b(hub);
  const std::vector<std::byte> bytes(5000, std::byte{7});
  detail::Payload payload;
  payload.parts.push_back({bytes.data(), bytes.size(), nullptr});
  payload.parts.push_back({});
  a.send(a.dial(b.endpoint()), heartbeat, payload);
  const LaneEvent event = next(b);
  ASSERT_EQ(event.frames.size(), 3u);
  EXPECT_EQ(event.frames[1].size, 5000u);
  EXPECT_EQ(event.frames[1].data[4999], std::byte{7});
  EXPECT_NE(event.frames[1].owner, nullptr);
  EXPECT_EQ(event.frames[2].size, 0u);
}

TEST(MemoryLane, NobodyThereIsALostLink) {
  MemoryHub hub;
  MemoryLane a(hub);
  const LinkId link = a.dial("memory:77");
  a.send(link, heartbeat, {});
  const LaneEvent event = next(a);
  EXPECT_EQ(event.kind, LaneEvent::Kind::lost);
  EXPECT_EQ(event.link, link);
  EXPECT_NE(event.reason.find("memory:77"), std::string::npos);
}

TEST(MemoryLane, CloseDropsWhatWasToCome) {
  MemoryHub hub;
  MemoryLane a(hub), b(hub);
  const LinkId link = a.dial(b.endpoint());
  a.send(link, heartbeat, {});
  const LinkId back = next(b).link;
  b.send(back, heartbeat, {});
  b.send(back, heartbeat, {});
  a.close(link);
  EXPECT_TRUE(nothing(a)) << "no message, and no loss, of a link one closed oneself";
  EXPECT_EQ(next(b).kind, LaneEvent::Kind::lost);
  b.send(back, heartbeat, {});
  b.close(back);
  a.close(link);
  EXPECT_TRUE(nothing(a));
  EXPECT_TRUE(nothing(b));
}

TEST(MemoryLane, ALaneThatEndsIsLostAfterItsMessages) {
  MemoryHub hub;
  MemoryLane a(hub);
  LinkId link = 0;
  {
    MemoryLane b(hub);
    link = b.dial(a.endpoint());
    b.send(link, heartbeat, {});
  }
  EXPECT_EQ(next(a).kind, LaneEvent::Kind::message);
  EXPECT_EQ(next(a).kind, LaneEvent::Kind::lost);
}

TEST(MemoryLane, KickEndsAWaitNowOrTheNext) {
  MemoryHub hub;
  MemoryLane a(hub);
  a.kick();
  a.wait(Clock::time_point::max());
  std::thread sleeper([&] { a.wait(Clock::time_point::max()); });
  a.kick();
  sleeper.join();
  const auto start = Clock::now();
  a.wait(start + std::chrono::milliseconds(20));
  EXPECT_GE(Clock::now() - start, std::chrono::milliseconds(20));
}

TEST(MemoryLane, RawBytesNeedNotBeAMessage) {
  MemoryHub hub;
  MemoryLane a(hub), b(hub);
  const LinkId link = a.dial(b.endpoint());
  a.send_raw(link, {{std::byte{1}, std::byte{2}}, {}});
  const LaneEvent event = next(b);
  ASSERT_EQ(event.frames.size(), 2u);
  EXPECT_EQ(event.frames[0].size, 2u);
}

}  // namespace
}  // namespace muster::runtime
