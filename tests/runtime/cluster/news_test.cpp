/// @file
/// News of members as bytes: what is read is what was written, and nothing else is read.
#include "runtime/cluster/news.hpp"

#include "runtime/wire/codec.hpp"

#include <gtest/gtest.h>

namespace muster::runtime {
namespace {

Member member(Pid pid, const std::string& host) {
  return {.pid = pid,
          .endpoint = host + ":" + std::to_string(pid),
          .host = host,
          .host_identity = "boot of " + host,
          .ident = "west",
          .connect_idents = {"east"},
          .threads = 4};
}

WorkerExit exit_of(Pid pid) {
  return {.pid = pid,
          .host = "h",
          .expected = false,
          .exit_status = {},
          .signal = 9,
          .last_output = "words\n",
          .calls_in_flight = 0,
          .cause = "old age"};
}

std::vector<MemberNews> there_and_back(const std::vector<MemberNews>& news) {
  const auto payload = encode(news);
  return decode_news(payload.bytes.bytes(), static_cast<std::uint32_t>(news.size()));
}

TEST(News, MembersTravelWhole) {
  // The third is as the second, and has the end of somebody before it.
  const auto news = there_and_back({member(2, "a"), member(3, "b"), exit_of(2), member(4, "b")});
  ASSERT_EQ(news.size(), 4U);
  EXPECT_EQ(std::get<Member>(news[0]).host, "a");
  const auto& last = std::get<Member>(news[3]);
  EXPECT_EQ(last.pid, 4);
  EXPECT_EQ(last.endpoint, "b:4");
  EXPECT_EQ(last.host, "b");
  EXPECT_EQ(last.host_identity, "boot of b");
  EXPECT_EQ(last.ident, "west");
  EXPECT_EQ(last.connect_idents, std::vector<std::string>{"east"});
  EXPECT_EQ(last.threads, 4);
}

TEST(News, ExitsTravelWhole) {
  const auto news = there_and_back({exit_of(3)});
  const auto& exit = std::get<WorkerExit>(news.at(0));
  EXPECT_EQ(exit.pid, 3);
  EXPECT_EQ(exit.host, "h");
  EXPECT_EQ(exit.signal, 9);
  EXPECT_EQ(exit.exit_status, std::nullopt);
  EXPECT_EQ(exit.last_output, "words\n");
  EXPECT_EQ(exit.cause, "old age");
  EXPECT_FALSE(exit.expected);
}

TEST(News, AnotherNumberThanWasSaidIsRefused) {
  const auto payload = encode(std::vector<MemberNews>{member(2, "a"), member(3, "a")});
  for (const std::uint32_t count : {0U, 1U, 3U, ~0U})
    EXPECT_THROW((void)decode_news(payload.bytes.bytes(), count), SerializationError) << count;
}

TEST(News, WhatIsNoEntryIsRefused) {
  const auto payload = encode(std::vector<MemberNews>{member(2, "a")});
  const auto starting_with = [&payload](std::uint8_t entry) {
    std::vector<std::byte> bytes(payload.bytes.bytes().begin(), payload.bytes.bytes().end());
    bytes.front() = std::byte{entry};
    return bytes;
  };
  EXPECT_NO_THROW((void)decode_news(starting_with(0), 1));
  EXPECT_THROW((void)decode_news(starting_with(1), 1), SerializationError) << "as the one before it";
  EXPECT_THROW((void)decode_news(starting_with(3), 1), SerializationError);
}

TEST(News, TooLargeCountsTakeNoMemory) {
  detail::Payload payload;
  FieldWriter out(payload.bytes);
  out.u8(0);
  out.i32(1);
  for (int i = 0; i < 4; ++i) out.text("");
  out.u32(0xffffffff);  // so many names
  EXPECT_THROW((void)decode_news(payload.bytes.bytes(), 1), SerializationError);
}

}  // namespace
}  // namespace muster::runtime
