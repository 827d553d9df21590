#include "repl/kernel/channels.hpp"

#include <cerrno>
#include <utility>

namespace muster::repl {

namespace {

/// How long an answer that was given last may take to leave at the end, in milliseconds.
constexpr int last_words = 1000;

zmq::socket_t listening(zmq::context_t& context, zmq::socket_type type, const std::string& endpoint) {
  zmq::socket_t socket(context, type);
  socket.set(zmq::sockopt::linger, last_words);
  if (type == zmq::socket_type::router) socket.set(zmq::sockopt::router_handover, true);  // a client that reconnects
  // A client that is slow must not miss that a cell is done: it would wait for ever.
  if (type == zmq::socket_type::pub) socket.set(zmq::sockopt::sndhwm, 0);
  try {
    socket.bind(endpoint);
  } catch (const zmq::error_t& error) {
    throw std::runtime_error("can't listen at " + endpoint + ": " + error.what());
  }
  return socket;
}

// A signal may end any call to ZeroMQ, also those that wait for nothing: Ctrl-C must not cost a message.

/// The frames of a message that waits; none where there is none.
std::vector<std::string> take(zmq::socket_t& socket) {
  std::vector<std::string> frames;
  for (bool more = true; more;) {
    zmq::message_t part;
    while (::zmq_msg_recv(part.handle(), socket.handle(), ZMQ_DONTWAIT) < 0)
      if (errno != EINTR) return {};
    frames.push_back(part.to_string());
    more = part.more();
  }
  return frames;
}

void send(zmq::socket_t& socket, const std::vector<std::string>& frames) {
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const int flags = ZMQ_DONTWAIT | (i + 1 < frames.size() ? ZMQ_SNDMORE : 0);
    while (::zmq_send(socket.handle(), frames[i].data(), frames[i].size(), flags) < 0)
      if (errno != EINTR) return;  // whom it was for is gone
  }
}

}  // namespace

Channels::Channels(const Connection& connection, std::function<void(const std::string&)> log)
    : log_(std::move(log)),
      signer_(connection.key),
      shell_(listening(context_, zmq::socket_type::router, connection.endpoint(connection.shell))),
      control_(listening(context_, zmq::socket_type::router, connection.endpoint(connection.control))),
      standard_input_(listening(context_, zmq::socket_type::router, connection.endpoint(connection.standard_input))),
      heartbeat_(listening(context_, zmq::socket_type::rep, connection.endpoint(connection.heartbeat))),
      iopub_(listening(context_, zmq::socket_type::pub, connection.endpoint(connection.iopub))) {}

void Channels::echo_heartbeat() { send(heartbeat_, take(heartbeat_)); }

std::optional<Message> Channels::receive(zmq::socket_t& socket, const char* name) {
  const std::vector<std::string> frames = take(socket);
  if (frames.empty()) return std::nullopt;
  try {
    return decode(frames, signer_);
  } catch (const MessageError& error) {
    log_(std::string("refused a message on the ") + name + " channel: " + error.what());
    return std::nullopt;
  }
}

Message Channels::fresh(const Json& parent_header, const std::string& type, Json content) const {
  Message message;
  message.header = {{"msg_id", random_id()}, {"session", session_}, {"username", "kernel"},
                    {"date", timestamp()},   {"msg_type", type},    {"version", protocol_version}};
  message.parent_header = parent_header;
  message.content = std::move(content);
  return message;
}

void Channels::reply(zmq::socket_t& socket, const Message& request, const std::string& type, Json content) {
  Message message = fresh(request.header, type, std::move(content));
  message.identities = request.identities;
  send(socket, encode(message, signer_));
}

void Channels::publish(const Json& parent_header, const std::string& type, Json content) {
  Message message = fresh(parent_header, type, std::move(content));
  message.identities = {"kernel." + session_ + "." + type};
  const std::vector<std::string> frames = encode(message, signer_);
  const std::lock_guard lock(mutex_);
  send(iopub_, frames);
}

void Channels::publish(const std::string& type, Json content) {
  Json parent;
  {
    const std::lock_guard lock(mutex_);
    parent = parent_;
  }
  publish(parent, type, std::move(content));
}

void Channels::set_parent(const Json& header) {
  const std::lock_guard lock(mutex_);
  parent_ = header;
}

}  // namespace muster::repl
