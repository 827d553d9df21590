#include "runtime/transport/shm/ring.hpp"

#include <muster/errors.hpp>

#include <bit>

namespace muster::runtime {

namespace {

/// The first word of a record. One of zero is none: what is skipped has a size.
struct RecordHead {
  std::uint32_t size;
  std::uint32_t kind;
};

constexpr std::uint64_t whole(std::size_t contents) {
  return (sizeof(RecordHead) + contents + record_alignment - 1) & ~(record_alignment - 1);
}

constexpr std::uint64_t place(std::uint64_t position) { return position & (ring_capacity - 1); }

std::atomic_ref<std::uint64_t> head_at(std::byte* data, std::uint64_t position) {
  return std::atomic_ref(*reinterpret_cast<std::uint64_t*>(data + place(position)));
}

void write_head(std::byte* data, std::uint64_t position, std::size_t size, RecordKind kind) {
  const RecordHead head{static_cast<std::uint32_t>(size), static_cast<std::uint32_t>(kind)};
  head_at(data, position).store(std::bit_cast<std::uint64_t>(head), std::memory_order_release);
}

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
  record_ = written_ + skipped;
  size_ = size;
  return data_ + place(record_) + sizeof(RecordHead);
}

void RingWriter::publish(RecordKind kind) {
  write_head(data_, record_, size_, kind);
  if (record_ != written_) write_head(data_, written_, record_ - written_ - sizeof(RecordHead), RecordKind::skip);
  written_ = record_ + whole(size_);
}

bool RingWriter::ask_for_room(std::size_t size) {
  control_->writer_waits.store(1, std::memory_order_release);  // with what the writer knows of what waits
  // Either the reader sees that, or we see what it has read: see take_writer_waits.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return room() >= 2 * whole(size);
}

bool RingReader::front(Record& record) {
  for (;;) {
    const auto word = head_at(data_, consumed_).load(std::memory_order_acquire);
    if (word == 0) return false;
    const auto head = std::bit_cast<RecordHead>(word);
    const std::uint64_t at = place(consumed_);
    const std::uint64_t size = whole(head.size);
    if (size > ring_capacity - at) throw SerializationError("A record of a ring goes over its end");
    next_ = consumed_ + size;
    if (static_cast<RecordKind>(head.kind) != RecordKind::skip) {
      record = {static_cast<RecordKind>(head.kind), {data_ + at + sizeof head, head.size}};
      return true;
    }
    pop();
  }
}

void RingReader::pop() {
  for (; consumed_ != next_; consumed_ += record_alignment)
    head_at(data_, consumed_).store(0, std::memory_order_relaxed);  // any line may be a record's first the next time
  control_->consumed.store(consumed_, std::memory_order_release);
}

bool RingReader::take_writer_waits() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return control_->writer_waits.load(std::memory_order_relaxed) != 0 &&
         control_->writer_waits.exchange(0, std::memory_order_acquire) != 0;
}

}  // namespace muster::runtime
