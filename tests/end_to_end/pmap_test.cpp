// pmap and pmap_unordered, with real workers.

#include "support.hpp"
#include "trace.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>

#include <forward_list>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <sstream>
#include <string>

namespace {

using namespace std::chrono_literals;
using muster::pmap;
using muster::pmap_unordered;
using muster::PmapOptions;
using muster::test::add_line;
using muster::test::eventually;
using muster::test::thrown;
using muster::test::Trace;

class Pmap : public testing::Test {
 protected:
  void SetUp() override { (void)muster::test::at_least(3); }
};

std::vector<int> numbers(int n) {
  std::vector<int> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

int twice(int x) { return 2 * x; }

std::vector<int> twice_all(int n) {
  auto all = numbers(n);
  for (int& x : all) x *= 2;
  return all;
}

/// Counts how often it was read from a message in this process.
struct Counted {
  int value = 0;
  static inline int reads = 0;
  template <class Archive>
  void save(Archive& archive) const {
    archive(value);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(value);
    ++reads;
  }
};

// -- input and results
// -----------------------------------------------------------------------------------------------------------

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

// -- batches
// ---------------------------------------------------------------------------------------------------------------------

// catalogue: 255
TEST_F(Pmap, Batches) {
  for (const int size : {2, 7, 100, 5000})
    EXPECT_EQ(pmap(twice, numbers(1000), PmapOptions{.batch_size = size}), twice_all(1000));
  EXPECT_EQ(pmap(twice, numbers(20'000), PmapOptions{.batch_size = muster::Auto}), twice_all(20'000));
  EXPECT_THROW(pmap(twice, numbers(3), PmapOptions{.batch_size = 0}), std::invalid_argument);
  EXPECT_THROW(pmap_unordered(twice, numbers(3), PmapOptions{.batch_size = -2}), std::invalid_argument);
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
  const auto before = messages();
  EXPECT_EQ(pmap(twice, numbers(1000), PmapOptions{.pool = &pool, .batch_size = 100}), twice_all(1000));
  EXPECT_LE(messages() - before, 10U + 5U);
}

// -- captured values
// -------------------------------------------------------------------------------------------------------------

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

// -- failures
// --------------------------------------------------------------------------------------------------------------------

int odd_only(int x) {
  if (x % 2 == 0) throw std::runtime_error("even: " + std::to_string(x));
  return x;
}

// catalogue: 232
TEST_F(Pmap, ThrowsTheFirstFailureAsFetchWould) {
  for (const int batch : {1, 3}) {
    const auto error = thrown<muster::RemoteException>([&] {
      pmap(
          [](int x) {
            if (x == 4) throw std::out_of_range("foobar");
            return x;
          },
          numbers(100), PmapOptions{.batch_size = batch});
    });
    ASSERT_TRUE(error);
    EXPECT_TRUE(error->is<std::out_of_range>());
    EXPECT_EQ(error->message(), "foobar");
    EXPECT_NE(error->pid(), 1);
  }
}

// catalogue: 233, 256
TEST_F(Pmap, ElementsNotStartedNeverStartAfterAFailure) {
  const Trace trace;
  const auto f = muster::bind_front(
      [](const std::string& path, int x) {
        add_line(path, "started");
        if (x == 2) throw std::runtime_error("early");
        try {
          muster::this_task::sleep_for(1min);
        } catch (const muster::CancelledError&) {
          add_line(path, "cancelled");
          throw;
        }
        return x;
      },
      trace.path());
  const auto before = std::chrono::steady_clock::now();
  EXPECT_THROW(pmap(f, numbers(100)), muster::RemoteException);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 30s);
  // A task that sleeps lets the next ones start, so the window of each worker may have: 4 elements, not 100.
  EXPECT_TRUE(eventually([&] { return trace.count("cancelled") + 1 == trace.count("started"); }));
  EXPECT_LE(trace.count("started"), 12U);
}

TEST_F(Pmap, ABatchStopsBetweenElements) {
  const Trace trace;
  const auto f = muster::bind_front(
      [](const std::string& path, int x) {
        if (x == 0) throw std::runtime_error("early");
        add_line(path, "started");
        std::this_thread::sleep_for(50ms);  // hears of nothing
      },
      trace.path());
  muster::WorkerPool pool({muster::workers()[0], muster::workers()[1]});
  EXPECT_THROW(pmap(f, numbers(40), PmapOptions{.pool = &pool, .batch_size = 20}), muster::RemoteException);
  pmap([](int) {}, numbers(8), PmapOptions{.pool = &pool});
  EXPECT_LT(trace.count("started"), 39U);
}

// catalogue: 236
TEST_F(Pmap, RetriesAfterEachDelay) {
  for (const int batch : {1, 4}) {
    const Trace trace;
    const auto f = muster::bind_front(
        [](const std::string& path, int x) {
          add_line(path, std::to_string(x));
          if (x == 3) throw std::runtime_error("always");
          return x;
        },
        trace.path());
    const auto before = std::chrono::steady_clock::now();
    const auto error = thrown<muster::RemoteException>(
        [&] { pmap(f, numbers(8), PmapOptions{.batch_size = batch, .retry_delays = {20ms, 30ms}}); });
    EXPECT_EQ(error->message(), "always");
    EXPECT_GE(std::chrono::steady_clock::now() - before, 50ms);
    EXPECT_EQ(trace.count("3"), 3U);
    for (const int x : {0, 1, 2}) EXPECT_EQ(trace.count(std::to_string(x)), 1U);
  }
}

// catalogue: 224
TEST_F(Pmap, ARetryGoesToWhicheverWorkerIsFree) {
  const auto f = [](int x) {
    if (muster::myid() % 2 == 0) throw std::runtime_error("an even pid");
    return std::pair<int, int>(x, muster::myid());
  };
  const std::vector<std::chrono::nanoseconds> delays(1000, 1ms);
  for (const int batch : {1, 2}) {
    const auto results = pmap(f, numbers(100), PmapOptions{.batch_size = batch, .retry_delays = delays});
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(results[static_cast<std::size_t>(i)].first, i);
      EXPECT_EQ(results[static_cast<std::size_t>(i)].second % 2, 1);
    }
  }
}

// catalogue: 227, 257
TEST_F(Pmap, RetryCheckSeesAttemptAndFailureOnTheCaller) {
  std::vector<int> attempts;
  const auto check = [&](int attempt, const std::exception_ptr& failure) {
    attempts.push_back(attempt);
    try {
      std::rethrow_exception(failure);
    } catch (const muster::RemoteException& error) {
      EXPECT_EQ(error.message(), "even: 0");
    }
    return attempt < 2;
  };
  EXPECT_THROW(
      pmap(odd_only, std::vector<int>{0}, PmapOptions{.retry_delays = {0ms, 0ms, 0ms, 0ms}, .retry_check = check}),
      muster::RemoteException);
  EXPECT_EQ(attempts, (std::vector<int>{1, 2}));
}

// catalogue: 226, 238
TEST_F(Pmap, OnErrorReplacesOnTheCaller) {
  for (const int batch : {1, 2, 100}) {
    int handled = 0;
    const auto handler = [&](const std::exception_ptr&) {
      ++handled;
      return -1;
    };
    const auto results = pmap(odd_only, numbers(100), PmapOptions{.batch_size = batch, .on_error = handler});
    for (int i = 0; i < 100; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)], i % 2 == 0 ? -1 : i);
    EXPECT_EQ(handled, 50);
  }
}

