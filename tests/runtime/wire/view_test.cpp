// Views: arrays that are read where they arrived.

#include "tests/runtime/wire/round_trip.hpp"

#include <muster/detail/parameters.hpp>
#include <muster/detail/typed_value.hpp>
#include <muster/muster.hpp>

#include <gtest/gtest.h>

#include <numeric>

namespace muster::detail {
namespace {

constexpr std::size_t large = 10'000;

std::vector<double> numbers(std::size_t count) {
  std::vector<double> all(count);
  std::iota(all.begin(), all.end(), 0.5);
  return all;
}

bool within(const void* address, const Part& part) {
  const auto* const byte = static_cast<const std::byte*>(address);
  return std::greater_equal<>{}(byte, part.data) && std::less<>{}(byte, part.data + part.size);
}

TEST(View, IsARangeOverTheElementsOfItsVector) {
  auto elements = numbers(large);
  const double* const place = elements.data();
  const View<double> view = std::move(elements);
  EXPECT_EQ(view.data(), place);
  EXPECT_EQ(view.size(), large);
  EXPECT_FALSE(view.empty());
  EXPECT_EQ(view[1], 1.5);
  EXPECT_EQ(view.end() - view.begin(), static_cast<std::ptrdiff_t>(large));
  EXPECT_EQ(view.to_vector(), numbers(large));
  const std::span<const double> span = view;
  EXPECT_EQ(span.data(), place);
  static_assert(std::ranges::contiguous_range<View<double>> && std::ranges::view<View<double>>);
  static_assert(!std::is_convertible_v<std::vector<double>&, View<double>>, "a copy of a vector is said");
  EXPECT_TRUE(View<int>().empty());
  EXPECT_TRUE(View<int>(std::vector<int>()).empty());
}

TEST(View, LargeMemoryIsCopiedWhole) {
  const View<double> view = numbers((huge_from / sizeof(double)) + 3);
  EXPECT_EQ(view.to_vector(), numbers(view.size()));
}

TEST(View, KeepsWhatItIsAViewOf) {
  auto owner = std::make_shared<std::array<int, 4>>(std::array{1, 2, 3, 4});
  const std::weak_ptr<const void> watch = owner;
  const std::span<const int> elements = *owner;
  View<int> view(elements.subspan(1, 2), std::move(owner));
  const View<int> copy = view;
  view = {};
  EXPECT_FALSE(watch.expired());
  EXPECT_EQ(copy.to_vector(), (std::vector{2, 3}));
}

TEST(View, IsReadInPlace) {
  const auto payload = to_payload(View<double>(numbers(large)));
  ASSERT_EQ(payload.parts.size(), 1u);
  const auto view = read_all<View<double>>(payload);
  EXPECT_TRUE(within(view.data(), payload.parts[0]));
  EXPECT_EQ(view.to_vector(), numbers(large));
}

TEST(View, OutlivesTheMessageItCameIn) {
  std::optional<View<double>> view;
  std::weak_ptr<const void> watch;
  {
    const auto payload = to_payload(numbers(large));
    watch = payload.parts.at(0).owner;
    view = read_all<View<double>>(payload);
  }
  EXPECT_EQ(view->to_vector(), numbers(large));
  view.reset();
  EXPECT_TRUE(watch.expired());
}

TEST(View, MemoryThatGoesWithTheMessageIsCopied) {
  const auto elements = numbers(large);
  const auto payload = written(elements);  // borrows
  const auto view = read_all<View<double>>(payload);
  EXPECT_FALSE(within(view.data(), payload.parts.at(0)));
  EXPECT_EQ(view.to_vector(), elements);
}

TEST(View, SmallOnesAreCopied) {
  EXPECT_EQ(round_trip(View<double>(numbers(3))).to_vector(), numbers(3));
  EXPECT_TRUE(round_trip(View<double>()).empty());
  struct alignas(256) Wide {
    double value = 0;
  };
  const auto wide = round_trip(View<Wide>(std::vector<Wide>{Wide{1}, Wide{2}}));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(wide.data()) % alignof(Wide), 0u);
  EXPECT_EQ(wide[1].value, 2);
}

TEST(View, ElementsLieWhereTheirTypeMay) {
  auto memory = fresh_memory(large * sizeof(double) + 1);
  for (const std::size_t shift : {std::size_t{0}, std::size_t{1}}) {
    auto payload = to_payload(numbers(large));
    Part& part = payload.parts.at(0);
    std::memcpy(memory.get() + shift, part.data, part.size);
    part = {memory.get() + shift, part.size, memory};
    const auto view = read_all<View<double>>(payload);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.data()) % alignof(double), 0u);
    EXPECT_EQ(within(view.data(), part), shift == 0);
    EXPECT_EQ(view.to_vector(), numbers(large));
  }
}

