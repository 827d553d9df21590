#include "tests/runtime/wire/round_trip.hpp"

#include <muster/detail/aggregate.hpp>

#include <cereal/types/memory.hpp>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace muster::detail {
namespace {

struct Empty {
  bool operator==(const Empty&) const = default;
};
struct Point {
  double x = 0, y = 0, z = 0;
  bool operator==(const Point&) const = default;
};
struct Arrays {
  int numbers[3];
  double matrix[2][3];
  char name[64];
  std::string texts[2];
  bool operator==(const Arrays&) const = default;
};
struct Named {
  int number = 0;
  std::string name;
  bool operator==(const Named&) const = default;
};
struct Derived : Named {
  double value = 0;
  std::vector<int> list;
  bool operator==(const Derived&) const = default;
};
struct TwoBases : Named, Point {
  char letter = 0;
  std::map<int, int> table;
  short array[4]{};
  bool operator==(const TwoBases&) const = default;
};
struct NothingNew : Named {
  bool operator==(const NothingNew&) const = default;
};
struct OnEmpty : Empty {
  int number = 0;
  std::string text;
  bool operator==(const OnEmpty&) const = default;
};
struct Grandchild : Derived {
  int last = 0;
  bool operator==(const Grandchild&) const = default;
};
struct Tailed {
  int number = 0;
  char letter = 0;
  bool operator==(const Tailed&) const = default;
};
struct BehindTail : Tailed {
  char first = 0;
  char second = 0;
  long third = 0;
  bool operator==(const BehindTail&) const = default;
};
/// Not plain for layout: what derives from it starts in its tail.
class Opaque {
 public:
  Opaque() = default;
  explicit Opaque(int number) : number_(number) {}
  bool operator==(const Opaque&) const = default;
  template <class A>
  void serialize(A& archive) {
    archive(number_, letter_);
  }

