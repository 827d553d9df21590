/// @file
/// Which messages travel how, by their sizes: what both directions of a transport have to agree on.
#pragma once

#include "runtime/transport/transport.hpp"

namespace muster::runtime {

/// Set where the message's small part came as the first of its pieces.
inline constexpr std::uint8_t inline_in_pieces = 0x80;

/// No small part of up to that many bytes travels in pieces, over any lane.
inline constexpr std::size_t most_plain = std::size_t{16} << 10;
static_assert(most_plain <= piece_size);

inline bool by_pieces(const Link& link, std::size_t size) {
  return size > link.largest_part.load(std::memory_order_relaxed);
}

/// No frame of that link is longer.
inline std::size_t longest_frame_on(const Link& link) {
  return link.largest_part.load(std::memory_order_relaxed) + (longest_frame - piece_size);
}

/// What a message takes out of the window: both sides must come to the same number.
inline std::int64_t charge_of(std::size_t inline_bytes, const std::vector<detail::Part>& parts, std::size_t handles) {
  std::size_t sum = header_size + inline_bytes + handles * handle_record_size + parts.size() * sizeof(std::uint64_t);
  for (const detail::Part& part : parts) sum += part.size;
  return static_cast<std::int64_t>(sum);
}

/// Credit could be given back only to who was admitted already.
inline bool is_handshake(MessageKind kind) {
  return kind <= MessageKind::refuse || (kind >= MessageKind::knock && kind <= MessageKind::program);
}

}  // namespace muster::runtime
