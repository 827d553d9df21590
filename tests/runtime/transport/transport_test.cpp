// Whole messages, in order, held back by bytes; over every lane there is.

#include "tests/runtime/transport/transport_pair.hpp"

#include <atomic>
#include <future>
#include <thread>

namespace muster::runtime {
namespace {

using detail::Payload;

constexpr std::size_t kib = 1024, mib = kib * kib;

Header call(std::uint64_t number) { return {.kind = MessageKind::call, .number = number}; }

class TransportOver : public testing::TestWithParam<LaneKind> {};

/// Over lanes that take no large part whole.
class TransportInPieces : public TransportOver {};

INSTANTIATE_TEST_SUITE_P(Lanes, TransportInPieces, testing::Values(LaneKind::memory, LaneKind::zmq), name_of);
INSTANTIATE_TEST_SUITE_P(Lanes, TransportOver,
                         testing::Values(LaneKind::memory, LaneKind::zmq, LaneKind::curve, LaneKind::shm,
                                         LaneKind::host),
                         name_of);

// -- contents and order -----------------------------------------------------------------------------------------------

TEST_P(TransportOver, MessagesArriveInOrder) {
  Pair pair(GetParam());
  for (std::uint64_t i = 0; i < 1000; ++i) pair.a.transport.send(*pair.to_b, call(i), payload_of(i, i % 300));
  ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.messages.size() == 1000; }));
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const Incoming& message = pair.b.recorder.messages[i];
    ASSERT_EQ(message.header.number, i);
    EXPECT_TRUE(same_contents(message.payload, payload_of(i, i % 300)));
    EXPECT_EQ(message.link, pair.to_a);
  }
}

TEST_P(TransportOver, EverySizeArrivesWhole) {
  struct Shape {
    std::size_t small;
    std::vector<std::size_t> parts;
  };
  const std::vector<Shape> shapes{
      {0, {}},
      {64, {}},
      {65, {}},
      {4095, {}},
      {4096, {}},
      {piece_size, {}},
      {piece_size + 1, {}},
      {3 * mib + 1, {}},
      {0, {detail::part_threshold}},
      {10, {piece_size - 1}},
      {10, {piece_size}},
      {10, {piece_size + 1}},
      {10, {3 * mib + 1}},
      {10, {20 * mib}},
      {10, {4096, 5000, 6000}},
      {10, {2 * mib, 4096, 3 * mib + 1, piece_size, 2 * piece_size}},
      {2 * mib, {4096, 2 * mib}},
      {2 * mib + 1, {2 * mib, 4096}},
  };
  Pair pair(GetParam());
  for (const bool borrowed : {false, true}) {
    for (std::uint64_t i = 0; i < shapes.size(); ++i) {
      SCOPED_TRACE("shape " + std::to_string(i));
      const Payload expected = payload_of(i, shapes[i].small, shapes[i].parts);
      {
        Payload sent = expected;
        if (borrowed)
          for (auto& part : sent.parts) part.owner.reset();
        Header header = call(i);
        header.flags = 3;
        pair.send_all(pair.a, *pair.to_b, header, sent);
      }
      ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.messages.size() == 1; }));
      const Incoming& message = pair.b.recorder.messages.front();
      EXPECT_TRUE(same_contents(message.payload, expected));
      EXPECT_EQ(message.header.flags, 3);
      EXPECT_EQ(message.header.stream, 0u);
      EXPECT_EQ(message.header.number, i);
      pair.b.recorder.messages.clear();
    }
  }
  EXPECT_TRUE(pair.to_a->assemblies.empty());
}

TEST_P(TransportOver, HandlesStandBesidePieces) {
  class PlainHandle final : public detail::Handle {
    using Handle::Handle;
  };
  Pair pair(GetParam());
  Payload payload = payload_of(1, 2 * mib, {3 * mib});
  payload.handles.push_back(std::make_shared<PlainHandle>(detail::HandleKind::future, RemoteRefId{1, 7}, 2));
  pair.send_all(pair.a, *pair.to_b, call(1), payload);
  ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.messages.size() == 1; }));
  ASSERT_EQ(pair.b.recorder.messages.front().handles.size(), 1u);
  EXPECT_EQ(pair.b.recorder.messages.front().handles.front().id, (RemoteRefId{1, 7}));
}

