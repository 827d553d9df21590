/// @file
/// What processes say first, and what is refused.
#include "runtime/cluster/handshake.hpp"

#include "runtime/wire/codec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::runtime {
namespace {

using ::testing::HasSubstr;

Hello some_hello() {
  Hello hello;
  hello.joins = true;
  hello.from = {.pid = 1,
                .endpoint = "127.0.0.1:1",
                .host = "here",
                .host_identity = "id",
                .ident = "",
                .connect_idents = {"a", "b"}};
  hello.to = 7;
  hello.facts.ident = "seven";
  hello.facts.connect_idents = {"one"};
  hello.facts.members = {hello.from};
  hello.facts.topology = Topology::custom;
  hello.facts.lazy = false;
  hello.facts.threads = 3;
  hello.facts.heartbeat_interval = std::chrono::seconds(1);
  hello.facts.heartbeat_timeout = std::chrono::seconds(10);
  seal(hello, "cookie");
  return hello;
}

Welcome some_welcome(const Nonce& nonce) {
  Welcome welcome;
  welcome.self = {.pid = 7,
                  .endpoint = "127.0.0.1:2",
                  .host = "there",
                  .host_identity = "id",
                  .ident = "seven",
                  .connect_idents = {}};
  welcome.os_pid = 123;
  seal(welcome, nonce, "cookie");
  return welcome;
}

std::vector<std::byte> bytes_of(const detail::Payload& payload) {
  const auto bytes = payload.bytes.bytes();
  return {bytes.begin(), bytes.end()};
}

TEST(Handshake, HelloTravelsWhole) {
  const Hello sent = some_hello();
  const Hello hello = decode_hello(bytes_of(encode(sent)));
  verify(hello, "cookie");
  EXPECT_TRUE(hello.joins);
  EXPECT_EQ(hello.to, 7);
  EXPECT_EQ(hello.from.endpoint, "127.0.0.1:1");
  EXPECT_EQ(hello.from.connect_idents, sent.from.connect_idents);
  EXPECT_EQ(hello.facts.ident, "seven");
  EXPECT_EQ(hello.facts.topology, Topology::custom);
  EXPECT_FALSE(hello.facts.lazy);
  EXPECT_EQ(hello.facts.threads, 3);
  EXPECT_EQ(hello.facts.heartbeat_timeout, std::chrono::seconds(10));
  ASSERT_EQ(hello.facts.members.size(), 1U);
  EXPECT_EQ(hello.facts.members[0].host, "here");
}

TEST(Handshake, WelcomeTravelsWhole) {
  const Nonce nonce = some_hello().nonce;
  const Welcome welcome = decode_welcome(bytes_of(encode(some_welcome(nonce))));
  verify(welcome, nonce, "cookie");
  EXPECT_EQ(welcome.self.pid, 7);
  EXPECT_EQ(welcome.self.ident, "seven");
  EXPECT_EQ(welcome.os_pid, 123);
}

TEST(Handshake, NoncesAreFresh) { EXPECT_NE(some_hello().nonce, some_hello().nonce); }

TEST(Handshake, TheCookieDoesNotTravel) {
  const auto bytes = bytes_of(encode(some_hello()));
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  EXPECT_EQ(text.find("cookie"), std::string::npos);
}

TEST(Handshake, AnotherCookieIsRefused) {
  const Hello hello = some_hello();
  EXPECT_THROW(verify(hello, "another"), AuthError);
  EXPECT_THROW(verify(hello, ""), AuthError);
  EXPECT_THROW(verify(some_welcome(hello.nonce), hello.nonce, "another"), AuthError);
  EXPECT_THROW(verify(some_welcome(hello.nonce), some_hello().nonce, "cookie"),
               AuthError);  // an answer to another question
}

TEST(Handshake, TheProofIsOfEveryByte) {
  const auto bytes = bytes_of(encode(some_hello()));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto changed = bytes;
    changed[i] ^= std::byte{0x41};
    EXPECT_THROW(verify(decode_hello(changed), "cookie"), Error) << "byte " << i;
  }
  const Nonce nonce = some_hello().nonce;
  const auto answer = bytes_of(encode(some_welcome(nonce)));
  for (std::size_t i = 0; i < answer.size(); ++i) {
    auto changed = answer;
    changed[i] ^= std::byte{0x41};
    EXPECT_THROW(verify(decode_welcome(changed), nonce, "cookie"), Error) << "byte " << i;
  }
}

TEST(Handshake, TruncatedOnesAreRefused) {
  const auto hello = bytes_of(encode(some_hello()));
  const auto welcome = bytes_of(encode(some_welcome({})));
  for (std::size_t size = 0; size < hello.size(); ++size)
    EXPECT_THROW((void)decode_hello(std::span(hello).first(size)), SerializationError);
  for (std::size_t size = 0; size < welcome.size(); ++size)
    EXPECT_THROW((void)decode_welcome(std::span(welcome).first(size)), SerializationError);
  auto longer = hello;
  longer.push_back({});
  EXPECT_THROW((void)decode_hello(longer), SerializationError);
}

// catalogue: 171
TEST(Handshake, AnotherVersionIsNamedBeforeAnythingElseIsLookedAt) {
  detail::Payload payload;
  FieldWriter(payload.bytes).u32(protocol_version + 1);
  for (const auto& decode : {std::function<void()>([&] { (void)decode_hello(payload.bytes.bytes()); }),
                             std::function<void()>([&] { (void)decode_welcome(payload.bytes.bytes()); })}) {
    try {
      decode();
      ADD_FAILURE() << "nothing was thrown";
    } catch (const VersionMismatch& error) {
      EXPECT_THAT(error.what(), HasSubstr(std::to_string(protocol_version + 1)));
    }
  }
}

TEST(Handshake, ImpossibleSettingsAreRefused) {
  const auto refused = [](auto change) {
    Hello hello = some_hello();
    change(hello.facts);
    EXPECT_THROW((void)decode_hello(bytes_of(encode(hello))), SerializationError);
  };
  refused([](ClusterFacts& facts) { facts.threads = 0; });
  refused([](ClusterFacts& facts) { facts.heartbeat_interval = {}; });
  refused([](ClusterFacts& facts) { facts.heartbeat_timeout = -std::chrono::seconds(1); });
  refused([](ClusterFacts& facts) { facts.topology = static_cast<Topology>(9); });
}

TEST(Handshake, AnotherBuildIsRefusedByName) {
  Hello hello = some_hello();
  hello.build_id = "0123456789abcdef";
  // Only a process that knows the cookie can prove what its build is; ours has none to spare, so unproven is what it
  // is.
  EXPECT_THROW(verify(hello, "cookie"), AuthError);
}

TEST(Handshake, RefusalsKeepTheirKindAndText) {
  const auto round_trip = [](const std::exception& error) {
    return error_of(decode_refuse(bytes_of(encode(refusal_of(error)))));
  };
  EXPECT_THROW(std::rethrow_exception(round_trip(AuthError("a"))), AuthError);
  EXPECT_THROW(std::rethrow_exception(round_trip(VersionMismatch("v"))), VersionMismatch);
  EXPECT_THROW(std::rethrow_exception(round_trip(CodeMismatch("c"))), CodeMismatch);
  try {
    std::rethrow_exception(round_trip(std::runtime_error("other words")));
  } catch (const HandshakeError& error) {
    EXPECT_STREQ(error.what(), "other words");
  }
  const std::byte unknown[] = {std::byte{9}, {}, {}, {}, {}};
  EXPECT_THROW((void)decode_refuse(unknown), SerializationError);
}

}  // namespace
}  // namespace muster::runtime
