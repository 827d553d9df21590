/// @file
/// The steward: timers, descriptors, children, and that nothing runs after it was ended.
#include "runtime/base/steward.hpp"

#include "runtime/base/unique_fd.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <csignal>
#include <fstream>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace muster::runtime {
namespace {

using namespace std::chrono_literals;
constexpr auto deadline = 20s;

template <class T>
testing::AssertionResult arrives(std::future<T>& future) {
  if (future.wait_for(deadline) == std::future_status::ready) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "did not happen within the deadline";
}

/// Waits until all that was posted so far has run.
void settle(Steward& steward) {
  std::promise<void> passed;
  auto future = passed.get_future();
  steward.post([&] { passed.set_value(); });
  ASSERT_TRUE(arrives(future));
}

struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
  }
  void write(char byte) const { ASSERT_EQ(::write(write_end.get(), &byte, 1), 1); }
  UniqueFd read_end, write_end;
};

pid_t start_shell(const char* script) {
  std::string shell = "sh";
  std::string option = "-c";
  std::string text = script;
  const std::array<char*, 4> arguments{shell.data(), option.data(), text.data(), nullptr};
  pid_t child = -1;
  EXPECT_EQ(::posix_spawn(&child, "/bin/sh", nullptr, nullptr, arguments.data(), environ), 0);
  return child;
}

TEST(Steward, RunsPostedCallbacksInOrderOnOneOtherThread) {
  Steward steward;
  std::vector<int> order;
  std::vector<std::thread::id> threads;
  for (int i = 0; i < 100; ++i) {
    steward.post([&, i] {
      order.push_back(i);
      threads.push_back(std::this_thread::get_id());
    });
  }
  settle(steward);
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
    EXPECT_EQ(threads[static_cast<std::size_t>(i)], threads[0]);
  }
  EXPECT_NE(threads[0], std::this_thread::get_id());
}

TEST(Steward, KnowsItsThreadAndNamesIt) {
  Steward steward("a-name-longer-than-15");
  EXPECT_FALSE(steward.on_own_thread());
  std::promise<std::string> name;
  auto future = name.get_future();
  bool own = false;
  steward.post([&] {
    own = steward.on_own_thread();
    std::ifstream comm("/proc/thread-self/comm");
    std::string text;
    std::getline(comm, text);
    name.set_value(text);
  });
  ASSERT_TRUE(arrives(future));
  EXPECT_TRUE(own);
  EXPECT_EQ(future.get(), "a-name-longer-t");
}

TEST(Steward, SignalHandlersNeverRunOnItsThread) {
  Steward steward;
  std::promise<sigset_t> mask;
  auto future = mask.get_future();
  steward.post([&] {
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    mask.set_value(blocked);
  });
  ASSERT_TRUE(arrives(future));
  const sigset_t blocked = future.get();
  for (const int signal : {SIGINT, SIGTERM, SIGCHLD, SIGALRM, SIGUSR1}) EXPECT_EQ(sigismember(&blocked, signal), 1);
  EXPECT_EQ(sigismember(&blocked, SIGSEGV), 0);
  sigset_t mine;
  pthread_sigmask(SIG_BLOCK, nullptr, &mine);
  EXPECT_EQ(sigismember(&mine, SIGINT), 0) << "the mask of the thread that made the steward must be as it was";
}

TEST(Steward, RunsATimerOnceAndNotBeforeItsTime) {
  Steward steward;
  std::atomic<int> runs = 0;
  std::promise<void> fired;
  auto future = fired.get_future();
  const auto start = std::chrono::steady_clock::now();
  steward.after(30ms, [&] {
    ++runs;
    fired.set_value();
  });
  ASSERT_TRUE(arrives(future));
  EXPECT_GE(std::chrono::steady_clock::now() - start, 30ms);
  settle(steward);
  EXPECT_EQ(runs, 1);
}

TEST(Steward, RunsTimersInTheOrderOfTheirTimes) {
  Steward steward;
  std::string order;
  std::promise<void> last;
  auto future = last.get_future();
  steward.post([&] {  // all set before any can fire
    steward.after(30ms, [&] {
      order += 'c';
      last.set_value();
    });
    steward.after(20ms, [&] { order += 'b'; });
    steward.after(-1s, [&] { order += 'a'; });
  });
  ASSERT_TRUE(arrives(future));
  EXPECT_EQ(order, "abc");
}

