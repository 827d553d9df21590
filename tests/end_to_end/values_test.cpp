// What arguments and results become on their way.

#include "values.hpp"

#include "support.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bitset>
#include <chrono>
#include <complex>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <ranges>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace {

using namespace muster;
using namespace muster::test;

int square(int x) { return x * x; }

struct Point {
  int x = 0, y = 0;
  bool operator==(const Point&) const = default;
};

struct Base {
  int id = 0;
  bool operator==(const Base&) const = default;
};

struct Body : Base {
  std::string name;
  std::vector<Point> points;
  std::array<double, 3> centre{};
  std::optional<Point> anchor;
  bool operator==(const Body&) const = default;
};

struct WithSerialize {
  WithSerialize() = default;
  explicit WithSerialize(int value) : value_(value) {}
  template <class Archive>
  void serialize(Archive& archive) {
    archive(value_);
  }
  int value() const { return value_; }

 private:
  int value_ = 0;
};

template <class T>
T echo(T value) {
  return value;
}

template <class T>
void echoes(const T& value) {
  for (const Pid pid : {1, 2}) EXPECT_EQ(remotecall_fetch(&echo<T>, pid, value), value) << "pid " << pid;
}

class Values : public testing::Test {
 protected:
  Values() { (void)at_least(3); }
};

