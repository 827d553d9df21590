#include "tests/runtime/wire/round_trip.hpp"

#include <muster/detail/archive.hpp>

#include <cereal/types/polymorphic.hpp>
#include <cereal/types/valarray.hpp>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

namespace muster::detail {
namespace {

using namespace std::chrono_literals;

#define EXPECT_TRIP(...)                       \
  do {                                         \
    const auto original = __VA_ARGS__;         \
    EXPECT_EQ(round_trip(original), original); \
  } while (false)

// --- what travels ---

TEST(Archive, NumbersKeepEveryBit) {
  EXPECT_TRIP(true);
  EXPECT_TRIP('x');
  EXPECT_TRIP(std::numeric_limits<std::int64_t>::min());
  EXPECT_TRIP(std::numeric_limits<std::uint64_t>::max());
  EXPECT_TRIP(-0.1f);
  EXPECT_TRIP(1e308);
  EXPECT_TRIP(0.1L);
  enum class Colour : short { red, green = 300 };
  EXPECT_TRIP(Colour::green);
  EXPECT_TRIP(std::byte{7});
}

TEST(Archive, SequencesTravel) {
  EXPECT_TRIP(std::string("hello"));
  EXPECT_TRIP(std::string());
  EXPECT_TRIP(std::u32string(U"h\u00e9"));
  EXPECT_TRIP(std::wstring(10000, L'x'));
  EXPECT_TRIP(std::vector<int>{1, 2, 3});
  EXPECT_TRIP(std::vector<double>(100000, 0.5));
  EXPECT_TRIP(std::vector<std::string>{"a", "", "ccc"});
  EXPECT_TRIP(std::vector<std::vector<double>>{{1}, {}, {2, 3}, std::vector<double>(1000, 4)});
  EXPECT_TRIP(std::vector<bool>{true, false, true, true, false, false, true, false, true});
  EXPECT_TRIP(std::vector<std::complex<float>>{{1, 2}, {3, 4}});
  EXPECT_TRIP(std::deque<int>{1, 2});
  EXPECT_TRIP(std::list<std::string>{"a", "b"});
  EXPECT_TRIP(std::forward_list<int>{3, 2, 1});
  EXPECT_TRIP(std::array<int, 3>{1, 2, 3});
  EXPECT_TRIP(std::array<std::string, 2>{"a", "b"});
  EXPECT_TRIP(std::array<double, 0>{});
  EXPECT_TRIP(std::array<double, 1000>{1, 2});
}

TEST(Archive, AssociativeContainersTravel) {
  EXPECT_TRIP(std::map<std::string, std::vector<int>>{{"a", {1}}, {"b", {}}});
  EXPECT_TRIP(std::multimap<int, int>{{1, 2}, {1, 3}});
  EXPECT_TRIP(std::set<std::string>{"x", "y"});
  EXPECT_TRIP(std::multiset<int>{1, 1, 2});
  EXPECT_TRIP(std::unordered_map<std::string, double>{{"a", 1}, {"b", 2}});
  EXPECT_TRIP(std::unordered_multimap<int, int>{{1, 2}, {1, 2}});
  EXPECT_TRIP(std::unordered_set<int>{1, 2, 3});
  EXPECT_TRIP(std::unordered_multiset<int>{1, 1});
  EXPECT_TRIP(std::map<int, std::string, std::greater<>>{{1, "a"}, {2, "b"}});
}

TEST(Archive, AdaptorsTravelInOrder) {
  std::stack<int> stack;
  std::queue<std::string> queue;
  std::priority_queue<int> heap;
  for (const int i : {3, 1, 2}) {
    stack.push(i);
    queue.push(std::to_string(i));
    heap.push(i);
  }
  EXPECT_EQ(round_trip(stack), stack);
  EXPECT_EQ(round_trip(queue), queue);
  auto back = round_trip(heap);
  std::vector<int> order;
  for (; !back.empty(); back.pop()) order.push_back(back.top());
  EXPECT_EQ(order, (std::vector<int>{3, 2, 1}));
}

TEST(Archive, AlternativesAndProductsTravel) {
  EXPECT_TRIP(std::optional<std::string>("x"));
  EXPECT_TRIP(std::optional<int>());
  EXPECT_TRIP(std::variant<int, std::string, std::monostate>("x"));
  EXPECT_TRIP(std::variant<int, std::string, std::monostate>(std::monostate{}));
  EXPECT_TRIP(std::tuple<int, std::string, std::tuple<>>(1, "x", {}));
  EXPECT_TRIP(std::pair<std::string, int>("x", 1));
  EXPECT_TRIP(nullptr);
  EXPECT_TRIP(std::monostate{});
}

TEST(Archive, TimesBitsAndPathsTravel) {
  EXPECT_TRIP(5ms);
  EXPECT_TRIP(std::chrono::duration<double>(0.25));
  EXPECT_TRIP(std::chrono::system_clock::now());
  EXPECT_TRIP(std::vector<std::chrono::nanoseconds>{1ns, 2ns});
  EXPECT_TRIP(std::complex<double>(1, 2));
  EXPECT_TRIP(std::bitset<13>("1011000000001"));
  EXPECT_TRIP(std::bitset<0>());
  EXPECT_TRIP(std::filesystem::path("/tmp/x"));
  EXPECT_EQ(round_trip(std::atomic<int>(5)).load(), 5);
}

TEST(Archive, TypesOfCerealsOwnHeadersTravelWhenIncluded) {
  const std::valarray<double> small{1, 2, 3};
  EXPECT_TRUE((round_trip(small) == small).min());
  const std::valarray<double> large(2.0, 100000);
  EXPECT_TRUE((round_trip(large) == large).min());
}

// --- pointers ---

TEST(Archive, PointersTravelWithWhatTheyPointTo) {
  std::vector<std::unique_ptr<std::string>> pointers;
  pointers.push_back(std::make_unique<std::string>("x"));
  pointers.push_back(nullptr);
  const auto back = read_all<std::vector<std::unique_ptr<std::string>>>(written(pointers));
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(*back[0], "x");
  EXPECT_EQ(back[1], nullptr);
  EXPECT_EQ(*round_trip(std::make_shared<const int>(5)), 5);
}

// catalogue: 168
TEST(Archive, SharedPointersStayShared) {
  const auto one = std::make_shared<std::string>("x");
  const auto back = round_trip(std::vector{one, std::make_shared<std::string>("y"), one});
  EXPECT_EQ(back[0], back[2]);
  EXPECT_NE(back[0], back[1]);
  EXPECT_EQ(back[0].use_count(), 2);
}

struct Ring {
  int value = 0;
  std::shared_ptr<Ring> next;
  std::weak_ptr<Ring> previous;
};

TEST(Archive, PointersMayFormCycles) {
  const auto first = std::make_shared<Ring>();
  first->value = 1;
  first->next = std::make_shared<Ring>();
  first->next->value = 2;
  first->next->next = first;
  first->next->previous = first;
  const auto back = round_trip(first);
  EXPECT_EQ(back->next->value, 2);
  EXPECT_EQ(back->next->next, back);
  EXPECT_EQ(back->next->previous.lock(), back);
  back->next->next.reset();
  first->next->next.reset();
}

struct WithFirst {
  int first = 1;
  int second = 2;
};

TEST(Archive, PointersToAnObjectAndToItsFirstMemberAreTwoObjects) {
  const auto whole = std::make_shared<WithFirst>();
  const std::shared_ptr<int> part(whole, &whole->first);
  const auto [a, b] = round_trip(std::pair(whole, part));
  EXPECT_EQ(a->second, 2);
  EXPECT_EQ(*b, 1);
}

class Shape {
 public:
  virtual ~Shape() = default;
  virtual double area() const = 0;
  template <class A>
  void serialize(A& archive) {
    archive(name);
  }
  std::string name;
};
class Square : public Shape {
 public:
  double area() const override { return side * side; }
  template <class A>
  void serialize(A& archive) {
    archive(cereal::base_class<Shape>(this), side);
  }
  double side = 0;
};
class Polygon : public Shape {
 public:
  double area() const override { return static_cast<double>(points.size()); }
  template <class A>
  void serialize(A& archive) {
    archive(cereal::base_class<Shape>(this), CEREAL_NVP(points));
  }
  std::vector<double> points;
};
class Loner : public Shape {
 public:
  double area() const override { return 0; }
  template <class A>
  void serialize(A&) {}
};

}  // namespace
}  // namespace muster::detail