TEST(Steward, AcceptsTheLongestDelayThereIs) {
  Steward steward;
  std::atomic<bool> ran = false;
  const TimerId timer = steward.after(std::chrono::nanoseconds::max(), [&] { ran = true; });
  std::promise<void> later;
  auto future = later.get_future();
  steward.after(5ms, [&] { later.set_value(); });
  ASSERT_TRUE(arrives(future));
  EXPECT_FALSE(ran);
  steward.cancel(timer);
}

TEST(Steward, RepeatsUntilCancelledInItsOwnCallback) {
  Steward steward;
  int runs = 0;
  TimerId timer{};
  std::promise<void> done;
  auto future = done.get_future();
  steward.post([&] {
    timer = steward.every(1ms, [&] {
      if (++runs < 5) return;
      steward.cancel(timer);
      steward.after(10ms, [&] { done.set_value(); });
    });
  });
  ASSERT_TRUE(arrives(future));
  EXPECT_EQ(runs, 5);
}

TEST(Steward, RefusesAPeriodThatIsNotPositive) {
  Steward steward;
  EXPECT_THROW(steward.every(0s, [] {}), std::invalid_argument);
  EXPECT_THROW(steward.every(-1s, [] {}), std::invalid_argument);
}

TEST(Steward, LeavesOutMissedBeats) {
  Steward steward;
  int runs = 0;
  TimerId timer{};
  std::promise<int> counted;
  auto future = counted.get_future();
  steward.post([&] {
    timer = steward.every(1ms, [&] { ++runs; });
    const auto until = std::chrono::steady_clock::now() + 100ms;
    while (std::chrono::steady_clock::now() < until) {
    }
    // The late beat comes first, as it is due; what would have been its hundred followers must not come before this.
    steward.after(0s, [&] { steward.post([&] { counted.set_value(runs); }); });
  });
  ASSERT_TRUE(arrives(future));
  EXPECT_LE(future.get(), 3);
  steward.cancel(timer);
}

TEST(Steward, ACallbackThatThrowsStopsNothingElse) {
  Steward steward;
  steward.post([] { throw std::runtime_error("posted, on purpose"); });
  steward.post([] { throw 7; });
  std::promise<void> again;
  auto future = again.get_future();
  int beats = 0;
  const TimerId timer = steward.every(1ms, [&] {
    if (++beats == 2) again.set_value();
    throw std::runtime_error("a beat, on purpose");
  });
  ASSERT_TRUE(arrives(future));
  steward.cancel(timer);
}

TEST(Steward, ATimerDoesNotRunAfterCancelReturned) {
  Steward steward;
  for (int round = 0; round < 300; ++round) {
    std::atomic<int> alive = 1;
    const TimerId timer = steward.after(std::chrono::microseconds(round % 7 * 20), [&] { EXPECT_EQ(alive, 1); });
    if (round % 3 == 0) std::this_thread::yield();
    steward.cancel(timer);
    alive = 0;
  }
  settle(steward);
}

TEST(Steward, CancelWaitsForTheCallbackThatIsRunning) {
  Steward steward;
  std::promise<void> inside;
  auto entered = inside.get_future();
  std::promise<void> gate;
  auto opened = gate.get_future();
  std::atomic<bool> left = false;
  const TimerId timer = steward.after(0s, [&] {
    inside.set_value();
    EXPECT_TRUE(arrives(opened));
    left = true;
  });
  ASSERT_TRUE(arrives(entered));
  auto cancelled = std::async(std::launch::async, [&] {
    steward.cancel(timer);
    EXPECT_TRUE(left);
  });
  EXPECT_EQ(cancelled.wait_for(20ms), std::future_status::timeout);
  gate.set_value();
  ASSERT_TRUE(arrives(cancelled));
}

TEST(Steward, IgnoresUnknownIds) {
  Steward steward;
  steward.cancel(TimerId{});
  steward.cancel(TimerId{77});
  steward.unwatch(WatchId{});
  steward.unwatch(WatchId{77});
}

TEST(Steward, TellsOfEachByteAndOfTheEnd) {
  Pipe pipe;  // closed once nobody watches it
  Steward steward;
  std::string seen;
  std::promise<void> end;
  auto ended = end.get_future();
  std::promise<void> first;
  auto got_first = first.get_future();
  steward.watch_readable(pipe.read_end.get(), [&] {
    char byte = 0;
    const ssize_t count = ::read(pipe.read_end.get(), &byte, 1);
    if (count == 1) seen += byte;
    if (seen.size() == 1 && count == 1) first.set_value();
    if (count == 0) end.set_value();
    return count != 0;
  });
  pipe.write('a');
  ASSERT_TRUE(arrives(got_first));
  pipe.write('b');  // two bytes, read one at a time: the second must be told of again
  pipe.write('c');
  pipe.write_end.reset();
  ASSERT_TRUE(arrives(ended));
  EXPECT_EQ(seen, "abc");
}

