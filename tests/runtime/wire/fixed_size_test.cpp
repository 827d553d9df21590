#include <muster/detail/typed_value.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace muster::detail {
namespace {

enum class Colour : short { red, green = 300 };
struct Point {
  double x = 0;
  int y = 0;
  bool operator==(const Point&) const = default;
};
struct Flagged {
  int number = 0;
  bool flag = false;
};
struct Large {
  double values[1000] = {};
};
int twice(int x) { return 2 * x; }

static_assert(fixed_size<int> && fixed_size<bool> && fixed_size<Colour> && fixed_size<Point> &&
              fixed_size<int (*)(int)>);
static_assert(!fixed_size<Flagged>, "the archive looks at each bool inside");
static_assert(!fixed_size<Large>, "it travels as a part");
static_assert(!fixed_size<std::string> && !fixed_size<std::vector<int>> && !fixed_size<std::array<int, 2>>);

template <class... T>
Payload by_archive(const T&... values) {
  Payload payload;
  OutputArchive archive(payload);
  (encode(archive, values), ...);
  return payload;
}

template <class... T>
Payload by_writer(const T&... values) {
  Payload payload;
  FixedWriter writer(payload);
  (encode(writer, values), ...);
  return payload;
}

std::vector<std::byte> bytes_of(const Payload& payload) {
  const auto bytes = payload.bytes.bytes();
  return {bytes.begin(), bytes.end()};
}

/// What reading values of these types says of a payload that does not hold them.
template <class... T>
std::string refusal(const Payload& payload) {
  try {
    const FixedReader<T...> reader(payload);
  } catch (const SerializationError& error) {
    return error.what();
  }
  return {};
}

TEST(FixedSize, WritesWhatAnArchiveWrites) {
  const auto captures = [a = 3, b = 0.5](int x) { return a * x + static_cast<int>(b); };
  const auto nothing = [](int x) { return x; };
  const Point point{1, 2};  // one, for what is between its members is written too
  EXPECT_EQ(bytes_of(by_writer(7, true, Colour::green, point, &twice, captures, nothing, -0.1F, 'x')),
            bytes_of(by_archive(7, true, Colour::green, point, &twice, captures, nothing, -0.1F, 'x')));
}

TEST(FixedSize, ReadsWhatAnArchiveWrote) {
  const auto adds = [a = 3](int x) { return a + x; };
  using Adds = std::remove_const_t<decltype(adds)>;
  const Payload payload = by_archive(std::numeric_limits<long>::min(), Point{1, 2}, &twice, false, adds);
  FixedReader<long, Point, int (*)(int), bool, Adds> reader(payload);
  EXPECT_EQ(decode<long>(reader), std::numeric_limits<long>::min());
  EXPECT_EQ(decode<Point>(reader), (Point{1, 2}));
  EXPECT_EQ(decode<int (*)(int)>(reader), &twice);
  EXPECT_FALSE(decode<bool>(reader));
  EXPECT_EQ(decode<Adds>(reader)(4), 7);
}

TEST(FixedSize, NullFunctionsTravel) {
  int (*const null)(int) = nullptr;
  EXPECT_EQ((from_payload<int (*)(int)>(to_payload(null))), nullptr);
}

TEST(FixedSize, RefusesTooFewAndTooManyBytes) {
  EXPECT_NE(refusal<long>(by_archive(1)).find("8 bytes are expected, 4 are left"), std::string::npos)
      << refusal<long>(by_archive(1));
  EXPECT_NE((refusal<int, int>(by_archive(1, 2, 3)).find("4 bytes are left over")), std::string::npos);
  EXPECT_NE(refusal<int>(Payload{}).find("could not be read"), std::string::npos);
}

TEST(FixedSize, RefusesAPartNobodyAskedFor) {
  Payload payload = by_archive(1);
  payload.parts.emplace_back();
  EXPECT_NE(refusal<int>(payload).find("part 0 is left over"), std::string::npos);
}

TEST(FixedSize, RefusesBoolsThatAreNone) {
  Payload payload = by_archive(1, true);
  payload.bytes.data()[sizeof(int)] = std::byte{2};
  EXPECT_NE((refusal<int, bool>(payload).find("neither 0 nor 1")), std::string::npos);
}

TEST(FixedSize, RefusesFunctionsThatAreNotThere) {
  Payload payload = by_archive(&twice);
  constexpr std::uint64_t nowhere = 12345;
  std::memcpy(payload.bytes.data(), &nowhere, sizeof nowhere);
  FixedReader<int (*)(int)> reader(payload);
  try {
    (void)decode<int (*)(int)>(reader);
    FAIL() << "a function was found in a module that is not there";
  } catch (const SerializationError& error) {
    EXPECT_NE(std::string(error.what()).find("not loaded in this process"), std::string::npos) << error.what();
  }
}

TEST(FixedSize, RefusesAddressesInClosures) {
  int x = 1;
  int* const pointer = &x;
  const auto points = [pointer] { return *pointer; };
  Payload payload;
  FixedWriter writer(payload);
  EXPECT_THROW(encode(writer, points), UnsafeCapture);
}

}  // namespace
}  // namespace muster::detail
