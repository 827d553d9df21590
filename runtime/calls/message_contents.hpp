/// @file
/// What messages about references carry.
#pragma once

#include "runtime/wire/codec.hpp"

#include <muster/detail/payload.hpp>
#include <muster/errors.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace muster::runtime {

/// Flag of a call, beside what comes back: its answer may come together with the next ones.
inline constexpr std::uint8_t unhurried_call = 0x40;

/// Flag of a request about a channel: an item for a place that its owner has set aside for the sender. No reply.
inline constexpr std::uint8_t put_in_place_flag = 2;

/// Bytes of a reference behind the contents of a message.
inline constexpr std::size_t reference_size = sizeof(std::int32_t) + sizeof(std::uint64_t);

inline void append_reference(detail::Payload& payload, const RemoteRefId& ref) {
  FieldWriter(payload.bytes).reference(ref);
}

/// Takes it off again. @throws SerializationError where there is none
inline RemoteRefId strip_reference(detail::Payload& payload) {
  if (payload.bytes.size() < reference_size) throw SerializationError("A message about a reference does not name it");
  const std::size_t rest = payload.bytes.size() - reference_size;
  const auto ref = FieldReader(payload.bytes.bytes().subspan(rest)).reference();
  payload.bytes.truncate(rest);
  return ref;
}

inline detail::Payload failure_payload(const std::vector<std::byte>& encoded) {
  detail::Payload payload;
  payload.bytes.append(encoded.data(), encoded.size());
  return payload;
}

}  // namespace muster::runtime