TEST(Steward, ReturningFalseEndsTheWatchAndTheDescriptorStaysOpen) {
  Pipe pipe;  // closed once nobody watches it
  Steward steward;
  std::atomic<int> calls = 0;
  std::promise<void> called;
  auto future = called.get_future();
  steward.watch_readable(pipe.read_end.get(), [&] {
    if (++calls == 1) called.set_value();
    return false;
  });
  pipe.write('a');
  ASSERT_TRUE(arrives(future));
  pipe.write('b');
  settle(steward);
  EXPECT_EQ(calls, 1);
  EXPECT_GE(::fcntl(pipe.read_end.get(), F_GETFD), 0);
  std::promise<void> again;
  auto watched_again = again.get_future();
  steward.watch_readable(pipe.read_end.get(), [&] {
    again.set_value();
    return false;
  });
  EXPECT_TRUE(arrives(watched_again));
}

TEST(Steward, AWatchThatThrowsEnds) {
  Pipe pipe;  // closed once nobody watches it
  Steward steward;
  std::atomic<int> calls = 0;
  pipe.write('a');
  steward.watch_readable(pipe.read_end.get(), [&]() -> bool {
    ++calls;
    throw std::runtime_error("on purpose");
  });
  std::promise<void> later;
  auto future = later.get_future();
  steward.after(20ms, [&] { later.set_value(); });
  ASSERT_TRUE(arrives(future));
  EXPECT_EQ(calls, 1);
}

TEST(Steward, AWatchDoesNotRunAfterUnwatchReturnedAndTheNumberMayBeReused) {
  Steward steward;
  for (int round = 0; round < 200; ++round) {
    Pipe pipe;
    std::atomic<bool> alive = true;
    const WatchId watch = steward.watch_readable(pipe.read_end.get(), [&] {
      EXPECT_TRUE(alive);
      return true;  // never reads: it is called again and again
    });
    pipe.write('a');
    if (round % 2 == 0) std::this_thread::yield();
    steward.unwatch(watch);
    alive = false;
  }  // the pipe's descriptors are closed here, and used again in the next round
}

TEST(Steward, UnwatchesItselfInsideItsCallback) {
  Pipe pipe;  // closed once nobody watches it
  Steward steward;
  pipe.write('a');
  std::promise<void> done;
  auto future = done.get_future();
  std::atomic<int> calls = 0;
  steward.post([&] {
    auto id = std::make_shared<WatchId>();
    *id = steward.watch_readable(pipe.read_end.get(), [&, id] {
      ++calls;
      steward.unwatch(*id);
      pipe.read_end.reset();
      steward.after(10ms, [&] { done.set_value(); });
      return true;
    });
  });
  ASSERT_TRUE(arrives(future));
  EXPECT_EQ(calls, 1);
}

TEST(Steward, WatchesARegularFileAsAlwaysReadable) {
  const UniqueFd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  Steward steward;
  ASSERT_TRUE(file);
  int calls = 0;
  std::promise<void> done;
  auto future = done.get_future();
  steward.watch_readable(file.get(), [&] {
    if (++calls < 3) return true;
    done.set_value();
    return false;
  });
  EXPECT_TRUE(arrives(future));
}

TEST(Steward, RefusesADescriptorThatIsNotOpen) {
  Steward steward;
  EXPECT_THROW(steward.watch_readable(-1, [] { return false; }), std::system_error);
  EXPECT_THROW(steward.watch_readable(1 << 20, [] { return false; }), std::system_error);
}

