/// @file
/// Secrets: random bytes nobody can guess, and what is done with them. All through libsodium; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace muster::runtime {

/// Fills the span with bytes of the kernel's generator.
/// @throws Error when libsodium can't be initialised (every function here).
void random_bytes(std::span<std::byte> bytes);

/// A random text of `length` characters out of `A-Z a-z 0-9 - _`, 6 bits of secret each: 22 of them are 128 bits.
std::string random_token(std::size_t length);

/// Whether two texts are the same, in a time that depends on their lengths only, so that a stranger who may try often
/// learns nothing from how long each "no" took.
bool equal_in_constant_time(std::string_view a, std::string_view b);

/// Proof that its maker knows `key`: HMAC-SHA-512-256 (RFC 2104 with SHA-512 cut to 256 bits).
/// @param key of any length; its strength is that of what is in it.
std::array<std::byte, 32> keyed_hash(std::string_view key, std::span<const std::byte> message);

}  // namespace muster::runtime
