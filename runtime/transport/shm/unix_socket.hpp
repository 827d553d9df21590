/// @file
/// The sockets over which processes of one host meet, pass each other descriptors, and learn of each other's end.
#pragma once

#include "runtime/base/unique_fd.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace muster::runtime {

/// A packet and the descriptors that came with it.
struct Packet {
  std::vector<std::byte> bytes;
  std::vector<UniqueFd> descriptors;
};

/// Listens under a name without a file (Linux's abstract ones), which is gone with the process. Does not block.
/// @throws std::system_error
UniqueFd listen_at(const std::string& name);
/// Connects to that; does not block. An invalid descriptor, and errno, where nobody listens, or too many wait already.
UniqueFd connect_to(const std::string& name);
/// Takes one connection; an invalid descriptor where there is none.
UniqueFd accept_from(const UniqueFd& listener);
/// Whether the process at the other end is the same user's.
bool is_same_user(const UniqueFd& socket);

/// Sends a packet, at most 16 descriptors with it; does not block. @returns whether it is on its way; else see errno
bool send_packet(const UniqueFd& socket, std::span<const std::byte> bytes, std::span<const int> descriptors = {});

enum class Arrival { packet, nothing, end };
/// Receives a packet of at most 64 bytes, if one is there. `end`: the other end is closed, or broke the rules.
Arrival receive_packet(const UniqueFd& socket, Packet& packet);

}  // namespace muster::runtime
