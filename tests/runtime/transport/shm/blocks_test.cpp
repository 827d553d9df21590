// Shared blocks: used again, given back with the bytes they took, and mapped only where they are.

#include "runtime/transport/shm/blocks.hpp"

#include <muster/errors.hpp>

#include <gtest/gtest.h>

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <stdexcept>
#include <vector>

namespace muster::runtime {
namespace {

constexpr std::uint64_t kib = 1024, mib = kib * kib;

struct Pair {
  BlockViews views;
  int passed = 0;
  std::uint64_t largest = 0;
  bool passes = true;
  BlockPool pool{[this](std::uint32_t segment, std::uint64_t size, const UniqueFd& memory) {
    if (!passes) return false;
    ++passed;
    largest = std::max(largest, size);
    views.add(segment, size, memory);
    return true;
  }};

  /// One that is still being written.
  std::optional<BlockPool::Block> begin(std::uint64_t size) {
    if (const auto idle = pool.take(size)) return idle;
    const auto wanted = pool.next_segment(size);
    auto made = wanted ? BlockPool::make(*wanted) : std::nullopt;
    return made ? pool.take_from(std::move(*made), size) : std::nullopt;
  }
  std::optional<BlockPool::Block> take(std::uint64_t size) {
    const auto block = begin(size);
    if (block) pool.written(block->place);
    return block;
  }
};

TEST(Blocks, WhatIsWrittenIsSeen) {
  Pair pair;
  for (const std::uint64_t size : {std::uint64_t{1}, 32 * kib, 32 * kib + 1, mib, mib + 1, 5 * mib}) {
    SCOPED_TRACE(size);
    const auto block = pair.take(size);
    ASSERT_TRUE(block);
    std::memset(block->data, static_cast<int>(size % 251), size);
    std::shared_ptr<const void> owner;
    EXPECT_EQ(block->head->written.load(), 0u);
    block->head->written = size;
    const auto seen = pair.views.view(block->place, owner);
    EXPECT_EQ(seen.head->written.load(), size);
    ASSERT_EQ(seen.body.size(), size);
    EXPECT_EQ(std::memcmp(seen.body.data(), block->data, size), 0);
  }
}

TEST(Blocks, BlocksGivenBackAreUsedAgain) {
  Pair pair;
  for (int round = 0; round < 100; ++round) {
    const auto large = pair.take(3 * mib), small = pair.take(100 * kib);
    pair.pool.give_back(large->place);
    pair.pool.give_back(small->place);
  }
  EXPECT_EQ(pair.passed, 2);
}

TEST(Blocks, SmallOnesAreUsedInTurn) {
  for (const std::uint64_t size : {64 * kib, mib}) {
    Pair pair;
    std::set<std::uint64_t> places;
    for (std::uint64_t i = 0; i < std::max<std::uint64_t>(2, mib / size); ++i) {
      const auto block = pair.take(size);
      EXPECT_TRUE(places.insert(block->place.offset).second) << "the one that was given back last, of " << size;
      pair.pool.give_back(block->place);
    }
    EXPECT_EQ(pair.passed, 1);
  }
}

TEST(Blocks, ThoseStillWrittenAreNotLentAgainThoughTheirReaderIsDone) {
  Pair pair;
  const auto block = pair.begin(2 * mib);
  pair.pool.give_back(block->place);
  EXPECT_FALSE(pair.pool.take(2 * mib));
  EXPECT_TRUE(pair.pool.trim(Clock::now()).empty());
  EXPECT_THROW(pair.pool.give_back(block->place), SerializationError);
  pair.pool.written(block->place);
  EXPECT_TRUE(pair.pool.take(2 * mib));
  EXPECT_EQ(pair.passed, 1);
}

TEST(Blocks, ThoseLentAreApart) {
  Pair pair;
  std::set<std::pair<std::uint32_t, std::uint64_t>> places;
  for (int i = 0; i < 50; ++i) {
    const auto block = pair.take(64 * kib);
    EXPECT_TRUE(places.emplace(block->place.segment, block->place.offset).second);
  }
}

TEST(Blocks, ArraysOfPowersOfTwoFitWithWhatStandsBeforeThem) {
  for (const std::uint64_t size : {64 * kib, mib}) {
    Pair pair;
    (void)pair.take(size + 200);
    const auto other = pair.take(size + 200);
    std::shared_ptr<const void> owner;
    EXPECT_NO_THROW((void)pair.views.view(other->place, owner));
    EXPECT_EQ(pair.largest % (size + 4 * kib), 0u);
  }
}

TEST(Blocks, ManyThatAreLentAreInFewSegments) {
  Pair pair;
  std::vector<BlockPlace> lent;
  constexpr int many = 8000;
  for (int i = 0; i < many; ++i) {
    const auto block = pair.take(20 * kib);
    ASSERT_TRUE(block) << i;
    lent.push_back(block->place);
  }
  EXPECT_LT(pair.passed, many / 64);
  EXPECT_LE(pair.largest, 4 * mib);
  for (const BlockPlace& place : lent) pair.pool.give_back(place);
  EXPECT_EQ(pair.pool.trim(Clock::now()).size(), static_cast<std::size_t>(pair.passed));
}

TEST(Blocks, ThereAreSoManySegmentsAndNoMore) {
  Pair pair;
  const BlockPool::SegmentSize few{.block = 36 * kib, .blocks = 1};
  constexpr int most = 4096;
  std::vector<BlockPlace> lent;
  for (int i = 0; i < most; ++i) {
    lent.push_back(pair.pool.take_from(*BlockPool::make(few), kib)->place);
    pair.pool.written(lent.back());
  }
  EXPECT_FALSE(pair.pool.next_segment(kib));
  EXPECT_FALSE(pair.pool.take_from(*BlockPool::make(few), kib));
  EXPECT_EQ(pair.passed, most);
  pair.pool.give_back(lent.front());
  EXPECT_TRUE(pair.pool.take(kib));
}

TEST(Blocks, SegmentsMayComeBeforeWordOfThoseTheyReplace) {
  BlockViews views;
  UniqueFd fd;
  const SharedMemory memory = SharedMemory::create(4096, fd);
  constexpr std::uint32_t at_once = 4096;
  for (std::uint32_t segment = 0; segment < 2 * at_once; ++segment) views.add(segment, 4096, fd);
  EXPECT_THROW(views.add(2 * at_once, 4096, fd), std::runtime_error);
}

TEST(Blocks, IdleSegmentsAreTrimmedAndLentOnesStay) {
  Pair pair;
  const auto kept = pair.take(2 * mib), returned = pair.take(2 * mib);
  pair.pool.give_back(returned->place);
  EXPECT_TRUE(pair.pool.trim(Clock::now() - std::chrono::hours(1)).empty());
  const auto dropped = pair.pool.trim(Clock::now());
  EXPECT_EQ(dropped, std::vector<std::uint32_t>{returned->place.segment});
  pair.pool.give_back(kept->place);
  EXPECT_THROW(pair.pool.give_back(returned->place), SerializationError);
}

TEST(Blocks, MoreThanEnoughIdleMemoryIsGivenBackSoon) {
  Pair pair;
  const auto first = pair.take(BlockPool::most_idle - mib), second = pair.take(2 * mib);
  pair.pool.give_back(first->place);
  pair.pool.give_back(second->place);
  EXPECT_EQ(pair.pool.trim(Clock::now() - std::chrono::hours(1)).size(), 1u);
}

TEST(Blocks, ALyingPeerIsFound) {
  Pair pair;
  const auto block = pair.take(40 * kib);
  const auto changed = [&](auto change) {
    BlockPlace place = block->place;
    change(place);
    return place;
  };
  std::shared_ptr<const void> owner;
  EXPECT_THROW(pair.pool.give_back(changed([](auto& place) { ++place.segment; })), SerializationError);
  EXPECT_THROW(pair.pool.give_back(changed([](auto& place) { ++place.offset; })), SerializationError);
  EXPECT_THROW(pair.pool.give_back(changed([](auto& place) { place.offset += 64 * kib; })), SerializationError);
  EXPECT_THROW((void)pair.views.view(changed([](auto& place) { place.offset = ~std::uint64_t{0}; }), owner),
               SerializationError);
  EXPECT_THROW((void)pair.views.view(changed([](auto& place) { place.size = ~std::uint64_t{0}; }), owner),
               SerializationError);
  EXPECT_THROW((void)pair.views.view(changed([](auto& place) { ++place.segment; }), owner), SerializationError);
  EXPECT_THROW((void)pair.views.view(changed([](auto& place) { place.offset += 8; }), owner), SerializationError);
  EXPECT_THROW((void)pair.views.view(changed([](auto& place) { place.offset = 4 * mib; }), owner), SerializationError);
  pair.pool.give_back(block->place);
  EXPECT_THROW(pair.pool.give_back(block->place), SerializationError);
}

TEST(Blocks, MemoryThatCouldBecomeShorterIsNotMapped) {
  const UniqueFd unsealed(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(unsealed.get(), 4096), 0);
  EXPECT_THROW((void)SharedMemory::map(unsealed, 4096, SharedMemory::Access::read), std::runtime_error);
  UniqueFd sealed;
  const SharedMemory memory = SharedMemory::create(4096, sealed);
  EXPECT_THROW((void)SharedMemory::map(sealed, 8192, SharedMemory::Access::read), std::runtime_error);
  EXPECT_NE(ftruncate(sealed.get(), 0), 0) << "a peer can make it shorter";
}

TEST(Blocks, WhereNoneCanBePassedThereIsNone) {
  Pair pair;
  pair.passes = false;
  EXPECT_FALSE(pair.take(mib));
  pair.passes = true;
  EXPECT_TRUE(pair.take(mib));
}

}  // namespace
}  // namespace muster::runtime
