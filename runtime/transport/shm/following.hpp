/// @file
/// How far a block is written, so that its reader may follow its writer: both copy at the same time, and what the one
/// has just written the other finds in the caches.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace muster::runtime {

/// The start of each block, in memory that its reader can't write.
struct alignas(64) BlockHead {
  std::atomic<std::uint64_t> written;  ///< bytes of the body, which is behind this
};

/// Says how far a block is written. @param sleepers how many wait asleep for such word, of any block of the link
void tell_written(BlockHead& head, std::uint64_t bytes, std::atomic<std::uint32_t>& sleepers);

/// Waits until a block is written that far: looks, yielding the processor, then sleeps.
/// @param lost asked about every millisecond that it has slept; whether there is no writer any more
/// @returns how far it is written; less than asked for: its writer is lost
std::uint64_t await_written(const BlockHead& head, std::uint64_t bytes, std::atomic<std::uint32_t>& sleepers,
                            const std::function<bool()>& lost);

}  // namespace muster::runtime
