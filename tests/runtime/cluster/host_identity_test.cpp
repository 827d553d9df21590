/// @file
/// Which processes share a host.
#include "runtime/cluster/host_identity.hpp"

#include "runtime/base/child_process.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>

#include <cctype>

namespace muster::runtime {
namespace {

TEST(HostIdentity, IsTheSameEachTimeAndOneWord) {
  const std::string identity = host_identity();
  EXPECT_EQ(identity, host_identity());
  EXPECT_GT(identity.size(), 36u);
  for (const char c : identity) EXPECT_TRUE(std::isgraph(static_cast<unsigned char>(c))) << identity;
}

TEST(HostIdentity, NamesTheBootAndTheNamespacesThatOtherProcessesHereHaveToo) {
  const ChildProcess child = spawn_process(
      {.arguments = {"/bin/sh", "-c",
                     "cat /proc/sys/kernel/random/boot_id; stat -Lc %i /proc/self/ns/pid /proc/self/ns/net"},
       .environment = current_environment()});
  std::string text;
  for (char byte = 0; ::read(child.standard_output.get(), &byte, 1) == 1;) text += byte;
  int status = 0;
  ASSERT_EQ(::waitpid(child.os_pid, &status, 0), child.os_pid);
  ASSERT_EQ(status, 0);
  const std::string identity = host_identity();
  int words = 0;
  while (!text.empty()) {
    const std::size_t newline = text.find('\n');
    EXPECT_NE(identity.find(text.substr(0, newline)), std::string::npos) << text << " in " << identity;
    text.erase(0, newline + 1);
    ++words;
  }
  EXPECT_EQ(words, 3);
}

}  // namespace
}  // namespace muster::runtime
