// pmap and pmap_unordered with real workers: input, results, batches, captured values, time.

#include "maps.hpp"
#include "values.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <complex>
#include <cstdint>
#include <forward_list>
#include <map>
#include <memory>
#include <numeric>
#include <ranges>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace muster;
using namespace muster::test;

// -- input and results ------------------------------------------------------------------------------------------------

// catalogue: 235
TEST_F(Pmap, GivesResultsInOrder) {
  EXPECT_EQ(pmap(twice, std::vector<int>{1, 2, 3}), (std::vector<int>{2, 4, 6}));
  EXPECT_EQ(pmap([](int x) { return 2 * x; }, numbers(1000)), twice_all(1000));
  EXPECT_EQ(pmap([](std::size_t i) { return static_cast<int>(2 * i); }, muster::IndexRange{0, 100}), twice_all(100));
}

// catalogue: 228, 229, 230
TEST_F(Pmap, TakesEveryKindOfRange) {
  const auto lvalue = numbers(10);
  EXPECT_EQ(pmap(twice, lvalue), twice_all(10));
  EXPECT_EQ(pmap(twice, std::span<const int>(lvalue)), twice_all(10));
  EXPECT_EQ(pmap(twice, std::views::iota(0, 10)), twice_all(10));
  EXPECT_EQ(pmap(twice, lvalue | std::views::filter([](int x) { return x < 5; })), twice_all(5));
  EXPECT_EQ(pmap(twice, std::set<int>(lvalue.begin(), lvalue.end())), twice_all(10));
  EXPECT_EQ(pmap(twice, std::forward_list<int>(lvalue.begin(), lvalue.end())), twice_all(10));
  std::istringstream text("0 1 2 3 4");
  EXPECT_EQ(pmap(twice, std::views::istream<int>(text)), twice_all(5));
  EXPECT_EQ(pmap([](char c) { return static_cast<char>(c - 'a' + 'A'); }, std::string("abc")),
            (std::vector<char>{'A', 'B', 'C'}));
  EXPECT_EQ(pmap([](bool b) { return !b; }, std::vector<bool>{true, false}), (std::vector<bool>{false, true}));
  EXPECT_EQ(pmap([](const std::pair<const int, std::string>& entry) { return entry.second; },
                 std::map<int, std::string>{{1, "a"}, {2, "b"}}),
            (std::vector<std::string>{"a", "b"}));
}

// catalogue: 228, 245
TEST_F(Pmap, ZipsRangesUntilTheShortestEnds) {
  const std::vector<std::string> words{"a", "b", "c"};
  EXPECT_EQ(pmap([](const std::string& word, int n) { return word + std::to_string(n); }, words, std::views::iota(1)),
            (std::vector<std::string>{"a1", "b2", "c3"}));
  EXPECT_EQ(pmap([](int a, int b, int c) { return a + b + c; }, std::vector<int>{1, 2}, std::vector<int>{10, 20, 30},
                 std::vector<int>{100, 200}),
            (std::vector<int>{111, 222}));
}

// catalogue: 228, 247
TEST_F(Pmap, AnEmptyRangeGivesNothing) {
  EXPECT_TRUE(pmap(twice, std::vector<int>{}).empty());
  for (const auto& result : pmap_unordered(twice, std::vector<int>{})) ADD_FAILURE() << result.first;
}

TEST_F(Pmap, FunctionsWithoutResult) {
  const Trace trace;
  const auto f =
      muster::bind_front([](const std::string& path, int x) { add_line(path, std::to_string(x)); }, trace.path());
  static_assert(std::is_void_v<decltype(pmap(f, numbers(1)))>);
  pmap(f, numbers(20));
  EXPECT_EQ(trace.lines().size(), 20U);
  std::set<std::size_t> done;
  for (const std::size_t index : pmap_unordered(f, numbers(5))) done.insert(index);
  EXPECT_EQ(done.size(), 5U);
  pmap(f, numbers(4), PmapOptions{.batch_size = 3});
  EXPECT_EQ(trace.lines().size(), 29U);
}

/// Neither copyable nor with a default.
class Opaque {
 public:
  explicit Opaque(int value) : value_(std::make_unique<int>(value)) {}
  int value() const { return *value_; }