// catalogue: 237
TEST_F(Pmap, OnErrorComesAfterTheRetries) {
  const Trace trace;
  const auto f = muster::bind_front(
      [](const std::string& path, int) -> std::string {
        add_line(path, "ran");
        throw std::runtime_error("no");
      },
      trace.path());
  const auto all =
      pmap(f, numbers(2),
           PmapOptions{.on_error = [](const std::exception_ptr&) { return "replaced"; }, .retry_delays = {1ms, 1ms}});
  EXPECT_EQ(all, (std::vector<std::string>{"replaced", "replaced"}));
  EXPECT_EQ(trace.lines().size(), 6U);
}

TEST_F(Pmap, AHandlerThatThrowsEndsIt) {
  const auto handler = [](const std::exception_ptr&) -> int { throw std::logic_error("enough"); };
  for (int i = 0; i < 20; ++i)  // others of the map end at the same time, or not
    EXPECT_THROW(pmap(odd_only, numbers(100), PmapOptions{.on_error = handler}), std::logic_error);
  const auto check = [](int, const std::exception_ptr&) -> bool { throw std::domain_error("enough"); };
  EXPECT_THROW(pmap(odd_only, numbers(100), PmapOptions{.retry_delays = {1ms}, .retry_check = check}),
               std::domain_error);
}