// catalogue: 111
TEST_F(Values, ArgumentsOfEveryKindComeBackEqual) {
  echoes(true);
  echoes('x');
  echoes(std::int64_t{-1} << 40);
  echoes(2.5);
  echoes(std::string("text"));
  echoes(std::string(100'000, 'y'));
  echoes(std::vector<int>{1, 2, 3});
  echoes(std::vector<bool>{true, false, true});
  echoes(std::vector<std::string>{"a", std::string(5000, 'b'), ""});
  echoes(std::vector<std::vector<double>>{{1, 2}, {}, std::vector<double>(10'000, 3)});
  echoes(std::array<int, 4>{1, 2, 3, 4});
  echoes(std::deque<int>{1, 2});
  echoes(std::list<std::string>{"x", "y"});
  echoes(std::map<std::string, int>{{"one", 1}, {"two", 2}});
  echoes(std::multimap<int, int>{{1, 1}, {1, 2}});
  echoes(std::set<int>{3, 1, 2});
  echoes(std::unordered_map<int, std::string>{{1, "a"}});
  echoes(std::unordered_set<std::string>{"p", "q"});
  echoes(std::optional<int>());
  echoes(std::optional<std::string>("there"));
  echoes(std::variant<int, std::string>("word"));
  echoes(std::tuple<int, std::string, double>(1, "two", 3.0));
  echoes(std::pair<int, std::string>(1, "b"));
  echoes(std::complex<double>(1, -1));
  echoes(std::bitset<70>(12345));
  echoes(std::chrono::nanoseconds(17));
  echoes(Point{1, -2});
  Body body;
  body.id = 9;
  body.name = "body";
  body.points = {{1, 2}, {3, 4}};
  body.centre = {0.5, 1.5, 2.5};
  body.anchor = Point{7, 8};
  echoes(body);
  echoes(std::vector<Body>(3, body));
}

// catalogue: 83
TEST_F(Values, SmartPointersAndSerializableClasses) {
  const auto shared = remotecall_fetch([](std::shared_ptr<int> p) { return std::make_shared<int>(p ? *p + 1 : -1); }, 2,
                                       std::make_shared<int>(4));
  EXPECT_EQ(*shared, 5);
  EXPECT_EQ(remotecall_fetch([](std::shared_ptr<int> p) { return p == nullptr; }, 2, std::shared_ptr<int>()), true);
  EXPECT_EQ(remotecall_fetch([](const WithSerialize& w) { return WithSerialize(w.value() * 2); }, 2, WithSerialize(21))
                .value(),
            42);
}

TEST_F(Values, MoveOnlyArgumentsAndResults) {
  for (const Pid pid : {1, 2}) {
    auto result = remotecall_fetch([](std::unique_ptr<int> p) { return std::make_unique<int>(*p * 2); }, pid,
                                   std::make_unique<int>(8));
    EXPECT_EQ(*result, 16);
  }
}

TEST_F(Values, StringLiteralsArriveAsStrings) {
  EXPECT_EQ(remotecall_fetch([](auto text) { return text + "!"; }, 2, "hello"), "hello!");
  EXPECT_EQ(remotecall_fetch([](const std::string& text) { return text.size(); }, 1, "four"), 4U);
}

// catalogue: 93
TEST_F(Values, OwnProcessGetsCopies) {
  std::vector<int> values{1, 2, 3};
  const int* const data = values.data();
  (void)remotecall_fetch(
      [](std::vector<int> mine) {
        mine[0] = 99;
        return mine.size();
      },
      1, values);
  EXPECT_EQ(values[0], 1);
  EXPECT_EQ(values.data(), data);
}

// catalogue: 85
TEST_F(Values, LargeArraysBothWays) {
  std::vector<std::uint32_t> numbers(16U << 20U);  // 64 MiB
  std::iota(numbers.begin(), numbers.end(), 7U);
  const auto reversed = remotecall_fetch(
      [](std::vector<std::uint32_t> mine) {
        std::reverse(mine.begin(), mine.end());
        return mine;
      },
      2, numbers);
  std::reverse(numbers.begin(), numbers.end());
  EXPECT_TRUE(reversed == numbers);
  // A value that stayed there, fetched by another worker.
  const auto stays = spawnat(2, [](std::uint32_t n) { return std::vector<std::uint32_t>(n, n); }, 16U << 20U);
  EXPECT_EQ(remotecall_fetch(
                [](const Future<std::vector<std::uint32_t>>& f) {
                  const auto mine = f.fetch();
                  return mine.size() == mine.front() && mine.front() == mine.back();
                },
                3, stays),
            true);
}

// catalogue: 87
TEST_F(Values, SeveralLargeArraysThroughOneLinkKeepTheirContents) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t, &wrong] {
      for (int i = 0; i < 5; ++i) {
        const std::vector<double> sent(200'000, t * 10.0 + i);
        if (remotecall_fetch(&echo<std::vector<double>>, 2, sent) != sent) ++wrong;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

// catalogue: 86
TEST_F(Values, ManyStrings) {
  std::vector<std::string> strings;
  for (int i = 0; i < 100'000; ++i) strings.push_back(std::to_string(i * 7919));
  EXPECT_TRUE(remotecall_fetch(&echo<std::vector<std::string>>, 3, strings) == strings);
}

// catalogue: 100
TEST_F(Values, ArgumentThatDoesNotSerializeIsThrownByTheCallAndTheNextCallWorks) {
  for (const Pid pid : {1, 2}) {
    EXPECT_THROW((void)spawnat(pid, [](const Unwritable&) {}, Unwritable()), std::exception);
    EXPECT_THROW(remotecall_fetch([](const Unwritable&) {}, pid, Unwritable()), std::exception);
    EXPECT_EQ(remotecall_fetch(&square, pid, 2), 4);
  }
}

// catalogue: 101
TEST_F(Values, ResultThatDoesNotSerializeIsARemoteExceptionAndTheNextCallWorks) {
  for (const Pid pid : {1, 2}) {
    const auto error = thrown<RemoteException>([pid] { (void)remotecall_fetch([] { return Unwritable(); }, pid); });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->pid(), pid);
    EXPECT_THROW((void)spawnat(pid, [] { return Unwritable(); }).fetch(), RemoteException);
    EXPECT_EQ(remotecall_fetch(&square, pid, 2), 4);
  }
}

// catalogue: 83
TEST_F(Values, NullPointersComeBackAsSuch) {
  for (const Pid pid : {1, 2}) {
    EXPECT_EQ(fetchfrom(pid, &echo<std::shared_ptr<int>>, std::shared_ptr<int>()), nullptr);
    EXPECT_EQ(fetchfrom(pid, &echo<std::unique_ptr<int>>, std::unique_ptr<int>()), nullptr);
  }
}

// catalogue: 166
TEST_F(Values, RandomDevicesAreOfTheProcessTheyAreMadeIn) {
  const auto draw = [](int) {
    std::random_device device;
    return std::uniform_real_distribution<double>(0, 1)(device);
  };
  const auto first = distributed_reduce(std::plus<>{}, std::views::iota(0, 10), draw);
  const auto second = distributed_reduce(std::plus<>{}, std::views::iota(0, 10), draw);
  for (const double sum : {first, second}) {
    EXPECT_GT(sum, 0);
    EXPECT_LT(sum, 10);
  }
  EXPECT_NE(first, second);
}

// catalogue: 168
TEST_F(Values, WhatIsSharedInAMessageStaysShared) {
  using Pointer = std::shared_ptr<std::vector<int>>;
  const auto one = std::make_shared<std::vector<int>>(3, 7);
  const std::pair<Pointer, Pointer> both(one, one);
  EXPECT_TRUE(fetchfrom(2, [](const std::pair<Pointer, Pointer>& p) { return p.first == p.second; }, both));
  EXPECT_TRUE(fetchfrom(2, [](const Pointer& a, const Pointer& b) { return a == b; }, one, one)) << "two arguments";
  const auto back = fetchfrom(2, &echo<std::pair<Pointer, Pointer>>, both);
  EXPECT_EQ(back.first, back.second);
  EXPECT_NE(back.first, one);
  EXPECT_EQ(*back.first, *one);
}

// catalogue: 170
TEST_F(Values, AnyBytesArrive) {
  std::string bytes;
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b) bytes += {static_cast<char>(a), static_cast<char>(b)};
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, bytes.size()})
    EXPECT_TRUE(fetchfrom(2, &echo<std::string>, bytes.substr(0, size)) == bytes.substr(0, size)) << size;
}

}  // namespace
