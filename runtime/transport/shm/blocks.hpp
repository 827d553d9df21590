/// @file
/// Large messages of a shared-memory link: written once into a block, read in place.
///
/// Blocks lie in segments of shared memory, which the writer makes, passes to the reader once, and uses again: a fresh
/// page costs more than to fill it. Segments of small blocks hold several, of one size.
#pragma once

#include "runtime/transport/lane.hpp"
#include "runtime/transport/shm/following.hpp"
#include "runtime/transport/shm/shared_memory.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

namespace muster::runtime {

/// Where a body lies, behind a BlockHead; as it stands in a ring.
struct BlockPlace {
  std::uint32_t segment = 0, reserved = 0;
  std::uint64_t offset = 0;  ///< of the head
  std::uint64_t size = 0;    ///< bytes of the body
};

/// The writer's side. Not thread-safe.
class BlockPool {
 public:
  struct Block {
    BlockPlace place;
    BlockHead* head = nullptr;  ///< nothing is written yet
    std::byte* data = nullptr;  ///< of the body
  };
  struct SegmentSize {
    std::uint64_t block = 0;  ///< bytes of each
    std::size_t blocks = 0;
  };
  /// Memory that is not passed yet.
  struct NewSegment {
    SegmentSize size;
    UniqueFd fd;
    SharedMemory memory;
  };
  /// Passes a new segment to the reader. @returns false when it can't be
  using Pass = std::function<bool(std::uint32_t segment, std::uint64_t size, const UniqueFd& memory)>;

  explicit BlockPool(Pass pass) : pass_(std::move(pass)) {}

  /// A block for so many bytes that lies idle; none: see make.
  std::optional<Block> take(std::uint64_t size);
  /// How large the segment is to be that such a block is taken from next. None where there are as many as there may be.
  std::optional<SegmentSize> next_segment(std::uint64_t size) const;
  /// Makes it. That takes long: nobody should have to wait for it who needs the pool. None where memory or descriptors
  /// are short.
  static std::optional<NewSegment> make(const SegmentSize& size);
  /// Passes it, and lends a block of it for so many bytes. None where there are too many, or it can't be passed.
  std::optional<Block> take_from(NewSegment segment, std::uint64_t size);
  /// It is written to its end. Before that it is not lent again, whatever the reader says.
  void written(const BlockPlace& place);
  /// The reader is done with it.
  /// @throws SerializationError when it was not lent
  void give_back(const BlockPlace& place);
  /// Frees segments that were not used since, and others while more than `most_idle` bytes lie idle.
  /// @returns their numbers, for the reader to forget
  std::vector<std::uint32_t> trim(Clock::time_point since);

  /// Bytes kept though nothing is in them.
  static constexpr std::uint64_t most_idle = std::uint64_t{256} << 20;

 private:
  enum class Use : std::uint8_t {
    none,
    filling,   ///< lent, and this process still writes it
    unwanted,  ///< likewise, and its reader is done with it
    lent,
  };
  struct Segment {
    SharedMemory memory;
    std::uint64_t block_size = 0;
    std::vector<Use> blocks;
    std::size_t lent_count = 0;
    std::size_t next = 0;      ///< where to look for one that is not lent
    Clock::time_point used{};  ///< last
  };
  using Segments = std::unordered_map<std::uint32_t, Segment>;

  Block lend(Segments::iterator segment, std::uint64_t size);
  static Use& use_of(Segment& segment, const BlockPlace& place);
  void take_back(Segments::iterator segment, Use& use);
  void drop(Segments::iterator segment);

  Pass pass_;
  std::uint32_t last_number_ = 0;
  std::uint64_t idle_ = 0;  ///< bytes of segments of which nothing is lent
  Segments segments_;
  std::multimap<std::uint64_t, std::uint32_t> with_room_;  ///< segments that can lend, by the size of their blocks
};

/// The reader's side: segments that were passed. Not thread-safe, but for what it returns.
class BlockViews {
 public:
  /// @throws std::exception when it can't be mapped
  void add(std::uint32_t segment, std::uint64_t size, const UniqueFd& memory);
  bool knows(std::uint32_t segment) const { return segments_.contains(segment); }
  void forget(std::uint32_t segment) { segments_.erase(segment); }
  struct View {
    const BlockHead* head = nullptr;
    std::span<const std::byte> body;
  };
  /// The block; `owner` keeps it mapped.
  /// @throws SerializationError when there is no such place
  View view(const BlockPlace& place, std::shared_ptr<const void>& owner) const;

 private:
  std::unordered_map<std::uint32_t, std::shared_ptr<const SharedMemory>> segments_;
};

}  // namespace muster::runtime
