#include "runtime/cluster/recent_links.hpp"

#include "runtime/transport/transport.hpp"

#include <gtest/gtest.h>

namespace muster::runtime {
namespace {

TEST(RecentLinks, KnowWhatTheyWereTold) {
  RecentLinks links;
  EXPECT_EQ(links.find(2), nullptr);
  const auto two = std::make_shared<Link>(1), three = std::make_shared<Link>(2);
  links.remember(2, two);
  links.remember(3, three);
  EXPECT_EQ(links.find(2), two);
  EXPECT_EQ(links.find(3), three);
  links.forget(2);
  EXPECT_EQ(links.find(2), nullptr);
  EXPECT_EQ(links.find(3), three);
  EXPECT_EQ(two.use_count(), 1) << "it is not kept";
}

TEST(RecentLinks, OneThatTakesAPlaceIsNotTakenForTheOther) {
  RecentLinks links;
  const Pid one = 2, other = one + 64;  // as many places as there are
  const auto link = std::make_shared<Link>(1), others = std::make_shared<Link>(2);
  links.remember(one, link);
  EXPECT_EQ(links.find(other), nullptr);
  links.forget(other);
  EXPECT_EQ(links.find(one), link);
  links.remember(other, others);
  EXPECT_EQ(links.find(one), nullptr);
  EXPECT_EQ(links.find(other), others);
}

}  // namespace
}  // namespace muster::runtime