 private:
  int number_ = 0;
  char letter_ = 'o';
};
struct InTail : Opaque {
  char letter = 0;
  bool operator==(const InTail&) const = default;
};
static_assert(sizeof(InTail) == sizeof(Opaque));
struct OnVector : std::vector<int> {
  int more = 0;
};
struct BaseAsMember : Named {
  Named other;
  bool operator==(const BaseAsMember&) const = default;
};
struct OptionalBehindBase : Named {
  std::optional<std::string> choice;
  std::variant<int, std::string> either;
  std::optional<std::optional<bool>> deep;
  int more = 0;
  bool operator==(const OptionalBehindBase&) const = default;
};
struct BitsBehindBase : Named {
  int few : 3;
  int more : 5;
  int third : 7;
};
struct LongArrayBehindBase : Named {
  char text[300];
};
struct OptionalFirst {
  std::optional<int> choice;
  int number = 0;
  bool operator==(const OptionalFirst&) const = default;
};
struct MoveOnly : Point {
  std::unique_ptr<int> pointer;
};
struct Largest {
  int m00, m01, m02, m03, m04, m05, m06, m07, m08, m09, m10, m11, m12, m13, m14, m15;
  std::string m16;
  int m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31;
  bool operator==(const Largest&) const = default;
};
struct TooLarge {
  int m00, m01, m02, m03, m04, m05, m06, m07, m08, m09, m10, m11, m12, m13, m14, m15;
  int m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27, m28, m29, m30, m31, m32;
};
struct NeedsValue {
  explicit NeedsValue(int n) : number(n) {}
  int number;
  template <class A>
  void serialize(A& archive) {
    archive(number);
  }
  template <class A>
  static void load_and_construct(A& archive, cereal::construct<NeedsValue>& construct) {
    int n = 0;
    archive(n);
    construct(n);
  }
};
struct HoldsOne {
  NeedsValue value;
  int more;
};
struct Immovable {
  std::atomic<int> number{0};
  int more = 0;
};
struct Fixed {
  const int number = 0;
  const std::string text;
  bool operator==(const Fixed&) const = default;
};
struct Recursive {
  int number = 0;
  std::vector<Recursive> inner;
  std::map<std::string, Recursive> named;
  bool operator==(const Recursive&) const = default;
};
struct Nested {
  Point points[2];
  Derived derived;
  std::vector<TwoBases> list;
  std::optional<Point> maybe;
  bool operator==(const Nested&) const = default;
};

template <class T, class... Field>
constexpr bool has_fields = std::is_same_v<FieldTypes<T>, TypeList<Field...>>;

static_assert(has_fields<Empty>);
static_assert(has_fields<Point, double, double, double>);
static_assert(has_fields<Arrays, int[3], double[2][3], char[64], std::string[2]>);
static_assert(has_fields<Derived, Named, double, std::vector<int>>);
static_assert(has_fields<TwoBases, Named, Point, char, std::map<int, int>, short, short, short, short>);
static_assert(has_fields<NothingNew, Named>);
static_assert(has_fields<OnEmpty, Empty, int, std::string>);
static_assert(has_fields<Grandchild, Derived, int>);
static_assert(has_fields<BehindTail, Tailed, char, char, long>);
static_assert(has_fields<InTail, Opaque, char>);
static_assert(has_fields<OnVector, std::vector<int>, int>);
static_assert(has_fields<BaseAsMember, Named, Named>);
static_assert(has_fields<OptionalFirst, std::optional<int>, int>);
static_assert(has_fields<MoveOnly, Point, std::unique_ptr<int>>);
static_assert(has_fields<HoldsOne, NeedsValue, int>);
static_assert(has_fields<Immovable, std::atomic<int>, int>);
static_assert(field_count<Largest> == 32 && plain_aggregate<Largest>);
static_assert(aggregate_layout<TooLarge> == AggregateLayout::too_large);
static_assert(has_fields<OptionalBehindBase, Named, std::optional<std::string>, std::variant<int, std::string>,
                         std::optional<std::optional<bool>>, int>);
static_assert(aggregate_layout<BitsBehindBase> == AggregateLayout::unreachable);
static_assert(aggregate_layout<LongArrayBehindBase> == AggregateLayout::unreachable);
static_assert(aggregate_layout<std::string> == AggregateLayout::none);
static_assert(plain<Point> && plain<Point[3]> && plain<Tailed> && plain<BehindTail> && !plain<Named> && !plain<Empty>);

TEST(Aggregate, MembersAreVisitedWhereTheyAre) {
  const TwoBases object{{1, "one"}, {1, 2, 3}, 'x', {{1, 2}}, {5, 6, 7, 8}};
  std::vector<const void*> visited;
  for_each_member(object, [&](const auto& member) { visited.push_back(&member); });
  const std::vector<const void*> expected{static_cast<const Named*>(&object),
                                          static_cast<const Point*>(&object),
                                          &object.letter,
                                          &object.table,
                                          &object.array[0],
                                          &object.array[1],
                                          &object.array[2],
                                          &object.array[3]};
  EXPECT_EQ(visited, expected);
}

TEST(Aggregate, MembersCanBeChanged) {
  Derived object;
  for_each_member(object, []<class M>(M& member) {
    if constexpr (std::is_same_v<M, double>) member = 2.5;
    if constexpr (std::is_same_v<M, Named>) member.name = "x";
  });
  EXPECT_EQ(object, (Derived{{0, "x"}, 2.5, {}}));
}

TEST(Aggregate, AllSortsTravel) {
  const auto trip = [](const auto& value) { EXPECT_EQ(round_trip(value), value) << typeid(value).name(); };
  trip(Empty{});
  trip(Point{1, 2, 3});
  trip(std::vector<Point>(1000, Point{1, 2, 3}));
  trip(Arrays{{1, 2, 3}, {{1, 2, 3}, {4, 5, 6}}, "name", {"a", "b"}});
  trip(Derived{{1, "x"}, 2, {3, 4}});
  trip(TwoBases{{1, "x"}, {1, 2, 3}, 'c', {{1, 2}}, {1, 2, 3, 4}});
  trip(NothingNew{{1, "x"}});
  trip(OnEmpty{{}, 1, "x"});
  trip(Grandchild{{{1, "x"}, 2, {3}}, 4});
  trip(BehindTail{{1, 'a'}, 'b', 'c', 4});
  trip(InTail{Opaque(3), 'x'});
  trip(BaseAsMember{{1, "a"}, {2, "b"}});
  trip(OptionalFirst{5, 6});
  trip(OptionalBehindBase{{1, "a"}, "x", "y", true, 7});
  trip(Fixed{5, "x"});
  trip(std::vector<Fixed>{{5, "x"}, {6, "y"}});
  trip(std::array<Fixed, 2>{{{5, "x"}, {6, "y"}}});
  trip(Largest{0,    1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
               "16", 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31});
  trip(Recursive{1, {{2, {}, {}}}, {{"x", {3, {}, {}}}}});
  trip(Nested{{{1, 2, 3}, {4, 5, 6}}, {{1, "x"}, 2, {3}}, {TwoBases{}}, Point{7, 8, 9}});
}

TEST(Aggregate, BasesOfStandardTypesTravel) {
  OnVector value{{1, 2, 3}, 4};
  const OnVector back = round_trip(value);
  EXPECT_EQ(static_cast<const std::vector<int>&>(back), static_cast<const std::vector<int>&>(value));
  EXPECT_EQ(back.more, 4);
}

TEST(Aggregate, WhatCanNotBeCopiedMovedOrDefaultedTravels) {
  const MoveOnly move_only{{1, 2, 3}, std::make_unique<int>(4)};
  EXPECT_EQ(*read_all<MoveOnly>(written(move_only)).pointer, 4);
  const HoldsOne back = round_trip(HoldsOne{NeedsValue(5), 6});
  EXPECT_EQ(back.value.number, 5);
  EXPECT_EQ(back.more, 6);
  const Immovable immovable{7, 8};
  EXPECT_EQ(read_all<Immovable>(written(immovable)).number, 7);
}

// --- whose functions serialize ---

struct SerializesItself {
  int sent = 0;
  template <class A>
  void serialize(A& archive) {
    archive(sent);
  }
};
struct AddsMembers : SerializesItself {
  int own = 0;
};
struct OverridesIt : SerializesItself {
  int own = 0;
  template <class A>
  void serialize(A& archive) {
    archive(cereal::base_class<SerializesItself>(this));
  }
};
struct ByFriend {
  int sent = 0;
};
template <class A>
void serialize(A& archive, ByFriend& value) {
  archive(value.sent);
}
struct AddsToFriend : ByFriend {
  int own = 0;
};

TEST(Aggregate, ABasesFunctionsDoNotHideOwnMembers) {
  EXPECT_EQ(round_trip(AddsMembers{{1}, 2}).own, 2);
  EXPECT_EQ(round_trip(AddsMembers{{1}, 2}).sent, 1);
  EXPECT_EQ(round_trip(OverridesIt{{1}, 2}).own, 0);
  EXPECT_EQ(round_trip(OverridesIt{{1}, 2}).sent, 1);
  EXPECT_EQ(round_trip(AddsToFriend{{1}, 2}).own, 2);
  EXPECT_EQ(round_trip(AddsToFriend{{1}, 2}).sent, 1);
}

TEST(Aggregate, PlainElementsTravelAsOneBlock) {
  const std::vector<Point> points(1000, Point{1, 2, 3});
  const Payload payload = written(points);
  ASSERT_EQ(payload.parts.size(), 1u);
  EXPECT_EQ(static_cast<const void*>(payload.parts[0].data), points.data());
  const std::vector<Point> few(10);
  EXPECT_EQ(written(few).bytes.size(), 1 + 10 * sizeof(Point));
}

}  // namespace
}  // namespace muster::detail