TEST(View, TravelsAsAVectorDoes) {
  for (const std::size_t count : {std::size_t{0}, std::size_t{5}, large}) {
    EXPECT_EQ(read_all<std::vector<double>>(written(View<double>(numbers(count)))), numbers(count));
    EXPECT_EQ(read_all<View<double>>(written(numbers(count))).to_vector(), numbers(count));
  }
}

TEST(View, SentOnItKeepsItsMemoryForTheMessage) {
  Payload payload;
  {
    const View<double> view = numbers(large);
    payload = written(view);
  }
  payload.own();  // nothing to copy
  EXPECT_EQ(read_all<std::vector<double>>(payload), numbers(large));
  Payload temporary;
  OutputArchive archive(temporary);
  archive.write_temporary(View<double>(numbers(large)));
  EXPECT_EQ(read_all<std::vector<double>>(temporary), numbers(large));
}

struct Measured {
  std::string name;
  View<double> values;
  std::vector<View<int>> more;
};

TEST(View, IsAnElementOfOtherValues) {
  const Measured original{"a", numbers(large), {std::vector<int>{1}, std::vector<int>(large, 2)}};
  const auto read = round_trip(original);
  EXPECT_EQ(read.name, "a");
  EXPECT_EQ(read.values.to_vector(), numbers(large));
  ASSERT_EQ(read.more.size(), 2u);
  EXPECT_EQ(read.more[1].to_vector(), std::vector<int>(large, 2));
  EXPECT_EQ(round_trip(std::optional<View<float>>(std::vector<float>{2})).value()[0], 2);
}

TEST(HostileView, SizesThatDoNotFitAreRefused) {
  auto payload = to_payload(numbers(large));
  payload.parts[0].size -= 8;
  EXPECT_THROW(read_all<View<double>>(payload), SerializationError);
  for (const std::size_t count : {std::size_t{1}, std::size_t{600}, std::size_t{1} << 40, ~std::size_t{0}}) {
    Payload only_size;
    OutputArchive archive(only_size);
    archive.write_count(count);
    EXPECT_THROW(read_all<View<double>>(only_size), SerializationError) << count;
  }
}

TEST(HostileView, APartHasOneReader) {
  const auto elements = numbers(large);
  Payload payload;
  OutputArchive archive(payload);
  for (int i = 0; i < 2; ++i) {
    archive.write_count(large);
    if (i == 0)
      archive.write_block(elements.data(), large * sizeof(double));
    else
      archive.write_count(0);
  }
  EXPECT_THROW((read_all<std::pair<View<double>, View<double>>>(payload)), SerializationError);
}

struct Checked {
  int number = 0;
  bool fixed = false;
};

TEST(HostileView, BoolsThatAreNoneAreRefused) {
  for (const std::size_t count : {std::size_t{10}, large}) {
    auto payload = to_payload(std::vector<Checked>(count));
    EXPECT_EQ(read_all<View<Checked>>(payload).size(), count);
    std::byte* const bytes = payload.parts.empty()
                                 ? payload.bytes.data() + payload.bytes.size() - count * sizeof(Checked)
                                 : const_cast<std::byte*>(payload.parts[0].data);
    bytes[(count - 1) * sizeof(Checked) + offsetof(Checked, fixed)] = std::byte{2};
    EXPECT_THROW(read_all<View<Checked>>(payload), SerializationError);
  }
}

// --- what arguments arrive as ---

using Sum = double (*)(View<double>);
using SumOfReference = double (*)(int, const View<double>&) noexcept;
using SumOfSpan = double (*)(std::span<const double>);
using SumOfVector = double (*)(const std::vector<double>&);
struct Scale {
  double operator()(View<double> values) const noexcept;
  double method(int count, View<double> values);
};
struct Overloaded {
  double operator()(View<double> values) const;
  double operator()(int value) const;
};

