// Links over ZeroMQ that are encrypted, and who is let in.
#include "tests/runtime/transport/transport_pair.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

namespace muster::runtime {
namespace {

const Header heartbeat{.kind = MessageKind::heartbeat};
const std::string secret = "a secret of the cluster's, of which nobody else knows";

std::unique_ptr<ZmqLane> lane_with(Encryption mode, const std::string& its_secret = secret) {
  return std::make_unique<ZmqLane>("127.0.0.1", 0, LinkSecurity{mode, its_secret});
}

bool next(Lane& lane, LaneEvent& event, Clock::duration limit = patience) {
  const auto deadline = Clock::now() + limit;
  while (!lane.receive(event)) {
    if (Clock::now() > deadline) return false;
    lane.wait(std::min(deadline, Clock::now() + std::chrono::milliseconds(50)));
  }
  return true;
}

detail::Payload payload_of(const std::string& text) {
  detail::Payload payload;
  FieldWriter(payload.bytes).text(text);
  return payload;
}

/// Whether a message of one reaches the other, and the link is not lost instead.
bool reaches(Lane& from, Lane& to) {
  const LinkId link = from.dial(to.endpoint());
  from.send(link, heartbeat, {});
  const auto deadline = Clock::now() + patience;
  for (LaneEvent event; Clock::now() < deadline;) {
    for (Lane* const lane : {&to, &from}) {  // which may be one and the same
      if (!next(*lane, event, std::chrono::milliseconds(5))) continue;
      if (event.kind == LaneEvent::Kind::message) return true;
      if (event.kind != LaneEvent::Kind::lost || lane != &from) continue;
      EXPECT_EQ(event.link, link);
      EXPECT_FALSE(event.reason.empty());
      return false;
    }
  }
  ADD_FAILURE() << "neither a message nor a lost link";
  return false;
}

TEST(Curve, AutoIsForAddressesThatLeaveTheHost) {
  const LinkSecurity automatic{Encryption::Auto, secret}, on{Encryption::On, secret}, off{Encryption::Off, {}};
  for (const char* address : {"127.0.0.1", "127.1.2.3", "::1", "[::1]"}) {
    EXPECT_FALSE(automatic.applies_to(address)) << address;
    EXPECT_TRUE(on.applies_to(address)) << address;
  }
  for (const char* address : {"10.0.0.1", "0.0.0.0", "::", "[fe80::1]", "12.7.0.1"}) {
    EXPECT_TRUE(automatic.applies_to(address)) << address;
    EXPECT_FALSE(off.applies_to(address)) << address;
  }
}

TEST(Curve, KeysFollowFromTheSecretAlone) {
  const CurveKeys keys = derive_curve_keys(secret), again = derive_curve_keys(secret), others = derive_curve_keys("x");
  EXPECT_EQ(keys.server.secret_key, again.server.secret_key);
  EXPECT_EQ(keys.client.public_key, again.client.public_key);
  EXPECT_NE(keys.server.secret_key, keys.client.secret_key);
  EXPECT_NE(keys.server.public_key, others.server.public_key);
  EXPECT_EQ(keys.server.public_key.size(), 40U);
}

TEST(Curve, AnAddressOfAnotherHostIsAnError) {
  EXPECT_THROW(ZmqLane("192.0.2.1", 0, LinkSecurity{Encryption::Auto, secret}), Error);  // documentation's, nobody's
}

TEST(Curve, MembersTalkEncrypted) {
  const auto one = lane_with(Encryption::On), other = lane_with(Encryption::On);
  const LinkId link = one->dial(other->endpoint());
  EXPECT_TRUE(one->encrypted(link));
  one->send(link, heartbeat, {});
  LaneEvent event;
  ASSERT_TRUE(next(*other, event));
  ASSERT_EQ(event.kind, LaneEvent::Kind::message);
  EXPECT_TRUE(other->encrypted(event.link));
  other->send(event.link, heartbeat, {});
  ASSERT_TRUE(next(*one, event));
  EXPECT_EQ(event.kind, LaneEvent::Kind::message);
  EXPECT_EQ(event.link, link);
}

TEST(Curve, OneProcessHasBothKindsOfLinks) {
  const auto plain = lane_with(Encryption::Off), open = lane_with(Encryption::Auto), closed = lane_with(Encryption::On);
  EXPECT_TRUE(reaches(*open, *plain)) << "loopback is not encrypted with Auto";
  EXPECT_TRUE(reaches(*plain, *open));
  EXPECT_TRUE(reaches(*closed, *closed)) << "to itself";
}

/// What else a lane listens at is as encrypted as its own address asks, and does not change what it did before.
TEST(Curve, AnotherPlaceToListenIsEncryptedByItself) {
  const auto master = lane_with(Encryption::Auto);
  const std::string any = "0.0.0.0";
  const int port = master->listen(any, 0);
  EXPECT_EQ(master->listen(any, 0), port) << "it listens there already";
  EXPECT_NE(port, master->port());
  EXPECT_TRUE(reaches(*lane_with(Encryption::Auto), *master)) << "its own place is as it was";
  const auto arrives = [&](Encryption mode, const std::string& with) {
    const auto from = lane_with(mode, with);
    from->send(from->dial("127.0.0.1:" + std::to_string(port)), Header{.kind = MessageKind::heartbeat}, {});
    const auto deadline = Clock::now() + std::chrono::seconds(2);
    LaneEvent event;
    while (Clock::now() < deadline) {
      if (from->receive(event) && event.kind == LaneEvent::Kind::lost) return false;
      if (master->receive(event) && event.kind == LaneEvent::Kind::message) return master->encrypted(event.link);
      master->wait(Clock::now() + std::chrono::milliseconds(2));
    }
    return false;
  };
  EXPECT_TRUE(arrives(Encryption::On, secret));
  EXPECT_FALSE(arrives(Encryption::Off, secret));
  EXPECT_FALSE(arrives(Encryption::On, "another cluster's secret"));
}

TEST(Curve, WithoutTheSecretNobodyIsLetIn) {
  const auto member = lane_with(Encryption::On);
  EXPECT_FALSE(reaches(*lane_with(Encryption::On, "another cluster's secret"), *member)) << "other keys";
  EXPECT_FALSE(reaches(*lane_with(Encryption::Off), *member)) << "no keys";
  EXPECT_TRUE(reaches(*lane_with(Encryption::On), *member)) << "and members still are";
}

TEST(Curve, AMemberTellsNothingToAStranger) {
  const auto member = lane_with(Encryption::On);
  EXPECT_FALSE(reaches(*member, *lane_with(Encryption::On, "another cluster's secret")));
  EXPECT_FALSE(reaches(*member, *lane_with(Encryption::Off)));
}

/// Knows the key of who listens, which is no secret by its nature, and not that of who dials.
TEST(Curve, TheKeyOfWhoListensIsNotEnough) {
  const auto member = lane_with(Encryption::On);
  CurveKeys keys = derive_curve_keys(secret);
  keys.client = derive_curve_keys("a stranger's").client;
  zmq::context_t context(1);
  zmq::socket_t stranger(context, zmq::socket_type::dealer);
  stranger.set(zmq::sockopt::linger, 0);
  secure_next_connect(stranger, &keys);
  zmq::socket_t monitor(context, zmq::socket_type::pair);
  ASSERT_EQ(zmq_socket_monitor(stranger.handle(), "inproc://monitor",
                               ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH),
            0);
  monitor.connect("inproc://monitor");
  stranger.connect("tcp://" + member->endpoint());
  monitor.set(zmq::sockopt::rcvtimeo, 30000);
  zmq::message_t event;
  ASSERT_TRUE(monitor.recv(event, zmq::recv_flags::none));
  std::uint16_t what = 0;
  std::memcpy(&what, event.data(), sizeof what);
  EXPECT_EQ(what, ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
  monitor.set(zmq::sockopt::linger, 0);
}

/// Carries bytes between two ends and keeps them.
class Wiretap {
 public:
  explicit Wiretap(const std::string& endpoint) : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = at(0);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    socklen_t size = sizeof address;
    EXPECT_EQ(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    target_ = static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)));
    thread_ = std::thread([this] { carry(); });
  }
  ~Wiretap() { thread_.join(); }
  Wiretap(const Wiretap&) = delete;
  Wiretap& operator=(const Wiretap&) = delete;