CEREAL_REGISTER_TYPE(muster::detail::Square)
CEREAL_REGISTER_TYPE(muster::detail::Polygon)

namespace muster::detail {
namespace {

TEST(Archive, PolymorphicPointersTravelByCerealsRegistry) {
  const auto square = std::make_shared<Square>();
  square->name = "square";
  square->side = 3;
  const auto polygon = std::make_shared<Polygon>();
  polygon->points.assign(1000, 1.0);
  const auto back = round_trip(std::vector<std::shared_ptr<Shape>>{square, polygon, square, nullptr});
  EXPECT_EQ(back[0]->area(), 9);
  EXPECT_EQ(back[0]->name, "square");
  EXPECT_EQ(back[1]->area(), 1000);
  EXPECT_EQ(back[0], back[2]);
  EXPECT_EQ(back[3], nullptr);
  std::unique_ptr<Shape> unique = std::make_unique<Square>(*square);
  EXPECT_EQ(read_all<std::unique_ptr<Shape>>(written(unique))->area(), 9);
  EXPECT_EQ(round_trip(square)->area(), 9);
}

TEST(Archive, UnregisteredPolymorphicTypesAreRefusedWhenWritten) {
  const std::shared_ptr<Shape> loner = std::make_shared<Loner>();
  EXPECT_THROW(written(loner), SerializationError);
}

// --- users' functions ---

class WithSerialize {
 public:
  WithSerialize() = default;
  WithSerialize(int number, std::string text) : number_(number), text_(std::move(text)) {}
  bool operator==(const WithSerialize&) const = default;
  template <class A>
  void serialize(A& archive) {
    archive & number_ & text_;
  }