TEST_P(TransportInPieces, PiecesOfTwoMessagesMixWithSmallOnes) {
  Pair pair(GetParam(), {.credit_window = 2 * mib});
  const Payload one = payload_of(1, 2 * mib, {9 * mib}), other = payload_of(2, 10, {8 * mib, 3 * mib});
  Transport::Progress one_at, other_at;
  bool one_sent = false, other_sent = false;
  std::uint64_t small = 100;
  ASSERT_TRUE(pair.pump([&] {
    Transport::Progress progress;
    if (!(one_sent && other_sent) &&
        pair.a.transport.try_send(*pair.to_b, call(small), payload_of(small, 100), progress))
      ++small;
    if (!one_sent) one_sent = pair.a.transport.try_send(*pair.to_b, call(1), one, one_at);
    if (!other_sent) other_sent = pair.a.transport.try_send(*pair.to_b, call(2), other, other_at);
    return one_sent && other_sent;
  }));
  EXPECT_NE(one_at.stream, other_at.stream);
  const std::size_t expected = small - 100 + 2;
  ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.messages.size() == expected; }));
  std::uint64_t next = 100;
  std::size_t small_before_big = 0;
  for (const Incoming& message : pair.b.recorder.messages) {
    if (message.header.number <= 2) {
      EXPECT_TRUE(same_contents(message.payload, message.header.number == 1 ? one : other));
      if (small_before_big == 0) small_before_big = next - 100;
    } else {
      EXPECT_EQ(message.header.number, next++);
      EXPECT_TRUE(same_contents(message.payload, payload_of(message.header.number, 100)));
    }
  }
  EXPECT_GT(small_before_big, 0u) << "no small message came between the pieces";
}

TEST_P(TransportOver, AHelloLargerThanAPieceArrivesBeforeAdmission) {
  MemoryHub hub;
  Side a(make_lane(GetParam(), hub), {}), b(make_lane(GetParam(), hub), {});
  const auto link = a.transport.dial(b.transport.lane().endpoint());
  a.transport.send(*link, Header{.kind = MessageKind::hello}, payload_of(1, 3 * mib));
  ASSERT_TRUE(pump_until({&a, &b}, [&] { return b.recorder.messages.size() == 1; }));
  EXPECT_TRUE(same_contents(b.recorder.messages.front().payload, payload_of(1, 3 * mib)));
  EXPECT_THROW(a.transport.send(*link, Header{.kind = MessageKind::hello}, payload_of(1, longest_frame)),
               SerializationError);
}

// -- limits -----------------------------------------------------------------------------------------------------------

TEST_P(TransportOver, BothSidesCountTheLimitAlike) {
  TransportOptions options;
  options.max_message = 5 * mib;
  Pair pair(GetParam(), options);
  const std::size_t table = sizeof(std::uint64_t);
  std::size_t arrived = 0;
  for (const std::vector<std::size_t>& parts :
       {std::vector<std::size_t>{}, {10000}, {10000, 20000}, {2 * mib}, {2 * mib, 10000, 1500 * kib}}) {
    std::size_t small = options.max_message - header_size - parts.size() * table;
    for (const std::size_t part : parts) small -= part;
    pair.send_all(pair.a, *pair.to_b, call(1), payload_of(1, small, parts));
    ++arrived;
    ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.messages.size() == arrived || !pair.b.recorder.lost.empty(); }));
    ASSERT_TRUE(pair.b.recorder.lost.empty()) << pair.b.recorder.lost.begin()->second;
    Transport::Progress progress;
    EXPECT_THROW((void)pair.a.transport.try_send(*pair.to_b, call(2), payload_of(1, small + 1, parts), progress),
                 SerializationError);
    EXPECT_THROW(pair.a.transport.send(*pair.to_b, call(2), payload_of(1, small + 1, parts)), SerializationError);
  }
}

