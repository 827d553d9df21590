// What comes from the wire may be anything: the outcome is a value or a SerializationError.

#include "tests/runtime/wire/round_trip.hpp"

#include <gtest/gtest.h>

namespace muster::detail {
namespace {

Payload payload_of(std::initializer_list<unsigned> bytes) {
  Payload payload;
  for (const unsigned byte : bytes) *payload.bytes.extend(1) = static_cast<std::byte>(byte);
  return payload;
}

/// A size as the archive writes it.
Payload payload_of_size(std::size_t size) {
  Payload payload;
  OutputArchive archive(payload);
  archive.write_count(size);
  return payload;
}

template <class T>
void expect_refused(const Payload& payload) {
  EXPECT_THROW(read_all<T>(payload), SerializationError);
}

struct Particle {
  double mass = 0;
  bool fixed = false;
  std::array<float, 3> place{};
};

struct Everything {
  int number = 1;
  std::string text = "text";
  std::vector<double> values{1, 2, 3};
  std::map<std::string, std::vector<int>> table{{"a", {1, 2}}, {"b", {}}};
  std::optional<std::variant<int, std::string>> choice{"x"};
  std::shared_ptr<std::string> one = std::make_shared<std::string>("shared");
  std::shared_ptr<std::string> other = one;
  std::vector<Particle> particles{Particle{}, Particle{}};
  std::vector<bool> bits{true, false, true};
  std::unordered_set<int> set{1, 2, 3};
};

TEST(HostileArchive, EveryTruncationIsRefused) {
  Everything everything;
  everything.values.assign(1000, 1.0);  // a part
  const Payload whole = written(everything);
  ASSERT_EQ(whole.parts.size(), 1u);
  EXPECT_NO_THROW(read_all<Everything>(whole));
  for (std::size_t size = 0; size < whole.bytes.size(); ++size) {
    Payload cut;
    cut.bytes.append(whole.bytes.data(), size);
    cut.parts = whole.parts;
    expect_refused<Everything>(cut);
  }
  Payload no_part;
  no_part.bytes = whole.bytes;
  expect_refused<Everything>(no_part);
}

TEST(HostileArchive, EveryChangedByteGivesAValueOrAnError) {
  const Payload whole = written(Everything{});
  for (std::size_t place = 0; place < whole.bytes.size(); ++place) {
    for (const int change : {0x01, 0x7f, 0x80, 0xff}) {
      Payload changed = whole;
      changed.bytes.data()[place] ^= static_cast<std::byte>(change);
      try {
        read_all<Everything>(changed);
      } catch (const SerializationError&) {
      }
    }
  }
}

TEST(HostileArchive, HugeSizesAreRefusedBeforeAnythingIsAllocated) {
  for (const std::size_t size : {std::size_t{100}, std::size_t{1} << 32, std::size_t{1} << 61,
                                 (std::size_t{1} << 61) + 1, std::size_t{1} << 63, static_cast<std::size_t>(-1)}) {
    const Payload payload = payload_of_size(size);
    expect_refused<std::string>(payload);
    expect_refused<std::vector<double>>(payload);
    expect_refused<std::vector<std::string>>(payload);
    expect_refused<std::vector<bool>>(payload);
    expect_refused<std::deque<int>>(payload);
    expect_refused<std::list<int>>(payload);
    expect_refused<std::forward_list<int>>(payload);
    expect_refused<std::map<int, int>>(payload);
    expect_refused<std::unordered_map<int, int>>(payload);
    expect_refused<std::set<int>>(payload);
    expect_refused<std::stack<int>>(payload);
    expect_refused<std::priority_queue<int>>(payload);
    expect_refused<std::variant<int, std::string>>(payload);
    expect_refused<std::shared_ptr<int>>(payload);
    expect_refused<std::unique_ptr<int>>(payload);
    expect_refused<std::vector<Particle>>(payload);
  }
  expect_refused<std::string>(payload_of({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}));
}

struct Nothing {
  bool operator==(const Nothing&) const = default;
};
class SaysNothing {
 public:
  template <class A>
  void serialize(A&) {}
};

TEST(HostileArchive, ElementsWithoutBytesAreLimited) {
  EXPECT_EQ(round_trip(std::vector<Nothing>(1000)).size(), 1000u);
  EXPECT_EQ(round_trip(std::vector<SaysNothing>(1000)).size(), 1000u);
  EXPECT_EQ(round_trip(std::vector<std::tuple<>>(1000)).size(), 1000u);
  expect_refused<std::vector<Nothing>>(payload_of_size(std::size_t{1} << 40));
  expect_refused<std::vector<SaysNothing>>(payload_of_size(std::size_t{1} << 40));
  expect_refused<std::list<std::monostate>>(payload_of_size(std::size_t{1} << 40));
  // Many small lists of nothing count together.
  Payload many;
  OutputArchive archive(many);
  archive.write_count(100);
  for (int i = 0; i < 100; ++i) archive.write_count(max_empty_elements / 50);
  expect_refused<std::vector<std::list<std::monostate>>>(many);
}

struct Chain {
  std::unique_ptr<Chain> next;
};
struct Tree {
  std::vector<Tree> branches;
};

TEST(HostileArchive, DeepNestingIsRefused) {
  Payload deep;
  for (int i = 0; i < 1'000'000; ++i) *deep.bytes.extend(1) = std::byte{1};
  expect_refused<Chain>(deep);
  expect_refused<std::unique_ptr<Chain>>(deep);
  expect_refused<Tree>(deep);

  Tree tall;
  for (int i = 0; i < max_nesting - 1; ++i) {
    Tree taller;
    taller.branches.push_back(std::move(tall));
    tall = std::move(taller);
  }
  EXPECT_NO_THROW(read_all<Tree>(written(tall)));
  Tree taller;
  taller.branches.push_back(std::move(tall));
  try {
    written(taller);
    FAIL() << "a tree that can't be read was written";
  } catch (const SerializationError& error) {
    EXPECT_NE(std::string(error.what()).find("nested"), std::string::npos);
  }
}

TEST(HostileArchive, SharedPointersAreNotConfused) {
  // The second pointer names the first one's object as one of another type.
  Payload payload =
      written(std::pair(std::make_shared<std::uint64_t>(0x4141414141414141), std::shared_ptr<std::uint64_t>()));
  payload.bytes.data()[payload.bytes.size() - 1] = std::byte{1};
  EXPECT_NO_THROW((read_all<std::pair<std::shared_ptr<std::uint64_t>, std::shared_ptr<std::uint64_t>>>(payload)));
  expect_refused<std::pair<std::shared_ptr<std::uint64_t>, std::shared_ptr<std::string>>>(payload);
  expect_refused<std::pair<std::shared_ptr<std::uint64_t>, std::weak_ptr<Everything>>>(payload);
  // One names an object that is not there.
  payload.bytes.data()[payload.bytes.size() - 1] = std::byte{5};
  expect_refused<std::pair<std::shared_ptr<std::uint64_t>, std::shared_ptr<std::uint64_t>>>(payload);
}

TEST(HostileArchive, BoolsAreZeroOrOne) {
  EXPECT_TRUE(read_all<bool>(payload_of({1})));
  expect_refused<bool>(payload_of({2}));
  expect_refused<std::vector<Particle>>([] {
    Payload payload = written(std::vector<Particle>(1));
    payload.bytes.data()[1 + offsetof(Particle, fixed)] = std::byte{0x55};
    return payload;
  }());
  expect_refused<std::array<bool, 2>>(payload_of({1, 3}));
  expect_refused<std::optional<int>>(payload_of({3, 0, 0, 0, 0}));
}

TEST(HostileArchive, VariantsHaveTheAlternative) {
  EXPECT_EQ((read_all<std::variant<char, std::monostate>>(payload_of({1})).index()), 1u);
  expect_refused<std::variant<char, std::monostate>>(payload_of({2, 0}));
}

TEST(HostileArchive, LeftoversAreRefused) {
  Payload payload = written(5);
  payload.bytes.append("x", 1);
  expect_refused<int>(payload);

  const std::vector<int> values(5000, 1);
  Payload two = written(values);
  two.parts.push_back(two.parts[0]);
  expect_refused<std::vector<int>>(two);
}

TEST(HostileArchive, PartsAreUsedOnceAndFit) {
  const std::vector<int> values(5000, 1);
  const std::pair both(values, values);
  Payload payload = written(both);
  ASSERT_EQ(payload.parts.size(), 2u);
  EXPECT_NO_THROW((read_all<std::pair<std::vector<int>, std::vector<int>>>(payload)));
  Payload twice = payload;
  twice.bytes.data()[twice.bytes.size() - 1] = std::byte{0};
  expect_refused<std::pair<std::vector<int>, std::vector<int>>>(twice);
  Payload beyond = payload;
  beyond.bytes.data()[beyond.bytes.size() - 1] = std::byte{2};
  expect_refused<std::pair<std::vector<int>, std::vector<int>>>(beyond);
  Payload shorter = payload;
  shorter.parts[1].size -= 4;
  expect_refused<std::pair<std::vector<int>, std::vector<int>>>(shorter);
}

TEST(HostileArchive, ErrorsSayWhatAndWhere) {
  try {
    read_all<std::vector<std::string>>(payload_of({2, 1, 'x', 9, 'y'}));
    FAIL();
  } catch (const SerializationError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("std::vector<"), std::string::npos) << text;
    EXPECT_NE(text.find("byte 4 of 5"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace muster::detail
