#include "tests/runtime/wire/round_trip.hpp"

#include <muster/callable.hpp>

#include <gtest/gtest.h>

namespace muster {
namespace {

using detail::check_callable;
using detail::read_all;
using detail::round_trip;
using detail::written;

int subtract(int a, int b) { return a - b; }

TEST(BindFront, CallsWithTheCapturedValuesFirst) {
  EXPECT_EQ(bind_front(&subtract, 5)(3), 2);
  EXPECT_EQ(bind_front(subtract, 5, 3)(), 2);
  EXPECT_EQ(bind_front([](const auto& text, auto number) { return text.size() + number; }, "hello")(2u), 7u);
  EXPECT_EQ(bind_front(&std::string::size, std::string("four"))(), 4u);
  EXPECT_EQ(bind_front(bind_front(&subtract, 5), 3)(), 2);
}

TEST(BindFront, LiteralsBecomeStrings) {
  const auto text = [](const std::string& a) { return a; };
  const auto bound = bind_front(text, "x");
  static_assert(std::is_same_v<decltype(bound), const BoundFront<std::remove_const_t<decltype(text)>, std::string>>);
  EXPECT_EQ(bound(), "x");
}

TEST(BindFront, IsNotConfusedWithStds) {
  using namespace std;  // NOLINT(google-build-using-namespace): the confusion to be avoided
  EXPECT_EQ(muster::bind_front(&subtract, plus<int>{}(1, 0))(1), 0);
}

TEST(BindFront, CapturedValuesAreConstOrMoved) {
  struct Which {
    int operator()(std::string&) & { return 1; }
    int operator()(const std::string&) const& { return 2; }
    int operator()(std::string&&) && { return 3; }
  };
  auto bound = bind_front(Which{}, std::string("x"));
  EXPECT_EQ(bound(), 1);
  EXPECT_EQ(std::as_const(bound)(), 2);
  EXPECT_EQ(std::move(bound)(), 3);
  const auto consume = bind_front([](std::unique_ptr<int> p) { return *p; }, std::make_unique<int>(4));
  static_assert(!std::is_invocable_v<decltype(consume)&>);
  auto movable = bind_front([](std::unique_ptr<int> p) { return *p; }, std::make_unique<int>(4));
  EXPECT_EQ(std::move(movable)(), 4);
}

TEST(BindFront, TravelsWithWhatItCaptured) {
  const auto bound = bind_front([](const std::string& text, const std::vector<double>& values,
                                   int n) { return text + std::to_string(values.size()) + std::to_string(n); },
                                "x", std::vector<double>(1000, 1.0));
  check_callable<std::remove_const_t<decltype(bound)>>();
  EXPECT_EQ(round_trip(bound)(5), "x10005");
  EXPECT_EQ(written(bound).parts.size(), 1u);
  EXPECT_EQ(round_trip(bind_front(&subtract, 5))(3), 2);
  EXPECT_EQ(round_trip(bind_front(bind_front(&subtract, 5), 3))(), 2);
  EXPECT_EQ(round_trip(std::vector{bind_front(&subtract, 5)}).at(0)(3), 2);
  auto movable = bind_front([](std::unique_ptr<int> p) { return *p; }, std::make_unique<int>(4));
  EXPECT_EQ(read_all<decltype(movable)>(written(movable))(), 4);
}

TEST(Trust, SendsTheBytesUnseen) {
  int number = 5;
  const auto closure = [pointer = &number] { return *pointer; };
  EXPECT_THROW(written(closure), UnsafeCapture);
  EXPECT_EQ(round_trip(trust(closure))(), 5);
  EXPECT_EQ(round_trip(trust(&subtract))(5, 3), 2);
  EXPECT_EQ(round_trip(trust([](auto x) { return x + 1; }))(1), 2);
  EXPECT_EQ(trust([n = 1]() mutable { return ++n; })(), 2);
}

struct Adder {
  int base = 0;
  int operator()(int n) const { return base + n; }
};
class Multiplier {
 public:
  explicit Multiplier(int factor) : factor_(factor) {}
  template <class T>
  T operator()(T n) const {
    return n * static_cast<T>(factor_);
  }

 private:
  int factor_;
};
class Greeter {
 public:
  Greeter() = default;
  explicit Greeter(std::string hello) : hello_(std::move(hello)) {}
  std::string operator()(const std::string& name) const { return hello_ + name; }
  template <class A>
  void serialize(A& archive) {
    archive(hello_);
  }

 private:
  std::string hello_;
};
struct Prefixer {
  std::string prefix;
  std::string operator()(const std::string& text) const { return prefix + text; }
};

TEST(FunctionObjects, Travel) {
  check_callable<Adder>();
  check_callable<Multiplier>();
  check_callable<Greeter>();
  check_callable<Prefixer>();
  check_callable<int (*)(int, int)>();
  EXPECT_EQ(round_trip(Adder{2})(3), 5);
  EXPECT_EQ(round_trip(Multiplier(2))(3.5), 7.0);
  EXPECT_EQ(round_trip(Greeter("hello "))("you"), "hello you");
  EXPECT_EQ(round_trip(Prefixer{"a"})("b"), "ab");
  EXPECT_EQ(round_trip(std::plus<>{})(1, 2), 3);
}

}  // namespace
}  // namespace muster