TEST_P(TransportInPieces, TooManyHandlesAreTheSendersError) {
  class PlainHandle final : public detail::Handle {
    using Handle::Handle;
  };
  Pair pair(GetParam());
  Payload payload;
  payload.handles.assign(longest_frame / handle_record_size + 1,
                         std::make_shared<PlainHandle>(detail::HandleKind::future, RemoteRefId{1, 7}, 2));
  EXPECT_THROW(pair.a.transport.send(*pair.to_b, call(1), std::move(payload)), SerializationError);
  pair.a.transport.send(*pair.to_b, call(2), {});
  ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.messages.size() == 1; }));
}

// -- credit -----------------------------------------------------------------------------------------------------------

TEST_P(TransportOver, WhoDoesNotConsumeHoldsTheSenderBack) {
  Pair pair(GetParam(), {.credit_window = mib});
  pair.b.recorder.keep_receipts = true;
  const auto message = [](std::uint64_t number) { return payload_of(number, 0, {64 * kib}); };
  std::uint64_t sent = 0;
  const auto send_until_full = [&] {
    for (;;) {
      Transport::Progress progress;
      if (!pair.a.transport.try_send(*pair.to_b, call(sent), message(sent), progress)) return;
      ++sent;
    }
  };
  send_until_full();
  EXPECT_GE(sent, 15u);
  EXPECT_LE(sent, 16u);
  ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.messages.size() == sent; }));
  const auto full = sent;
  for (int i = 0; i < 20; ++i) {
    pair.a.pump();
    send_until_full();
  }
  EXPECT_EQ(sent, full) << "credit came back for what was not consumed";

  bool told = false;
  pair.a.transport.on_credit(*pair.to_b, [&] { told = true; });
  EXPECT_FALSE(told);
  for (Incoming& incoming : pair.b.recorder.messages) (void)Receipt(std::move(incoming.receipt));
  ASSERT_TRUE(pair.pump([&] { return told; }));
  pair.b.recorder.keep_receipts = false;
  ASSERT_TRUE(pair.pump([&] {
    send_until_full();
    return sent >= 200;
  }));
  ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.messages.size() == sent; }));
  for (std::uint64_t i = 0; i < sent; ++i) {
    EXPECT_EQ(pair.b.recorder.messages[i].header.number, i);
    EXPECT_TRUE(same_contents(pair.b.recorder.messages[i].payload, message(i)));
  }
}

TEST_P(TransportOver, AMessageLargerThanTheWindowPasses) {
  Pair pair(GetParam(), {.credit_window = mib});
  const Payload big = payload_of(1, 2 * mib, {10 * mib});
  pair.send_all(pair.a, *pair.to_b, call(1), big);
  ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.messages.size() == 1; }));
  EXPECT_TRUE(same_contents(pair.b.recorder.messages.front().payload, big));
  ASSERT_TRUE(pair.pump([&] { return pair.to_b->outstanding < static_cast<std::int64_t>(mib / 8); }));
}

TEST_P(TransportOver, SendHoldsAndFlushesInOrder) {
  Pair pair(GetParam(), {.credit_window = 64 * kib});
  for (std::uint64_t i = 0; i < 100; ++i) {
    Payload payload =
        payload_of(i, 100, i % 10 == 3 ? std::vector<std::size_t>{2 * mib} : std::vector<std::size_t>{8 * kib});
    // Borrowed contents end with the call.
    std::vector<std::byte> lent(payload.parts.front().data, payload.parts.front().data + payload.parts.front().size);
    payload.parts.front() = {lent.data(), lent.size(), nullptr};
    pair.a.transport.send(*pair.to_b, call(i), std::move(payload));
    std::fill(lent.begin(), lent.end(), std::byte{0xee});
  }
  {
    const std::lock_guard lock(pair.to_b->mutex);
    EXPECT_GT(pair.to_b->held.size(), 50u);
  }
  Transport::Progress progress;
  EXPECT_FALSE(pair.a.transport.try_send(*pair.to_b, call(1000), {}, progress)) << "it overtook what is held";
  pair.send_all(pair.a, *pair.to_b, call(100), {});
  ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.messages.size() == 101; }));
  for (std::uint64_t i = 0; i <= 100; ++i) {
    EXPECT_EQ(pair.b.recorder.messages[i].header.number, i);
    if (i == 100) continue;
    EXPECT_TRUE(
        same_contents(pair.b.recorder.messages[i].payload, payload_of(i, 100, {i % 10 == 3 ? 2 * mib : 8 * kib})));
  }
}

