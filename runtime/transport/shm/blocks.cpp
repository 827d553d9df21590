#include "runtime/transport/shm/blocks.hpp"

#include "runtime/base/log.hpp"

#include <muster/errors.hpp>

#include <algorithm>
#include <bit>
#include <stdexcept>

namespace muster::runtime {

namespace {

constexpr std::uint64_t smallest_block = std::uint64_t{32} << 10;
/// Larger ones are alone in their segment, whose size is theirs.
constexpr std::uint64_t largest_shared = std::uint64_t{1} << 20;
constexpr std::size_t blocks_of_small = 4;
constexpr std::size_t most_segments = 4096;

std::uint64_t block_size_for(std::uint64_t size) {
  if (size <= largest_shared) return std::bit_ceil(std::max(size, smallest_block));
  return (size + largest_shared - 1) & ~(largest_shared - 1);
}

}  // namespace

std::optional<BlockPool::Block> BlockPool::take(std::uint64_t size) {
  const std::uint64_t wanted = block_size_for(size);
  auto room = with_room_.lower_bound(wanted);
  // A much larger one would be missed where it is needed.
  if (room != with_room_.end() && room->first > (wanted <= largest_shared ? wanted : 2 * wanted))
    room = with_room_.end();
  if (room == with_room_.end()) {
    const auto made = make_segment(wanted, wanted <= largest_shared ? blocks_of_small : 1);
    if (made == segments_.end()) return std::nullopt;
    room = with_room_.emplace(wanted, made->first);
  }
  const std::uint32_t number = room->second;
  Segment& segment = segments_.at(number);
  const auto free = std::find(segment.lent.begin(), segment.lent.end(), false);
  *free = true;
  if (segment.lent_count++ == 0) idle_ -= segment.memory.size();
  if (segment.lent_count == segment.lent.size()) with_room_.erase(room);
  const auto index = static_cast<std::uint64_t>(free - segment.lent.begin());
  const BlockPlace place{number, 0, index * segment.block_size, size};
  return Block{place, segment.memory.data() + place.offset};
}

BlockPool::Segments::iterator BlockPool::make_segment(std::uint64_t block_size, std::size_t blocks) {
  if (segments_.size() >= most_segments) return segments_.end();
  try {
    UniqueFd memory_fd;
    Segment segment{SharedMemory::create(block_size * blocks, memory_fd), block_size, std::vector<bool>(blocks), 0, {}};
    const std::uint32_t number = ++last_number_;
    if (!pass_(number, segment.memory.size(), memory_fd)) return segments_.end();
    idle_ += segment.memory.size();
    return segments_.emplace(number, std::move(segment)).first;
  } catch (const std::exception& error) {
    log::debug(std::string("No shared block: ") + error.what());
    return segments_.end();
  }
}

void BlockPool::give_back(const BlockPlace& place) {
  const auto found = segments_.find(place.segment);
  if (found == segments_.end()) throw SerializationError("A block was given back of a segment that there is not");
  Segment& segment = found->second;
  const std::uint64_t index = place.offset / segment.block_size;
  if (place.offset % segment.block_size != 0 || index >= segment.lent.size() || !segment.lent[index])
    throw SerializationError("A block was given back that is not lent");
  segment.lent[index] = false;
  if (segment.lent_count == segment.lent.size()) with_room_.emplace(segment.block_size, place.segment);
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
  if (segments_.size() >= most_segments) throw std::runtime_error("it passed too much shared memory");
  segments_[segment] =
      std::make_shared<const SharedMemory>(SharedMemory::map(memory, size, SharedMemory::Access::read));
}

std::span<const std::byte> BlockViews::view(const BlockPlace& place, std::shared_ptr<const void>& owner) const {
  const auto found = segments_.find(place.segment);
  if (found == segments_.end()) throw SerializationError("A message lies in a segment that was never passed");
  const SharedMemory& memory = *found->second;
  if (place.offset > memory.size() || place.size > memory.size() - place.offset)
    throw SerializationError("A message does not lie within its segment");
  owner = found->second;
  return {memory.data() + place.offset, place.size};
}

}  // namespace muster::runtime
