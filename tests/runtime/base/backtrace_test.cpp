#include "runtime/base/backtrace.hpp"

#include "runtime/base/failure.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dlfcn.h>

#include <algorithm>
#include <ctime>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace muster::detail {

/// Named as the function that runs a task's, from which on a backtrace is not the user's.
template <class F>
[[gnu::noinline]] void invoke_for_test(F f) {
  f();
  asm volatile("");  // no tail call: the frame stays
}

}  // namespace muster::detail

namespace {

using namespace muster::runtime;
using testing::MatchesRegex;

[[gnu::noinline]] void inner_function(int x) {
  if (x > 0) throw std::out_of_range("thrown here");
}

[[gnu::noinline]] void outer_function(int x) {
  inner_function(x);
  asm volatile("");
}

template <class F>
std::exception_ptr caught(F f) {
  try {
    f();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

std::string trace_of(const std::exception_ptr& exception) { return symbolized(frames_of(exception)); }

std::size_t lines_of(const std::string& text) {
  return text.empty() ? 0 : 1 + static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST(Backtrace, ShowsWhereItWasThrown) {
  const BacktraceScope scope;
  const std::string trace = trace_of(caught([] { outer_function(1); }));
  EXPECT_THAT(trace, MatchesRegex("  at [^\n]*inner_function\\(int\\) \\([^\n]*backtrace_test\\.cpp:[0-9]+\\)\n"
                                  "  at [^\n]*outer_function\\(int\\) \\([^\n]*backtrace_test\\.cpp:[0-9]+\\)\n.*"));
}

TEST(Backtrace, IsOffOutsideAScope) {
  const auto exception = caught([] { outer_function(1); });
  EXPECT_TRUE(frames_of(exception).empty());
  EXPECT_EQ(trace_of(exception), "");
  note_frames(exception);
  EXPECT_TRUE(frames_of(exception).empty());
}

TEST(Backtrace, IsNotThatOfAnEarlierExceptionAtTheSameAddress) {
  {
    const BacktraceScope scope;
    const auto exception = caught([] { outer_function(1); });
    EXPECT_FALSE(frames_of(exception).empty());
  }
  const auto unnoted = caught([] { outer_function(1); });  // most likely at the address that the first one left
  EXPECT_TRUE(frames_of(unnoted).empty());
  const auto other_type = std::make_exception_ptr(std::invalid_argument("never thrown"));
  EXPECT_TRUE(frames_of(other_type).empty());
}

TEST(Backtrace, ScopesNest) {
  const BacktraceScope scope;
  const auto first = caught([] { outer_function(1); });
  {
    const BacktraceScope inner;
  }
  EXPECT_FALSE(frames_of(first).empty());
  EXPECT_FALSE(frames_of(caught([] { outer_function(1); })).empty());
}

TEST(Backtrace, IsOfEachThreadAlone) {
  const BacktraceScope scope;
  std::jthread([] { EXPECT_TRUE(frames_of(caught([] { outer_function(1); })).empty()); }).join();
}

TEST(Backtrace, StaysThatOfTheThrowWhenRethrown) {
  const BacktraceScope scope;
  const auto exception = caught([] {
    try {
      outer_function(1);
    } catch (...) {
      throw;
    }
  });
  const auto again = caught([&] { std::rethrow_exception(exception); });
  EXPECT_NE(trace_of(again).find("inner_function"), std::string::npos);
}

TEST(Backtrace, SurvivesExceptionsThrownAndCaughtMeanwhile) {
  struct ThrowsInside {
    ~ThrowsInside() {
      try {
        throw std::runtime_error("in a destructor");
      } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
      }
    }
  };
  const BacktraceScope scope;
  const auto exception = caught([] {
    const ThrowsInside first;
    const ThrowsInside second;
    outer_function(1);
  });
  EXPECT_NE(trace_of(exception).find("inner_function"), std::string::npos);
}

TEST(Backtrace, CanBeNotedForAnExceptionMadeWithoutAThrow) {
  const BacktraceScope scope;
  const auto exception = std::make_exception_ptr(std::runtime_error("made"));
  EXPECT_TRUE(frames_of(exception).empty());
  note_frames(exception);
  EXPECT_NE(trace_of(exception).find("CanBeNoted"), std::string::npos) << trace_of(exception);
}

TEST(Backtrace, SeesThrowsInOtherLibraries) {
  const BacktraceScope scope;
  // libstdc++ itself throws, in its own code.
  const auto exception =
      caught([] { static_cast<void>(std::string("abc").substr(static_cast<std::size_t>(std::time(nullptr)))); });
  EXPECT_NE(trace_of(exception).find("substr"), std::string::npos) << trace_of(exception);
  EXPECT_NE(trace_of(exception).find("SeesThrowsInOtherLibraries"), std::string::npos) << trace_of(exception);
}

TEST(Backtrace, LeavesOutWhatIsBelowATask) {
  const BacktraceScope scope;
  const auto exception = caught([] { muster::detail::invoke_for_test([] { outer_function(1); }); });
  const std::string trace = trace_of(exception);
  EXPECT_NE(trace.find("outer_function"), std::string::npos) << trace;
  EXPECT_EQ(trace.find("invoke_for_test<"), trace.find("muster::detail::invoke_for_test<")) << trace;
  EXPECT_EQ(trace.find("testing::"), std::string::npos) << trace;
  EXPECT_EQ(trace.find("__libc_start"), std::string::npos) << trace;
  EXPECT_EQ(trace.find("__cxa_throw"), std::string::npos) << trace;
  EXPECT_LE(lines_of(trace), 4U) << trace;
}

TEST(Backtrace, LeavesOutTheStartOfAThread) {
  std::string trace;
  std::jthread([&] {
    const BacktraceScope scope;
    trace = trace_of(caught([] { outer_function(1); }));
  }).join();
  EXPECT_NE(trace.find("outer_function"), std::string::npos) << trace;
  EXPECT_EQ(trace.find("std_thread.h"), std::string::npos) << trace;
  EXPECT_EQ(trace.find("invoke.h"), std::string::npos) << trace;
  EXPECT_EQ(trace.find("std::thread"), std::string::npos) << trace;
  EXPECT_EQ(trace.find("clone"), std::string::npos) << trace;
}

int recurse(int depth) {  // NOLINT(misc-no-recursion)
  if (depth == 0) throw std::runtime_error("deep");
  const int result = recurse(depth - 1) + 1;
  asm volatile("");
  return result;
}

TEST(Backtrace, IsBounded) {
  const BacktraceScope scope;
  EXPECT_EQ(frames_of(caught([] { recurse(1000); })).size(), 64U);
}

TEST(Backtrace, OfUnknownAddressesIsTheirNumber) {
  const std::uintptr_t nowhere[] = {0x10};
  EXPECT_EQ(symbolized(nowhere), "  at ? (0x10)");
  EXPECT_EQ(symbolized({}), "");
}

TEST(Backtrace, WithoutDebugInformationNamesTheModule) {
  const auto address = reinterpret_cast<std::uintptr_t>(dlsym(RTLD_DEFAULT, "getpid"));
  const std::uintptr_t frames[] = {address + 1};
  const std::string trace = symbolized(frames);
  EXPECT_THAT(trace, MatchesRegex("  at [^\n]*getpid[^\n]* \\(([^\n]*libc[^\n]*\\+0x[0-9a-f]+|[^\n]*:[0-9]+)\\)"));
}

TEST(Backtrace, FindsLibrariesThatWereLoadedLater) {
  const std::uintptr_t nowhere[] = {0x10};
  static_cast<void>(symbolized(nowhere));
  void* library = dlopen("libBrokenLocale.so.1", RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr);
  const std::uintptr_t frames[] = {reinterpret_cast<std::uintptr_t>(dlsym(library, "__ctype_get_mb_cur_max"))};
  const std::string trace = symbolized(frames);
  dlclose(library);
  EXPECT_NE(trace.find("__ctype_get_mb_cur_max"), std::string::npos) << trace;
}

TEST(Backtrace, TravelsWithTheFailure) {
  const BacktraceScope scope;
  const auto exception = caught([] { outer_function(1); });
  try {
    std::rethrow_exception(decode_failure(encode_failure(exception, 2)));
  } catch (const muster::RemoteException& error) {
    EXPECT_NE(error.backtrace().find("inner_function"), std::string::npos) << error.backtrace();
    EXPECT_EQ(error.what(), "On worker 2: std::out_of_range: thrown here\n" + error.backtrace());
  }
}

TEST(Backtrace, AnyThreadMayAskAtOnce) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      const BacktraceScope scope;
      for (int round = 0; round < 20; ++round) {
        EXPECT_NE(trace_of(caught([] { outer_function(1); })).find("inner_function"), std::string::npos);
      }
    });
  }
}

}  // namespace
