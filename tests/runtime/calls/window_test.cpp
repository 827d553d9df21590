#include "runtime/calls/window.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <deque>

namespace {

using muster::runtime::Window;
using namespace std::chrono_literals;

// A worker that runs calls one by one, kept as full as its window allows.
struct Worker {
  Window window;
  std::chrono::nanoseconds round_trip{};
  Window::Clock::time_point now{std::chrono::hours(1)};
  Window::Clock::time_point free_at{};
  std::deque<Window::Clock::time_point> arrivals{};

  void fill() {
    while (window.room()) {
      window.sent(now);
      arrivals.push_back(now + round_trip / 2);
    }
  }
  void run(int calls, std::chrono::nanoseconds each) {
    for (int i = 0; i < calls; ++i) {
      fill();
      free_at = std::max(free_at, arrivals.front()) + each;
      arrivals.pop_front();
      now = free_at + round_trip / 2;
      window.completed(now);
    }
  }
};

TEST(Window, StartsWithEightWaiting) {
  Window window;
  EXPECT_EQ(window.size(), 9u);
  EXPECT_EQ(window.outstanding(), 0u);
  for (int i = 0; i < 9; ++i) {
    EXPECT_TRUE(window.room());
    window.sent({});
  }
  EXPECT_FALSE(window.room());
  EXPECT_EQ(window.size(), 9u);
}

TEST(Window, TinyCallsGetHundreds) {
  Worker worker{Window()};
  worker.run(200, 1us);
  EXPECT_GE(worker.window.size(), 300u);
  EXPECT_LE(worker.window.size(), 600u);
  EXPECT_EQ(worker.window.service_time(), 1us);
}

TEST(Window, NeverMoreThanItsBound) {
  Worker worker{Window()};
  worker.run(3000, 1ns);
  EXPECT_EQ(worker.window.size(), Window::most);
}

TEST(Window, LongCallsHaveEightWaiting) {
  for (const auto each : {std::chrono::nanoseconds(500us), std::chrono::nanoseconds(3s)}) {
    Worker worker{Window()};
    worker.run(10, each);
    EXPECT_EQ(worker.window.size(), 9u);
  }
}

TEST(Window, FollowsWhenCallsChange) {
  Worker worker{Window()};
  worker.run(1000, 2us);
  EXPECT_GT(worker.window.size(), 100u);
  worker.run(40, 5ms);
  EXPECT_EQ(worker.window.size(), 9u);
  worker.run(100, 2us);
  EXPECT_GT(worker.window.size(), 100u);
}

TEST(Window, GrowsOverARoundTripThatItIsTold) {
  Worker worker{Window(), 5ms};
  worker.window.round_trip(5ms);
  worker.run(2000, 100us);
  EXPECT_EQ(worker.window.size(), 1u + 55u);
}

TEST(Window, GrowsOverARoundTripThatItIsNotTold) {
  Worker worker{Window(), 200us};
  worker.run(3000, 2us);
  EXPECT_GT(worker.window.size(), 100u);
}

TEST(Window, FillsALongLinkAfterOneRoundTrip) {
  Worker worker{Window(), 100ms};
  const auto start = worker.now;
  worker.run(250, 10ms);
  EXPECT_LT(worker.now - start, 250 * 10ms + 250ms) << "one round trip, and what it takes to learn";
  EXPECT_GE(worker.window.size(), 11u);
  EXPECT_LE(worker.window.size(), 16u);
}

TEST(Window, FillsALongLinkAlsoWhenCallsSentTogetherAreSentOneAfterTheOther) {
  Window window;
  const Window::Clock::time_point start{std::chrono::hours(1)};
  for (int i = 0; i < 5; ++i) window.sent(start + i * 20us);
  for (int i = 1; i <= 5; ++i) window.completed(start + 100ms + i * 10ms);
  EXPECT_GE(window.size(), 11u);
}

TEST(Window, ALongFirstCallIsNotTakenForALongWay) {
  Worker worker{Window()};
  worker.run(1, 1s);
  worker.run(200, 1ms);
  EXPECT_LE(worker.window.size(), 10u);
}

TEST(Window, FourAnswersAtOnceAreNotTakenForTinyCalls) {
  Window window;
  Window::Clock::time_point now{std::chrono::hours(1)};
  for (int burst = 0; burst < 10; ++burst) {
    while (window.room()) window.sent(now);
    now += 2ms;
    for (int i = 0; i < 4; ++i) {
      window.completed(now);
      EXPECT_LE(window.size(), 12u);
    }
  }
}

TEST(Window, AnswersThatACallerSawLateAreNotTakenForTinyCalls) {
  Window window;
  window.round_trip(100us);
  Window::Clock::time_point now{std::chrono::hours(1)};
  for (int look = 0; look < 20; ++look) {
    while (window.room()) window.sent(now);
    now += 9ms;
    for (int i = 0; i < 9; ++i) {
      now += 3us;
      window.completed(now);
      EXPECT_LE(window.size(), 10u) << "look " << look << ", answer " << i;
    }
  }
  EXPECT_GT(window.service_time(), 900us);
  EXPECT_LT(window.service_time(), 1200us);
}

TEST(Window, TinyCallsNearbyGetHundreds) {
  Worker worker{Window(), 50us};
  worker.window.round_trip(100us);
  worker.run(1000, 1us);
  EXPECT_GE(worker.window.size(), 500u);
  EXPECT_LE(worker.window.size(), 700u);
  worker.run(20, 5ms);
  EXPECT_LE(worker.window.size(), 10u);
  worker.run(200, 1us);
  EXPECT_GE(worker.window.size(), 300u);
}

TEST(Window, IdleTimeIsNotServiceTime) {
  Worker worker{Window()};
  worker.run(100, 10us);
  const std::size_t before = worker.window.size();
  while (worker.window.outstanding() != 0) {
    worker.now += 10us;
    worker.window.completed(worker.now);
  }
  worker.arrivals.clear();
  worker.now += 1h;
  worker.window.sent(worker.now);
  worker.window.completed(worker.now += 10us);
  EXPECT_EQ(worker.window.size(), before);
}

TEST(Window, WithdrawnCallsMakeRoom) {
  Window window;
  for (int i = 0; i < 5; ++i) window.sent({});
  window.withdrew();
  EXPECT_EQ(window.outstanding(), 4u);
  EXPECT_TRUE(window.room());
  EXPECT_EQ(window.service_time(), 0ns);
}

TEST(Window, EveryThreadOfTheWorkerHasItsCall) {
  Window window(500us, 8);
  EXPECT_EQ(window.size(), 16u);
  for (int i = 0; i < 9; ++i) window.sent({});
  for (int i = 1; i <= 9; ++i) window.completed(Window::Clock::time_point(i * 10ms));
  EXPECT_EQ(window.size(), 16u);
}

}  // namespace
