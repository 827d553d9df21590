// Behaviours of the catalogue that no other test happens to prove: short ones that share a cluster. See
// docs/conformance.md.

#include "support.hpp"

#include <algorithm>
#include <atomic>
#include <complex>
#include <cstdint>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <tuple>
#include <utility>

namespace {

using namespace muster;
using namespace muster::test;
using Clock = std::chrono::steady_clock;

class Conformance : public testing::Test {
 protected:
  Conformance() : pids(at_least(3)) {}
  const std::vector<Pid> pids;
};

template <class T>
T echo(T value) {
  return value;
}

std::vector<int> joined(std::vector<int> a, const std::vector<int>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// -- calls -----------------------------------------------------------------------------------------------------------

// catalogue: 8
TEST_F(Conformance, OnlyTheMasterIsProcessOne) {
  EXPECT_EQ(myid(), 1);
  for (const Pid pid : pids) EXPECT_GT(fetchfrom(pid, &myid), 1);
}

// catalogue: 83
TEST_F(Conformance, NullPointersComeBackAsSuch) {
  for (const Pid pid : {1, 2}) {
    EXPECT_EQ(fetchfrom(pid, &echo<std::shared_ptr<int>>, std::shared_ptr<int>()), nullptr);
    EXPECT_EQ(fetchfrom(pid, &echo<std::unique_ptr<int>>, std::unique_ptr<int>()), nullptr);
  }
}

/// Pages that this process has in memory, in bytes.
std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * 4096;
}

// catalogue: 88
TEST_F(Conformance, ManyCallsToTheOwnProcessLeaveNothing) {
  const auto rounds = [](int count) {
    for (int i = 0; i < count; ++i) ASSERT_EQ(spawnat(1, [](int n) { return n; }, i).fetch(), i);
  };
  rounds(1000);
  const auto before = resident_bytes();
  const auto owned = debug::values_owned(1);
  rounds(30'000);
  EXPECT_EQ(debug::values_owned(1), owned);
  EXPECT_EQ(debug::calls_in_flight(1), 0U);
  EXPECT_LT(resident_bytes(), before + (64U << 20U)) << "2 KiB a call would be too much";
}

// catalogue: 93
TEST_F(Conformance, AFetchedCallToTheOwnProcessRunsInTheCallingThread) {
  const auto thread = [] { return std::hash<std::thread::id>{}(std::this_thread::get_id()); };
  EXPECT_EQ(remotecall_fetch(thread, 1), thread());
  EXPECT_NE(remotecall(thread, 1).fetch(), thread());
}

/// Can be written, not read.
struct Unreadable {
  template <class Archive>
  void save(Archive& archive) const {
    archive(1);
  }
  template <class Archive>
  void load(Archive&) {
    throw std::domain_error("nobody can read this");
  }
};

// catalogue: 99
TEST_F(Conformance, ATaskWithoutAnswerThatCannotBeReadIsLogged) {
  const CapturedStderr captured;
  remote_do([](const Unreadable&) {}, 2, Unreadable());
  EXPECT_TRUE(eventually([&] { return captured.text().find("nobody can read this") != std::string::npos; }))
      << captured.text();
  EXPECT_EQ(fetchfrom(2, &myid), 2);
}

using Matrix = std::vector<std::vector<int>>;

// catalogue: 122
TEST_F(Conformance, OneElementOfAMatrixIsACallToItsOwner) {
  for (const Pid pid : {1, 2}) {
    const auto matrix = remotecall_wait(
        [] {
          Matrix made(200, std::vector<int>(200));
          for (std::size_t i = 0; i < 200; ++i) std::iota(made[i].begin(), made[i].end(), static_cast<int>(i) * 1000);
          return made;
        },
        pid);
    const auto element = [](const Future<Matrix>& f, std::size_t i, std::size_t j) { return f.fetch()[i][j]; };
    const auto bytes = [] {
      std::uint64_t received = 0;
      for (const auto& link : debug::links(1)) received += link.bytes_received;
      return received;
    };
    const auto before = bytes();
    EXPECT_EQ(fetchfrom(matrix.where(), element, matrix, 3U, 4U), 3004);
    EXPECT_LT(bytes() - before, 100'000U) << "only the element travels";
    EXPECT_EQ(matrix.fetch()[3][4], 3004);
  }
}

std::vector<Future<std::vector<double>>> kept;  // NOLINT: handles that a process keeps for a while

// catalogue: 137
TEST_F(Conformance, CopiesInOneProcessCountOnce) {
  const auto before = debug::values_owned(2);
  auto future = std::make_optional(remotecall_wait([] { return std::vector<double>(50'000); }, 2));
  for (int i = 0; i < 2; ++i)
    remotecall_fetch([](const Future<std::vector<double>>& f) { kept.push_back(f); }, 3, *future);
  future.reset();
  EXPECT_EQ(debug::values_owned(2), before + 1);
  EXPECT_EQ(remotecall_fetch([] { return kept[0].fetch().size(); }, 3), 50'000U);
  EXPECT_TRUE(eventually([&] { return debug::values_owned(2) == before; })) << "the other copy holds nothing more";
  EXPECT_EQ(remotecall_fetch([] { return kept[1].fetch().size(); }, 3), 50'000U);
  remotecall_fetch([] { kept.clear(); }, 3);
}

/// Starts f on a worker.
template <class F>
std::function<Future<void>(Future<int>)> spawner(F f) {
  return [f](const Future<int>& begun) { return spawnat(2, f, begun); };
}

// catalogue: 302
TEST_F(Conformance, ACancelledTaskCancelsWhatItWaitsFor) {
  const auto inner = [](const Future<int>& begun) {
    begun.put(1);
    try {
      this_task::sleep_for(1h);
    } catch (const CancelledError&) {
      std::fputs("the inner task was cancelled\n", stderr);  // a stopped task may use muster no more
      throw;
    }
  };
  const auto call = [inner](const Future<int>& begun) { remotecall_fetch(inner, 3, begun); };
  const auto wait = [inner](const Future<int>& begun) { (void)remotecall_wait(inner, 3, begun); };
  const auto in_pool = [inner](const Future<int>& begun) { remotecall_fetch(inner, WorkerPool({3}), begun); };
  for (const auto& outer : {spawner(call), spawner(wait), spawner(in_pool)}) {
    const CapturedStderr captured;
    const Future<int> begun;
    const auto task = outer(begun);
    EXPECT_EQ(begun.fetch(patience), 1);
    EXPECT_TRUE(task.cancel());
    EXPECT_TRUE(eventually([&] { return captured.text().find("the inner task was cancelled") != std::string::npos; }));
  }
}

// -- values and messages ---------------------------------------------------------------------------------------------

// catalogue: 166
TEST_F(Conformance, RandomDevicesAreOfTheProcessTheyAreMadeIn) {
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

// catalogue: 167, 183
TEST_F(Conformance, ClosuresInClosures) {
  int k = 10;
  const auto add = [k](int x) { return x + k; };
  const auto twice = [add](int x) { return add(add(x)); };
  const auto four_times = [twice](int x) { return twice(twice(x)); };
  EXPECT_EQ(fetchfrom(2, four_times, 1), 41);
  EXPECT_EQ(fetchfrom(3, [](auto f) { return f(2); }, four_times), 42);
}

// catalogue: 168
TEST_F(Conformance, WhatIsSharedInAMessageStaysShared) {
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
TEST_F(Conformance, AnyBytesArrive) {
  std::string bytes;
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b) bytes += {static_cast<char>(a), static_cast<char>(b)};
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, bytes.size()})
    EXPECT_TRUE(fetchfrom(2, &echo<std::string>, bytes.substr(0, size)) == bytes.substr(0, size)) << size;
}

// -- functions -------------------------------------------------------------------------------------------------------

// catalogue: 175
TEST_F(Conformance, AClosureGoesFromWorkerToWorker) {
  int k = 5;
  const auto f = [k](int x) { return 10 * k + x; };
  const auto bound = bind_front([](const std::string& text, int x) { return text + std::to_string(x); }, "n");
  EXPECT_EQ(fetchfrom(2, f, 1), 51);
  EXPECT_EQ(fetchfrom(3, f, 2), 52);
  EXPECT_EQ(fetchfrom(2, [](auto g) { return fetchfrom(3, g, 3); }, f), 53);
  EXPECT_EQ(fetchfrom(2, [](auto g) { return fetchfrom(3, g, 4); }, bound), "n4");
}

// catalogue: 176, 177, 181, 185
TEST_F(Conformance, CallsSeeTheValueOfTheirMoment) {
  int number = 0;
  for (const int n : {2, 3, 2, 5}) {
    number = n;
    EXPECT_EQ(fetchfrom(2, [number] { return number; }), n);
  }
  std::vector<int> values(3);
  for (int n = 0; n < 4; ++n) {
    values[1] = n;
    EXPECT_EQ(fetchfrom(2, bind_front([](const std::vector<int>& v) { return v[1]; }, values)), n);
    EXPECT_EQ(fetchfrom(2, [](const std::vector<int>& v) { return v[1]; }, values), n);
  }
}

// catalogue: 188
TEST_F(Conformance, ACapturedCounterStaysAsItIsHere) {
  int counter = 1;
  for (const Pid pid : {1, 2}) EXPECT_EQ(fetchfrom(pid, [counter]() mutable { return ++counter; }), 2);
  EXPECT_EQ(counter, 1);
}

// -- errors ----------------------------------------------------------------------------------------------------------

[[gnu::noinline]] int throws_here(int n) {
  if (n >= 0) throw std::runtime_error("number " + std::to_string(n));
  return n;
}

// catalogue: 192
TEST_F(Conformance, TheFirstFrameIsTheFunctionThatThrew) {
  for (const Pid pid : {1, 2}) {
    const auto error = thrown<RemoteException>([pid] { (void)remotecall_fetch(&throws_here, pid, 1); });
    ASSERT_TRUE(error);
    const auto& frames = error->backtrace();
    EXPECT_NE(frames.substr(0, frames.find('\n')).find("throws_here"), std::string::npos) << frames;
  }
}

// catalogue: 195, 196
TEST_F(Conformance, FiveFailuresStandInOrderOfStart) {
  const auto error = thrown<CompositeException>([this] {
    sync([this] {
      for (int n = 1; n <= 5; ++n) (void)spawnat(pids[static_cast<std::size_t>(n) % pids.size()], &throws_here, n);
    });
  });
  ASSERT_TRUE(error);
  ASSERT_EQ(error->exceptions().size(), 5U);
  for (int n = 1; n <= 5; ++n) {
    const auto one =
        thrown<RemoteException>([&] { std::rethrow_exception(error->exceptions()[static_cast<std::size_t>(n) - 1]); });
    ASSERT_TRUE(one);
    EXPECT_EQ(one->message(), "number " + std::to_string(n));
  }
  EXPECT_TRUE(std::string(error->what()).ends_with("...and 4 more exceptions.")) << error->what();
}

// catalogue: 193
TEST_F(Conformance, TheTextOfATaskWithinATaskIsShown) {
  const auto error = thrown<RemoteException>([] {
    fetchfrom(2, [] { sync([] { (void)spawnat(3, []() -> int { throw std::runtime_error("inner 42"); }); }); });
  });
  ASSERT_TRUE(error);
  EXPECT_NE(std::string(error->what()).find("inner 42"), std::string::npos) << error->what();
}

/// An exception that is a value as well.
class Complaint : public std::exception {
 public:
  Complaint() = default;
  explicit Complaint(std::string text) : text_(std::move(text)) {}
  const char* what() const noexcept override { return text_.c_str(); }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(text_);
  }

 private:
  std::string text_;
};

// catalogue: 199
TEST_F(Conformance, AnExceptionThatIsReturnedIsAValue) {
  for (const Pid pid : {1, 2})
    EXPECT_STREQ(remotecall_fetch([] { return Complaint("just said"); }, pid).what(), "just said");
}

// catalogue: 201
TEST_F(Conformance, ANegativeSleepIsOver) {
  const auto begin = Clock::now();
  this_task::sleep_for(-1h);
  fetchfrom(2, [] { this_task::sleep_for(-1h); });
  EXPECT_LT(Clock::now() - begin, patience);
}

// -- pools -----------------------------------------------------------------------------------------------------------

// catalogue: 203, 204
TEST_F(Conformance, EachCallThatEndsMakesThePoolReadyAgain) {
  auto& pool = default_worker_pool();
  for (const bool reversed : {false, true}) {
    std::vector<Future<int>> gates(pids.size());
    std::vector<Future<int>> calls;
    for (const auto& gate : gates) {
      ASSERT_TRUE(eventually([&] { return pool.isready(); }));
      calls.push_back(remotecall([](const Future<int>& until) { return until.fetch(); }, pool, gate));
    }
    EXPECT_FALSE(pool.isready());
    for (std::size_t i = 0; i < gates.size(); ++i) {
      const auto at = reversed ? gates.size() - 1 - i : i;
      gates[at].put(static_cast<int>(i));
      EXPECT_EQ(calls[at].fetch(patience), static_cast<int>(i));
      EXPECT_TRUE(eventually([&] { return pool.isready(); }));
      const auto ended = std::count_if(calls.begin(), calls.end(), [](const auto& call) { return call.isready(); });
      EXPECT_EQ(ended, static_cast<std::ptrdiff_t>(i) + 1);
    }
  }
}

// catalogue: 210
TEST_F(Conformance, ACallHoldsTheMemberOfACachingPoolUntilItEnds) {
  CachingPool pool({pids[0]});
  const Future<int> gate;
  const auto call = remotecall(
      bind_front([](const std::string& text, const Future<int>& until) { return text + std::to_string(until.fetch()); },
                 "gate "),
      pool, gate);
  EXPECT_FALSE(pool.isready());
  gate.put(1);
  EXPECT_EQ(call.fetch(patience), "gate 1");
  EXPECT_TRUE(eventually([&] { return pool.isready(); }));
}

/// Cannot be written the first time.
struct FailsOnce {
  static inline int saves = 0;
  template <class Archive>
  void save(Archive& archive) const {
    if (++saves == 1) throw std::runtime_error("not the first time");
    archive(1);
  }
  template <class Archive>
  void load(Archive& archive) {
    int ignored = 0;
    archive(ignored);
  }
};

// catalogue: 220
TEST_F(Conformance, AFunctionWhoseFirstDeliveryFailedWorksTheNextTime) {
  CachingPool pool({pids[0]});
  const auto f = bind_front([](const FailsOnce&, int x) { return x + 1; }, FailsOnce());
  EXPECT_THROW((void)remotecall_fetch(f, pool, 1), SerializationError);
  EXPECT_TRUE(pool.isready());
  EXPECT_EQ(remotecall_fetch(f, pool, 1), 2);
  EXPECT_EQ(remotecall_fetch(f, pool, 2), 3);
}

// catalogue: 221
TEST_F(Conformance, TheDefaultPoolOfAWorkerIsTheMasters) {
  const auto same = [](const WorkerPool& pool) { return pool == default_worker_pool(); };
  EXPECT_TRUE(fetchfrom(2, same, default_worker_pool()));
}

// -- pmap ------------------------------------------------------------------------------------------------------------

using Result = std::pair<int, Pid>;
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

void expect_right(const Way& way, const std::vector<Pid>& pids) {
  std::set<Pid> used;
  if (way.retry) {
    const auto results = way.map([](int x) {
      if (myid() % 2 == 0) throw std::runtime_error("an even process");
      return Result(x, myid());
    });
    expect_all(results);
    for (const auto& result : results) EXPECT_EQ(result.second % 2, 1);
  } else if (way.handler) {
    const auto results = way.map([](int x) {
      if (x % 2 == 0) throw std::runtime_error("an even element");
      return Result(x, myid());
    });
    for (int i = 0; i < 100; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)].first, i % 2 == 0 ? -1 : i);
  } else {
    const auto results = way.map([](int x) {
      this_task::sleep_for(1ms);
      return Result(x, myid());
    });
    expect_all(results);
    for (const auto& result : results) used.insert(result.second);
    EXPECT_EQ(used, way.distributed ? std::set<Pid>(pids.begin(), pids.end()) : std::set<Pid>{1});
  }
}

// catalogue: 223, 224, 225, 226, 227
TEST_F(Conformance, MapsInEveryWay) {
  for (int bits = 0; bits < 32; ++bits) {
    const Way way{(bits & 1) != 0, (bits & 2) != 0 ? 2 : 1, (bits & 4) != 0, (bits & 8) != 0, (bits & 16) != 0};
    SCOPED_TRACE(bits);
    expect_right(way, pids);
  }
}

// catalogue: 234
TEST_F(Conformance, AMapOnAWorkerUsesAllWorkers) {
  const auto used = fetchfrom(2, [] {
    const auto on_any = [](int) {
      this_task::sleep_for(2ms);
      return myid();
    };
    return pmap(on_any, std::views::iota(0, 100));
  });
  EXPECT_EQ(std::set<Pid>(used.begin(), used.end()), std::set<Pid>(pids.begin(), pids.end()));
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
TEST_F(Conformance, MapsNumbersOfAllTypes) {
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
TEST_F(Conformance, ResultsStandInTheOrderOfTheInputHoweverLongEachTook) {
  std::vector<Matrix> matrices;
  for (int i = 0; i < 10; ++i) matrices.push_back(Matrix(5, std::vector<int>(5, i)));
  const auto results = pmap(
      [](Matrix matrix) {
        this_task::sleep_for(std::chrono::milliseconds(matrix[0][0] * 7 % 10 * 5));
        return matrix;
      },
      matrices);
  EXPECT_EQ(results, matrices);
}

// catalogue: 241
TEST_F(Conformance, WhereAllElementsFailTheHandlerGivesAllResults) {
  for (const int batch : {1, 3}) {
    PmapOptions<std::function<const char*(std::exception_ptr)>> options;
    options.batch_size = batch;
    options.on_error = [](const std::exception_ptr&) { return "failed"; };
    const auto results =
        pmap([](int) -> std::string { throw std::runtime_error("always"); }, std::views::iota(0, 10), options);
    EXPECT_EQ(results, std::vector<std::string>(10, "failed"));
  }
}

// -- distributed loops -----------------------------------------------------------------------------------------------

// catalogue: 260
TEST_F(Conformance, IndexesMayStartAnywhere) {
  const auto seen =
      distributed_reduce(joined, std::views::iota(-1, 1), [](int index) { return std::vector<int>{index}; });
  EXPECT_EQ(seen, (std::vector<int>{-1, 0}));
}

// catalogue: 272
TEST_F(Conformance, AProductOfRangesIsARange) {
  const auto product = std::views::iota(0, 12) | std::views::transform([](int i) { return std::pair(i / 4, i % 4); });
  const auto sum = distributed_reduce(std::plus<>{}, product,
                                      [](const std::pair<int, int>& at) { return 10 * at.first + at.second; });
  EXPECT_EQ(sum, 10 * (0 + 1 + 2) * 4 + (0 + 1 + 2 + 3) * 3);
}

// -- everywhere ------------------------------------------------------------------------------------------------------

std::atomic<int> mark{0};  // NOLINT: a global of each process, as users have them

// catalogue: 277
TEST_F(Conformance, TheOwnProcessMayBeMentionedThreeTimes) {
  everywhere([] { mark = 0; });
  everywhere({1, 1, 1}, [] { ++mark; });
  EXPECT_EQ(mark, 3);
  for (const Pid pid : pids) EXPECT_EQ(fetchfrom(pid, [] { return mark.load(); }), 0);
}

// catalogue: 279, 280
TEST_F(Conformance, OneProcessThatFailsStopsNoOther) {
  everywhere([] { mark = 0; });
  const auto error = thrown<CompositeException>([&] {
    everywhere({pids[2], 1, pids[0], pids[1]}, [] {
      mark = myid();
      if (myid() > 1 && myid() != 3) throw std::runtime_error("not here");
    });
  });
  for (const Pid pid : procs()) EXPECT_EQ(fetchfrom(pid, [] { return mark.load(); }), pid);
  ASSERT_TRUE(error);
  std::vector<Pid> failed;
  for (const auto& one : error->exceptions()) {
    try {
      std::rethrow_exception(one);
    } catch (const RemoteException& remote) {
      failed.push_back(remote.pid());
    }
  }
  EXPECT_EQ(failed, (std::vector<Pid>{pids[2], pids[0]})) << "in the order of the list";
}

struct CountsSaves {
  static inline std::atomic<int> saves{0};
  template <class Archive>
  void save(Archive& archive) const {
    ++saves;
    archive(1);
  }
  template <class Archive>
  void load(Archive& archive) {
    int ignored = 0;
    archive(ignored);
  }
};

std::atomic<int> arrived{0};  // NOLINT

// catalogue: 284
TEST_F(Conformance, ABroadcastIsEncodedOnceAndRunsAtOnce) {
  CountsSaves::saves = 0;
  arrived = 0;
  const Future<int> all_there;
  everywhere(
      [](const CountsSaves&, const Future<int>& go, int all) {
        remotecall_fetch(
            [](const Future<int>& f, int n) {
              if (++arrived == n) f.put(1);
            },
            1, go, all);
        (void)go.fetch(patience);  // in vain where one comes after the other
      },
      CountsSaves(), all_there, nprocs());
  EXPECT_EQ(CountsSaves::saves, 1);
}

}  // namespace
