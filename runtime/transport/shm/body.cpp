#include "runtime/transport/shm/body.hpp"

#include <muster/errors.hpp>

#include <algorithm>
#include <cstring>

namespace muster::runtime {

namespace {

using Size = std::uint64_t;

constexpr std::size_t aligned(std::size_t offset) {
  return (offset + detail::part_alignment - 1) & ~(detail::part_alignment - 1);
}

/// The number of frames, then the size of each.
constexpr std::size_t table_size(std::size_t frames) { return (1 + frames) * sizeof(Size); }

Size size_at(std::span<const std::byte> body, std::size_t index) {
  Size size = 0;
  std::memcpy(&size, body.data() + index * sizeof size, sizeof size);
  return size;
}

}  // namespace

MessageBody::MessageBody(const Header& header, const detail::Payload& payload)
    : header_(header),
      payload_(payload),
      first_(frame_size(payload)),
      size_(table_size(1 + payload.parts.size()) + first_) {
  for (const auto& part : payload.parts) size_ = aligned(size_) + part.size;
}

std::size_t MessageBody::write_front(std::byte* out) const {
  std::byte* table = out;
  const auto put = [&table](Size size) {
    std::memcpy(table, &size, sizeof size);
    table += sizeof size;
  };
  put(1 + payload_.parts.size());
  put(first_);
  for (const auto& part : payload_.parts) put(part.size);
  write_frame(table, header_, payload_);
  return table_size(1 + payload_.parts.size()) + first_;
}

void MessageBody::write_parts(std::byte* out, std::size_t step, const std::function<void(std::size_t)>& told) const {
  std::size_t offset = table_size(1 + payload_.parts.size()) + first_;
  for (const auto& part : payload_.parts) {
    offset = aligned(offset);
    for (std::size_t done = 0; done != part.size;) {
      const std::size_t bytes = std::min(step, part.size - done);
      std::memcpy(out + offset + done, part.data + done, bytes);
      done += bytes;
      told(offset + done);
    }
    offset += part.size;
  }
}

void MessageBody::write(std::byte* out) const {
  (void)write_front(out);
  write_parts(out, size_, [](std::size_t) {});
}

std::size_t parts_in(std::span<const std::byte> body) {
  if (body.size() < table_size(1)) throw SerializationError("A message is shorter than its table of sizes");
  const Size frames = size_at(body, 0);
  if (frames == 0 || frames > body.size() / sizeof(Size) - 1)
    throw SerializationError("A message is shorter than its table of sizes");
  return frames - 1;
}

void read_body(std::span<const std::byte> body, const PartsOwner& owner, std::vector<std::byte>& first_frame,
               LaneEvent& event) {
  const std::size_t parts = parts_in(body);
  if (parts != 0 && owner.keeps == nullptr) throw SerializationError("A message changed while it was read");
  std::size_t offset = table_size(1 + parts);
  const auto next = [&](std::size_t index) {
    const Size size = size_at(body, 1 + index);
    if (offset > body.size() || size > body.size() - offset)
      throw SerializationError("A message's parts are longer than the message");
    const auto section = body.subspan(offset, size);
    offset += size;
    return section;
  };
  const auto first = next(0);
  first_frame.assign(first.begin(), first.end());
  event.frames.clear();
  event.frames.push_back({first_frame.data(), first_frame.size(), nullptr});
  for (std::size_t i = 1; i <= parts; ++i) {
    offset = aligned(offset);
    const auto part = next(i);
    event.frames.push_back({part.data(), part.size(), owner.keeps, owner.arriving});
  }
}

}  // namespace muster::runtime