/// Sends from several threads, each of which waits for credit as it has to.
void storm(Side& from, Link& link, int threads, int messages, std::atomic<int>& failures) {
  std::vector<std::thread> senders;
  for (int thread = 0; thread < threads; ++thread) {
    senders.emplace_back([&, thread] {
      for (int i = 0; i < messages; ++i) {
        const auto number = static_cast<std::uint64_t>(thread) << 32U | static_cast<std::uint64_t>(i);
        Payload payload = payload_of(number, i % 50 == 9 ? mib + 5 : static_cast<std::size_t>(i),
                                     i % 40 == 7   ? std::vector<std::size_t>{2 * mib + 1, 5000}
                                     : i % 10 == 3 ? std::vector<std::size_t>{30000}
                                                   : std::vector<std::size_t>{});
        if (i % 3 == 0) {
          from.transport.send(link, call(number), std::move(payload));
          continue;
        }
        Transport::Progress progress;
        while (!from.transport.try_send(link, call(number), payload, progress)) {
          auto told = std::make_shared<std::promise<void>>();
          from.transport.on_credit(link, [told] { told->set_value(); });
          if (told->get_future().wait_for(patience) != std::future_status::ready) {
            ++failures;
            return;
          }
        }
      }
    });
  }
  for (auto& sender : senders) sender.join();
}

TEST_P(TransportOver, NoCreditIsLostInAStorm) {
  constexpr int threads = 3, messages = 150;
  Pair pair(GetParam(), {.credit_window = 512 * kib});
  std::atomic<bool> done{false};
  std::atomic<int> failures{0};
  std::vector<std::thread> receivers;
  for (Side* side : {&pair.a, &pair.b})
    receivers.emplace_back([&done, side] {
      while (!done) side->pump();
    });
  {
    std::thread back([&] { storm(pair.b, *pair.to_a, threads, messages, failures); });
    storm(pair.a, *pair.to_b, threads, messages, failures);
    back.join();
  }
  const auto deadline = Clock::now() + patience;
  const auto settled = [&] {
    return pair.a.recorder.count() == threads * messages && pair.b.recorder.count() == threads * messages &&
           pair.to_b->outstanding == pair.to_a->consumed && pair.to_a->outstanding == pair.to_b->consumed;
  };
  while (!settled() && Clock::now() < deadline) std::this_thread::yield();
  done = true;
  for (auto& receiver : receivers) receiver.join();
  EXPECT_EQ(failures, 0);
  for (const auto& [side, link, other] :
       {std::tuple{&pair.a, pair.to_b, pair.to_a}, std::tuple{&pair.b, pair.to_a, pair.to_b}}) {
    EXPECT_EQ(side->recorder.messages.size(), static_cast<std::size_t>(threads * messages));
    EXPECT_EQ(link->outstanding, other->consumed) << "the two sides count differently";
    EXPECT_LT(link->outstanding, side->transport.options().credit_window / 8);
    EXPECT_TRUE(link->assemblies.empty());
    EXPECT_TRUE(link->held.empty());
  }
}

// -- the end of links -------------------------------------------------------------------------------------------------

