/// @file
/// What the messages before admission, and the news of members, are made of.
#pragma once

#include "runtime/wire/codec.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace muster::runtime {

struct Member;

/// A cluster has no more members: what says otherwise is refused before memory is taken for it.
inline constexpr std::uint32_t most_members = 1U << 20;

/// Reads a version. @throws VersionMismatch for any other than this process's
void check_version(FieldReader& in);

/// @throws SerializationError for a byte that is neither 0 nor 1
bool get_bool(FieldReader& in);

/// All of a member but its pid and where it can be dialed.
void put_kind(FieldWriter& out, const Member& member);
void get_kind(FieldReader& in, Member& member);

/// Compares in constant time.
bool same_proof(const std::array<std::byte, 32>& a, const std::array<std::byte, 32>& b);

template <std::size_t N>
void put_bytes(detail::Payload& payload, const std::array<std::byte, N>& bytes) {
  payload.bytes.append(bytes.data(), N);
}

template <std::size_t N>
std::array<std::byte, N> get_bytes(FieldReader& in) {
  std::array<std::byte, N> bytes{};
  for (auto& byte : bytes) byte = static_cast<std::byte>(in.u8());
  return bytes;
}

}  // namespace muster::runtime