  std::string endpoint() const { return "127.0.0.1:" + std::to_string(port_); }
  /// All that was said, once one side has hung up.
  const std::string& heard() {
    thread_.join();
    thread_ = std::thread([] {});
    return heard_;
  }

 private:
  static sockaddr_in at(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }
  void carry() {
    const UniqueFd near(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const UniqueFd far(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = at(target_);
    if (::connect(far.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return;
    std::array<pollfd, 2> ends{{{near.get(), POLLIN, 0}, {far.get(), POLLIN, 0}}};
    while (::poll(ends.data(), ends.size(), -1) > 0) {
      for (std::size_t from = 0; from < ends.size(); ++from) {
        if (ends[from].revents == 0) continue;
        std::array<char, 4096> bytes{};
        const auto got = ::read(ends[from].fd, bytes.data(), bytes.size());
        if (got <= 0) return;
        heard_.append(bytes.data(), static_cast<std::size_t>(got));
        (void)::send(ends[1 - from].fd, bytes.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL);
      }
    }
  }
  UniqueFd listener_;
  std::uint16_t port_ = 0, target_ = 0;
  std::string heard_;  ///< the thread's
  std::thread thread_;
};

/// What a wire carries of a known text.
std::string carried(Encryption mode, const std::string& text) {
  const auto receiver = lane_with(mode);
  Wiretap wire(receiver->endpoint());
  {
    const auto sender = lane_with(mode);
    const LinkId link = sender->dial(wire.endpoint());
    sender->send(link, heartbeat, payload_of(text));
    LaneEvent event;
    EXPECT_TRUE(next(*receiver, event));
    EXPECT_EQ(event.kind, LaneEvent::Kind::message);
  }
  return wire.heard();
}

TEST(Curve, TheWireCarriesNoPlainText) {
  const std::string text = "the known plain text of an argument";
  EXPECT_NE(carried(Encryption::Off, text).find(text), std::string::npos) << "the wiretap hears nothing";
  const std::string encrypted = carried(Encryption::On, text);
  EXPECT_GT(encrypted.size(), text.size());
  EXPECT_EQ(encrypted.find(text), std::string::npos);
}

}  // namespace
}  // namespace muster::runtime