TEST_P(TransportOver, ALostLinkWakesWhoWaits) {
  Pair pair(GetParam(), {.credit_window = 8 * kib});
  pair.a.transport.send(*pair.to_b, call(1), payload_of(1, 10000));
  pair.a.transport.send(*pair.to_b, call(2), payload_of(1, 10000));
  bool told = false;
  pair.a.transport.on_credit(*pair.to_b, [&] { told = true; });
  EXPECT_FALSE(told);
  pair.b.transport.close(pair.to_a);
  ASSERT_TRUE(pair.pump([&] { return pair.a.recorder.is_lost(pair.to_b); }));
  EXPECT_TRUE(told);
  EXPECT_TRUE(pair.to_b->gone);
  EXPECT_TRUE(pair.to_b->held.empty());
  bool at_once = false;
  pair.a.transport.on_credit(*pair.to_b, [&] { at_once = true; });
  EXPECT_TRUE(at_once);
  Transport::Progress progress;
  EXPECT_TRUE(pair.a.transport.try_send(*pair.to_b, call(3), {}, progress)) << "a lost link swallows what is sent";
  pair.a.transport.send(*pair.to_b, call(4), {});
  EXPECT_TRUE(pair.b.recorder.lost.empty()) << "who closes is told nothing";
  EXPECT_TRUE(pair.a.transport.links().empty());
  EXPECT_TRUE(pair.b.transport.links().empty());
}

TEST_P(TransportOver, OnesOwnCloseWakesWhoWaits) {
  Pair pair(GetParam(), {.credit_window = 8 * kib});
  pair.a.transport.send(*pair.to_b, call(1), payload_of(1, 10000));
  bool told = false;
  pair.a.transport.on_credit(*pair.to_b, [&] { told = true; });
  pair.a.transport.close(pair.to_b);
  EXPECT_TRUE(told);
  pair.a.transport.close(pair.to_b);
  ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.is_lost(pair.to_a); }));
  EXPECT_TRUE(pair.a.recorder.lost.empty());
}

TEST_P(TransportInPieces, ClosingInTheMiddleOfAMessageFreesItsPieces) {
  Pair pair(GetParam(), {.credit_window = 2 * mib});
  Transport::Progress progress;
  const Payload big = payload_of(1, 0, {50 * mib});
  ASSERT_FALSE(pair.a.transport.try_send(*pair.to_b, call(1), big, progress));
  ASSERT_TRUE(pair.pump([&] { return !pair.to_a->assemblies.empty(); }));
  pair.b.transport.close(pair.to_a);
  EXPECT_TRUE(pair.to_a->assemblies.empty());
  ASSERT_TRUE(pair.pump([&] { return pair.a.transport.try_send(*pair.to_b, call(1), big, progress); }));
  ASSERT_TRUE(pair.pump([&] { return pair.a.recorder.is_lost(pair.to_b); }));
  EXPECT_TRUE(pair.b.recorder.messages.empty());
  EXPECT_TRUE(pair.to_a->assemblies.empty());
}

TEST_P(TransportOver, APeerThatGoesIsLost) {
  MemoryHub hub;
  Side a(make_lane(GetParam(), hub), {});
  auto b = std::make_unique<Side>(make_lane(GetParam(), hub), TransportOptions{});
  const auto link = a.transport.dial(b->transport.lane().endpoint());
  std::shared_ptr<Link> back;
  Pair::introduce(a, link, 1, *b, 2, back);
  for (std::uint64_t i = 0; i < 100; ++i) b->transport.send(*back, call(i), payload_of(i, 1000));
  b.reset();
  ASSERT_TRUE(pump_until({&a}, [&] { return a.recorder.is_lost(link); }));
  EXPECT_EQ(a.recorder.messages.size(), 100u) << "what it sent before comes first";
  EXPECT_NE(a.recorder.lost[link->id], "");
}

TEST_P(TransportOver, ManyLinksComeAndGo) {
  MemoryHub hub;
  Side hubside(make_lane(GetParam(), hub), {});
  const auto endpoint = hubside.transport.lane().endpoint();
  for (int round = 0; round < 20; ++round) {
    Side other(make_lane(GetParam(), hub), {});
    const auto link = other.transport.dial(endpoint);
    std::shared_ptr<Link> back;
    Pair::introduce(other, link, 2 + round, hubside, 1, back);
    hubside.transport.send(*back, call(1), payload_of(1, 2 * mib));
    ASSERT_TRUE(pump_until({&hubside, &other}, [&] { return other.recorder.messages.size() == 1; }));
    if (round % 2 == 0)
      hubside.transport.close(back);
    else
      other.transport.close(link);
    ASSERT_TRUE(pump_until({&hubside, &other}, [&] { return link->gone && back->gone; }));
  }
  EXPECT_TRUE(hubside.transport.links().empty());
}

