#include "runtime/base/recycled_memory.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <set>
#include <thread>
#include <unordered_map>
#include <vector>

namespace muster::runtime {
namespace {

struct Object {
  std::array<std::uint64_t, 5> numbers{};
};

TEST(RecycledMemory, BlocksAreUsedAgain) {
  const auto owner = RecycledMemory::make();
  RecycledMemory& memory = *owner;
  std::set<void*> first;
  for (int i = 0; i < 100; ++i) first.insert(memory.take(64));
  EXPECT_EQ(first.size(), 100U);
  for (void* block : first) memory.give_back(block, 64);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(first.contains(memory.take(64)));
  for (void* block : first) memory.give_back(block, 64);
}

TEST(RecycledMemory, OtherSizesComeFromTheHeap) {
  const auto owner = RecycledMemory::make();
  RecycledMemory& memory = *owner;
  memory.give_back(memory.take(64), 64);
  void* const other = memory.take(128);
  std::memset(other, 1, 128);
  memory.give_back(other, 128);
}

TEST(RecycledMemory, ObjectsMayOutliveTheirMaker) {
  std::shared_ptr<Object> object;
  {
    const auto memory = RecycledMemory::make();
    const RecyclingAllocator<Object> allocator(memory);
    object = std::allocate_shared<Object>(allocator);
  }
  object->numbers.fill(7);
  EXPECT_EQ(object->numbers[4], 7U);
}

TEST(RecycledMemory, MapsOfManyThreads) {
  const auto memory = RecycledMemory::make();
  const RecyclingAllocator<Object> allocator(memory);
  using Map = std::unordered_map<int, Object, std::hash<int>, std::equal_to<>,
                                 RecyclingAllocator<std::pair<const int, Object>>>;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&allocator] {
      Map map{RecyclingAllocator<std::pair<const int, Object>>(allocator)};
      for (int round = 0; round < 50; ++round) {
        for (int i = 0; i < 100; ++i) map[i].numbers[0] = static_cast<std::uint64_t>(i);
        for (int i = 0; i < 100; ++i) ASSERT_EQ(map.at(i).numbers[0], static_cast<std::uint64_t>(i));
        map.clear();
      }
    });
  }
}

}  // namespace
}  // namespace muster::runtime
