/// @file
/// A ring of records in shared memory: one process writes, another reads, without a system call.
///
/// What the other process wrote is believed in nothing: positions and sizes are read once, into memory of our own, and
/// checked against what there can be.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace muster::runtime {

/// What a record is. Numbers are part of the shared layout.
enum class RecordKind : std::uint32_t {
  skip = 0,      ///< nothing: the next one is at the ring's start
  message = 1,   ///< the message's body
  block = 2,     ///< a BlockPlace where the message's body is
  fragment = 3,  ///< the next bytes of a body; the first starts with its size, in eight bytes
  release = 4,   ///< a BlockPlace that its reader does not need any more
  forget = 5,    ///< number of a segment, of four bytes, that its writer does not need any more
};

/// Shared positions: how many bytes were ever written and read.
struct RingControl {
  alignas(64) std::atomic<std::uint64_t> written;
  alignas(64) std::atomic<std::uint64_t> consumed;
  alignas(64) std::atomic<std::uint32_t> writer_waits;  ///< it found no room, and wants to be told
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

/// Bytes of each ring; a power of two.
inline constexpr std::size_t ring_capacity = std::size_t{256} << 10;
/// Bytes that one record may hold.
inline constexpr std::size_t longest_record = ring_capacity / 8;

/// The end that writes. One thread at a time.
class RingWriter {
 public:
  RingWriter() = default;
  RingWriter(RingControl* control, std::byte* data) : control_(control), data_(data) {}

  /// Room for a record of that many bytes, or null where there is none now.
  /// @throws SerializationError when the reader's position is impossible.
  std::byte* reserve(std::size_t size);
  /// The reserved record is written: the reader may have it.
  void publish(RecordKind kind);
  /// Asks to be told of room. @returns whether there is some for that many bytes by now: then look again.
  bool ask_for_room(std::size_t size);

 private:
  std::size_t room();

  RingControl* control_ = nullptr;
  std::byte* data_ = nullptr;
  std::uint64_t written_ = 0, consumed_ = 0;  ///< the latter as seen last
  std::uint64_t record_ = 0;                  ///< where the reserved one starts
  std::uint32_t size_ = 0;                    ///< its contents'
};

/// The end that reads. One thread at a time.
class RingReader {
 public:
  struct Record {
    RecordKind kind{};
    std::span<const std::byte> contents;  ///< in the ring, so that they may change: copy, then look
  };

  RingReader() = default;
  RingReader(RingControl* control, std::byte* data) : control_(control), data_(data) {}

  /// Whether it reads a ring.
  explicit operator bool() const { return control_ != nullptr; }
  /// The next record, until pop().
  /// @returns false when there is none.
  /// @throws SerializationError when positions or sizes are impossible.
  bool front(Record& record);
  void pop();
  /// Whether the writer waits for room that there is now; it is to be told, once.
  bool take_writer_waits();

 private:
  RingControl* control_ = nullptr;
  std::byte* data_ = nullptr;
  std::uint64_t written_ = 0, consumed_ = 0;  ///< the former as seen last
  std::uint64_t next_ = 0;                    ///< where the record after the one at the front starts
};

}  // namespace muster::runtime