 private:
  int number_ = 0;
  std::string text_;
};

class Private {
 public:
  explicit Private(int number) : number_(number) {}
  int number() const { return number_; }

 private:
  friend class cereal::access;
  Private() = default;
  template <class A>
  void save(A& archive) const {
    archive(number_);
  }
  template <class A>
  void load(A& archive) {
    archive(number_);
  }
  int number_ = 0;
};

struct Free {
  int number = 0;
  int not_sent = 0;
};
template <class A>
void serialize(A& archive, Free& value) {
  archive(value.number);
}

struct Minimal {
  std::string text;
  template <class A>
  std::string save_minimal(const A&) const {
    return "<" + text + ">";
  }
  template <class A>
  void load_minimal(const A&, const std::string& minimal) {
    text = minimal;
  }
};

struct Versioned {
  int number = 0;
  std::uint32_t seen = 0;
  template <class A>
  void serialize(A& archive, std::uint32_t version) {
    seen = version;
    archive(number);
  }
};

class Constructed {
 public:
  explicit Constructed(int number) : number_(number) {}
  int number() const { return number_; }
  template <class A>
  void serialize(A& archive) {
    archive(number_);
  }
  template <class A>
  static void load_and_construct(A& archive, cereal::construct<Constructed>& construct) {
    int number = 0;
    archive(number);
    construct(number);
  }

 private:
  int number_;
};

}  // namespace
}  // namespace muster::detail

CEREAL_CLASS_VERSION(muster::detail::Versioned, 3)

