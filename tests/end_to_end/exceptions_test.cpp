// How exceptions of tasks reach whoever fetches.

#include "support.hpp"

#include <muster/register_exception.hpp>

#include <functional>
#include <future>
#include <regex>
#include <system_error>

namespace {

using namespace muster;
using namespace muster::test;

struct NoConvergence : std::runtime_error {
  using std::runtime_error::runtime_error;
};
const bool registered_by_text = register_exception<NoConvergence>();

/// Travels with its data.
class BadCell : public std::exception {
 public:
  BadCell() = default;
  BadCell(int row, int column) : row_(row), column_(column) {}
  const char* what() const noexcept override { return "bad cell"; }
  int row() const { return row_; }
  int column() const { return column_; }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(row_, column_);
  }

 private:
  int row_ = 0, column_ = 0;
};
const bool registered_by_data = register_exception<BadCell>();

struct Unknown : std::logic_error {
  using std::logic_error::logic_error;
};
struct Plain {
  int code = 3;
};

[[gnu::noinline]] int throws_deep_down(int n) {
  if (n == 0) throw std::out_of_range("at the bottom");
  return throws_deep_down(n - 1) + 1;
}

class Exceptions : public testing::Test {
 protected:
  Exceptions() : pids(at_least(3)) {}
  const std::vector<Pid> pids;

  /// What a fetcher of f's failure on `pid` sees.
  template <class F>
  static RemoteException seen(Pid pid, F f) {
    const auto error = thrown<RemoteException>([&] { (void)remotecall_fetch(f, pid); });
    if (!error) throw std::runtime_error("no RemoteException");
    return *error;
  }
};

// catalogue: 191, 192, 194
TEST_F(Exceptions, SaysWhereWhatAndHow) {
  for (const Pid pid : {1, 3}) {
    const auto error = seen(pid, [] { return throws_deep_down(4); });
    EXPECT_EQ(error.pid(), pid);
    EXPECT_EQ(error.type_name(), "std::out_of_range");
    EXPECT_EQ(error.message(), "at the bottom");
    const std::string start = "On worker " + std::to_string(pid) + ": std::out_of_range: at the bottom";
    EXPECT_EQ(std::string(error.what()).substr(0, start.size()), start);
    EXPECT_NE(error.backtrace().find("throws_deep_down"), std::string::npos) << error.backtrace();
    EXPECT_NE(std::string(error.what()).find("throws_deep_down"), std::string::npos);
  }
}

TEST_F(Exceptions, IsWhatItWouldHaveBeenCaughtAs) {
  const auto error = seen(2, []() -> int { throw NoConvergence("slow"); });
  EXPECT_TRUE(error.is<NoConvergence>());
  EXPECT_TRUE(error.is<std::runtime_error>());
  EXPECT_TRUE(error.is<std::exception>());
  EXPECT_FALSE(error.is<std::logic_error>());
  EXPECT_FALSE(error.is<RemoteException>());
  const auto unknown = seen(2, []() -> int { throw Unknown("never registered"); });
  EXPECT_TRUE(unknown.is<Unknown>());
  EXPECT_TRUE(unknown.is<std::logic_error>());
}

TEST_F(Exceptions, RethrowCauseThrowsTheOriginal) {
  for (const Pid pid : {1, 2}) {
    EXPECT_STREQ(thrown<std::out_of_range>([&] {
                   seen(pid, []() -> int { throw std::out_of_range("o"); }).rethrow_cause();
                 })->what(),
                 "o");
    EXPECT_STREQ(
        thrown<std::bad_alloc>([&] { seen(pid, []() -> int { throw std::bad_alloc(); }).rethrow_cause(); })->what(),
        std::bad_alloc().what());
    EXPECT_EQ(
        thrown<std::system_error>([&] {
          seen(pid, []() -> int { throw std::system_error(ENOENT, std::generic_category(), "file"); }).rethrow_cause();
        })->code(),
        std::errc::no_such_file_or_directory);
    EXPECT_STREQ(
        thrown<NoConvergence>([&] { seen(pid, []() -> int { throw NoConvergence("n"); }).rethrow_cause(); })->what(),
        "n");
    const auto cell = thrown<BadCell>([&] { seen(pid, []() -> int { throw BadCell(3, 4); }).rethrow_cause(); });
    ASSERT_TRUE(cell);
    EXPECT_EQ(cell->row() * 10 + cell->column(), 34);
    EXPECT_THROW(seen(pid, []() -> int { throw SerializationError("s"); }).rethrow_cause(), SerializationError);
    EXPECT_THROW(seen(pid, []() -> int { throw std::future_error(std::future_errc::broken_promise); }).rethrow_cause(),
                 std::future_error);
  }
}

