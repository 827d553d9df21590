#include "runtime/transport/shm/ring.hpp"

#include <muster/errors.hpp>

#include <cstring>

namespace muster::runtime {

namespace {

struct RecordHead {
  std::uint32_t size;
  std::uint32_t kind;
};
constexpr std::size_t alignment = sizeof(RecordHead);

constexpr std::uint64_t whole(std::size_t contents) {
  return (sizeof(RecordHead) + contents + alignment - 1) & ~(alignment - 1);
}

constexpr std::uint64_t place(std::uint64_t position) { return position & (ring_capacity - 1); }

}  // namespace

std::size_t RingWriter::room() {
  consumed_ = control_->consumed.load(std::memory_order_acquire);
  if (consumed_ > written_ || written_ - consumed_ > ring_capacity)
    throw SerializationError("A ring's reader is at an impossible position");
  return ring_capacity - (written_ - consumed_);
}

std::byte* RingWriter::reserve(std::size_t size) {
  const std::uint64_t needed = whole(size);
  const std::uint64_t to_end = ring_capacity - place(written_);
  const std::uint64_t skipped = needed > to_end ? to_end : 0;
  if (ring_capacity - (written_ - consumed_) < needed + skipped && room() < needed + skipped) return nullptr;
  if (skipped != 0) {
    const RecordHead head{static_cast<std::uint32_t>(skipped - sizeof(RecordHead)),
                          static_cast<std::uint32_t>(RecordKind::skip)};
    std::memcpy(data_ + place(written_), &head, sizeof head);
  }
  record_ = written_ + skipped;
  size_ = static_cast<std::uint32_t>(size);
  return data_ + place(record_) + sizeof(RecordHead);
}

void RingWriter::publish(RecordKind kind) {
  const RecordHead head{size_, static_cast<std::uint32_t>(kind)};
  std::memcpy(data_ + place(record_), &head, sizeof head);
  written_ = record_ + whole(size_);
  control_->written.store(written_, std::memory_order_release);
}

bool RingWriter::ask_for_room(std::size_t size) {
  control_->writer_waits.store(1, std::memory_order_release);  // with what the writer knows of what waits
  // Either the reader sees that, or we see what it has read: see take_writer_waits.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return room() >= 2 * whole(size);
}

bool RingReader::front(Record& record) {
  for (;;) {
    if (written_ == consumed_) {
      written_ = control_->written.load(std::memory_order_acquire);
      if (written_ == consumed_) return false;
      if (written_ < consumed_ || written_ - consumed_ > ring_capacity)
        throw SerializationError("A ring's writer is at an impossible position");
    }
    const std::uint64_t at = place(consumed_);
    RecordHead head{};
    if (written_ - consumed_ < sizeof head || at % alignment != 0)
      throw SerializationError("A ring's writer is at an impossible position");
    std::memcpy(&head, data_ + at, sizeof head);
    const std::uint64_t size = whole(head.size);
    if (size > written_ - consumed_ || size > ring_capacity - at)
      throw SerializationError("A record of a ring is longer than what was written");
    next_ = consumed_ + size;
    if (static_cast<RecordKind>(head.kind) == RecordKind::skip) {
      pop();
      continue;
    }
    record = {static_cast<RecordKind>(head.kind), {data_ + at + sizeof head, head.size}};
    return true;
  }
}

void RingReader::pop() {
  consumed_ = next_;
  control_->consumed.store(consumed_, std::memory_order_release);
}

bool RingReader::take_writer_waits() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return control_->writer_waits.load(std::memory_order_relaxed) != 0 &&
         control_->writer_waits.exchange(0, std::memory_order_acquire) != 0;
}

}  // namespace muster::runtime
