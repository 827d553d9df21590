#include "tests/runtime/wire/round_trip.hpp"

#include <muster/detail/sendable.hpp>
#include <muster/serialize/eigen.hpp>

#include <gtest/gtest.h>

#include <span>

namespace muster::detail {
namespace {

int twice(int number) { return 2 * number; }
int thrice(int number) noexcept { return 3 * number; }

struct Opaque {
  explicit Opaque(int n) : number(n) {}
  int number;
};
struct HasPointer {
  int number = 0;
  const char* text = nullptr;
};
struct HasClosureless {
  std::function<void()> function;
};
struct Derived : HasPointer {
  int more = 0;
};

// --- what may be sent ---

static_assert(serializable<int> && serializable<std::string> && serializable<int (*)(int)>);
static_assert(serializable<std::vector<std::map<std::string, std::optional<double>>>>);
static_assert(serializable<std::vector<int (*)()>>);
static_assert(!serializable<int*> && !serializable<const char*> && !serializable<void*>);
static_assert(!serializable<int&> && !serializable<void>);
static_assert(!serializable<std::string_view> && !serializable<std::span<int>> && !serializable<std::span<int, 3>>);
static_assert(!serializable<std::function<void()>> && !serializable<std::reference_wrapper<int>>);
static_assert(!serializable<Opaque> && !serializable<std::vector<Opaque>> && !serializable<HasPointer>);
static_assert(!serializable<std::vector<int*>> && !serializable<std::map<int, const char*>> && !serializable<Derived>);
static_assert(!serializable<std::tuple<int, std::string_view>> && !serializable<HasClosureless>);
static_assert(!serializable<std::unique_ptr<int[]>> && !serializable<std::set<int, bool (*)(int, int)>>);
static_assert(!serializable<std::pair<int&, int>> && !serializable<std::exception_ptr>);

static_assert(std::is_same_v<sent_t<decltype("text")>, std::string>);
static_assert(std::is_same_v<sent_t<const wchar_t (&)[3]>, std::wstring>);
static_assert(std::is_same_v<sent_t<const char*>, const char*>);
static_assert(std::is_same_v<sent_t<const int&>, int>);
static_assert(std::is_same_v<sent_t<int (&)(int)>, int (*)(int)>);

// --- closures ---

template <class F>
constexpr bool travels(const F&) {
  return serializable<F>;
}

TEST(Sendable, ClosuresThatCaptureValuesTravel) {
  int number = 1;
  double real = 2;
  const int fixed = 3;
  std::array<int, 3> array{};
  int plain_array[4] = {};
  struct Point {
    double x = 0, y = 0;
  } point;
  struct Based : Point {
    int z = 0;
  } based;
  std::tuple<int, double> tuple;
  enum class Colour { red } colour = Colour::red;
  std::complex<double> complex;
  EXPECT_TRUE(travels([] { return 1; }));
  EXPECT_TRUE(travels([](auto x) { return x; }));
  EXPECT_TRUE(travels([number] { return number; }));
  EXPECT_TRUE(travels([number, real] { return number + real; }));
  EXPECT_TRUE(travels([=] { return number + real; }));
  EXPECT_TRUE(travels([fixed = fixed](auto x) { return fixed + x; }));
  EXPECT_TRUE(travels([number]() mutable { return ++number; }));
  EXPECT_TRUE(travels([array] { return array[0]; }));
  EXPECT_TRUE(travels([plain_array] { return plain_array[0]; }));
  EXPECT_TRUE(travels([point] { return point.x; }));
  EXPECT_TRUE(travels([based] { return based.z; }));
  EXPECT_TRUE(travels([colour] { return colour; }));
  EXPECT_TRUE(travels([complex] { return complex; }));
  EXPECT_TRUE(travels([n = number + 1] { return n; }));
  EXPECT_TRUE(travels([f = [number] { return number; }] { return f(); }));
  EXPECT_TRUE(travels([f = [based] { return based.z; }] { return f(); }));
  // Captured pointers are plain bytes as well; they are found when they are sent.
  EXPECT_TRUE(travels([p = &number] { return *p; }));
  static_cast<void>(tuple);
}

TEST(Sendable, ClosuresThatCaptureReferencesOrMoreThanBytesDoNot) {
  int number = 1;
  double real = 2;
  std::string text = "x";
  std::vector<int> list;
  struct Base {
    int a = 0;
  };
  struct Based : Base {
    int z = 0;
  } based;
  EXPECT_FALSE(travels([&number] { return number; }));
  EXPECT_FALSE(travels([&] { return number; }));
  EXPECT_FALSE(travels([&] { return number + real; }));
  EXPECT_FALSE(travels([number, &real] { return number + real; }));
  EXPECT_FALSE(travels([&number, real] { return number + real; }));
  EXPECT_FALSE(travels([&based] { return based.z; }));
  EXPECT_FALSE(travels([based, &number] { return based.z + number; }));
  EXPECT_FALSE(travels([&text] { return text; }));
  EXPECT_FALSE(travels([&list] { return list.size(); }));
  EXPECT_FALSE(travels([&r = number] { return r; }));
  EXPECT_FALSE(travels([f = [&] { return number; }] { return f(); }));
  EXPECT_FALSE(travels([text] { return text; }));
  EXPECT_FALSE(travels([list] { return list.size(); }));
  EXPECT_FALSE(travels([p = std::make_shared<int>(1)] { return *p; }));
}

TEST(Sendable, ClosuresArriveWithWhatTheyCaptured) {
  int number = 5;
  EXPECT_EQ(round_trip([number](int x) { return number + x; })(1), 6);
  EXPECT_EQ(round_trip([] { return 7; })(), 7);
  EXPECT_EQ(round_trip([big = std::array<double, 1000>{1.5}] { return big[0]; })(), 1.5);
  EXPECT_EQ(written([] { return 7; }).bytes.size(), 0u);
  EXPECT_EQ(written([number] { return number; }).bytes.size(), sizeof(int));
}

TEST(Sendable, ClosuresAndFunctionsAreValues) {
  const auto closure = [number = 5](int x) { return number + x; };
  EXPECT_EQ(round_trip(std::vector{closure, closure})[1](1), 6);
  EXPECT_EQ((*round_trip(std::optional(closure)))(1), 6);
  const auto [back, number, function] = round_trip(std::tuple(closure, 1, &twice));
  EXPECT_EQ(back(1) + number, 7);
  EXPECT_EQ(function, &twice);
  EXPECT_EQ(round_trip(std::vector<int (*)(int)>{twice, nullptr}), (std::vector<int (*)(int)>{twice, nullptr}));
  EXPECT_EQ(round_trip(&thrice)(2), 6);
}

struct Counter {
  int start = 0;
  int add(int n) const { return start + n; }
  virtual int twice_of(int n) { return 2 * n; }
  virtual ~Counter() = default;
};

TEST(Sendable, PointersToMembersTravel) {
  Counter counter;
  counter.start = 3;
  EXPECT_EQ((counter.*round_trip(&Counter::add))(1), 4);
  EXPECT_EQ((counter.*round_trip(&Counter::twice_of))(2), 4);
  EXPECT_EQ(counter.*round_trip(&Counter::start), 3);
  EXPECT_EQ(round_trip(static_cast<int (Counter::*)(int)>(nullptr)), nullptr);
}

TEST(Sendable, CapturedAddressesAreRefusedWhenSent) {
  const auto heap = std::make_unique<int>(5);
  const auto closure = [number = 1L, pointer = heap.get()] { return *pointer + number; };
  Payload payload;
  OutputArchive archive(payload);
  try {
    encode_callable(archive, closure);
    FAIL() << "a captured pointer was sent";
  } catch (const UnsafeCapture& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("byte 8"), std::string::npos) << text;
    EXPECT_NE(text.find("bind_front"), std::string::npos) << text;
    EXPECT_NE(text.find("trust"), std::string::npos) << text;
    EXPECT_NE(text.find("CapturedAddresses"), std::string::npos) << text;
  }
}

TEST(Sendable, EigensMatricesTravelAsOneBlock) {
  const Eigen::MatrixXd matrix = Eigen::MatrixXd::Random(100, 7);
  EXPECT_EQ(round_trip(matrix), matrix);
  const Payload payload = written(matrix);
  ASSERT_EQ(payload.parts.size(), 1u);
  EXPECT_EQ(static_cast<const void*>(payload.parts[0].data), matrix.data());
  const Eigen::Vector3f vector(1, 2, 3);
  EXPECT_EQ(round_trip(vector), vector);
  EXPECT_EQ(written(vector).bytes.size(), 3 * sizeof(float));
  const Eigen::ArrayXXi empty(0, 5);
  EXPECT_EQ(round_trip(empty).cols(), 5);
}

TEST(Sendable, HostileMatricesAreRefused) {
  const auto sized = [](std::size_t rows, std::size_t columns) {
    Payload payload;
    OutputArchive archive(payload);
    archive.write_count(rows);
    archive.write_count(columns);
    return payload;
  };
  EXPECT_THROW(read_all<Eigen::MatrixXd>(sized(1'000'000, 1'000'000)), SerializationError);
  EXPECT_THROW(read_all<Eigen::MatrixXd>(sized(std::size_t{1} << 32, std::size_t{1} << 32)), SerializationError);
  EXPECT_THROW(read_all<Eigen::MatrixXd>(sized(static_cast<std::size_t>(-1), 1)), SerializationError);
}

TEST(Sendable, UnknownFunctionsAreRefused) {
  Payload payload;
  OutputArchive archive(payload);
  archive.write_number(std::uint64_t{0x1234567});
  archive.write_number(std::uint64_t{16});
  EXPECT_THROW(read_all<int (*)()>(payload), SerializationError);
}

}  // namespace
}  // namespace muster::detail
