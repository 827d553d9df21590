// Strangers at an encrypted port: whatever bytes they send, as ZeroMQ's greeting, its handshake or anything else,
// nothing of theirs comes out as a message, and whoever has the keys gets in at the end.

#include "runtime/transport/zmq/zmq_lane.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace {

using namespace muster::runtime;
using namespace std::chrono_literals;

LinkSecurity security() { return {muster::Encryption::On, "a secret of more than thirty-two characters"}; }

/// The lane under attack.
ZmqLane& lane() {
  static ZmqLane one("127.0.0.1", 0, security());
  return one;
}

/// Whatever came.
void drain() {
  LaneEvent event;
  while (lane().receive(event))
    if (event.kind == LaneEvent::Kind::message) std::abort();
}

void send_from_a_stranger(const std::uint8_t* data, std::size_t size) {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(lane().port()));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const linger reset{1, 0};  // so that no port stays in TIME_WAIT
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return;
  (void)!::send(socket.get(), data, size, MSG_NOSIGNAL);
  // Until the other side has answered, or closed: then it has looked at what came.
  const timeval patience{0, 2000};
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  char answer[512];
  while (::recv(socket.get(), answer, sizeof answer, 0) > 0) {
  }
}

/// Aborts where the lane does not serve its own any more.
void check_that_it_serves() {
  ZmqLane friendly("127.0.0.1", 0, security());
  const LinkId link = friendly.dial(lane().endpoint());
  friendly.send(link, Header{.kind = MessageKind::goodbye}, {});
  LaneEvent event;
  for (const auto deadline = Clock::now() + 20s; Clock::now() < deadline; lane().wait(Clock::now() + 50ms))
    while (lane().receive(event))
      if (event.kind == LaneEvent::Kind::message) return;
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static unsigned runs = 0;
  drain();
  send_from_a_stranger(data, size);
  drain();
  if (++runs % 5000 == 0) check_that_it_serves();
  return 0;
}
