#include "runtime/base/random.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <thread>
#include <vector>

namespace {

using namespace muster::runtime;

std::string hexadecimal(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    constexpr char digits[] = "0123456789abcdef";
    text += digits[std::to_integer<unsigned>(byte) >> 4U];
    text += digits[std::to_integer<unsigned>(byte) & 15U];
  }
  return text;
}

TEST(Random, BytesFillTheWholeSpanAndNothingElse) {
  std::array<std::byte, 66> buffer{};
  random_bytes(std::span(buffer).subspan(1, 64));
  EXPECT_EQ(buffer.front(), std::byte{0});
  EXPECT_EQ(buffer.back(), std::byte{0});
  EXPECT_LT(std::count(buffer.begin() + 1, buffer.end() - 1, std::byte{0}), 16);  // 64 random bytes: chance 10^-20
  random_bytes({});
}

TEST(Random, TokensAreOfTheirLengthPrintableAndNeverTheSame) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string token = random_token(22);
    ASSERT_EQ(token.size(), 22U);
    ASSERT_TRUE(std::all_of(token.begin(), token.end(),
                            [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_'; }));
    ASSERT_TRUE(seen.insert(token).second);
  }
  EXPECT_TRUE(random_token(0).empty());
}

TEST(Random, EqualityIsThatOfTexts) {
  EXPECT_TRUE(equal_in_constant_time("", ""));
  EXPECT_TRUE(equal_in_constant_time("cookie", "cookie"));
  EXPECT_FALSE(equal_in_constant_time("cookie", "cookiE"));
  EXPECT_FALSE(equal_in_constant_time("cookie", "cookies"));
  EXPECT_FALSE(equal_in_constant_time("a", ""));
  EXPECT_FALSE(equal_in_constant_time(std::string_view("a\0b", 3), std::string_view("a\0c", 3)));
}

TEST(Random, KeyedHashIsHmacSha512CutTo256Bits) {
  // RFC 4231, test cases 2 (a key shorter than a block) and 6 (a longer one); the first 32 bytes of HMAC-SHA-512.
  const std::string_view question = "what do ya want for nothing?";
  EXPECT_EQ(hexadecimal(keyed_hash("Jefe", std::as_bytes(std::span(question)))),
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554");
  const std::string key(131, '\xaa');
  const std::string_view text = "Test Using Larger Than Block-Size Key - Hash Key First";
  EXPECT_EQ(hexadecimal(keyed_hash(key, std::as_bytes(std::span(text)))),
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352");
}

TEST(Random, AnyThreadMayComeFirst) {
  std::vector<std::string> tokens(8);
  {
    std::vector<std::jthread> threads;
    for (std::string& token : tokens) threads.emplace_back([&token] { token = random_token(16); });
  }
  EXPECT_EQ(std::set<std::string>(tokens.begin(), tokens.end()).size(), tokens.size());
}

}  // namespace
