/// @file
/// Encryption of links over ZeroMQ: CurveZMQ with keys of one cluster, and nobody else let in.
///
/// The master makes one secret per run, and hands it to workers in their start records. Two key pairs follow from it:
/// one for whoever listens, one for whoever dials. So a connection comes about only between two processes that know the
/// secret: who dials must prove the clients' key, which KeyGuard checks, and who listens the servers'. Members of a
/// cluster run each other's code, so they need no keys of their own.
#pragma once

#include <muster/session.hpp>

#include <zmq.hpp>

#include <string>
#include <string_view>
#include <thread>

namespace muster::runtime {

/// Which links over ZeroMQ are encrypted, and with which secret.
struct LinkSecurity {
  Encryption mode = Encryption::Off;
  std::string secret = {};  ///< the cluster's, of at least 32 random characters; empty only with Encryption::Off

  /// Whether what listens at that address, in numbers, is encrypted. Who dials asks the same of the address it dials.
  bool applies_to(std::string_view address) const;
};

/// One key pair as libzmq takes it, in Z85.
struct CurveKeyPair {
  std::string public_key, secret_key;
};

/// The key pairs of a cluster.
struct CurveKeys {
  CurveKeyPair server, client;
};

/// Derives them. @throws Error where libzmq was built without CURVE
CurveKeys derive_curve_keys(const std::string& secret);

/// What is connected from now on is encrypted. @param keys null: it is not.
void secure_next_connect(zmq::socket_t& socket, const CurveKeys* keys);

/// What is bound from now on takes in encrypted connections only, from those whom a KeyGuard of the socket's context
/// lets in. secure_next_connect ends this.
void secure_next_bind(zmq::socket_t& socket, const CurveKeys& keys);

/// Answers libzmq's question who may connect (ZAP, https://rfc.zeromq.org/spec/27), for all sockets of one context.
class KeyGuard {
 public:
  /// Starts its thread.
  /// @param client_public_key of those who may, in Z85
  KeyGuard(zmq::context_t& context, const std::string& client_public_key);
  /// Shuts the context down: its sockets only close from then on.
  ~KeyGuard();
  KeyGuard(const KeyGuard&) = delete;
  KeyGuard& operator=(const KeyGuard&) = delete;

 private:
  void answer();
  void answer_one();

  zmq::context_t& context_;
  zmq::socket_t socket_;  ///< the thread's
  std::string key_;       ///< 32 bytes
  std::thread thread_;
};

}  // namespace muster::runtime
