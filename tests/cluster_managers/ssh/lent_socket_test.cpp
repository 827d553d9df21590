#include "cluster_managers/ssh/lent_socket.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>

namespace muster::runtime::ssh {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

class LentSocketTest : public ::testing::Test {
 protected:
  LentSocketTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    other_end_.reset(ends[1]);
    socket_.emplace(UniqueFd(ends[0]));
  }
  /// What the other side sees when nobody has this one open any more.
  bool hung_up() const {
    char byte = 0;
    return ::recv(other_end_.get(), &byte, 1, MSG_DONTWAIT) == 0;
  }
  std::optional<LentSocket> socket_;
  UniqueFd other_end_;
};

TEST_F(LentSocketTest, IsClosedWhereLibsshLeftItOpen) {
  const int lent = socket_->lent();
  socket_.reset();
  EXPECT_FALSE(is_open(lent));
  EXPECT_TRUE(hung_up());
}

TEST_F(LentSocketTest, AnotherFileOfTheSameNumberStaysOpen) {
  const int lent = socket_->lent();
  ::close(lent);
  const UniqueFd other(::fcntl(other_end_.get(), F_DUPFD_CLOEXEC, lent));
  ASSERT_EQ(other.get(), lent);
  socket_.reset();
  EXPECT_TRUE(is_open(lent));
  EXPECT_TRUE(hung_up());
}

TEST_F(LentSocketTest, WhoWaitsForItIsToldWhenItIsShut) {
  ::close(socket_->lent());
  socket_->shut();
  EXPECT_TRUE(hung_up());
}

}  // namespace
}  // namespace muster::runtime::ssh