 private:
  friend struct muster::detail::Codec<Opaque>;
  std::unique_ptr<int> value_;
};

}  // namespace

template <>
struct muster::detail::Codec<Opaque> {
  using Elements = muster::detail::TypeList<int>;
  [[maybe_unused]] static constexpr std::size_t least_bytes = sizeof(int);
  static void save(OutputArchive& archive, const Opaque& opaque) { archive.write(*opaque.value_); }
  static Opaque make(InputArchive& archive) { return Opaque(archive.make<int>()); }
};

namespace {

TEST_F(Pmap, ElementsAndResultsNeedNoCopiesOrDefaults) {
  std::vector<std::unique_ptr<int>> elements;
  for (int i = 0; i < 5; ++i) elements.push_back(std::make_unique<int>(i));
  for (const int batch : {1, 2}) {
    const auto results = pmap([](std::unique_ptr<int> x) { return std::make_unique<int>(2 * *x); }, elements,
                              PmapOptions{.batch_size = batch});
    for (int i = 0; i < 5; ++i) EXPECT_EQ(*results[static_cast<std::size_t>(i)], 2 * i);
    const auto opaque = pmap([](int x) { return Opaque(x); }, numbers(5), PmapOptions{.batch_size = batch});
    EXPECT_EQ(opaque.back().value(), 4);
  }
  EXPECT_EQ(
      pmap([](const Opaque& opaque) { return opaque.value(); }, pmap([](int x) { return Opaque(x); }, numbers(3))),
      numbers(3));
  for (auto&& [index, value] : pmap_unordered([](int x) { return std::make_unique<int>(x); }, numbers(5)))
    EXPECT_EQ(static_cast<std::size_t>(*value), index);
}

TEST_F(Pmap, LargeElementsAndResults) {
  const std::vector<std::vector<double>> blocks(20, std::vector<double>(50'000, 1.0));
  const auto f = [](std::vector<double> block) {
    for (double& x : block) x += 1;
    return block;
  };
  for (const auto& block : pmap(f, blocks))
    EXPECT_DOUBLE_EQ(std::accumulate(block.begin(), block.end(), 0.0), 100'000.0);
  for (const auto& block : pmap(f, blocks, PmapOptions{.batch_size = 3}))
    EXPECT_DOUBLE_EQ(std::accumulate(block.begin(), block.end(), 0.0), 100'000.0);
}

TEST_F(Pmap, MutableFunctionsAndCoroutines) {
  const auto count = [n = 0](int x) mutable { return x + n++; };
  EXPECT_EQ(pmap(count, numbers(50)), numbers(50)) << "each element has the function as it was given";
  EXPECT_EQ(pmap(count, numbers(50), PmapOptions{.batch_size = 10}), numbers(50));
  const auto task = [](int x) -> muster::Task<int> { co_return 2 * x; };
  EXPECT_EQ(pmap(task, numbers(10)), twice_all(10));
  EXPECT_EQ(pmap(task, numbers(10), PmapOptions{.batch_size = 4}), twice_all(10));
}

// catalogue: 225, 234
TEST_F(Pmap, UsesAllWorkers) {
  const auto pids = pmap(
      [](int) {
        muster::this_task::sleep_for(5ms);
        return muster::myid();
      },
      numbers(30));
  EXPECT_EQ(std::set<int>(pids.begin(), pids.end()).size(), muster::workers().size());
}

// catalogue: 231, 248
TEST_F(Pmap, ReadsTheInputInABoundedWindow) {
  int read = 0;
  auto input = std::views::iota(0) | std::views::transform([&read](int x) {
                 read = x + 1;
                 return x;
               });
  const auto slow = [](int x) {
    if (x == 0) muster::this_task::sleep_for(300ms);
    return x;
  };
  int taken = 0;
  for (const auto& [index, value] : pmap_unordered(slow, input)) {
    EXPECT_EQ(static_cast<std::size_t>(value), index);
    if (++taken == 3000) break;
  }
  EXPECT_EQ(taken, 3000);
  EXPECT_LT(read, 3000 + 10'000);
}

TEST_F(Pmap, TheCallingThreadReadsTheInput) {
  const auto here = std::this_thread::get_id();
  const auto seen = numbers(100) | std::views::transform([here](int x) {
                      EXPECT_EQ(std::this_thread::get_id(), here);
                      return x;
                    });
  EXPECT_EQ(pmap(twice, seen), twice_all(100));
}

TEST_F(Pmap, AFailingInputEndsIt) {
  auto input = numbers(10) | std::views::transform([](int x) {
                 if (x == 5) throw std::domain_error("unreadable");
                 return x;
               });
  EXPECT_THROW(pmap(twice, input), std::domain_error);
}

template <class T>
void maps_numbers() {
  std::vector<T> numbers, expected;
  for (float x = 0; x < 10; ++x) {
    numbers.push_back(static_cast<T>(x));
    expected.push_back(static_cast<T>(2 * x));
  }
  EXPECT_EQ(pmap([](T x) { return static_cast<T>(x + x); }, numbers), expected);
}

// catalogue: 228
TEST_F(Pmap, MapsNumbersOfAllTypes) {
  maps_numbers<std::int8_t>();
  maps_numbers<std::uint8_t>();
  maps_numbers<std::int16_t>();
  maps_numbers<std::uint16_t>();
  maps_numbers<std::int32_t>();
  maps_numbers<std::uint32_t>();
  maps_numbers<std::int64_t>();
  maps_numbers<std::uint64_t>();
  maps_numbers<float>();
  maps_numbers<double>();
  maps_numbers<long double>();
  maps_numbers<std::complex<float>>();
  maps_numbers<std::complex<double>>();
}

// catalogue: 235
TEST_F(Pmap, ResultsStandInTheOrderOfTheInputHoweverLongEachTook) {
  using Matrix = std::vector<std::vector<int>>;
  std::vector<Matrix> matrices;
  for (int i = 0; i < 10; ++i) matrices.push_back(Matrix(5, std::vector<int>(5, i)));
  const auto results = pmap(
      [](Matrix matrix) {
        muster::this_task::sleep_for(std::chrono::milliseconds(matrix[0][0] * 7 % 10 * 5));
        return matrix;
      },
      matrices);
  EXPECT_EQ(results, matrices);
}

// -- batches ----------------------------------------------------------------------------------------------------------

// catalogue: 255
TEST_F(Pmap, Batches) {
  for (const int size : {2, 7, 100, 5000})
    EXPECT_EQ(pmap(twice, numbers(1000), PmapOptions{.batch_size = size}), twice_all(1000));
  EXPECT_EQ(pmap(twice, numbers(20'000), PmapOptions{.batch_size = muster::Auto}), twice_all(20'000));
  EXPECT_THROW(pmap(twice, numbers(3), PmapOptions{.batch_size = 0}), std::invalid_argument);
  EXPECT_THROW(pmap_unordered(twice, numbers(3), PmapOptions{.batch_size = -2}), std::invalid_argument);
}

// catalogue: 250
TEST_F(Pmap, NoMoreElementsRunAtOnceThanItsLimit) {
  const Trace trace;
  const auto f = muster::bind_front(
      [](const std::string& path, int x) {
        add_line(path, "begin");
        add_line(path, "end");
        return 2 * x;
      },
      trace.path());
  for (const int size : {1, 7})
    EXPECT_EQ(pmap(f, numbers(200), PmapOptions{.batch_size = size, .max_tasks = 1}), twice_all(200));
  const auto lines = trace.lines();
  ASSERT_EQ(lines.size(), 800U);
  for (std::size_t i = 0; i < lines.size(); ++i) ASSERT_EQ(lines[i], i % 2 == 0 ? "begin" : "end") << i;
  EXPECT_THROW(pmap(twice, numbers(3), PmapOptions{.max_tasks = -1}), std::invalid_argument);
}

// catalogue: 242
TEST_F(Pmap, ABatchIsOneCall) {
  const auto worker = muster::workers().front();
  muster::WorkerPool pool({worker});
  const auto messages = [&] {
    for (const auto& link : muster::debug::links(1))
      if (link.peer == worker) return link.messages_received;
    return std::uint64_t{0};
  };
  ASSERT_TRUE(eventually([] { return muster::debug::calls_in_flight(1) == 0; })) << "of earlier maps";
  const auto before = messages();
  EXPECT_EQ(pmap(twice, numbers(1000), PmapOptions{.pool = &pool, .batch_size = 100}), twice_all(1000));
  EXPECT_LE(messages() - before, 10U + 5U);
}

// -- captured values --------------------------------------------------------------------------------------------------

TEST_F(Pmap, CapturedValuesGoToAWorkerOnce) {
  const auto f = muster::bind_front(
      [](const Counted& counted, int) {
        muster::this_task::sleep_for(1ms);
        return std::pair<int, int>(muster::myid(), counted.value == 7 ? Counted::reads : -1);
      },
      Counted{7});
  const auto reads_there = [] {
    std::map<int, int> reads;
    for (const int pid : muster::workers()) reads[pid] = muster::remotecall_fetch([] { return Counted::reads; }, pid);
    return reads;
  };
  for (const int batch : {1, 4}) {
    auto before = reads_there();
    for (const auto& [pid, reads] : pmap(f, numbers(40), PmapOptions{.batch_size = batch}))
      EXPECT_EQ(reads, before[pid] + 1);
  }
}

// catalogue: 182, 244
TEST_F(Pmap, LargeCapturedArraysCrossEachConnectionOnce) {
  const std::vector<double> large(1'000'000, 1.0);
  const auto f = muster::bind_front(
      [](const std::vector<double>& values, int i) { return values[static_cast<std::size_t>(i)]; }, large);
  const auto sent = [] {
    std::uint64_t bytes = 0;
    for (const auto& link : muster::debug::links(1)) bytes += link.bytes_sent;
    return bytes;
  };
  const auto before = sent();
  EXPECT_EQ(pmap(f, numbers(200)).size(), 200U);
  const auto once = large.size() * sizeof(double) * muster::workers().size();
  EXPECT_LE(sent() - before, once + (1U << 20));
}

TEST_F(Pmap, CapturedFuturesWork) {
  const auto future = muster::spawn([] { return std::string("there"); });
  const auto f = muster::bind_front(
      [](const muster::Future<std::string>& known, int x) { return known.fetch() + std::to_string(x); }, future);
  EXPECT_EQ(pmap(f, numbers(2)), (std::vector<std::string>{"there0", "there1"}));
}

// -- time -------------------------------------------------------------------------------------------------------------

TEST_F(Pmap, TheTimeoutIsOfTheWholeCall) {
  const Trace trace;
  const auto f = muster::bind_front(
      [](const std::string& path, int x) {
        run_until_stopped(path);
        return x;
      },
      trace.path());
  const auto before = std::chrono::steady_clock::now();
  EXPECT_THROW(
      pmap(f, numbers(3), PmapOptions{.on_error = [](const std::exception_ptr&) { return 0; }, .timeout = 100ms}),
      muster::TimeoutError);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 20s);
  EXPECT_TRUE(eventually([&] { return trace.count("cancelled") + trace.count("timed out") == 3; }));
  EXPECT_EQ(pmap(twice, numbers(10), PmapOptions{.timeout = 1min}), twice_all(10));
}

TEST_F(Pmap, ADeadlineScopeHolds) {
  const muster::DeadlineScope scope(100ms);
  EXPECT_THROW(pmap([](int) { muster::this_task::sleep_for(1min); }, numbers(3)), muster::TimeoutError);
}

TEST_F(Pmap, ASlowElementHoldsBackOneWorkerOnly) {
  const auto f = [](int x) {
    std::this_thread::sleep_for(x == 0 ? 600ms : 2ms);
    return x;
  };
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(pmap(f, numbers(100)), numbers(100));
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);
}

TEST_F(Pmap, WhatWaitsBehindASlowElementRunsElsewhere) {
  // The last of the input is sent before the worker is known to be slow; what lies behind the slow one is fetched back.
  const auto f = [](int x) {
    if (x == 0) std::this_thread::sleep_for(1s);
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  };
  muster::WorkerPool pool({muster::workers()[0], muster::workers()[1]});
  const auto ended = pmap(f, numbers(8), PmapOptions{.pool = &pool});
  const auto slow = ended.front();
  EXPECT_TRUE(std::all_of(ended.begin() + 1, ended.end(), [&](auto at) { return at < slow - 200; }));
}

TEST_F(Pmap, UnorderedGivesResultsAsTheyCome) {
  const auto f = [](int x) {
    if (x == 0) muster::this_task::sleep_for(500ms);
    return x;
  };
  std::vector<std::size_t> order;
  for (const auto& [index, value] : pmap_unordered(f, numbers(6))) order.push_back(index);
  EXPECT_EQ(order.size(), 6U);
  EXPECT_EQ(order.back(), 0U);
}

TEST_F(Pmap, AnUnorderedRangeIsMovableAndCancelsWhenDestroyed) {
  const Trace trace;
  const auto f = muster::bind_front(
      [](const std::string& path, int x) {
        if (x < 2) return x;
        run_until_stopped(path);
        return x;
      },
      trace.path());
  // Two workers have two elements each: nobody is idle, for whom one would be called back, to be sent by the next ++.
  muster::WorkerPool pool({muster::workers()[0], muster::workers()[1]});
  auto range = pmap_unordered(f, numbers(4), PmapOptions{.pool = &pool});
  static_assert(std::ranges::input_range<decltype(range)>);
  static_assert(!std::is_copy_constructible_v<decltype(range)>);
  {
    auto moved = std::move(range);
    auto it = moved.begin();
    EXPECT_LT(it->first, 2U);
    EXPECT_TRUE(eventually([&] { return trace.count("started") == 2; }));
  }
  EXPECT_TRUE(eventually([&] { return trace.count("cancelled") == 2; }));
}

TEST_F(Pmap, UnorderedThrowsWhileWalked) {
  int seen = 0;
  EXPECT_THROW(
      {
        for (const auto& result : pmap_unordered(
                 [](int x) {
                   if (x == 5) {
                     muster::this_task::sleep_for(100ms);
                     throw std::runtime_error("late");
                   }
                   return x;
                 },
                 numbers(10))) {
          EXPECT_NE(result.first, 5U);
          ++seen;
        }
      },
      muster::RemoteException);
  EXPECT_GE(seen, 1);
}

TEST_F(Pmap, SeveralThreadsAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([] {
      for (int round = 0; round < 5; ++round) EXPECT_EQ(pmap(twice, numbers(200)), twice_all(200));
    });
  for (auto& thread : threads) thread.join();
}

TEST_F(Pmap, ACancelledTaskCancelsItsMap) {
  const Trace trace;
  const auto task = muster::bind_front(
      [](const std::string& path) {
        pmap(muster::bind_front([](const std::string& to, int) { run_until_stopped(to); }, path),
             std::views::iota(0, 3));
      },
      trace.path());
  const auto future = muster::spawnat(muster::workers().front(), task);
  ASSERT_TRUE(eventually([&] { return trace.count("started") == 3; }));
  EXPECT_TRUE(future.cancel());
  EXPECT_TRUE(eventually([&] { return trace.count("cancelled") == 3; }));
  EXPECT_THROW(future.fetch(), muster::CancelledError);
}

TEST_F(Pmap, ShowsProgress) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(pmap(twice, numbers(100), PmapOptions{.progress = true}), twice_all(100));
  EXPECT_EQ(pmap(twice, numbers(100), PmapOptions{.progress = "twice"}), twice_all(100));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "a short map writes nothing where there is no terminal";
}

TEST_F(Pmap, NothingIsKeptAfterwards) {
  const auto kept = [] {
    std::size_t count = 0;
    for (const int pid : muster::procs())
      count += muster::debug::values_owned(pid) + muster::debug::calls_in_flight(pid);
    return count;
  };
  const auto large = std::vector<double>(10'000, 1.0);
  const auto f = muster::bind_front([](const std::vector<double>& values, int) { return values; }, large);
  EXPECT_EQ(pmap(f, numbers(20)).size(), 20U);
  EXPECT_TRUE(eventually([&] { return kept() == 0; }));
}

}  // namespace
