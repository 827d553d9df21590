/// @file
/// The raw ZeroMQ floor: a ROUTER here, DEALERs in child processes, tcp over the loopback interface. Nothing but
/// libzmq: no serialization, no futures, no tables, received messages are used in place.
#pragma once

#include "child.hpp"

#include <zmq.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

/// Where the child takes the array from that it replies with.
enum class Reply : std::uint64_t {
  plain,  ///< a message as libzmq allocates it, contents as they come
  fresh,  ///< an array of doubles made for this reply (as a function that returns an array does), sent without a copy
  kept,   ///< an array of doubles made once, sent without a copy
};

/// First bytes of each request: what is to come back.
struct EchoRequest {
  std::uint64_t reply_bytes;
  Reply reply;
};

/// The raw ZeroMQ floor's side in this process.
class ZmqFloor {
 public:
  /// Starts the children and returns when all have answered a request. Throws std::runtime_error if they do not.
  explicit ZmqFloor(int children) : context_(1), router_(context_, zmq::socket_type::router) {
    router_.set(zmq::sockopt::linger, 0);
    router_.set(zmq::sockopt::sndhwm, 0);  // the floor of pipelined work queues all of it
    router_.set(zmq::sockopt::rcvhwm, 0);
    router_.set(zmq::sockopt::router_mandatory, true);
    router_.set(zmq::sockopt::rcvtimeo, 30'000);
    router_.bind("tcp://127.0.0.1:*");
    const std::string endpoint = router_.get(zmq::sockopt::last_endpoint);
    for (int i = 0; i < children; ++i) {
      const std::string name = "child-" + std::to_string(i);
      children_.emplace_back(std::vector<std::string>{"zmq", endpoint, name});
      names_.push_back(name);
    }
    for (int i = 0; i < children; ++i) receive();  // hello
    for (int i = 0; i < children; ++i) send(i, sizeof(EchoRequest), {1, Reply::plain});
    for (int i = 0; i < children; ++i) receive();
  }

  /// One request of `request_bytes` to child 0 and its reply of `reply_bytes`, one waiting for the other.
  void ping_pong(std::size_t request_bytes, std::size_t reply_bytes) {
    send(0, request_bytes, {reply_bytes, Reply::plain});
    receive();
  }

  /// Sends `array` to child 0 straight from where it lies and waits for an answer of 8 bytes. The array must not change
  /// before this returns, and must outlive this object.
  void send_array(const std::vector<double>& array) {
    send(0, sizeof(EchoRequest), {sizeof(std::uint64_t), Reply::plain}, zmq::send_flags::sndmore);
    const auto leave_alone = [](void*, void*) {};
    // libzmq only reads it, but wants it non-const.
    zmq::message_t body(const_cast<double*>(array.data()), array.size() * sizeof(double), leave_alone, nullptr);
    router_.send(body, zmq::send_flags::none);
    receive();
  }

  /// Gets an array of `doubles` from child 0; it is used in place. Returns its size.
  std::size_t receive_array(std::size_t doubles, Reply reply) {
    send(0, sizeof(EchoRequest), {doubles * sizeof(double), reply});
    return receive().size() / sizeof(double);
  }

  /// `count` requests of `bytes`, in turn to all children, all sent before the first of as many replies is received.
  void pipelined_echo(int count, std::size_t bytes) {
    for (int i = 0; i < count; ++i) send(i % static_cast<int>(children_.size()), bytes, {bytes, Reply::plain});
    for (int i = 0; i < count; ++i) receive();
  }

  /// The operating system's process number of a child.
  pid_t pid(std::size_t child) const { return children_.at(child).pid(); }

 private:
  void send(int child, std::size_t bytes, EchoRequest request, zmq::send_flags flags = zmq::send_flags::none) {
    router_.send(zmq::buffer(names_[static_cast<std::size_t>(child)]), zmq::send_flags::sndmore);
    zmq::message_t message(std::max(bytes, sizeof request));
    std::memcpy(message.data(), &request, sizeof request);
    router_.send(message, flags);
  }

  zmq::message_t receive() {
    zmq::message_t message;
    do {
      if (!router_.recv(message)) throw std::runtime_error("the raw ZeroMQ floor's child gave no answer in 30 s");
    } while (message.more());
    return message;
  }

  zmq::context_t context_;
  zmq::socket_t router_;
  std::vector<std::string> names_;
  std::vector<Child> children_;  // gone before the socket
};

/// The child: answers requests until it is killed. `arguments` are endpoint and name.
inline void serve_zmq_floor(const std::vector<std::string>& arguments) {
  std::vector<double> kept;  // outlives the context, which may still be sending it
  zmq::context_t context(1);
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.set(zmq::sockopt::linger, 0);
  dealer.set(zmq::sockopt::sndhwm, 0);
  dealer.set(zmq::sockopt::rcvhwm, 0);
  dealer.set(zmq::sockopt::routing_id, arguments.at(1));
  dealer.connect(arguments.at(0));
  dealer.send(zmq::str_buffer("hello"), zmq::send_flags::none);
  for (;;) {
    zmq::message_t message;
    if (!dealer.recv(message)) continue;
    EchoRequest request{};
    std::memcpy(&request, message.data(), sizeof request);
    while (message.more()) static_cast<void>(dealer.recv(message));
    const std::size_t bytes = request.reply_bytes;
    if (request.reply == Reply::plain) {
      zmq::message_t reply(bytes);
      dealer.send(reply, zmq::send_flags::none);
    } else if (request.reply == Reply::fresh) {
      auto array = std::make_unique<std::vector<double>>(bytes / sizeof(double), 1.0);
      const auto free_array = [](void*, void* owner) {
        std::unique_ptr<std::vector<double>> last(static_cast<std::vector<double>*>(owner));
      };
      double* const data = array->data();
      zmq::message_t reply(data, bytes, free_array, array.release());
      dealer.send(reply, zmq::send_flags::none);
    } else {
      if (kept.size() < bytes / sizeof(double)) kept.resize(bytes / sizeof(double), 1.0);
      zmq::message_t reply(kept.data(), bytes, [](void*, void*) {}, nullptr);
      dealer.send(reply, zmq::send_flags::none);
    }
  }
}

}  // namespace bench
