#include "runtime/wire/codec.hpp"

#include <muster/errors.hpp>

#include <bit>
#include <limits>

namespace muster::runtime {

static_assert(std::endian::native == std::endian::little,
              "the wire format is little-endian, and written as memory has it");

namespace {

bool known(std::uint8_t kind) {
  return (kind >= 1 && kind <= 4) || (kind >= 6 && kind <= 11) || (kind >= 16 && kind <= 18) ||
         (kind >= 32 && kind <= 38) || (kind >= 40 && kind <= 41) || (kind >= 48 && kind <= 56);
}

template <class T>
std::byte* put(std::byte* out, T value) {
  std::memcpy(out, &value, sizeof value);
  return out + sizeof value;
}

template <class T>
T get(const std::byte*& in) {
  T value;
  std::memcpy(&value, in, sizeof value);
  in += sizeof value;
  return value;
}

}  // namespace

std::size_t frame_size(const detail::Payload& payload) {
  return header_size + payload.bytes.size() + payload.handles.size() * handle_record_size +
         payload.parts.size() * sizeof(std::uint64_t);
}

void write_frame(std::byte* out, const Header& header, const detail::Payload& payload) {
  if (payload.bytes.size() > std::numeric_limits<std::uint32_t>::max()) {
    throw SerializationError(
        "A message's small part has " + std::to_string(payload.bytes.size()) +
        " bytes; at most 4 GiB can be sent that way. Send large data as vectors of plain elements, "
        "which travel beside it.");
  }
  out = put(out, static_cast<std::uint8_t>(header.kind));
  out = put(out, header.flags);
  out = put(out, std::uint16_t{0});
  out = put(out, header.code);
  out = put(out, header.number);
  out = put(out, header.deadline);
  out = put(out, static_cast<std::uint32_t>(payload.bytes.size()));
  out = put(out, static_cast<std::uint32_t>(payload.handles.size()));
  out = put(out, static_cast<std::uint32_t>(payload.parts.size()));
  out = put(out, header.stream);
  if (!payload.bytes.empty()) std::memcpy(out, payload.bytes.data(), payload.bytes.size());
  out += payload.bytes.size();
  for (const auto& handle : payload.handles) {
    out = put(out, static_cast<std::uint32_t>(handle->kind()));
    out = put(out, static_cast<std::int32_t>(handle->owner()));
    out = put(out, static_cast<std::int64_t>(handle->id().creator));
    out = put(out, handle->id().number);
  }
  for (const auto& part : payload.parts) out = put(out, static_cast<std::uint64_t>(part.size));
}

FrameView read_frame(std::span<const std::byte> frame, std::uint64_t max_message) {
  if (frame.size() < header_size)
    throw SerializationError("A message of " + std::to_string(frame.size()) + " bytes is shorter than a header");
  const std::byte* in = frame.data();
  FrameView view;
  const auto kind = get<std::uint8_t>(in);
  if (!known(kind)) throw SerializationError("A message has the unknown kind " + std::to_string(kind));
  view.header.kind = static_cast<MessageKind>(kind);
  view.header.flags = get<std::uint8_t>(in);
  if (get<std::uint16_t>(in) != 0) throw SerializationError("A message's reserved field is not zero");
  view.header.code = get<std::uint32_t>(in);
  view.header.number = get<std::uint64_t>(in);
  view.header.deadline = get<std::int64_t>(in);
  const std::uint64_t inline_size = get<std::uint32_t>(in);
  const std::uint64_t handle_count = get<std::uint32_t>(in);
  const std::uint64_t part_count = get<std::uint32_t>(in);
  view.header.stream = get<std::uint32_t>(in);
  if (header_size + inline_size + handle_count * handle_record_size + part_count * sizeof(std::uint64_t) !=
      frame.size())
    throw SerializationError("A message's sizes do not add up to its " + std::to_string(frame.size()) + " bytes");
  view.inline_bytes = {in, inline_size};
  in += inline_size;
  view.handles.reserve(handle_count);
  for (std::uint64_t i = 0; i < handle_count; ++i) {
    HandleRecord record;
    const auto handle_kind = get<std::uint32_t>(in);
    if (handle_kind > static_cast<std::uint32_t>(detail::HandleKind::module))
      throw SerializationError("A message names a handle of the unknown kind " + std::to_string(handle_kind));
    record.kind = static_cast<detail::HandleKind>(handle_kind);
    record.owner = get<std::int32_t>(in);
    record.id.creator = static_cast<Pid>(get<std::int64_t>(in));
    record.id.number = get<std::uint64_t>(in);
    view.handles.push_back(record);
  }
  view.part_sizes.reserve(part_count);
  std::uint64_t left = max_message;
  const auto count = [&](std::uint64_t size) {
    if (size > left)
      throw SerializationError("A message names more than " + std::to_string(max_message) +
                               " bytes, the limit set by SessionOptions::max_message");
    left -= size;
  };
  count(frame.size());
  for (std::uint64_t i = 0; i < part_count; ++i) {
    const auto size = get<std::uint64_t>(in);
    count(size);
    view.part_sizes.push_back(size);
  }
  return view;
}

bool read_plain_frame(std::span<const std::byte> frame, Header& header, std::span<const std::byte>& contents) {
  if (frame.size() < header_size) return false;
  const std::byte* in = frame.data();
  const auto kind = get<std::uint8_t>(in);
  header.kind = static_cast<MessageKind>(kind);
  header.flags = get<std::uint8_t>(in);
  const auto reserved = get<std::uint16_t>(in);
  header.code = get<std::uint32_t>(in);
  header.number = get<std::uint64_t>(in);
  header.deadline = get<std::int64_t>(in);
  const auto size = get<std::uint32_t>(in);
  const auto handles = get<std::uint32_t>(in);
  const auto parts = get<std::uint32_t>(in);
  header.stream = get<std::uint32_t>(in);
  contents = frame.subspan(header_size);
  return (reserved | handles | parts | header.stream) == 0 && size == contents.size() && known(kind);
}

std::string FieldReader::text() {
  const auto size = u32();
  const auto bytes = take(size);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void FieldReader::finish() const {
  if (!left_.empty())
    throw SerializationError("A control message has " + std::to_string(left_.size()) + " bytes too many");
}

std::span<const std::byte> FieldReader::take(std::size_t n) {
  if (n > left_.size())
    throw SerializationError("A control message ends early: " + std::to_string(n) + " bytes wanted, " +
                             std::to_string(left_.size()) + " left");
  const auto taken = left_.first(n);
  left_ = left_.subspan(n);
  return taken;
}

}  // namespace muster::runtime
