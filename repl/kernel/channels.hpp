/// @file
/// The sockets of a kernel.
#pragma once

#include "repl/kernel/connection.hpp"
#include "repl/kernel/message.hpp"

#include <zmq.hpp>

#include <functional>
#include <mutex>
#include <optional>
#include <string>

namespace muster::repl {

/// Listens on the five sockets of a connection file. The shell socket is one thread's, control and heartbeat are
/// another's; to publish is anybody's.
class Channels {
 public:
  /// @param log takes what is to be said of messages that are refused
  Channels(const Connection& connection, std::function<void(const std::string&)> log);

  zmq::socket_t& shell() { return shell_; }
  zmq::socket_t& control() { return control_; }
  /// Answers what waits at the heartbeat socket.
  void echo_heartbeat();
  zmq::socket_t& heartbeat() { return heartbeat_; }

  /// One message that waits there. @returns nothing where there is none, or one that is refused
  std::optional<Message> receive(zmq::socket_t& socket, const char* name);
  void reply(zmq::socket_t& socket, const Message& request, const std::string& type, Json content);

  /// Publishes on behalf of that request.
  void publish(const Json& parent_header, const std::string& type, Json content);
  /// The same for the request that is carried out on the shell channel, or was the last one there.
  void publish(const std::string& type, Json content);
  void set_parent(const Json& header);

  void log(const std::string& text) const { log_(text); }

 private:
  Message fresh(const Json& parent_header, const std::string& type, Json content) const;

  std::function<void(const std::string&)> log_;
  Signer signer_;
  std::string session_ = random_id();
  zmq::context_t context_;
  zmq::socket_t shell_, control_, standard_input_, heartbeat_;
  std::mutex mutex_;  ///< guards what follows
  zmq::socket_t iopub_;
  Json parent_ = Json::object();
};

}  // namespace muster::repl