TEST_F(Pmap, EmptyHandlersAreAsIfAbsent) {
  const std::function<int(std::exception_ptr)> none;
  const std::function<bool(int, std::exception_ptr)> no_check;
  EXPECT_THROW(pmap(odd_only, numbers(10), PmapOptions{.on_error = none}), muster::RemoteException);
  const auto f = [](int x) {
    if (muster::myid() % 2 == 0) throw std::runtime_error("an even pid");
    return x;
  };
  EXPECT_EQ(pmap(f, numbers(10),
                 PmapOptions{.on_error = none,
                             .retry_delays = std::vector<std::chrono::nanoseconds>(1000, 1ms),
                             .retry_check = no_check}),
            numbers(10));
}

// catalogue: 223
TEST_F(Pmap, AllOptionsTogether) {
  const std::vector<std::chrono::nanoseconds> delays(1000, 1ms);
  for (const bool distributed : {true, false}) {
    for (const int batch : {1, 2}) {
      const auto check = [](int, const std::exception_ptr&) { return false; };
      const auto handler = [](const std::exception_ptr&) { return -1; };
      const auto results = pmap(odd_only, numbers(20),
                                PmapOptions{.batch_size = batch,
                                            .distributed = distributed,
                                            .on_error = handler,
                                            .retry_delays = delays,
                                            .retry_check = check});
      for (int i = 0; i < 20; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)], i % 2 == 0 ? -1 : i);
    }
  }
}

TEST_F(Pmap, ExponentialBackOffGivesTheDelays) {
  const Trace trace;
  const auto f = muster::bind_front(
      [](const std::string& path, int) {
        add_line(path, "ran");
        throw std::runtime_error("no");
      },
      trace.path());
  EXPECT_THROW(pmap(f, numbers(1), PmapOptions{.retry_delays = muster::ExponentialBackOff{.n = 3, .first_delay = 1ms}}),
               muster::RemoteException);
  EXPECT_EQ(trace.lines().size(), 4U);
}

struct Unwritable {
  int value = 0;
  template <class Archive>
  void save(Archive& archive) const {
    if (value == 3) throw std::runtime_error("not this one");
    archive(value);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(value);
  }
};

TEST_F(Pmap, AResultThatDoesNotSerializeIsItsElementsFailure) {
  for (const int batch : {1, 5}) {
    const auto results =
        pmap([](int x) { return Unwritable{x}; }, numbers(10),
             PmapOptions{.batch_size = batch, .on_error = [](const std::exception_ptr&) { return Unwritable{-1}; }});
    for (int i = 0; i < 10; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)].value, i == 3 ? -1 : i);
  }
}

TEST_F(Pmap, AnElementThatDoesNotSerializeIsAFailure) {
  std::vector<Unwritable> elements;
  for (int i = 0; i < 5; ++i) elements.push_back({i});
  EXPECT_THROW(pmap([](const Unwritable& x) { return x.value; }, elements), muster::SerializationError);
  EXPECT_EQ(pmap([](const Unwritable& x) { return x.value; }, elements,
                 PmapOptions{.on_error = [](const std::exception_ptr&) { return -1; }}),
            (std::vector<int>{0, 1, 2, -1, 4}));
}

// -- time
// ------------------------------------------------------------------------------------------------------------------------

