// The short way of plain messages: which go it, in what order with the others, and what it says of their bytes.

#include "tests/runtime/transport/transport_pair.hpp"

#include <deque>

namespace muster::runtime {
namespace {

/// Takes calls the short way.
class PlainSink final : public TransportSink {
 public:
  bool takes_plain(MessageKind kind) const override { return kind == MessageKind::call; }
  void on_plain(PlainMessage& message) override {
    order.push_back(message.header().number);
    contents.emplace_back(message.bytes().begin(), message.bytes().end());
    if (keep) receipts.push_back(message.take_receipt());
  }
  void on_message(Incoming message) override {
    order.push_back(message.header.number);
    ++others;
  }
  void on_lost(const std::shared_ptr<Link>& /*link*/, const std::string& /*reason*/) override {}

  bool keep = false;
  int others = 0;
  std::vector<std::uint64_t> order;
  std::vector<std::vector<std::byte>> contents;
  std::vector<Receipt> receipts;
};

class PlainMessagesOver : public testing::TestWithParam<LaneKind> {
 protected:
  PlainMessagesOver() : b_(make_lane(GetParam(), hub_), sink_, {}), to_b_(a_.transport.dial(b_.lane().endpoint())) {
    a_.transport.send(*to_b_, Header{.kind = MessageKind::hello}, {});
    EXPECT_TRUE(pump([&] { return b_.links().size() == 1 && sink_.others == 1; }));
    to_a_ = b_.links().front();
    b_.admit(*to_a_, 1);
    a_.transport.admit(*to_b_, 2);
    sink_.order.clear();
  }
  template <class Condition>
  bool pump(Condition condition) {
    const auto deadline = Clock::now() + patience;
    while (!condition()) {
      if (Clock::now() > deadline) return false;
      a_.pump();
      if (!b_.receive_some(16)) b_.wait(Clock::now() + std::chrono::milliseconds(1));
    }
    return true;
  }
  void send(std::uint64_t number, const detail::Payload& payload, MessageKind kind = MessageKind::call) {
    a_.transport.send(*to_b_, Header{.kind = kind, .number = number}, detail::Payload(payload));
  }

  MemoryHub hub_;
  Side a_{make_lane(GetParam(), hub_), {}};
  PlainSink sink_;
  Transport b_;
  std::shared_ptr<Link> to_b_, to_a_;
};

INSTANTIATE_TEST_SUITE_P(Lanes, PlainMessagesOver,
                         testing::Values(LaneKind::memory, LaneKind::zmq, LaneKind::shm, LaneKind::host), name_of);

TEST_P(PlainMessagesOver, KeepTheirPlaceAmongTheOthers) {
  send(1, payload_of(1, 30));
  send(2, payload_of(2, 30, {5000}));                      // with a part
  send(3, payload_of(3, 30), MessageKind::reply_failure);  // of another kind
  send(4, payload_of(4, std::size_t{100'000}));            // not small
  send(5, {});
  ASSERT_TRUE(pump([&] { return sink_.order.size() == 5; }));
  EXPECT_EQ(sink_.order, (std::vector<std::uint64_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(sink_.others, 1 + 3);
  ASSERT_EQ(sink_.contents.size(), 2u);
  EXPECT_EQ(sink_.contents[0], pattern(30, 1));
  EXPECT_TRUE(sink_.contents[1].empty());
}

TEST_P(PlainMessagesOver, AreConsumedWhenTheyWereLookedAtOrTheirReceiptIsGiven) {
  const auto bytes = static_cast<std::int64_t>(header_size + 30);
  send(1, payload_of(1, 30));
  ASSERT_TRUE(pump([&] { return sink_.order.size() == 1; }));
  EXPECT_EQ(to_a_->consumed, bytes);
  sink_.keep = true;
  send(2, payload_of(2, 30));
  ASSERT_TRUE(pump([&] { return sink_.order.size() == 2; }));
  EXPECT_EQ(to_a_->consumed, bytes);
  sink_.receipts.front().give();
  EXPECT_EQ(to_a_->consumed, 2 * bytes);
  sink_.receipts.clear();
  EXPECT_EQ(to_a_->consumed, 2 * bytes) << "given twice";
  EXPECT_EQ(to_a_->messages_received, 3u);
  EXPECT_EQ(to_b_->outstanding, 2 * bytes) << "the sender counts the same";
}

/// Hands over what it is given.
class GivenLane final : public Lane {
 public:
  const char* name(LinkId /*link*/) const override { return "given"; }
  std::string endpoint() const override { return "given"; }
  LinkId dial(const std::string& /*endpoint*/) override { return 1; }
  void send(LinkId /*link*/, const Header& /*header*/, const detail::Payload& /*payload*/) override {}
  bool receive(LaneEvent& event) override {
    if (events.empty()) return false;
    event = std::move(events.front());
    events.pop_front();
    return true;
  }
  void wait(Clock::time_point /*until*/) override {}
  void kick() override {}
  void close(LinkId /*link*/) override { ++closed; }

  std::deque<LaneEvent> events;
  int closed = 0;
};

/// Of which nothing more comes.
class Stuck final : public detail::Arriving {
 public:
  const std::byte* await(const std::byte* /*end*/) override { throw detail::SenderLost("nothing more comes"); }
};

TEST(ArrivingMessages, AreThoseOfWhichItsReaderExpectsItAndNoOthers) {
  const auto payload = payload_of(1, 30, {5000});
  struct Case {
    Header header;
    bool taken;
  };
  for (const Case& each : {Case{{.kind = MessageKind::call, .flags = read_as_it_comes}, true},
                           Case{{.kind = MessageKind::reply_value, .flags = read_as_it_comes}, true},
                           Case{{.kind = MessageKind::call}, false},
                           Case{{.kind = MessageKind::fill, .flags = read_as_it_comes}, false}}) {
    auto owned = std::make_unique<GivenLane>();
    GivenLane& lane = *owned;
    PlainSink sink;
    Transport transport(std::move(owned), sink, {});
    const auto link = transport.dial("given");
    transport.admit(*link, 2);
    std::vector<std::byte> first(frame_size(payload));
    write_frame(first.data(), each.header, payload);
    Stuck stuck;
    LaneEvent event{.kind = LaneEvent::Kind::message, .link = link->id, .frames = {}, .reason = {}};
    event.frames = {{first.data(), first.size(), nullptr},
                    {payload.parts[0].data, payload.parts[0].size, payload.parts[0].owner, &stuck}};
    lane.events.push_back(std::move(event));
    EXPECT_TRUE(transport.receive_some(1));
    EXPECT_EQ(sink.others, each.taken ? 1 : 0);
    EXPECT_EQ(lane.closed, each.taken ? 0 : 1);
  }
}

}  // namespace
}  // namespace muster::runtime
