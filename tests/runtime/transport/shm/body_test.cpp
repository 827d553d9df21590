// Bodies of messages in shared memory: what is written is read, and what can't be is an error, whatever the bytes.

#include "runtime/transport/shm/body.hpp"

#include "tests/runtime/transport/transport_pair.hpp"

#include <random>

namespace muster::runtime {
namespace {

std::vector<std::byte> body_of(const detail::Payload& payload) {
  const Header header{.kind = MessageKind::call, .number = 7};
  const MessageBody body(header, payload);
  std::vector<std::byte> bytes(body.size());
  body.write(bytes.data());
  return bytes;
}

std::shared_ptr<const void> anybody() { return std::make_shared<int>(); }

TEST(Body, FramesAndPartsAreThoseWritten) {
  const auto payload = payload_of(3, 100, {5000, 4097, 8});
  const auto bytes = body_of(payload);
  EXPECT_EQ(parts_in(bytes), 3u);
  std::vector<std::byte> first;
  LaneEvent event;
  read_body(bytes, {anybody()}, first, event);
  ASSERT_EQ(event.frames.size(), 4u);
  EXPECT_EQ(event.frames[0].size, frame_size(payload));
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& frame = event.frames[i + 1];
    ASSERT_EQ(frame.size, payload.parts[i].size);
    EXPECT_EQ(std::memcmp(frame.data, payload.parts[i].data, frame.size), 0);
    EXPECT_EQ((frame.data - bytes.data()) % 64, 0);
  }
}

TEST(Body, IsReadWhenItsFrontIsWrittenAndThePartsFollowInSteps) {
  const auto payload = payload_of(3, 100, {5000, 4097});
  const Header header{.kind = MessageKind::call, .number = 7};
  const MessageBody body(header, payload);
  const auto whole = body_of(payload);
  std::vector<std::byte> bytes(body.size());
  const std::size_t front = body.write_front(bytes.data());
  EXPECT_EQ(std::memcmp(bytes.data(), whole.data(), front), 0);
  std::vector<std::byte> first;
  LaneEvent event;
  read_body(bytes, {anybody()}, first, event);
  ASSERT_EQ(event.frames.size(), 3u);
  std::vector<std::size_t> told;
  body.write_parts(bytes.data(), 2000, [&](std::size_t written) {
    told.push_back(written);
    EXPECT_EQ(std::memcmp(bytes.data(), whole.data(), written), 0) << written;
  });
  EXPECT_EQ(told.size(), 6u);
  EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
  EXPECT_EQ(told.back(), bytes.size());
}

TEST(Body, PartsNeedAnOwner) {
  std::vector<std::byte> first;
  LaneEvent event;
  EXPECT_THROW(read_body(body_of(payload_of(1, 10, {4096})), {}, first, event), SerializationError);
}

TEST(Body, NoBytesAreReadBeyondIt) {
  std::mt19937 random(11);
  const auto good = body_of(payload_of(5, 50, {4096, 5000}));
  for (int i = 0; i < 20'000; ++i) {
    // Memory of exactly that size: a sanitizer sees a byte too many.
    std::vector<std::byte> bytes(good.begin(),
                                 good.begin() + static_cast<std::ptrdiff_t>(random() % (good.size() + 1)));
    for (unsigned changes = random() % 4; changes != 0 && !bytes.empty(); --changes)
      bytes[random() % std::min<std::size_t>(bytes.size(), 48)] = static_cast<std::byte>(random());
    bytes.shrink_to_fit();
    std::vector<std::byte> first;
    LaneEvent event;
    try {
      read_body(bytes, {anybody()}, first, event);
      for (const auto& frame : event.frames)
        if (frame.size != 0) (void)std::to_integer<int>(frame.data[frame.size - 1]);
    } catch (const SerializationError&) {
    }
  }
}

}  // namespace
}  // namespace muster::runtime
