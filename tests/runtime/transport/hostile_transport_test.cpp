// A peer that breaks the rules is closed; the others go on.

#include "tests/runtime/transport/transport_pair.hpp"

namespace muster::runtime {
namespace {

using detail::Payload;
using Frames = std::vector<std::vector<std::byte>>;

constexpr std::size_t mib = std::size_t{1} << 20;

Frames frames_of(const Header& header, const Payload& payload = {}) {
  Frames frames(1, std::vector<std::byte>(frame_size(payload)));
  write_frame(frames.front().data(), header, payload);
  for (const auto& part : payload.parts) frames.emplace_back(part.data, part.data + part.size);
  return frames;
}

Frames piece_of(std::uint32_t stream, bool first, std::uint64_t whole, std::size_t size) {
  return frames_of({.kind = MessageKind::piece,
                    .flags = static_cast<std::uint8_t>(first ? 1 : 0),
                    .number = whole,
                    .stream = stream},
                   payload_of(1, 0, {size}));
}

Frames call_of(std::uint32_t stream = 0, const Payload& payload = {}, std::uint8_t flags = 0) {
  return frames_of({.kind = MessageKind::call, .flags = flags, .stream = stream}, payload);
}

/// A payload whose parts came in pieces.
Payload placeholders(std::size_t count) {
  Payload payload;
  payload.parts.resize(count);
  return payload;
}

/// A victim with a peer of good will and one of ill.
class Attack {
 public:
  explicit Attack(TransportOptions options = {})
      : victim_(std::make_unique<MemoryLane>(hub_), options),
        friend_(std::make_unique<MemoryLane>(hub_), options),
        attacker_(hub_) {
    to_victim_ = friend_.transport.dial(victim_.transport.lane().endpoint());
    Pair::introduce(friend_, to_victim_, 2, victim_, 1, to_friend_);
    link_ = attacker_.dial(victim_.transport.lane().endpoint());
  }
  /// The victim lets it in.
  void join() {
    attacker_.send_raw(link_, frames_of({.kind = MessageKind::hello}));
    EXPECT_TRUE(pump_until({&victim_}, [&] { return victim_.recorder.messages.size() == 1; }));
    seen_ = victim_.recorder.messages.front().link;
    victim_.transport.admit(*seen_, 66);
    victim_.recorder.messages.clear();
  }
  void send(Frames frames) { attacker_.send_raw(link_, std::move(frames)); }
  void receive() {
    while (victim_.transport.receive_some(16)) {
    }
  }
  /// Whether the victim closed it, and goes on with its friend.
  bool closed() {
    receive();
    LaneEvent event;
    bool closed = false;
    while (attacker_.receive(event)) closed = closed || event.kind == LaneEvent::Kind::lost;
    const auto before = victim_.recorder.messages.size();
    friend_.transport.send(*to_victim_, {.kind = MessageKind::call, .number = 7}, {});
    receive();
    EXPECT_EQ(victim_.recorder.messages.size(), before + 1) << "the friend suffers";
    EXPECT_FALSE(victim_.recorder.is_lost(to_friend_));
    return closed;
  }
  Recorder& recorder() { return victim_.recorder; }
  Transport& transport() { return victim_.transport; }
  const std::shared_ptr<Link>& seen() const { return seen_; }

