#include "runtime/transport/zmq/curve.hpp"

#include "runtime/base/address.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/random.hpp"

#include <muster/errors.hpp>

#include <pthread.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <span>
#include <vector>

namespace muster::runtime {

namespace {

constexpr std::size_t key_size = 32, key_text_size = 40;

CurveKeyPair derive_pair(const std::string& secret, std::string_view purpose) {
  const auto key = keyed_hash(secret, std::as_bytes(std::span(purpose)));
  std::array<char, key_text_size + 1> secret_text{}, public_text{};
  if (zmq_z85_encode(secret_text.data(), reinterpret_cast<const std::uint8_t*>(key.data()), key.size()) == nullptr ||
      zmq_curve_public(public_text.data(), secret_text.data()) != 0) {
    throw Error(
        "This build of ZeroMQ can't encrypt (no CURVE). Install one that can (Debian's libzmq5), or set "
        "SessionOptions::encryption to Encryption::Off where the network is trusted.");
  }
  return {public_text.data(), secret_text.data()};
}

std::string_view view_of(const zmq::message_t& frame) { return {static_cast<const char*>(frame.data()), frame.size()}; }

}  // namespace

bool LinkSecurity::applies_to(std::string_view address) const {
  return mode == Encryption::On || (mode == Encryption::Auto && !is_loopback(address));
}

CurveKeys derive_curve_keys(const std::string& secret) {
  return {derive_pair(secret, "muster links: who listens"), derive_pair(secret, "muster links: who dials")};
}

void secure_next_connect(zmq::socket_t& socket, const CurveKeys* keys) {
  socket.set(zmq::sockopt::curve_server, false);  // which also means: not encrypted
  if (keys == nullptr) return;
  socket.set(zmq::sockopt::curve_serverkey, keys->server.public_key);
  socket.set(zmq::sockopt::curve_publickey, keys->client.public_key);
  socket.set(zmq::sockopt::curve_secretkey, keys->client.secret_key);
}

void secure_next_bind(zmq::socket_t& socket, const CurveKeys& keys) {
  socket.set(zmq::sockopt::curve_server, true);
  socket.set(zmq::sockopt::curve_secretkey, keys.server.secret_key);
}

KeyGuard::KeyGuard(zmq::context_t& context, const std::string& client_public_key)
    : context_(context), socket_(context, zmq::socket_type::rep), key_(key_size, '\0') {
  if (zmq_z85_decode(reinterpret_cast<std::uint8_t*>(key_.data()), client_public_key.c_str()) == nullptr)
    throw Error("A key that is none");
  socket_.set(zmq::sockopt::linger, 0);
  socket_.bind("inproc://zeromq.zap.01");
  thread_ = std::thread([this] { answer(); });
  (void)pthread_setname_np(thread_.native_handle(), "muster-keys");
}

KeyGuard::~KeyGuard() {
  context_.shutdown();  // which ends the thread's wait
  thread_.join();
}

void KeyGuard::answer() {
  for (;;) {
    try {
      answer_one();
    } catch (const zmq::error_t& error) {
      if (error.num() == EINTR) continue;
      // Questions that nobody answers let nobody in.
      if (error.num() != ETERM) log::error(std::string("New connections can't be checked any more: ") + error.what());
      break;
    }
  }
}

void KeyGuard::answer_one() {
  // version, number of the question, domain, address, routing id, mechanism, and for CURVE the key
  std::vector<zmq::message_t> question;
  do {
    (void)socket_.recv(question.emplace_back(), zmq::recv_flags::none);
  } while (question.back().more());
  const bool allowed = question.size() == 7 && view_of(question[0]) == "1.0" && view_of(question[5]) == "CURVE" &&
                       equal_in_constant_time(view_of(question[6]), key_);
  if (!allowed && question.size() > 3)
    log::warning("A connection from " + question[3].to_string() + " was refused: it has not the cluster's key");
  const auto frame = [this](std::string_view text, zmq::send_flags flags) {
    (void)socket_.send(zmq::buffer(text), flags);
  };
  frame("1.0", zmq::send_flags::sndmore);
  frame(question.size() > 1 ? view_of(question[1]) : std::string_view(), zmq::send_flags::sndmore);
  frame(allowed ? "200" : "400", zmq::send_flags::sndmore);
  frame(allowed ? "OK" : "not a member of this cluster", zmq::send_flags::sndmore);
  frame("", zmq::send_flags::sndmore);
  frame("", zmq::send_flags::none);
}

}  // namespace muster::runtime
