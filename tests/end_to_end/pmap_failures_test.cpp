// pmap with elements that fail: what it throws, retries, replacements.

#include "maps.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <functional>
#include <ranges>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace muster;
using namespace muster::test;

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
        if (x == 2) {
          add_line(path, "started");
          throw std::runtime_error("early");
        }
        run_until_stopped(path);
        return x;
      },
      trace.path());
  const auto before = std::chrono::steady_clock::now();
  EXPECT_THROW(pmap(f, numbers(100)), muster::RemoteException);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 30s);
  // A task that sleeps lets the next ones start, so the window of each worker may have: 9 elements, not 100.
  EXPECT_TRUE(eventually([&] { return trace.count("cancelled") + 1 == trace.count("started"); }));
  EXPECT_LE(trace.count("started"), 27U);
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

struct ThreeIsUnwritable {
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
    const auto results = pmap(
        [](int x) { return ThreeIsUnwritable{x}; }, numbers(10),
        PmapOptions{.batch_size = batch, .on_error = [](const std::exception_ptr&) { return ThreeIsUnwritable{-1}; }});
    for (int i = 0; i < 10; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)].value, i == 3 ? -1 : i);
  }
}

TEST_F(Pmap, AnElementThatDoesNotSerializeIsAFailure) {
  std::vector<ThreeIsUnwritable> elements;
  for (int i = 0; i < 5; ++i) elements.push_back({i});
  EXPECT_THROW(pmap([](const ThreeIsUnwritable& x) { return x.value; }, elements), muster::SerializationError);
  EXPECT_EQ(pmap([](const ThreeIsUnwritable& x) { return x.value; }, elements,
                 PmapOptions{.on_error = [](const std::exception_ptr&) { return -1; }}),
            (std::vector<int>{0, 1, 2, -1, 4}));
}

// -- all options ------------------------------------------------------------------------------------------------------

using Result = std::pair<int, muster::Pid>;
using Handler = std::function<Result(std::exception_ptr)>;
using Check = std::function<bool(int, std::exception_ptr)>;

/// One of the 32 ways to map.
struct Way {
  bool distributed;
  int batch_size;
  bool handler, retry, check;

  template <class F>
  std::vector<Result> map(F f) const {
    PmapOptions<Handler, Check> options;
    options.batch_size = batch_size;
    options.distributed = distributed;
    if (handler) options.on_error = [](const std::exception_ptr&) { return Result(-1, 0); };
    if (retry) options.retry_delays.assign(1000, 1ms);
    if (check) options.retry_check = [](int, const std::exception_ptr&) { return true; };
    return pmap(f, std::views::iota(0, 100), std::move(options));
  }
};

void expect_all(const std::vector<Result>& results) {
  ASSERT_EQ(results.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)].first, i);
}

void expect_right(const Way& way) {
  if (way.retry) {
    const auto results = way.map([](int x) {
      if (muster::myid() % 2 == 0) throw std::runtime_error("an even process");
      return Result(x, muster::myid());
    });
    expect_all(results);
    for (const auto& result : results) EXPECT_EQ(result.second % 2, 1);
  } else if (way.handler) {
    const auto results = way.map([](int x) {
      if (x % 2 == 0) throw std::runtime_error("an even element");
      return Result(x, muster::myid());
    });
    for (int i = 0; i < 100; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)].first, i % 2 == 0 ? -1 : i);
  } else {
    const auto results = way.map([](int x) {
      muster::this_task::sleep_for(1ms);
      return Result(x, muster::myid());
    });
    expect_all(results);
    std::set<muster::Pid> used;
    for (const auto& result : results) used.insert(result.second);
    const auto workers = muster::workers();
    EXPECT_EQ(used, way.distributed ? std::set<muster::Pid>(workers.begin(), workers.end()) : std::set<muster::Pid>{1});
  }
}

// catalogue: 223, 224, 225, 226, 227
TEST_F(Pmap, MapsInEveryWay) {
  for (int bits = 0; bits < 32; ++bits) {
    const Way way{(bits & 1) != 0, (bits & 2) != 0 ? 2 : 1, (bits & 4) != 0, (bits & 8) != 0, (bits & 16) != 0};
    SCOPED_TRACE(bits);
    expect_right(way);
  }
}

// catalogue: 241
TEST_F(Pmap, WhereAllElementsFailTheHandlerGivesAllResults) {
  for (const int batch : {1, 3}) {
    PmapOptions<std::function<const char*(std::exception_ptr)>> options;
    options.batch_size = batch;
    options.on_error = [](const std::exception_ptr&) { return "failed"; };
    const auto results =
        pmap([](int) -> std::string { throw std::runtime_error("always"); }, std::views::iota(0, 10), options);
    EXPECT_EQ(results, std::vector<std::string>(10, "failed"));
  }
}

}  // namespace
