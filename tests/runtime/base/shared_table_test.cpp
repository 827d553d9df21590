#include "runtime/base/shared_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace muster::runtime {
namespace {

struct Numbered {
  std::uint64_t number = 0;
};
struct ByNumber {
  using Key = std::uint64_t;
  static Key of(const Numbered& object) { return object.number; }
  static std::uint64_t hash(Key number) { return number; }
};
/// All want the same place.
struct ByNumberBadly : ByNumber {
  static std::uint64_t hash(Key /*number*/) { return 7; }
};

TEST(SharedTable, AnEmptyOneHasNothing) {
  SharedTable<Numbered, ByNumber> table;
  EXPECT_EQ(table.size(), 0U);
  EXPECT_EQ(table.find(1), nullptr);
  EXPECT_EQ(table.share(1), nullptr);
  EXPECT_EQ(table.take(1), nullptr);
}

TEST(SharedTable, HoldsItsObjectsUntilTheyAreTaken) {
  SharedTable<Numbered, ByNumber> table;
  auto object = std::make_shared<Numbered>(5);
  const std::weak_ptr<Numbered> seen = object;
  table.insert(std::move(object));
  EXPECT_EQ(table.find(5), seen.lock().get());
  EXPECT_EQ(table.share(5)->number, 5U);
  EXPECT_EQ(table.take(5)->number, 5U);
  EXPECT_TRUE(seen.expired());
  EXPECT_EQ(table.size(), 0U);
}

/// As a map would, whatever comes and goes in whichever order.
template <class Keys>
void compare_with_map(int steps, std::uint64_t keys) {
  SharedTable<Numbered, Keys> table;
  std::map<std::uint64_t, std::shared_ptr<Numbered>> expected;
  std::mt19937 random(1);
  for (int step = 0; step < steps; ++step) {
    const std::uint64_t key = random() % keys;
    const auto known = expected.find(key);
    if (known == expected.end()) {
      expected[key] = std::make_shared<Numbered>(key);
      table.insert(expected[key]);
    } else if (random() % 2 == 0) {
      EXPECT_EQ(table.take(key), known->second);
      expected.erase(known);
    }
    ASSERT_EQ(table.size(), expected.size());
    for (const std::uint64_t each : {key, key + 1, keys - key}) {
      const auto found = expected.find(each);
      ASSERT_EQ(table.share(each), found == expected.end() ? nullptr : found->second);
    }
  }
  std::size_t count = 0;
  table.for_each([&](const auto& each) { count += expected.at(each->number) == each ? 1U : 0U; });
  EXPECT_EQ(count, expected.size());
}

TEST(SharedTable, DoesAsAMap) { compare_with_map<ByNumber>(20'000, 300); }
TEST(SharedTable, DoesAsAMapWhereAllCollide) { compare_with_map<ByNumberBadly>(3'000, 40); }

TEST(SharedTable, TakesAllOfAKind) {
  SharedTable<Numbered, ByNumber> table;
  for (std::uint64_t i = 0; i < 100; ++i) table.insert(std::make_shared<Numbered>(i));
  const auto even = table.take_if([](const Numbered& each) { return each.number % 2 == 0; });
  EXPECT_EQ(even.size(), 50U);
  EXPECT_TRUE(std::all_of(even.begin(), even.end(), [](const auto& each) { return each->number % 2 == 0; }));
  EXPECT_EQ(table.size(), 50U);
  EXPECT_EQ(table.find(4), nullptr);
  EXPECT_NE(table.find(5), nullptr);
}

}  // namespace
}  // namespace muster::runtime