namespace muster::detail {
namespace {

TEST(Archive, UsersFunctionsWin) {
  EXPECT_TRIP(WithSerialize(1, "x"));
  EXPECT_TRIP(std::vector<WithSerialize>{{1, "x"}, {2, "y"}});
  EXPECT_EQ(round_trip(std::make_shared<Private>(4))->number(), 4);
  EXPECT_EQ(round_trip(Private(4)).number(), 4);
  const Free back = round_trip(Free{1, 2});
  EXPECT_EQ(back.number, 1);
  EXPECT_EQ(back.not_sent, 0);
  EXPECT_EQ(round_trip(Minimal{"x"}).text, "<x>");
  EXPECT_EQ(round_trip(std::vector<Versioned>(3)).at(2).seen, 3u);
  EXPECT_EQ(round_trip(std::make_shared<Constructed>(5))->number(), 5);
  EXPECT_EQ(round_trip(Constructed(5)).number(), 5);
  EXPECT_EQ(round_trip(std::vector{Constructed(5)}).at(0).number(), 5);
}

struct SendsTemporaries {
  std::vector<double> doubled;
  template <class A>
  void save(A& archive) const {
    std::vector<double> halves = doubled;
    for (double& value : halves) value /= 2;
    archive(halves);
  }
  template <class A>
  void load(A& archive) {
    archive(doubled);
  }
};

TEST(Archive, LargeTemporariesOfUsersFunctionsAreCopied) {
  const SendsTemporaries value{std::vector<double>(5000, 4.0)};
  const Payload payload = written(value);
  ASSERT_EQ(payload.parts.size(), 1u);
  EXPECT_NE(payload.parts[0].owner, nullptr);
  EXPECT_EQ(read_all<SendsTemporaries>(payload).doubled, std::vector<double>(5000, 2.0));
}

struct Picture {
  int width = 0;
  std::vector<float> pixels;
  std::vector<std::vector<float>> layers;
  template <class A>
  void serialize(A& archive) {
    archive(width, pixels, layers);
  }
};

TEST(Archive, LargeMembersThatUsersFunctionsSendAreBorrowed) {
  const Picture picture{3, std::vector<float>(5000, 1.0f), {std::vector<float>(5000, 2.0f)}};
  const Payload payload = written(picture);
  ASSERT_EQ(payload.parts.size(), 2u);
  EXPECT_EQ(static_cast<const void*>(payload.parts[0].data), picture.pixels.data());
  EXPECT_EQ(static_cast<const void*>(payload.parts[1].data), picture.layers[0].data());
  EXPECT_EQ(read_all<Picture>(payload).layers, picture.layers);
}

struct Throws {
  template <class A>
  void serialize(A&) {
    throw std::out_of_range("no");
  }
};

TEST(Archive, WhatUsersFunctionsThrowBecomesASerializationError) {
  try {
    written(Throws{});
    FAIL();
  } catch (const SerializationError& error) {
    EXPECT_NE(std::string(error.what()).find("Throws"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("no"), std::string::npos);
  }
}

// --- parts ---

TEST(Archive, LargeArraysAreNotCopiedWhenWritten) {
  const std::vector<double> values(1'000'000, 1.0);
  const Payload payload = written(values);
  ASSERT_EQ(payload.parts.size(), 1u);
  EXPECT_EQ(static_cast<const void*>(payload.parts[0].data), values.data());
  EXPECT_EQ(payload.parts[0].size, values.size() * sizeof(double));
  EXPECT_EQ(payload.parts[0].owner, nullptr);
  EXPECT_LT(payload.bytes.size(), 16u);
}

TEST(Archive, PartsShareTheOwnerThatIsGiven) {
  const auto values = std::make_shared<std::vector<int>>(5000, 1);
  Payload payload;
  OutputArchive archive(payload, values);
  encode(archive, *values);
  ASSERT_EQ(payload.parts.size(), 1u);
  EXPECT_EQ(payload.parts[0].owner, values);
}

TEST(Archive, OwnCopiesBorrowedParts) {
  Payload payload;
  {
    const std::vector<int> values(5000, 7);
    payload = written(values);
    payload.own();
    EXPECT_NE(static_cast<const void*>(payload.parts[0].data), values.data());
  }
  EXPECT_EQ(read_all<std::vector<int>>(payload), std::vector<int>(5000, 7));
  EXPECT_EQ(payload.total_size(), payload.bytes.size() + 20000);
}

TEST(Archive, UnalignedPartsAreRead) {
  const std::vector<double> values(1000, 0.1);
  Payload payload = written(values);
  std::vector<std::byte> shifted(payload.parts[0].size + 1);
  std::memcpy(shifted.data() + 1, payload.parts[0].data, payload.parts[0].size);
  payload.parts[0].data = shifted.data() + 1;
  EXPECT_EQ(read_all<std::vector<double>>(payload), values);
}

TEST(Archive, ValuesFollowOneAnother) {
  Payload payload;
  OutputArchive out(payload);
  encode(out, 1);
  encode(out, std::string("x"));
  const std::vector<int> large(2000, 3);
  encode(out, large);
  InputArchive in(payload);
  EXPECT_EQ(decode<int>(in), 1);
  EXPECT_EQ(decode<std::string>(in), "x");
  EXPECT_EQ(decode<std::vector<int>>(in).size(), 2000u);
  in.finish();
}

TEST(Archive, HandlesAreKeptOnce) {
  Payload payload;
  OutputArchive out(payload);
  const auto one = std::make_shared<Handle>(HandleKind::future, RemoteRefId{1, 2}, 1);
  const auto two = std::make_shared<Handle>(HandleKind::future, RemoteRefId{1, 3}, 1);
  EXPECT_EQ(out.add_handle(one), 0u);
  EXPECT_EQ(out.add_handle(two), 1u);
  EXPECT_EQ(out.add_handle(one), 0u);
  const InputArchive in(payload);
  EXPECT_EQ(in.handle(1), two);
  EXPECT_THROW(in.handle(2), SerializationError);
}

}  // namespace
}  // namespace muster::detail