TEST_F(Pmap, TheTimeoutIsOfTheWholeCall) {
  const Trace trace;
  const auto f = muster::bind_front(
      [](const std::string& path, int x) {
        try {
          muster::this_task::sleep_for(1min);
        } catch (const muster::Error&) {
          add_line(path, "stopped");
          throw;
        }
        return x;
      },
      trace.path());
  const auto before = std::chrono::steady_clock::now();
  EXPECT_THROW(
      pmap(f, numbers(3), PmapOptions{.on_error = [](const std::exception_ptr&) { return 0; }, .timeout = 100ms}),
      muster::TimeoutError);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 20s);
  EXPECT_TRUE(eventually([&] { return trace.lines().size() == 3; }));
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
        add_line(path, "started");
        try {
          muster::this_task::sleep_for(1min);
        } catch (const muster::CancelledError&) {
          add_line(path, "cancelled");
          throw;
        }
        return x;
      },
      trace.path());
  auto range = pmap_unordered(f, numbers(4));
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

// -- where it runs
// ---------------------------------------------------------------------------------------------------------------

TEST_F(Pmap, NotDistributedRunsHere) {
  const auto pids = pmap([](int) { return muster::myid(); }, numbers(20), PmapOptions{.distributed = false});
  EXPECT_EQ(pids, std::vector<int>(20, 1));
  EXPECT_EQ(pmap(twice, numbers(20), PmapOptions{.batch_size = 3, .distributed = false}), twice_all(20));
}

// catalogue: 205
TEST_F(Pmap, RunsOnThePoolOnly) {
  const auto workers = muster::workers();
  muster::WorkerPool pool({workers[0], workers[2]});
  const auto pids = pmap(
      [](int) {
        muster::this_task::sleep_for(2ms);
        return muster::myid();
      },
      numbers(20), PmapOptions{.pool = &pool});
  EXPECT_EQ(std::set<int>(pids.begin(), pids.end()), (std::set<int>{workers[0], workers[2]}));
  muster::WorkerPool self({1});
  EXPECT_EQ(pmap([](int) { return muster::myid(); }, numbers(3), PmapOptions{.pool = &self}), std::vector<int>(3, 1));
}

// catalogue: 247
TEST_F(Pmap, AnEmptyPoolHasNoActiveWorker) {
  muster::WorkerPool nobody({9999});
  const auto error = thrown<muster::Error>([&] { pmap(twice, numbers(3), PmapOptions{.pool = &nobody}); });
  EXPECT_THAT(error->what(), testing::HasSubstr("No active worker available in pool"));
  EXPECT_EQ(
      pmap(twice, numbers(3), PmapOptions{.pool = &nobody, .on_error = [](const std::exception_ptr&) { return -1; }}),
      std::vector<int>(3, -1));
  EXPECT_TRUE(pmap(twice, numbers(0), PmapOptions{.pool = &nobody}).empty());
}

TEST_F(Pmap, Nests) {
  const auto inner = [](int x) {
    const auto sums = pmap([](int y) { return y + 1; }, std::vector<int>{x, x});
    return sums[0] + sums[1];
  };
  EXPECT_EQ(pmap(inner, numbers(50)), pmap([](int x) { return 2 * x + 2; }, numbers(50)));
  EXPECT_EQ(pmap(inner, numbers(50), PmapOptions{.batch_size = 5}), pmap([](int x) { return 2 * x + 2; }, numbers(50)));
}

// catalogue: 243
TEST_F(Pmap, NestsOnOnePoolWithAllMembersInUse) {
  muster::WorkerPool pool(muster::workers());
  const auto outer = muster::bind_front(
      [](muster::WorkerPool shared, int x) {
        const auto inner = pmap([](int y) { return 2 * y; }, std::vector<int>{x, x + 1}, PmapOptions{.pool = &shared});
        return inner[0] + inner[1];
      },
      pool);
  const auto results = pmap(outer, numbers(20), PmapOptions{.pool = &pool});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)], 4 * i + 2);
}

