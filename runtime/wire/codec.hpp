/// @file
/// Messages as frames: a fixed header, the small part, the table of handles and the table of parts. docs/protocol.md
/// has the byte tables. Integers are little-endian, as on every machine the handshake lets in.
#pragma once

#include <muster/detail/payload.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace muster::runtime {

/// First thing said in a handshake; another version is refused.
inline constexpr std::uint16_t protocol_version = 3;

/// What a message is. Numbers are part of the protocol.
enum class MessageKind : std::uint8_t {
  // handshake and membership
  hello = 1,
  welcome = 2,
  refuse = 3,
  news = 4,
  dial = 6,
  exit = 7,
  goodbye = 8,
  knock = 9,
  program_request = 10,
  program = 11,
  // link upkeep
  heartbeat = 16,
  credit = 17,
  piece = 18,
  // calls
  define_code = 32,
  call = 33,
  reply_value = 34,
  reply_stored = 35,
  reply_failure = 36,
  cancel = 37,
  interrupt = 38,
  // code that is not everywhere
  module_request = 40,
  module = 41,
  // values that live elsewhere
  reference_request = 48,
  reference_notes = 49,
  retain = 50,
  retained = 51,
  fill = 52,
  reference_question = 53,
  channel_request = 54,
  channel_word = 55,
  channel_notice = 56,
};

/// The fixed start of every message.
struct Header {
  MessageKind kind{};
  std::uint8_t flags = 0;     ///< meaning depends on the kind
  std::uint32_t code = 0;     ///< small integer of a function on this link, or an operation
  std::uint64_t number = 0;   ///< of the call
  std::int64_t deadline = 0;  ///< nanoseconds left; 0: none
  std::uint32_t stream = 0;   ///< which pieces belong to this message; 0: none
};

/// Among the flags of calls and their answers: its reader wants nothing of its parts but to read them, once, and so may
/// begin before all of them have come. Any other message is handed over whole.
inline constexpr std::uint8_t read_as_it_comes = 0x20;
inline bool reads_as_it_comes(const Header& header) {
  return (header.kind == MessageKind::call || header.kind == MessageKind::reply_value) &&
         (header.flags & read_as_it_comes) != 0;
}

inline constexpr std::size_t header_size = 40;
/// Parts up to this size travel as frames of their message; larger ones before it, in pieces of this size, in bytes.
inline constexpr std::size_t piece_size = std::size_t{1} << 20;
/// No frame is longer, in bytes: what would be is cut into pieces, and a peer that sends one all the same is closed.
inline constexpr std::size_t longest_frame = std::size_t{4} << 20;

/// A handle as it stands in a message.
struct HandleRecord {
  detail::HandleKind kind{};
  Pid owner = 0;
  RemoteRefId id;
};
inline constexpr std::size_t handle_record_size = 24;

/// First frame of a message, read.
struct FrameView {
  Header header;
  std::span<const std::byte> inline_bytes;
  std::vector<HandleRecord> handles;
  std::vector<std::uint64_t> part_sizes;
};

/// Bytes of the first frame of a message.
std::size_t frame_size(const detail::Payload& payload);
/// Writes the first frame into memory of frame_size().
/// @throws SerializationError when the small part has 4 GiB or more.
void write_frame(std::byte* out, const Header& header, const detail::Payload& payload);
/// Reads a first frame.
/// @param max_message limit for the sum of all sizes it names, in bytes
/// @throws SerializationError for anything that is not a frame: unknown kind, sizes that do not add up, too large.
FrameView read_frame(std::span<const std::byte> frame, std::uint64_t max_message);

/// Reads a first frame that is all of its message, without handles, parts or pieces, as most are.
/// @param contents set to the small part, in the frame
/// @returns false for any other frame, valid or not: read_frame says what it is
bool read_plain_frame(std::span<const std::byte> frame, Header& header, std::span<const std::byte>& contents);

/// Little helper for the fixed-layout contents of control messages.
class FieldWriter {
 public:
  explicit FieldWriter(detail::ByteBuffer& out) : out_(out) {}
  void u8(std::uint8_t value) { out_.append(&value, sizeof value); }
  void u32(std::uint32_t value) { out_.append(&value, sizeof value); }
  void u64(std::uint64_t value) { out_.append(&value, sizeof value); }
  void i32(std::int32_t value) { out_.append(&value, sizeof value); }
  void i64(std::int64_t value) { out_.append(&value, sizeof value); }
  void text(const std::string& value) {
    u32(static_cast<std::uint32_t>(value.size()));
    out_.append(value.data(), value.size());
  }
  void reference(const RemoteRefId& id) {
    i32(id.creator);
    u64(id.number);
  }

 private:
  detail::ByteBuffer& out_;
};

/// Reads what FieldWriter wrote.
/// Every function throws SerializationError when too little is left.
class FieldReader {
 public:
  explicit FieldReader(std::span<const std::byte> bytes) : left_(bytes) {}
  std::uint8_t u8() { return read<std::uint8_t>(); }
  std::uint32_t u32() { return read<std::uint32_t>(); }
  std::uint64_t u64() { return read<std::uint64_t>(); }
  std::int32_t i32() { return read<std::int32_t>(); }
  std::int64_t i64() { return read<std::int64_t>(); }
  std::string text();
  RemoteRefId reference() {
    RemoteRefId id;
    id.creator = i32();
    id.number = u64();
    return id;
  }
  std::span<const std::byte> rest() { return std::exchange(left_, {}); }
  /// @throws SerializationError when something is left.
  void finish() const;

 private:
  template <class T>
  T read() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::span<const std::byte> take(std::size_t n);
  std::span<const std::byte> left_;
};

}  // namespace muster::runtime
