/// @file
/// A message as it lies in shared memory: a table of sizes, the first frame, and its parts, each where any type may
/// lie.
#pragma once

#include "runtime/transport/lane.hpp"

#include <functional>

namespace muster::runtime {

/// A message about to be written.
class MessageBody {
 public:
  MessageBody(const Header& header, const detail::Payload& payload);
  /// Bytes it takes.
  std::size_t size() const { return size_; }
  /// @throws SerializationError when the small part has 4 GiB or more.
  void write(std::byte* out) const;
  /// The first part of that: all that is in front of the parts. @returns how many bytes
  std::size_t write_front(std::byte* out) const;
  /// The rest. @param told hears after each step of so many bytes how many of the body are written
  void write_parts(std::byte* out, std::size_t step, const std::function<void(std::size_t)>& told) const;

 private:
  const Header& header_;
  const detail::Payload& payload_;
  std::size_t first_, size_;
};

/// How many parts the body says it has, from its first bytes.
/// @throws SerializationError
std::size_t parts_in(std::span<const std::byte> body);

/// Who keeps the memory that parts lie in, which are used in place.
struct PartsOwner {
  std::shared_ptr<const void> keeps;     ///< null: there must be no parts
  detail::Arriving* arriving = nullptr;  ///< to be asked before they are read; kept by that. Null: they are there
};

/// Reads a body, of which at least what is in front of the parts is there. The first frame is copied out, since another
/// process may change what is shared.
/// @throws SerializationError when sizes are impossible
void read_body(std::span<const std::byte> body, const PartsOwner& owner, std::vector<std::byte>& first_frame,
               LaneEvent& event);

}  // namespace muster::runtime
