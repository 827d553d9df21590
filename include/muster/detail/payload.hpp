/// @file
/// What a message carries: a small part, large arrays beside it, and handles of remote values.
#pragma once

#include <muster/errors.hpp>
#include <muster/ids.hpp>

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace muster::detail {

/// Bytes that grow at the end; a small message needs no allocation.
class ByteBuffer {
 public:
  static constexpr std::size_t inline_capacity = 64;

  ByteBuffer() = default;
  ByteBuffer(ByteBuffer&& other) noexcept { take(other); }
  ByteBuffer& operator=(ByteBuffer&& other) noexcept {
    if (this != &other) take(other);
    return *this;
  }
  ByteBuffer(const ByteBuffer& other) { append(other.data(), other.size_); }
  ByteBuffer& operator=(const ByteBuffer& other) {
    if (this != &other) {
      clear();
      append(other.data(), other.size_);
    }
    return *this;
  }
  ~ByteBuffer() = default;

  std::byte* data() { return heap_ ? heap_.get() : inline_; }
  const std::byte* data() const { return heap_ ? heap_.get() : inline_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::span<const std::byte> bytes() const { return {data(), size_}; }
  void clear() { size_ = 0; }
  /// Gives the memory back, too.
  void release() {
    heap_.reset();
    size_ = 0;
  }
  /// Drops what is behind the first n bytes.
  void truncate(std::size_t n) { size_ = n < size_ ? n : size_; }

  /// Adds n uninitialised bytes and returns where they start.
  std::byte* extend(std::size_t n) {
    if (n > capacity() - size_) grow(n);
    std::byte* place = data() + size_;
    size_ += n;
    return place;
  }
  void append(const void* source, std::size_t n) {
    if (n != 0) std::memcpy(extend(n), source, n);
  }

 private:
  void grow(std::size_t n);
  void take(ByteBuffer& other) noexcept {
    heap_ = std::move(other.heap_);
    size_ = std::exchange(other.size_, 0);
    std::memcpy(inline_, other.inline_, heap_ ? sizeof(std::size_t) : size_);
  }
  /// There may be millions of buffers: where the bytes are on the heap, their capacity is in the place they have left.
  std::size_t capacity() const {
    std::size_t capacity = inline_capacity;
    if (heap_) std::memcpy(&capacity, inline_, sizeof capacity);
    return capacity;
  }

  std::unique_ptr<std::byte[]> heap_;
  std::size_t size_ = 0;
  alignas(8) std::byte inline_[inline_capacity];
};

/// A message of which the rest will never come.
class SenderLost : public Error {
 public:
  using Error::Error;
};

/// Memory that the sender of a message is still writing while its receiver reads, so that both copy at the same time.
class Arriving {
 public:
  Arriving() = default;
  Arriving(const Arriving&) = delete;
  Arriving& operator=(const Arriving&) = delete;
  virtual ~Arriving() = default;
  /// Waits until the bytes in front of `end` are there. Any thread.
  /// @returns the end of what is there by now: not before `end`, maybe behind the message
  /// @throws SenderLost when they will never be
  virtual const std::byte* await(const std::byte* end) = 0;
};

/// A large contiguous array that travels beside the small part of a message, without being copied into it.
struct Part {
  const std::byte* data = nullptr;
  std::size_t size = 0;               ///< bytes
  std::shared_ptr<const void> owner;  ///< keeps data alive; null: borrowed, valid until the call that sends it returns
  Arriving* arriving = nullptr;       ///< asked before it is read; kept by the owner. Null: all of it is there
};

/// From this size on memory about to be filled is asked to come in huge pages, in bytes.
inline constexpr std::size_t huge_from = std::size_t{4} << 20;
/// Asks the kernel for huge pages for memory that is about to be filled: a fresh 4 KiB page costs microseconds, and a
/// large array has thousands of them. Does nothing where they are not to be had.
void prefer_huge_pages(void* memory, std::size_t size) noexcept;

/// Where large arrays lie in messages and in memory made for them: any ordinary type may lie there.
inline constexpr std::size_t part_alignment = 64;
/// Uninitialised memory for an array, in huge pages where it is large.
/// @param alignment a power of two
std::shared_ptr<std::byte> fresh_memory(std::size_t size, std::size_t alignment = part_alignment);

/// From this size on a contiguous array travels as a Part, in bytes.
inline constexpr std::size_t part_threshold = 4096;

/// What kind of thing a handle names. `module`: code that the message names, by its number; nothing is counted for it.
enum class HandleKind : std::uint8_t { future = 0, channel = 1, pool = 2, module = 3 };

/// What this process knows of one value or channel that lives in some process, or of a module that message names. There
/// is one such object for each reference and process, shared by all its Future, RemoteChannel and WorkerPool objects.
class Handle {
 public:
  Handle(HandleKind kind, RemoteRefId id, Pid owner)
      : number_(id.number), creator_(id.creator), owner_(owner), kind_(kind) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  virtual ~Handle() = default;

  RemoteRefId id() const { return {creator_, number_}; }
  /// Process where the value lives; which has the module (0: who sends the message).
  Pid owner() const { return owner_; }
  HandleKind kind() const { return kind_; }

 private:
  // There may be millions: apart, the id's two leave no gap.
  std::uint64_t number_;
  Pid creator_;
  Pid owner_;
  HandleKind kind_;
};

/// The contents of one message, or of one value that is kept encoded.
struct Payload {
  ByteBuffer bytes;
  std::vector<Part> parts;
  std::vector<std::shared_ptr<Handle>> handles;

  /// Everything it takes on the wire, in bytes, but for headers.
  std::size_t total_size() const;
  /// Frees all it holds.
  void clear() {
    bytes.release();
    if (!parts.empty()) parts = {};
    if (!handles.empty()) handles = {};
  }
  /// Copies borrowed parts, so that the payload may outlive the call it was made for.
  void own();
  /// Waits until all of it is there, where it is still arriving. @throws SenderLost
  void await();
  /// Says that it names code of that module, which the reader may have to get first.
  void add_module(std::uint64_t module);
  /// Whether it names values or channels.
  bool has_references() const {
    for (const auto& handle : handles)
      if (handle->kind() != HandleKind::module) return true;
    return false;
  }
};

}  // namespace muster::detail
