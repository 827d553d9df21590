/// @file
/// Secrets, through libsodium.
#include "runtime/base/random.hpp"

#include <muster/errors.hpp>

#include <sodium.h>

namespace muster::runtime {
namespace {

/// libsodium asks for sodium_init before anything else; it may be called by several threads and more than once, but a
/// static makes each later call one load.
void prepare() {
  static const bool ready = sodium_init() >= 0;
  if (!ready) {
    throw Error(
        "libsodium could not be initialised, so there are no secrets to protect the cluster with; is /dev/urandom "
        "readable?");
  }
}

const unsigned char* raw(const void* bytes) { return static_cast<const unsigned char*>(bytes); }

}  // namespace

void random_bytes(std::span<std::byte> bytes) {
  prepare();
  if (!bytes.empty()) randombytes_buf(bytes.data(), bytes.size());
}

std::string random_token(std::size_t length) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  static_assert(alphabet.size() == 64, "six bits of a random byte choose evenly");
  prepare();
  std::string token(length, '\0');
  randombytes_buf(token.data(), token.size());
  for (char& letter : token) letter = alphabet[static_cast<unsigned char>(letter) & 63U];
  return token;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  prepare();
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::array<std::byte, 32> keyed_hash(std::string_view key, std::span<const std::byte> message) {
  static_assert(crypto_auth_hmacsha512256_BYTES == 32);
  prepare();
  // The one-shot function wants a key of 32 bytes; in parts it takes one of any length.
  crypto_auth_hmacsha512256_state state;
  crypto_auth_hmacsha512256_init(&state, raw(key.data()), key.size());
  crypto_auth_hmacsha512256_update(&state, raw(message.data()), message.size());
  std::array<std::byte, 32> result{};
  crypto_auth_hmacsha512256_final(&state, reinterpret_cast<unsigned char*>(result.data()));
  sodium_memzero(&state, sizeof state);
  return result;
}

}  // namespace muster::runtime
