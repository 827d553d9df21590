// What a call costs in copies, moves and allocations; docs/costs.md prints the same numbers.
// not under sanitizers: they bring an operator new of their own.

#include "support.hpp"

#include <atomic>
#include <cstdlib>
#include <new>
#include <ostream>
#include <span>
#include <utility>
#include <vector>

namespace {

std::atomic<std::size_t> allocations{0};
std::atomic<std::size_t> allocated_bytes{0};

}  // namespace

// GCC takes the two for a mismatch where it inlines one of them only.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  allocated_bytes.fetch_add(size, std::memory_order_relaxed);
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  allocated_bytes.fetch_add(size, std::memory_order_relaxed);
  const auto multiple = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(multiple, (size + multiple) / multiple * multiple)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

#pragma GCC diagnostic pop

namespace muster::test {

struct Counts {
  int constructions = 0, copies = 0, moves = 0;
  friend std::ostream& operator<<(std::ostream& out, const Counts& counts) {
    return out << counts.constructions << " constructions, " << counts.copies << " copies, " << counts.moves
               << " moves";
  }
};

/// Counts what is done to it. It travels as one number.
struct Counted {
  static inline Counts counts;  // of this process

  Counted() { ++counts.constructions; }
  explicit Counted(int x) : value(x) { ++counts.constructions; }
  Counted(const Counted& other) : value(other.value) { ++counts.copies; }
  Counted(Counted&& other) noexcept : value(other.value) { ++counts.moves; }
  Counted& operator=(const Counted& other) {
    value = other.value;
    ++counts.copies;
    return *this;
  }
  Counted& operator=(Counted&& other) noexcept {
    value = other.value;
    ++counts.moves;
    return *this;
  }
  ~Counted() = default;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(value);
  }

  int value = 0;
};

namespace {

Counts counts_here() { return Counted::counts; }
void reset_counts() { Counted::counts = {}; }
int take_it(Counted counted) { return counted.value; }
int look_at_it(const Counted& counted) { return counted.value; }
Counted make_it(int x) { return Counted(x); }
int identity(int x) { return x; }

class Costs : public testing::Test {
 protected:
  void SetUp() override { worker_ = at_least(1).front(); }
  /// The copies and moves that `call` makes here and there.
  template <class Call>
  std::pair<Counts, Counts> counts_of(Call&& call) {
    reset_counts();
    remotecall_fetch(reset_counts, worker_);
    call();
    return {Counted::counts, remotecall_fetch(counts_here, worker_)};
  }
  /// Allocations that `count` tells of for one of many such calls.
  template <class Count, class Call>
  double allocations_of(Count&& count, Call&& call) {
    constexpr int calls = 500;
    for (int i = 0; i < calls; ++i) call();  // what grows once has grown
    const auto before = count();
    for (int i = 0; i < calls; ++i) call();
    return static_cast<double>(count() - before) / calls;
  }

