/// @file
/// Messages of the Jupyter protocol (https://jupyter-client.readthedocs.io/en/stable/messaging.html), version 5.3.
#pragma once

#include <nlohmann/json.hpp>

#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace muster {
struct MimeBundle;
}

namespace muster::repl {

using Json = nlohmann::json;

inline constexpr const char* protocol_version = "5.3";

/// One message. What it carries behind its content (buffers) is of no use here.
struct Message {
  std::vector<std::string> identities = {};  ///< whom ZeroMQ takes an answer to; of what is published, the topic
  Json header = Json::object();
  Json parent_header = Json::object();
  Json metadata = Json::object();
  Json content = Json::object();

  std::string type() const { return header.at("msg_type"); }
};

/// Frames that are no message, or not signed with the key.
class MessageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Signs with a key: HMAC-SHA256 (RFC 2104) over a message's four parts, in hexadecimal digits.
class Signer {
 public:
  /// @param key empty: nothing is signed, and everything believed
  explicit Signer(std::string key) : key_(std::move(key)) {}
  std::string sign(std::span<const std::string> parts) const;
  bool verify(std::span<const std::string> parts, const std::string& signature) const;

 private:
  std::string key_;
};

std::vector<std::string> encode(const Message& message, const Signer& signer);
/// The signature is checked before anything is parsed. @throws MessageError
Message decode(std::span<const std::string> frames, const Signer& signer);

/// A fresh identifier of 128 random bits, in hexadecimal digits.
std::string random_id();
/// Now, as the protocol writes it.
std::string timestamp();

/// The forms of a value as notebooks take them: bytes in base64, JSON as such.
Json as_json(const MimeBundle& bundle);

}  // namespace muster::repl
