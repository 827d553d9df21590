// Behaviours of the catalogue that no other test happens to prove: short ones that share a cluster. See
// docs/conformance.md.

#include "support.hpp"
#include "values.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <functional>
#include <numeric>
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

// catalogue: 99
TEST_F(Conformance, ATaskWithoutAnswerThatCannotBeReadIsLogged) {
  const CapturedStderr captured;
  remote_do([](const Unreadable&) {}, 2, Unreadable());
  EXPECT_TRUE(eventually([&] { return captured.text().find("this can't be read") != std::string::npos; }))
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

// -- functions -------------------------------------------------------------------------------------------------------

// catalogue: 167, 183
TEST_F(Conformance, ClosuresInClosures) {
  int k = 10;
  const auto add = [k](int x) { return x + k; };
  const auto twice = [add](int x) { return add(add(x)); };
  const auto four_times = [twice](int x) { return twice(twice(x)); };
  EXPECT_EQ(fetchfrom(2, four_times, 1), 41);
  EXPECT_EQ(fetchfrom(3, [](auto f) { return f(2); }, four_times), 42);
}

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

}  // namespace