TEST_P(TransportOver, TwoProcessesMeetAgainAfterALoss) {
  Pair pair(GetParam());
  for (int round = 0; round < 10; ++round) {
    pair.a.transport.close(pair.to_b);
    pair.to_b = pair.a.transport.dial(pair.b.transport.lane().endpoint());
    Pair::introduce(pair.a, pair.to_b, 1, pair.b, 2, pair.to_a);
    pair.b.transport.send(*pair.to_a, call(1), payload_of(1, 10));
    ASSERT_TRUE(pair.pump([&] { return pair.a.recorder.messages.size() == static_cast<std::size_t>(round) + 1; }));
  }
  EXPECT_TRUE(pair.a.recorder.lost.empty());
}

// -- keep_alive -------------------------------------------------------------------------------------------------------

using std::chrono::milliseconds;

TEST_P(TransportOver, HeartbeatsKeepAQuietLink) {
  Pair pair(GetParam());
  const auto end = Clock::now() + milliseconds(400);
  ASSERT_TRUE(pair.pump([&] {
    pair.a.transport.keep_alive(milliseconds(20), milliseconds(200));
    pair.b.transport.keep_alive(milliseconds(20), milliseconds(200));
    return Clock::now() > end;
  }));
  EXPECT_FALSE(pair.to_a->gone);
  EXPECT_FALSE(pair.to_b->gone);
  EXPECT_TRUE(pair.b.recorder.messages.empty()) << "heartbeats stay below";
  EXPECT_GT(pair.to_a->messages_received, 3u);
}

TEST_P(TransportOver, ASilentPeerIsLost) {
  Pair pair(GetParam());
  ASSERT_TRUE(pump_until({&pair.a}, [&] {
    pair.a.transport.keep_alive(milliseconds(20), milliseconds(100));
    return pair.a.recorder.is_lost(pair.to_b);
  }));
  EXPECT_NE(pair.a.recorder.lost[pair.to_b->id].find("heartbeat_timeout"), std::string::npos);
  ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.is_lost(pair.to_a); }));
}

TEST_P(TransportOver, WhoIsNotAdmittedInTimeIsClosed) {
  MemoryHub hub;
  TransportOptions options;
  options.hello_timeout = milliseconds(100);
  Side a(make_lane(GetParam(), hub), options), b(make_lane(GetParam(), hub), options);
  const auto dialed = a.transport.dial(b.transport.lane().endpoint());
  a.transport.send(*dialed, Header{.kind = MessageKind::hello}, {});
  ASSERT_TRUE(pump_until({&a, &b}, [&] { return b.recorder.count() == 1; }));
  const auto accepted = b.recorder.messages.front().link;
  const auto end = Clock::now() + milliseconds(200);
  ASSERT_TRUE(pump_until({&a, &b}, [&] {
    a.transport.keep_alive(milliseconds(20), milliseconds(50));
    return Clock::now() > end;
  }));
  EXPECT_FALSE(dialed->gone) << "who dialed gives up when it likes";
  ASSERT_TRUE(pump_until({&a, &b}, [&] {
    b.transport.keep_alive(milliseconds(20), milliseconds(50));
    return b.recorder.is_lost(accepted);
  }));
  EXPECT_NE(b.recorder.lost[accepted->id].find("not admitted"), std::string::npos);
  ASSERT_TRUE(pump_until({&a, &b}, [&] { return a.recorder.is_lost(dialed); }));
}

TEST_P(TransportOver, OnesOwnStopDoesNotBlameThePeers) {
  Pair pair(GetParam());
  pair.a.transport.keep_alive(milliseconds(10), milliseconds(50));
  std::this_thread::sleep_for(milliseconds(150));  // what a stopped process does
  pair.a.transport.keep_alive(milliseconds(10), milliseconds(50));
  EXPECT_FALSE(pair.to_b->gone);
}

}  // namespace
}  // namespace muster::runtime