  /// Allocations a call that fall on one in many, such as those for heartbeats.
  static constexpr double rare = 0.5;
  Pid worker_ = 0;
};

TEST_F(Costs, NothingIsCopiedThatNeedNotBe) {
  const auto expect_no_copy = [&](const char* name, int moves_here, int moves_there, auto&& call) {
    const auto [here, there] = counts_of(call);
    EXPECT_EQ(here.copies, 0) << name << ": " << here;
    EXPECT_EQ(there.copies, 0) << name << ": " << there;
    EXPECT_LE(here.moves, moves_here) << name << ": " << here;
    EXPECT_LE(there.moves, moves_there) << name << ": " << there;
  };
  expect_no_copy("an argument by value", 0, 4, [&] { (void)remotecall_fetch(take_it, worker_, Counted(1)); });
  expect_no_copy("an argument by reference", 0, 3, [&] { (void)remotecall_fetch(look_at_it, worker_, Counted(1)); });
  const Counted kept(1);
  expect_no_copy("an lvalue, which is written as it stands", 0, 4,
                 [&] { (void)remotecall_fetch(take_it, worker_, kept); });
  expect_no_copy("a result", 4, 1, [&] { (void)remotecall_fetch(make_it, worker_, 1); });
  expect_no_copy("a result taken out of its future", 4, 1, [&] { (void)spawnat(worker_, make_it, 1).take(); });
  expect_no_copy("an argument of a call to oneself", 4, 0, [&] { (void)remotecall_fetch(take_it, 1, Counted(1)); });
  expect_no_copy("a result of a call to oneself", 3, 0, [&] { (void)remotecall_fetch(make_it, 1, 1); });
}

TEST_F(Costs, AFetchedFutureKeepsItsValueAndGivesACopy) {
  const auto [here, there] = counts_of([&] { (void)spawnat(worker_, make_it, 1).fetch(); });
  EXPECT_EQ(here.copies, 1) << here;
  EXPECT_EQ(there.copies, 0) << there;
}

constexpr std::size_t large = 1'000'000;
double last_of_view(View<double> values) { return values[large - 1]; }
double last_of_span(std::span<const double> values) { return values[large - 1]; }
double last_of_vector(const std::vector<double>& values) { return values[large - 1]; }
std::size_t bytes_here() { return allocated_bytes.load(); }

TEST_F(Costs, AViewIsReadWhereItArrived) {
  if (debug::links(1).front().lane != "shm") GTEST_SKIP() << "memory is shared within a host only";
  const std::vector<double> array(large, 1.0);
  constexpr std::size_t whole = large * sizeof(double), little = whole / 16;
  const auto bytes_of = [&](auto&& call) {
    const std::size_t here = bytes_here(), there = remotecall_fetch(bytes_here, worker_);
    call();
    return std::pair(bytes_here() - here, remotecall_fetch(bytes_here, worker_) - there);
  };
  const auto view = bytes_of([&] { (void)remotecall_fetch(last_of_view, worker_, array); });
  EXPECT_LT(view.first, little);
  EXPECT_LT(view.second, little);
  const auto span = bytes_of([&] { (void)remotecall_fetch(last_of_span, worker_, array); });
  EXPECT_LT(span.first, little);
  EXPECT_LT(span.second, little);
  const auto vector = bytes_of([&] { (void)remotecall_fetch(last_of_vector, worker_, array); });
  EXPECT_LT(vector.first, little);
  EXPECT_LT(vector.second, whole + little);
  const auto make = [] { return View<double>(std::vector<double>(large)); };
  const auto result = bytes_of([&] { (void)remotecall_fetch(make, worker_); });
  EXPECT_LT(result.first, little);
  EXPECT_LT(result.second, whole + little);
  const auto fetched = bytes_of([&] {
    const auto future = spawnat(worker_, [] { return std::vector<double>(large); });
    (void)future.fetch_view();
    (void)future.fetch_view();
  });
  EXPECT_LT(fetched.first, little);
  EXPECT_LT(fetched.second, whole + little);
}

TEST_F(Costs, Allocations) {
  const auto expect_at_most = [&](const char* name, double limit_here, double limit_there, auto&& call) {
    const double here = allocations_of([] { return allocations.load(); }, call);
    const double there =
        allocations_of([&] { return remotecall_fetch([] { return allocations.load(); }, worker_); }, call);
    EXPECT_LE(here, limit_here + rare) << name << ", on the caller";
    EXPECT_LE(there, limit_there + rare) << name << ", on the worker";
  };
  // ZeroMQ's lane looks its peers up by their names.
  const double lane = debug::links(1).front().lane == "shm" ? 0 : 2;
  expect_at_most("remotecall_fetch", lane, lane, [&] { (void)remotecall_fetch(identity, worker_, 1); });
  expect_at_most("spawnat and fetch of a number", lane, lane, [&] { (void)spawnat(worker_, identity, 1).fetch(); });
  const auto name = [] { return std::string("short"); };
  expect_at_most("spawnat and fetch of a string", 1 + lane, 1 + lane, [&] { (void)spawnat(worker_, name).fetch(); });
  expect_at_most("a call to oneself", 1, 0, [&] { (void)remotecall_fetch(identity, 1, 1); });
}

}  // namespace
}  // namespace muster::test