// catalogue: 206, 207, 234
TEST_F(Pmap, RunsFromAWorkerOnAPoolThatWasSent) {
  muster::WorkerPool pool(muster::workers());
  const auto pids = muster::remotecall_fetch(
      [](muster::WorkerPool sent) {
        return pmap(
            [](int) {
              muster::this_task::sleep_for(2ms);
              return muster::myid();
            },
            std::views::iota(0, 30), PmapOptions{.pool = &sent});
      },
      muster::workers().front(), pool);
  const auto workers = muster::workers();
  EXPECT_EQ(std::set<int>(pids.begin(), pids.end()), std::set<int>(workers.begin(), workers.end()));
}

TEST_F(Pmap, SeveralThreadsAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([] {
      for (int round = 0; round < 5; ++round) EXPECT_EQ(pmap(twice, numbers(200)), twice_all(200));
    });
  for (auto& thread : threads) thread.join();
}

// catalogue: 240
TEST_F(Pmap, WorkersThatJoinTakePart) {
  const Trace trace;
  const auto f = muster::bind_front(
      [](const std::string& path, int) {
        add_line(path, "started");
        muster::this_task::sleep_for(20ms);
        return muster::myid();
      },
      trace.path());
  std::vector<int> pids;
  int joined = 0;
  for (const auto& [index, pid] : pmap_unordered(f, std::views::iota(0))) {
    if (joined == 0) joined = muster::addprocs(1).front();
    if (pid == joined) break;
    ASSERT_LT(index, 5000U);
  }
  muster::rmprocs(joined);
}

TEST_F(Pmap, WorkersWithThreadsRunSeveralAtOnce) {
  const muster::test::OwnWorkers own(1, {.threads = 4});
  muster::WorkerPool pool(own.pids());
  const auto before = std::chrono::steady_clock::now();
  pmap([](int) { std::this_thread::sleep_for(100ms); }, numbers(16), PmapOptions{.pool = &pool});
  EXPECT_LT(std::chrono::steady_clock::now() - before, 1200ms);
}

TEST_F(Pmap, ACancelledTaskCancelsItsMap) {
  const Trace trace;
  const auto task = muster::bind_front(
      [](const std::string& path) {
        pmap(muster::bind_front(
                 [](const std::string& to, int) {
                   add_line(to, "started");
                   try {
                     muster::this_task::sleep_for(1min);
                   } catch (const muster::CancelledError&) {
                     add_line(to, "cancelled");
                     throw;
                   }
                 },
                 path),
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

// -- deaths
// ----------------------------------------------------------------------------------------------------------------------

class PmapDeaths : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { (void)muster::test::at_least(4); }
};

/// Ends its process at the first run of that element, as the trace tells.
int dies_once(const std::string& path, int deadly, int x) {
  if (x == deadly && std::ifstream(path).peek() == std::ifstream::traits_type::eof()) {
    add_line(path, "died");
    ::raise(SIGKILL);
  }
  return 2 * x;
}

// catalogue: 239
TEST_P(PmapDeaths, AnElementWhoseWorkerDiedRunsElsewhere) {
  const Trace trace;
  EXPECT_EQ(pmap(muster::bind_front(dies_once, trace.path(), 7), numbers(40), PmapOptions{.batch_size = GetParam()}),
            twice_all(40));
  EXPECT_EQ(trace.count("died"), 1U);
}

int poison(int x) {
  if (x == 5) ::raise(SIGKILL);
  return x;
}

TEST_P(PmapDeaths, APoisonousElementFailsAfterMaxRestarts) {
  const auto before = muster::workers();
  const auto error = thrown<muster::ProcessExitedException>(
      [] { pmap(poison, numbers(20), PmapOptions{.batch_size = GetParam(), .max_restarts = 1}); });
  ASSERT_TRUE(error);
  const auto after = muster::workers();
  EXPECT_EQ(before.size() - after.size(), 2U) << "as many as it was allowed";
  EXPECT_THAT(error->what(), testing::HasSubstr("Element 5"));
  for (const int pid : before) {
    if (std::binary_search(after.begin(), after.end(), pid)) continue;
    EXPECT_THAT(error->what(), testing::HasSubstr("process " + std::to_string(pid)));
  }
}

// catalogue: 238, 239
TEST_P(PmapDeaths, OnErrorReplacesThePoisonousElementOnly) {
  const auto results =
      pmap(poison, numbers(20),
           PmapOptions{.batch_size = GetParam(),
                       .on_error =
                           [](const std::exception_ptr& failure) {
                             EXPECT_THROW(std::rethrow_exception(failure), muster::ProcessExitedException);
                             return -1;
                           },
                       .max_restarts = 0});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)], i == 5 ? -1 : i);
}

