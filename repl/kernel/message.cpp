#include "repl/kernel/message.hpp"

#include <muster/display.hpp>

#include <sodium.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>

namespace muster::repl {

namespace {

constexpr const char* delimiter = "<IDS|MSG>";

const unsigned char* raw(const std::string& bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

std::string hexadecimal(std::span<const unsigned char> bytes) {
  std::string text(2 * bytes.size() + 1, '\0');
  (void)::sodium_bin2hex(text.data(), text.size(), bytes.data(), bytes.size());
  text.pop_back();
  return text;
}

std::string base64(const std::string& bytes) {
  std::string text(sodium_base64_ENCODED_LEN(bytes.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  (void)::sodium_bin2base64(text.data(), text.size(), raw(bytes), bytes.size(), sodium_base64_VARIANT_ORIGINAL);
  text.pop_back();
  return text;
}

/// Text that programs printed may be anything; what is no UTF-8 is replaced.
std::string text_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json object_in(const std::string& text, const char* what) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) throw MessageError(std::string("its ") + what + " is no JSON object");
  return json;
}

bool is_text(const std::string& type) {
  return type.starts_with("text/") || type == "image/svg+xml" || type == "application/javascript" ||
         type.ends_with("+xml");
}
bool is_json(const std::string& type) { return type == "application/json" || type.ends_with("+json"); }

}  // namespace

std::string Signer::sign(std::span<const std::string> parts) const {
  if (key_.empty()) return {};
  crypto_auth_hmacsha256_state state;
  (void)::crypto_auth_hmacsha256_init(&state, raw(key_), key_.size());
  for (const std::string& part : parts) (void)::crypto_auth_hmacsha256_update(&state, raw(part), part.size());
  std::array<unsigned char, crypto_auth_hmacsha256_BYTES> sum{};
  (void)::crypto_auth_hmacsha256_final(&state, sum.data());
  return hexadecimal(sum);
}

bool Signer::verify(std::span<const std::string> parts, const std::string& signature) const {
  const std::string expected = sign(parts);
  if (key_.empty()) return true;
  return signature.size() == expected.size() &&
         ::sodium_memcmp(signature.data(), expected.data(), expected.size()) == 0;
}

std::vector<std::string> encode(const Message& message, const Signer& signer) {
  const std::array<std::string, 4> parts{text_of(message.header), text_of(message.parent_header),
                                         text_of(message.metadata), text_of(message.content)};
  std::vector<std::string> frames = message.identities;
  frames.emplace_back(delimiter);
  frames.push_back(signer.sign(parts));
  frames.insert(frames.end(), parts.begin(), parts.end());
  return frames;
}

Message decode(std::span<const std::string> frames, const Signer& signer) {
  const auto mark = std::find(frames.begin(), frames.end(), delimiter);
  if (mark == frames.end() || frames.end() - mark < 6) throw MessageError("it has not the parts of a message");
  Message message;
  message.identities.assign(frames.begin(), mark);
  const auto parts = frames.subspan(message.identities.size() + 2, 4);
  if (!signer.verify(parts, mark[1])) throw MessageError("it is not signed with this kernel's key");
  message.header = object_in(parts[0], "header");
  message.parent_header = object_in(parts[1], "parent header");
  message.metadata = object_in(parts[2], "metadata");
  message.content = object_in(parts[3], "content");
  const auto type = message.header.find("msg_type");
  if (type == message.header.end() || !type->is_string()) throw MessageError("its header has no msg_type");
  return message;
}

std::string random_id() {
  std::array<unsigned char, 16> bytes{};
  ::randombytes_buf(bytes.data(), bytes.size());
  return hexadecimal(bytes);
}

std::string timestamp() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const std::time_t seconds = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now).count() % 1'000'000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  (void)std::snprintf(text.data() + length, text.size() - length, ".%06dZ", static_cast<int>(micros));
  return text.data();
}

Json as_json(const MimeBundle& bundle) {
  Json data = Json::object();
  for (const auto& [type, content] : bundle.data) {
    Json parsed = is_json(type) ? Json::parse(content, nullptr, false) : Json();
    if (is_json(type) && !parsed.is_discarded())
      data[type] = std::move(parsed);
    else
      data[type] = is_text(type) || is_json(type) ? content : base64(content);
  }
  return data;
}

}  // namespace muster::repl