template <class F, class... A>
using arrived = arrivals_t<F, A...>;
template <class... A>
using are = TypeList<A...>;
using Numbers = std::vector<double>;
using Doubles = View<double>;

static_assert(std::is_same_v<arrived<Sum, Numbers&>, are<Doubles>>);
static_assert(std::is_same_v<arrived<Sum, std::array<double, 3>>, are<Doubles>>);
static_assert(std::is_same_v<arrived<Sum, const std::span<const double>&>, are<Doubles>>);
static_assert(std::is_same_v<arrived<Sum, std::span<double, 4>>, are<Doubles>>);
static_assert(std::is_same_v<arrived<Sum, Doubles>, are<Doubles>>);
static_assert(std::is_same_v<arrived<Sum, std::vector<float>>, are<std::vector<float>>>);
static_assert(!callable_with<Sum, std::vector<float>>);
static_assert(std::is_same_v<arrived<SumOfReference, int, Numbers>, are<int, Doubles>>);
static_assert(std::is_same_v<arrived<SumOfSpan, Numbers>, are<Doubles>>);
static_assert(std::is_same_v<arrived<SumOfSpan, std::array<double, 3>>, are<Doubles>>);
static_assert(callable_with<SumOfSpan, Numbers>);
static_assert(std::is_same_v<arrived<SumOfVector, Numbers>, are<Numbers>>);
static_assert(std::is_same_v<arrived<SumOfVector, Doubles>, are<Numbers>>);
static_assert(std::is_same_v<arrived<Scale, Numbers>, are<Doubles>>);
static_assert(std::is_same_v<arrived<Trusted<Scale>, Numbers>, are<Doubles>>);
static_assert(std::is_same_v<arrived<decltype(&Scale::method), Scale, int, Numbers>, are<Scale, int, Doubles>>);
static_assert(std::is_same_v<arrived<BoundFront<SumOfReference, int>, Numbers>, are<Doubles>>);
static_assert(std::is_same_v<arrived<BoundFront<decltype(&Scale::method), Scale>, int, Numbers>, are<int, Doubles>>);
static_assert(std::is_same_v<arrived<int (*)(const char*, ...), Numbers, int>, are<Numbers, int>>);
struct Volatile {
  double method(Doubles values) const volatile;
};
static_assert(std::is_same_v<arrived<decltype(&Volatile::method), Volatile, Numbers>, are<Volatile, Numbers>>);
// Which of several is called is not known before: a vector converts.
static_assert(std::is_same_v<arrived<Overloaded, Numbers>, are<Numbers>>);
static_assert(callable_with<Overloaded, Numbers>);

TEST(Arrivals, AFunctionThatTakesAnythingIsGivenWhatWasPassed) {
  const auto last = [](const auto& values) { return values.back(); };
  static_assert(std::is_same_v<arrived<decltype(last), Numbers>, are<Numbers>>);
  const auto mutable_lambda = [count = 0](View<double> values) mutable { return ++count + values[0]; };
  static_assert(std::is_same_v<arrived<std::remove_const_t<decltype(mutable_lambda)>, Numbers>, are<Doubles>>);
}

template <class A>
Doubles sent_as_view(const A& argument) {
  Payload payload;
  OutputArchive archive(payload);
  encode_argument<Doubles>(archive, argument);
  payload.own();
  return read_all<Doubles>(payload);
}

TEST(Arrivals, ArraysAreWrittenAsTheViewsTheyArriveAs) {
  const auto elements = numbers(1000);
  std::array<double, 1000> array{};
  std::copy(elements.begin(), elements.end(), array.begin());
  EXPECT_EQ(sent_as_view(elements).to_vector(), elements);
  EXPECT_EQ(sent_as_view(array).to_vector(), elements);
  EXPECT_EQ(sent_as_view(std::span(elements)).to_vector(), elements);
  EXPECT_EQ(sent_as_view(std::span(array).subspan(0, 7)).to_vector(), numbers(7));
  EXPECT_EQ(sent_as_view(Doubles(numbers(1000))).to_vector(), elements);
}

}  // namespace
}  // namespace muster::detail
