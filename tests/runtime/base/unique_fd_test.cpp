/// @file
/// Ownership of file descriptors.
#include "runtime/base/unique_fd.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>

namespace muster::runtime {
namespace {

int open_something() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(UniqueFd, ClosesWhatItOwnsAtItsEnd) {
  const int fd = open_something();
  ASSERT_GE(fd, 0);
  {
    const UniqueFd owner(fd);
    EXPECT_TRUE(owner);
    EXPECT_EQ(owner.get(), fd);
    EXPECT_TRUE(is_open(fd));
  }
  EXPECT_FALSE(is_open(fd));
}

TEST(UniqueFd, OwnsNothingByDefault) {
  UniqueFd none;
  EXPECT_FALSE(none);
  EXPECT_LT(none.get(), 0);
  EXPECT_LT(none.release(), 0);
}

TEST(UniqueFd, MovesOwnership) {
  const int fd = open_something();
  UniqueFd first(fd);
  UniqueFd second(std::move(first));
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): moved from is "none"
  EXPECT_EQ(second.get(), fd);
  const int other = open_something();
  UniqueFd third(other);
  third = std::move(second);
  EXPECT_FALSE(is_open(other));
  EXPECT_EQ(third.get(), fd);
  UniqueFd& same = third;
  third = std::move(same);
  EXPECT_TRUE(is_open(fd));
}

TEST(UniqueFd, ReleaseGivesTheDescriptorAway) {
  const int fd = open_something();
  {
    UniqueFd owner(fd);
    EXPECT_EQ(owner.release(), fd);
    EXPECT_FALSE(owner);
  }
  EXPECT_TRUE(is_open(fd));
  ::close(fd);
}

TEST(UniqueFd, ResetKeepsErrno) {
  UniqueFd owner(open_something());
  errno = EDOM;
  owner.reset();
  EXPECT_EQ(errno, EDOM);
  UniqueFd stale(1 << 20);  // closing it fails
  stale.reset();
  EXPECT_EQ(errno, EDOM);
}

}  // namespace
}  // namespace muster::runtime