TEST(Steward, ReportsAChildsExitStatusAndReapsIt) {
  Steward steward;
  const pid_t child = start_shell("exit 3");
  std::promise<int> status;
  auto future = status.get_future();
  steward.watch_child(child, [&](int wait_status) { status.set_value(wait_status); });
  ASSERT_TRUE(arrives(future));
  const int wait_status = future.get();
  EXPECT_TRUE(WIFEXITED(wait_status));
  EXPECT_EQ(WEXITSTATUS(wait_status), 3);
  EXPECT_EQ(::waitpid(child, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(Steward, ReportsTheSignalThatEndedAChild) {
  Steward steward;
  const pid_t child = start_shell("kill -KILL $$");
  std::promise<int> status;
  auto future = status.get_future();
  steward.watch_child(child, [&](int wait_status) { status.set_value(wait_status); });
  ASSERT_TRUE(arrives(future));
  const int wait_status = future.get();
  EXPECT_TRUE(WIFSIGNALED(wait_status));
  EXPECT_EQ(WTERMSIG(wait_status), SIGKILL);
}

TEST(Steward, WatchesAChildThatHasEndedAlreadyAndReapsNoOther) {
  Steward steward;
  const pid_t other = start_shell("exit 5");
  const pid_t child = start_shell("exit 4");
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(other), &info, WEXITED | WNOWAIT), 0);
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  std::promise<int> status;
  auto future = status.get_future();
  steward.watch_child(child, [&](int wait_status) { status.set_value(wait_status); });
  ASSERT_TRUE(arrives(future));
  EXPECT_EQ(WEXITSTATUS(future.get()), 4);
  int other_status = 0;
  EXPECT_EQ(::waitpid(other, &other_status, WNOHANG), other);
  EXPECT_EQ(WEXITSTATUS(other_status), 5);
}

TEST(Steward, ReportsTheEndOfAProcessThatIsNoChild) {
  Steward steward;
  // A child's child becomes a stranger's when the child ends. No shell: its scripts name descriptors by one digit only,
  // and those may be taken by what other tests left open.
  Pipe pipe;
  Pipe life;  // the stranger ends when we close our end
  const pid_t child = ::fork();
  if (child == 0) {
    life.write_end.reset();
    if (::fork() == 0) {
      const pid_t own = ::getpid();
      char byte = 0;
      if (::write(pipe.write_end.get(), &own, sizeof own) == sizeof own) (void)!::read(life.read_end.get(), &byte, 1);
    }
    ::_exit(0);
  }
  pipe.write_end.reset();
  pid_t stranger = 0;
  ASSERT_EQ(::read(pipe.read_end.get(), &stranger, sizeof stranger), static_cast<ssize_t>(sizeof stranger));
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  std::promise<int> status;
  auto future = status.get_future();
  steward.watch_child(stranger, [&](int wait_status) { status.set_value(wait_status); });
  EXPECT_EQ(future.wait_for(20ms), std::future_status::timeout);
  life.write_end.reset();
  ASSERT_TRUE(arrives(future));
  EXPECT_EQ(future.get(), -1);
}

TEST(Steward, ReportsProcessesThatDoNotExist) {
  Steward steward;
  for (const pid_t nobody : {-1, 0, 0x3fffffff}) {
    std::promise<int> status;
    auto future = status.get_future();
    steward.watch_child(nobody, [&](int wait_status) { status.set_value(wait_status); });
    ASSERT_TRUE(arrives(future)) << nobody;
    EXPECT_EQ(future.get(), -1);
  }
}

TEST(Steward, DropsPendingCallbacksAtItsEndAndTheirCapturesMayCallIt) {
  struct Caller {
    Steward* steward;
    std::atomic<int>* dropped;
    ~Caller() {
      steward->post([] { ADD_FAILURE() << "ran after the end"; });
      steward->cancel(steward->after(0s, [] { ADD_FAILURE() << "ran after the end"; }));
      ++*dropped;
    }
  };
  std::atomic<int> dropped = 0;
  Pipe pipe;
  {
    Steward steward;
    const auto caller = [&] { return std::make_shared<Caller>(&steward, &dropped); };
    steward.after(1h, [c = caller()] { ADD_FAILURE(); });
    steward.every(1h, [c = caller()] { ADD_FAILURE(); });
    steward.watch_readable(pipe.read_end.get(), [c = caller()] {
      ADD_FAILURE();
      return false;
    });
  }
  EXPECT_EQ(dropped, 3);
}

TEST(Steward, ManyThreadsAtOnce) {
  Steward steward;
  std::atomic<int> posted = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int round = 0; round < 100; ++round) {
          Pipe pipe;
          const WatchId watch = steward.watch_readable(pipe.read_end.get(), [] { return true; });
          const TimerId beat = steward.every(100us, [] {});
          steward.post([&] { ++posted; });
          pipe.write('x');
          steward.cancel(beat);
          steward.unwatch(watch);
        }
      });
    }
  }
  settle(steward);
  EXPECT_EQ(posted, 400);
}

}  // namespace
}  // namespace muster::runtime
