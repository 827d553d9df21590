/// @file
/// Writing into files: all of it, or why not.
#include "runtime/base/write_whole.hpp"

#include "runtime/base/unique_fd.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <thread>

namespace muster::runtime {
namespace {

TEST(WriteWhole, GoesOnAfterAShortWrite) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  const std::string text(1 << 20, 'x');  // more than a pipe holds
  std::size_t read_bytes = 0;
  std::jthread reader([&] {
    char part[4096];
    for (ssize_t count = 0; (count = ::read(from.get(), part, sizeof part)) > 0;)
      read_bytes += static_cast<std::size_t>(count);
  });
  EXPECT_FALSE(write_whole(to.get(), text));
  to.reset();
  reader.join();
  EXPECT_EQ(read_bytes, text.size());
}

TEST(WriteWhole, SaysThatTheDeviceIsFull) {
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(full);
  EXPECT_EQ(write_whole(full.get(), "a line\n"), std::errc::no_space_on_device);
}

TEST(WriteWhole, SaysThatAFileMayNotGrowFurther) {
  const UniqueFd memory(::memfd_create("write_whole_test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_TRUE(memory);
  ASSERT_EQ(::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_GROW), 0);
  EXPECT_EQ(write_whole(memory.get(), "a line\n"), std::errc::operation_not_permitted);
}

}  // namespace
}  // namespace muster::runtime
