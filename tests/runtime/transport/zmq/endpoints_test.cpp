/// @file
/// Endpoints as text: in numbers, as others are told, and their ports.
#include "runtime/transport/zmq/endpoints.hpp"

#include <muster/errors.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <netdb.h>

#include <string>

namespace muster::runtime {
namespace {

TEST(Endpoints, AreWrittenInNumbers) {
  EXPECT_EQ(numeric_endpoint("127.0.0.1:80", AI_NUMERICHOST), "127.0.0.1:80");
  EXPECT_EQ(numeric_endpoint("[::1]:65535", AI_NUMERICHOST), "[::1]:65535");
  EXPECT_EQ(numeric_endpoint("localhost:7", 0), "127.0.0.1:7");
}

TEST(Endpoints, SayWhatIsWrongWithThem) {
  for (const std::string without : {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "h:x"}) {
    try {
      (void)numeric_endpoint(without, AI_NUMERICHOST);
      ADD_FAILURE() << without;
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), "it names no port") << without;
    }
  }
  EXPECT_THROW((void)numeric_endpoint("localhost:80", AI_NUMERICHOST), Error);
}

TEST(Endpoints, NobodyIsToldToDialEverywhere) {
  EXPECT_EQ(told_address("127.0.0.1"), "127.0.0.1");
  EXPECT_EQ(told_address("::1"), "::1");
  EXPECT_THAT(told_address("0.0.0.0"), testing::Not(testing::StartsWith("127.")));
}

TEST(Endpoints, HaveAPort) {
  EXPECT_EQ(port_in("tcp://127.0.0.1:42"), 42);
  EXPECT_EQ(port_in("tcp://[::1]:42"), 42);
  EXPECT_EQ(port_in("ipc://somewhere"), 0);
}

}  // namespace
}  // namespace muster::runtime