 private:
  MemoryHub hub_;
  Side victim_, friend_;
  MemoryLane attacker_;
  std::shared_ptr<Link> to_victim_, to_friend_, seen_;
  LinkId link_ = 0;
};

Frames damaged(Frames frames, std::size_t at, unsigned value) {
  frames.front().at(at) = static_cast<std::byte>(value);
  return frames;
}

TEST(HostileTransport, NothingButTheHandshakeBeforeAdmission) {
  using enum MessageKind;
  for (const MessageKind kind : {news, dial, MessageKind::exit, goodbye, credit, define_code, MessageKind::call,
                                 reply_value, reply_stored, reply_failure, cancel, interrupt, reference_request,
                                 reference_notes, retain, retained, fill, reference_question}) {
    Attack attack;
    attack.send(frames_of({.kind = kind}));
    EXPECT_TRUE(attack.closed()) << static_cast<int>(kind);
    EXPECT_EQ(attack.recorder().messages.size(), 1u) << "only the friend's";
  }
  Attack attack;
  attack.send(piece_of(1, true, 2 * mib, mib));
  EXPECT_TRUE(attack.closed());
}

// The other side may admit this one first, and has nothing else to say then.
TEST(HostileTransport, AHeartbeatBeforeAdmissionIsNothing) {
  Attack attack;
  attack.send(frames_of({.kind = MessageKind::heartbeat}));
  EXPECT_FALSE(attack.closed());
  EXPECT_EQ(attack.recorder().messages.size(), 1u) << "only the friend's";
}

TEST(HostileTransport, WhatIsNoMessageClosesThePeer) {
  Payload two_parts = payload_of(1, 10, {5000, 6000});
  Frames too_few = call_of(0, two_parts), too_many = call_of(0, two_parts), shorter = call_of(0, two_parts),
         longer = call_of(0, two_parts);
  too_few.pop_back();
  too_many.emplace_back(10);
  shorter.back().pop_back();
  longer.back().push_back({});
  const std::vector<std::pair<const char*, Frames>> cases{
      {"no frame", {}},
      {"an empty frame", {{}}},
      {"a short frame", {std::vector<std::byte>(header_size - 1)}},
      {"zeros", {std::vector<std::byte>(header_size)}},
      {"an unknown kind", damaged(call_of(), 0, 99)},
      {"a kind between two rooms", damaged(call_of(), 0, 12)},
      {"the reserved field", damaged(call_of(), 2, 1)},
      {"an inline size that lies", damaged(call_of(), 24, 1)},
      {"a number of handles that lies", damaged(call_of(), 28, 1)},
      {"a number of parts that lies", damaged(call_of(), 32, 1)},
      {"too few parts", too_few},
      {"too many parts", too_many},
      {"a part shorter than named", shorter},
      {"a part longer than named", longer},
      {"a part of no bytes", call_of(0, placeholders(1))},
      {"a frame too long", call_of(0, payload_of(1, 0, {longest_frame + 1}))},
      {"pieces that never came", call_of(5)},
      {"a small part that never came", call_of(0, {}, 0x80)},
      {"credit for nothing", frames_of({.kind = MessageKind::credit, .number = 1})},
      {"credit beyond belief", frames_of({.kind = MessageKind::credit, .number = ~std::uint64_t{0}})},
      {"a piece with no stream", piece_of(0, true, 2 * mib, mib)},
      {"a piece that starts nothing", piece_of(1, false, 2 * mib, mib)},
      {"a piece larger than its part", piece_of(1, true, mib + 1, mib + 2)},
      {"a piece of a small part", piece_of(1, true, mib, 1000)},
      {"a piece of a part beyond the limit", piece_of(1, true, ~std::uint64_t{0}, 1000)},
      {"a piece without bytes", frames_of({.kind = MessageKind::piece, .flags = 1, .number = 2 * mib, .stream = 1})},
      {"a piece with an empty part",
       frames_of({.kind = MessageKind::piece, .flags = 1, .number = 2 * mib, .stream = 1}, placeholders(1))},
      {"a piece of two parts", frames_of({.kind = MessageKind::piece, .flags = 1, .number = 2 * mib, .stream = 1},
                                         payload_of(1, 0, {5000, 5000}))},
      {"a piece with a small part",
       frames_of({.kind = MessageKind::piece, .flags = 1, .number = 2 * mib, .stream = 1}, payload_of(1, 5, {5000}))},
  };
  for (const auto& [name, frames] : cases) {
    SCOPED_TRACE(name);
    Attack attack;
    attack.join();
    attack.send(frames);
    EXPECT_TRUE(attack.closed());
    ASSERT_TRUE(attack.recorder().is_lost(attack.seen()));
    EXPECT_NE(attack.recorder().lost[attack.seen()->id].find("invalid"), std::string::npos);
    EXPECT_EQ(attack.recorder().messages.size(), 1u) << "only the friend's";
    attack.send(call_of());  // nobody hears that
    EXPECT_FALSE(attack.closed());
  }
}

TEST(HostileTransport, PiecesOutOfTurnCloseThePeer) {
  const std::vector<std::pair<const char*, std::vector<Frames>>> cases{
      {"another part before the last one's end", {piece_of(1, true, 2 * mib, mib), piece_of(1, true, 2 * mib, mib)}},
      {"more than the part", {piece_of(1, true, mib + 5, mib), piece_of(1, false, 0, 6)}},
      {"the message before its last piece", {piece_of(1, true, 2 * mib, mib), call_of(1, placeholders(1))}},
      {"the message of other pieces",
       {piece_of(1, true, mib + 5, mib), piece_of(1, false, 0, 5), call_of(2, placeholders(1))}},
      {"fewer parts than came", {piece_of(1, true, mib + 5, mib), piece_of(1, false, 0, 5), call_of(1)}},
      {"more parts than came",
       {piece_of(1, true, mib + 5, mib), piece_of(1, false, 0, 5), call_of(1, placeholders(2))}},
      {"the same pieces twice",
       {piece_of(1, true, mib + 5, mib), piece_of(1, false, 0, 5), call_of(1, placeholders(1)),
        call_of(1, placeholders(1))}},
  };
  for (const auto& [name, messages] : cases) {
    SCOPED_TRACE(name);
    Attack attack;
    attack.join();
    for (const Frames& frames : messages) attack.send(frames);
    EXPECT_TRUE(attack.closed());
    EXPECT_TRUE(attack.recorder().is_lost(attack.seen()));
    EXPECT_TRUE(attack.seen()->assemblies.empty()) << "memory is kept for who is gone";
  }
}

TEST(HostileTransport, PiecesInTurnArrive) {
  Attack attack;
  attack.join();
  attack.send(piece_of(1, true, mib + 5, mib));
  attack.send(piece_of(1, false, 0, 5));
  attack.send(call_of(1, placeholders(1)));
  EXPECT_FALSE(attack.closed());
  ASSERT_EQ(attack.recorder().messages.size(), 2u);
  EXPECT_EQ(attack.recorder().messages.front().payload.parts.at(0).size, mib + 5);
}

TEST(HostileTransport, UnfinishedMessagesAreCounted) {
  TransportOptions options;
  options.most_assemblies = 10;
  Attack attack(options);
  attack.join();
  for (std::uint32_t stream = 1; stream <= 10; ++stream) attack.send(piece_of(stream, true, 2 * mib, 1));
  EXPECT_FALSE(attack.closed());
  EXPECT_EQ(attack.seen()->assemblies.size(), 10u);
  attack.send(piece_of(10, false, 0, 1));
  EXPECT_FALSE(attack.closed()) << "one that is known may go on";
  attack.send(piece_of(11, true, 2 * mib, 1));
  EXPECT_TRUE(attack.closed());
  EXPECT_TRUE(attack.seen()->assemblies.empty());
}

TEST(HostileTransport, PiecesAndMessageTogetherStayWithinTheLimit) {
  TransportOptions options;
  options.max_message = 3 * mib;
  const std::vector<std::pair<const char*, std::vector<Frames>>> cases{
      {"two parts", {piece_of(1, true, mib + 1, mib), piece_of(1, false, 0, 1), piece_of(1, true, 2 * mib, 1)}},
      {"pieces and frames",
       {piece_of(1, true, mib + 1, mib), piece_of(1, false, 0, 1),
        [] {
          Payload payload = payload_of(1, 0, {2 * mib});
          payload.parts.insert(payload.parts.begin(), detail::Part{});
          return call_of(1, payload);
        }()}},
  };
  for (const auto& [name, messages] : cases) {
    SCOPED_TRACE(name);
    Attack attack(options);
    attack.join();
    for (const Frames& frames : messages) attack.send(frames);
    EXPECT_TRUE(attack.closed());
  }
}

TEST(HostileTransport, ASecondHelloIsTheClustersBusiness) {
  Attack attack;
  attack.join();
  attack.send(frames_of({.kind = MessageKind::hello}));
  EXPECT_FALSE(attack.closed());
  EXPECT_EQ(attack.recorder().messages.size(), 2u);
}

}  // namespace
}  // namespace muster::runtime
