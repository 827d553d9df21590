#include <muster/ranges.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using muster::IndexRange;
using muster::splitrange;

static_assert(std::random_access_iterator<IndexRange::Iterator>);
static_assert(std::ranges::random_access_range<IndexRange>);
static_assert(std::ranges::sized_range<const IndexRange>);
static_assert(std::ranges::common_range<IndexRange>);
static_assert(std::ranges::borrowed_range<IndexRange>);
static_assert(std::ranges::view<IndexRange>);
static_assert(std::is_aggregate_v<IndexRange> && std::is_trivially_copyable_v<IndexRange>);

using Ranges = std::vector<IndexRange>;

TEST(IndexRange, IsARange) {
  const IndexRange range{3, 7};
  EXPECT_EQ(range.size(), 4u);
  std::vector<std::size_t> seen;
  for (std::size_t i : range) seen.push_back(i);
  EXPECT_EQ(seen, (std::vector<std::size_t>{3, 4, 5, 6}));
  EXPECT_EQ(std::vector<std::size_t>(range.begin(), range.end()), seen);
  EXPECT_EQ(std::accumulate(range.begin(), range.end(), std::size_t{0}), 18u);
  EXPECT_EQ(range[2], 5u);
  EXPECT_EQ(range.begin()[3], 6u);
  EXPECT_EQ(range.end() - range.begin(), 4);
  EXPECT_EQ(range.begin() - range.end(), -4);
  EXPECT_EQ(*(range.end() - 1), 6u);
  EXPECT_EQ(*std::ranges::lower_bound(range, 5u), 5u);
  std::vector<std::size_t> even;
  for (std::size_t i : range | std::views::filter([](std::size_t n) { return n % 2 == 0; }) | std::views::reverse)
    even.push_back(i);
  EXPECT_EQ(even, (std::vector<std::size_t>{6, 4}));
}

TEST(IndexRange, MayBeEmpty) {
  EXPECT_TRUE(IndexRange{}.empty());
  EXPECT_EQ((IndexRange{5, 2}.size()), 0u);
  EXPECT_EQ((IndexRange{5, 2}.begin()), (IndexRange{5, 2}.end()));
}

// catalogue: 258
TEST(Splitrange, TheFirstPartsAreLonger) {
  EXPECT_EQ(splitrange(11, 3), (Ranges{{0, 4}, {4, 8}, {8, 11}}));
  EXPECT_EQ(splitrange(12, 3), (Ranges{{0, 4}, {4, 8}, {8, 12}}));
  EXPECT_EQ(splitrange(5, 1), (Ranges{{0, 5}}));
}

// catalogue: 259
TEST(Splitrange, NoPartIsEmpty) {
  EXPECT_EQ(splitrange(3, 4), (Ranges{{0, 1}, {1, 2}, {2, 3}}));
  EXPECT_TRUE(splitrange(0, 4).empty());
}

// catalogue: 258
TEST(Splitrange, CoversEveryLength) {
  for (std::size_t n = 0; n < 60; ++n) {
    for (int parts = 1; parts < 70; ++parts) {
      std::size_t next = 0;
      for (const IndexRange& range : splitrange(n, parts)) {
        ASSERT_EQ(range.first, next);
        ASSERT_GT(range.size(), 0u);
        next = range.last;
      }
      ASSERT_EQ(next, n);
    }
  }
  const std::size_t most = std::numeric_limits<std::size_t>::max();
  EXPECT_EQ(splitrange(most, 2), (Ranges{{0, most / 2 + 1}, {most / 2 + 1, most}}));
  EXPECT_EQ(splitrange(2, std::numeric_limits<int>::max()).size(), 2u);
}

TEST(Splitrange, RefusesFewerThanOnePart) {
  for (int parts : {0, -3}) {
    try {
      splitrange(10, parts);
      FAIL();
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(std::to_string(parts) + " parts"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