// catalogue: 239
TEST_P(PmapDeaths, RetriesCountAfterRestarts) {
  const Trace trace;
  int asked = 0;
  const auto results = pmap(muster::bind_front(dies_once, trace.path(), 3), std::vector<int>{3},
                            PmapOptions{.batch_size = GetParam(),
                                        .retry_delays = {1ms},
                                        .retry_check =
                                            [&](int, const std::exception_ptr&) {
                                              ++asked;
                                              return true;
                                            },
                                        .max_restarts = 0});
  EXPECT_EQ(results, std::vector<int>{6});
  EXPECT_EQ(asked, 1);
}

INSTANTIATE_TEST_SUITE_P(Batches, PmapDeaths, testing::Values(1, 4));

TEST_F(Pmap, WorkersKilledFromOutsideCostNothingButTime) {
  (void)muster::test::at_least(4);
  const auto f = [](int x) {
    std::this_thread::sleep_for(5ms);
    return std::pair<int, int>(2 * x, muster::remotecall_fetch([] { return 0; }, muster::myid()));
  };
  const int victim = muster::workers().front();
  const int os_pid = muster::remotecall_fetch([] { return static_cast<int>(getpid()); }, victim);
  std::size_t seen = 0;
  for (const auto& [index, value] : pmap_unordered(f, numbers(100), PmapOptions{.max_restarts = 0})) {
    EXPECT_EQ(value.first, 2 * static_cast<int>(index));
    if (++seen == 10) ::kill(os_pid, SIGKILL);
  }
  EXPECT_EQ(seen, 100U);
}

TEST_F(Pmap, RemovedWorkersLeaveQuietly) {
  (void)muster::test::at_least(4);
  std::size_t seen = 0;
  const auto f = [](int x) {
    muster::this_task::sleep_for(10ms);
    return 2 * x;
  };
  for (const auto& [index, value] : pmap_unordered(f, numbers(100), PmapOptions{.max_restarts = 0})) {
    EXPECT_EQ(value, 2 * static_cast<int>(index));
    if (++seen == 10) muster::rmprocs(muster::workers().front());
  }
  EXPECT_EQ(seen, 100U);
}

TEST_F(Pmap, WhenTheLastWorkerOfThePoolDiesItFails) {
  const muster::test::OwnWorkers own(1);
  muster::WorkerPool pool(own.pids());
  const auto error = thrown<muster::ProcessExitedException>([&] {
    pmap(
        [](int x) {
          if (x == 1) ::raise(SIGKILL);
          return x;
        },
        numbers(10), PmapOptions{.pool = &pool});
  });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), testing::HasSubstr("No active worker available in pool"));
  EXPECT_EQ(error->pid(), own[0]);
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

// catalogue: 3
TEST_F(Pmap, WithoutWorkersItRunsHere) {
  muster::rmprocs(muster::other_workers());
  EXPECT_EQ(pmap([](int x) { return x * muster::myid(); }, numbers(100)), numbers(100));
  EXPECT_EQ(pmap(twice, numbers(100), PmapOptions{.batch_size = muster::Auto}), twice_all(100));
  const auto f = muster::bind_front([](const std::string& text, int x) { return text + std::to_string(x); }, "here ");
  EXPECT_EQ(pmap(f, numbers(2)), (std::vector<std::string>{"here 0", "here 1"}));
  EXPECT_THROW(pmap(odd_only, numbers(10)), muster::RemoteException);
  const auto nested = [](int x) { return pmap(twice, std::vector<int>{x}).front(); };
  EXPECT_EQ(pmap(nested, numbers(10)), twice_all(10));
}

}  // namespace
