#include "runtime/transport/shm/blocks.hpp"

#include "runtime/base/log.hpp"

#include <muster/errors.hpp>

#include <algorithm>
#include <bit>
#include <stdexcept>

namespace muster::runtime {

namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
/// Arrays mostly have a power of two of bytes; what is written before them takes little.
constexpr std::uint64_t head_room = 4096;
constexpr std::uint64_t smallest_block = std::uint64_t{32} << 10;
/// Larger ones are alone in their segment, whose size is theirs.
constexpr std::uint64_t largest_shared = mib + head_room;
constexpr std::size_t most_segments = 4096;

/// @param size of the body
std::uint64_t block_size_for(std::uint64_t size) {
  size += sizeof(BlockHead);
  if (size <= largest_shared) return std::bit_ceil(std::max(size, smallest_block + head_room) - head_room) + head_room;
  return (size + mib - 1) & ~(mib - 1);
}

/// A megabyte at first, used block after block: what lies in the caches that two cores share moves twice as fast as
/// what one of them has just read, and writes again. Where many are lent at once, as many again as there are, so that
/// they need few mappings.
std::size_t blocks_of_next(std::uint64_t block_size, std::size_t lent) {
  if (block_size > largest_shared) return 1;
  const auto few = std::clamp<std::size_t>(mib / (block_size - head_room), 2, 16);
  return std::clamp<std::size_t>(lent, few, 4 * mib / block_size);
}

}  // namespace

std::optional<BlockPool::Block> BlockPool::take(std::uint64_t size) {
  const std::uint64_t wanted = block_size_for(size);
  const auto room = with_room_.lower_bound(wanted);
  // A much larger one would be missed where it is needed.
  if (room == with_room_.end() || room->first > (wanted <= largest_shared ? wanted : 2 * wanted)) return std::nullopt;
  const auto segment = segments_.find(room->second);
  if (segment->second.lent_count + 1 == segment->second.blocks.size()) with_room_.erase(room);
  return lend(segment, size);
}

std::optional<BlockPool::SegmentSize> BlockPool::next_segment(std::uint64_t size) const {
  if (segments_.size() >= most_segments) return std::nullopt;
  const std::uint64_t wanted = block_size_for(size);
  std::size_t lent = 0;
  for (const auto& [number, segment] : segments_)
    if (segment.block_size == wanted) lent += segment.lent_count;
  return SegmentSize{wanted, blocks_of_next(wanted, lent)};
}

std::optional<BlockPool::NewSegment> BlockPool::make(const SegmentSize& size) {
  try {
    NewSegment made{.size = size, .fd = {}, .memory = {}};
    made.memory = SharedMemory::create(size.block * size.blocks, made.fd);
    return made;
  } catch (const std::exception& error) {
    log::debug(std::string("No shared block: ") + error.what());
    return std::nullopt;
  }
}

std::optional<BlockPool::Block> BlockPool::take_from(NewSegment segment, std::uint64_t size) {
  if (segments_.size() >= most_segments) return std::nullopt;
  const std::uint32_t number = ++last_number_;
  if (!pass_(number, segment.memory.size(), segment.fd)) return std::nullopt;
  idle_ += segment.memory.size();
  const auto [block_size, blocks] = segment.size;
  if (blocks > 1) with_room_.emplace(block_size, number);
  const auto made = segments_.emplace(number, Segment{std::move(segment.memory), block_size, std::vector<Use>(blocks)});
  return lend(made.first, size);
}

BlockPool::Block BlockPool::lend(Segments::iterator at, std::uint64_t size) {
  Segment& segment = at->second;
  std::size_t index = segment.next;
  while (segment.blocks[index] != Use::none) index = (index + 1) % segment.blocks.size();
  segment.blocks[index] = Use::filling;
  segment.next = (index + 1) % segment.blocks.size();
  if (segment.lent_count++ == 0) idle_ -= segment.memory.size();
  const BlockPlace place{at->first, 0, index * segment.block_size, size};
  std::byte* const start = segment.memory.data() + place.offset;
  auto* const head = reinterpret_cast<BlockHead*>(start);
  head->written.store(0, std::memory_order_relaxed);
  return {place, head, start + sizeof(BlockHead)};
}

BlockPool::Use& BlockPool::use_of(Segment& segment, const BlockPlace& place) {
  const std::uint64_t index = place.offset / segment.block_size;
  if (place.offset % segment.block_size != 0 || index >= segment.blocks.size())
    throw SerializationError("A block was given back that there is not");
  return segment.blocks[index];
}

void BlockPool::written(const BlockPlace& place) {
  const auto segment = segments_.find(place.segment);
  Use& use = use_of(segment->second, place);
  if (use == Use::unwanted)
    take_back(segment, use);
  else
    use = Use::lent;
}

void BlockPool::give_back(const BlockPlace& place) {
  const auto segment = segments_.find(place.segment);
  if (segment == segments_.end()) throw SerializationError("A block was given back of a segment that there is not");
  Use& use = use_of(segment->second, place);
  if (use == Use::filling)
    use = Use::unwanted;
  else if (use == Use::lent)
    take_back(segment, use);
  else
    throw SerializationError("A block was given back that is not lent");
}

void BlockPool::take_back(Segments::iterator at, Use& use) {
  Segment& segment = at->second;
  use = Use::none;
  if (segment.lent_count == segment.blocks.size()) with_room_.emplace(segment.block_size, at->first);
  segment.used = Clock::now();
  if (--segment.lent_count == 0) idle_ += segment.memory.size();
}

void BlockPool::drop(Segments::iterator segment) {
  const auto [first, last] = with_room_.equal_range(segment->second.block_size);
  const auto entry = std::find_if(first, last, [&](const auto& room) { return room.second == segment->first; });
  if (entry != last) with_room_.erase(entry);
  idle_ -= segment->second.memory.size();
  segments_.erase(segment);
}

std::vector<std::uint32_t> BlockPool::trim(Clock::time_point since) {
  std::vector<std::uint32_t> dropped;
  for (auto next = segments_.begin(); next != segments_.end();) {
    const auto segment = next++;
    if (segment->second.lent_count != 0 || (segment->second.used >= since && idle_ <= most_idle)) continue;
    dropped.push_back(segment->first);
    drop(segment);
  }
  return dropped;
}

void BlockViews::add(std::uint32_t segment, std::uint64_t size, const UniqueFd& memory) {
  // Those that it does not use any more may stand here for a while: it says so in the ring.
  if (segments_.size() >= 2 * most_segments) throw std::runtime_error("it passed too much shared memory");
  segments_[segment] =
      std::make_shared<const SharedMemory>(SharedMemory::map(memory, size, SharedMemory::Access::read));
}

BlockViews::View BlockViews::view(const BlockPlace& place, std::shared_ptr<const void>& owner) const {
  const auto found = segments_.find(place.segment);
  if (found == segments_.end()) throw SerializationError("A message lies in a segment that was never passed");
  const SharedMemory& memory = *found->second;
  const std::size_t most = memory.size() < sizeof(BlockHead) ? 0 : memory.size() - sizeof(BlockHead);
  if (place.offset % alignof(BlockHead) != 0 || place.offset > most || place.size > most - place.offset)
    throw SerializationError("A message does not lie within its segment");
  owner = found->second;
  const std::byte* const start = memory.data() + place.offset;
  return {reinterpret_cast<const BlockHead*>(start), {start + sizeof(BlockHead), place.size}};
}

}  // namespace muster::runtime
