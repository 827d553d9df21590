/// @file
/// What the master tells every process of its members, in the order in which it happened.
#pragma once

#include "runtime/cluster/handshake.hpp"

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

namespace muster::runtime {

/// One came, or is gone for good.
using MemberNews = std::variant<Member, WorkerExit>;

/// One that came and is as the one before it, but for its pid and endpoint, takes few bytes.
detail::Payload encode(std::span<const MemberNews> news);
/// @param count how many there are to be
/// @throws SerializationError
std::vector<MemberNews> decode_news(std::span<const std::byte> bytes, std::uint32_t count);

}  // namespace muster::runtime
