/// @file
/// A ring of records in shared memory: one process writes, another reads, without a system call.
///
/// A record begins where a cache line does, and its first word says that it is there: a small one moves to the other
/// process as one line, which the reader looks at itself. It makes those words zero again before it gives the room back
/// (after J. Giacomoni, T. Moseley, M. Vachharajani, "FastForward for Efficient Pipeline Parallelism", PPoPP 2008).
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
  frame = 6,     ///< the message's first frame, where that is all
};

/// What the ends share besides the records.
struct RingControl {
  alignas(64) std::atomic<std::uint64_t> consumed;      ///< how many bytes were ever read
  alignas(64) std::atomic<std::uint32_t> writer_waits;  ///< it found no room, and wants to be told
  alignas(64) std::atomic<std::uint32_t> sleepers;      ///< who waits asleep for a block to be written further
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

/// Bytes of each ring; a power of two.
inline constexpr std::size_t ring_capacity = std::size_t{256} << 10;
/// Bytes that one record may hold.
inline constexpr std::size_t longest_record = ring_capacity / 8;
/// Where records may begin, in bytes.
inline constexpr std::size_t record_alignment = 64;

/// The end that writes. One thread at a time. The ring is all zero before the first record.
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
  std::size_t size_ = 0;                      ///< its contents'
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
  /// Whether there is a record, or a writer that waits for room, from a look at a word of each.
  bool anything() const {
    const std::atomic_ref head(*reinterpret_cast<std::uint64_t*>(data_ + (consumed_ & (ring_capacity - 1))));
    return head.load(std::memory_order_relaxed) != 0 || control_->writer_waits.load(std::memory_order_relaxed) != 0;
  }
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
  std::uint64_t consumed_ = 0;
  std::uint64_t next_ = 0;  ///< where the record after the one at the front starts
};

}  // namespace muster::runtime