// catalogue: 165
TEST_F(Exceptions, UnknownTypesAreTheRemoteExceptionItself) {
  for (const Pid pid : {1, 2}) {
    const auto unknown = seen(pid, []() -> int { throw Unknown("u"); });
    EXPECT_STREQ(thrown<RemoteException>([&] { unknown.rethrow_cause(); })->what(), unknown.what());
    const auto number = seen(pid, []() -> int { throw 42; });
    EXPECT_EQ(number.type_name(), "int");
    EXPECT_TRUE(number.message().empty() || number.message() == "42");
    EXPECT_TRUE(number.is<int>());
    EXPECT_THROW(number.rethrow_cause(), RemoteException);
    const auto plain = seen(pid, []() -> int { throw Plain(); });
    EXPECT_NE(plain.type_name().find("Plain"), std::string::npos);
    EXPECT_TRUE(plain.is<Plain>());
    const auto text = seen(pid, []() -> int { throw std::string("a text"); });
    EXPECT_TRUE(text.is<std::string>());
  }
}

// catalogue: 198
TEST_F(Exceptions, NestedRemoteFailuresNest) {
  const auto outer = seen(2, [] { return remotecall_fetch([]() -> int { throw NoConvergence("inner"); }, 3); });
  EXPECT_EQ(outer.pid(), 2);
  EXPECT_TRUE(outer.is<RemoteException>());
  EXPECT_FALSE(outer.is<NoConvergence>());
  EXPECT_NE(std::string(outer.what()).find("On worker 3"), std::string::npos) << outer.what();
  const auto inner = thrown<RemoteException>([&] { outer.rethrow_cause(); });
  ASSERT_TRUE(inner);
  EXPECT_EQ(inner->pid(), 3);
  EXPECT_EQ(inner->message(), "inner");
  EXPECT_THROW(inner->rethrow_cause(), NoConvergence);
}

// catalogue: 193
TEST_F(Exceptions, CompositesTravelWhole) {
  const auto error = seen(2, []() -> int {
    sync([] {
      (void)spawnat(3, []() -> int { throw std::out_of_range("a"); });
      (void)spawnat(3, []() -> int { throw NoConvergence("b"); });
    });
    return 0;
  });
  EXPECT_TRUE(error.is<CompositeException>());
  const auto composite = thrown<CompositeException>([&] { error.rethrow_cause(); });
  ASSERT_TRUE(composite);
  ASSERT_EQ(composite->exceptions().size(), 2U);
  EXPECT_NE(std::string(composite->what()).find("1 more exception"), std::string::npos) << composite->what();
}

TEST_F(Exceptions, DeadlinesAndCancellationArriveAsThemselves) {
  for (const Pid pid : {1, 2}) {
    EXPECT_THROW(remotecall_fetch(
                     [] {
                       const DeadlineScope scope(1ms);
                       this_task::sleep_for(1h);
                     },
                     pid),
                 TimeoutError);
    const auto cancelled = spawnat(pid, [] { this_task::sleep_for(1h); });
    EXPECT_TRUE(cancelled.cancel());
    EXPECT_THROW(cancelled.fetch(), CancelledError);
    EXPECT_THROW(remotecall_fetch([](const Future<void>& f) { f.fetch(); }, pid == 1 ? 2 : 3, cancelled),
                 CancelledError);
  }
}

// catalogue: 191, 279
TEST_F(Exceptions, EveryFormThrowsIt) {
  const auto thrower = []() -> int { throw NoConvergence("form"); };
  for (const Pid pid : {1, 2}) {
    EXPECT_THROW((void)spawnat(pid, thrower).fetch(), RemoteException);
    EXPECT_THROW((void)remotecall(thrower, pid).fetch(), RemoteException);
    EXPECT_THROW((void)remotecall_wait(thrower, pid), RemoteException);
    EXPECT_THROW((void)fetchfrom(pid, thrower), RemoteException);
  }
  EXPECT_THROW((void)spawn(thrower).fetch(), RemoteException);
  EXPECT_THROW(everywhere({1, 2}, thrower), CompositeException);
}

TEST_F(Exceptions, CoroutinesHaveBacktracesToo) {
  const Future<int> go;
  const auto task = spawnat(2, [](Future<int> f) -> Task<int> { co_return throws_deep_down(co_await f); }, go);
  EXPECT_FALSE(task.wait_for(5ms));
  go.put(2);
  const auto error = thrown<RemoteException>([&] { (void)task.fetch(patience); });
  ASSERT_TRUE(error);
  EXPECT_NE(error->backtrace().find("throws_deep_down"), std::string::npos) << error->backtrace();
}

TEST_F(Exceptions, ProcessExitedSaysHow) {
  const OwnWorkers victim(1);
  remote_do([] { std::_Exit(7); }, victim[0]);
  const auto error = thrown<ProcessExitedException>([&] {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < deadline) remotecall_fetch([] { this_task::sleep_for(1s); }, victim[0]);
  });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->pid(), victim[0]);
  EXPECT_EQ(error->exit().exit_status, 7);
  EXPECT_FALSE(error->exit().expected);
  EXPECT_NE(std::string(error->what()).find('7'), std::string::npos) << error->what();
}

}  // namespace
