/// @file
/// A message as it lies in shared memory: a table of sizes, the first frame, and its parts, each where any type may
/// lie.
#pragma once

#include "runtime/transport/lane.hpp"

namespace muster::runtime {

/// A message about to be written.
class MessageBody {
 public:
  MessageBody(const Header& header, const detail::Payload& payload);
  /// Bytes it takes.
  std::size_t size() const { return size_; }
  /// @throws SerializationError when the small part has 4 GiB or more.
  void write(std::byte* out) const;

 private:
  const Header& header_;
  const detail::Payload& payload_;
  std::size_t first_, size_;
};

/// How many parts the body says it has, from its first bytes.
/// @throws SerializationError
std::size_t parts_in(std::span<const std::byte> body);

/// Reads a body. The first frame is copied out, since another process may change what is shared.
/// @param owner keeps the body, for the parts, which are used in place; null: it must have none
/// @throws SerializationError when sizes are impossible
void read_body(std::span<const std::byte> body, const std::shared_ptr<const void>& owner,
               std::vector<std::byte>& first_frame, LaneEvent& event);

}  // namespace muster::runtime
