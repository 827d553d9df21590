#include <muster/backoff.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using muster::ExponentialBackOff;
using namespace std::chrono_literals;
using Delays = std::vector<std::chrono::nanoseconds>;

TEST(ExponentialBackOff, GrowsByItsFactorUpToTheMost) {
  const Delays delays = ExponentialBackOff{.n = 5, .first_delay = 10ms, .max_delay = 1s, .factor = 4, .jitter = 0};
  EXPECT_EQ(delays, (Delays{10ms, 40ms, 160ms, 640ms, 1s}));
}

TEST(ExponentialBackOff, IsOneDelayUnlessTold) {
  const Delays delays = ExponentialBackOff{};
  EXPECT_EQ(delays, Delays{50ms});
  EXPECT_TRUE(Delays(ExponentialBackOff{.n = 0}).empty());
}

TEST(ExponentialBackOff, NoneIsAboveTheMost) {
  const Delays first = ExponentialBackOff{.n = 2, .first_delay = 20s};
  EXPECT_EQ(first[0], 10s);
  for (const auto delay : Delays(ExponentialBackOff{.n = 2000, .factor = 1e300, .jitter = 3})) {
    EXPECT_LE(delay, 10s);
    EXPECT_GE(delay, 0s);
  }
  const auto most = std::chrono::nanoseconds::max();
  EXPECT_EQ(Delays(ExponentialBackOff{.n = 3, .max_delay = most, .factor = 1e100}).back(), most);
}

TEST(ExponentialBackOff, JitterSpreadsAllButTheFirst) {
  bool below = false, above = false;
  for (int i = 0; i < 200; ++i) {
    const Delays delays = ExponentialBackOff{.n = 2, .first_delay = 100ms, .factor = 2, .jitter = 0.1};
    EXPECT_EQ(delays[0], 100ms);
    EXPECT_GE(delays[1], 180ms);
    EXPECT_LE(delays[1], 220ms);
    below |= delays[1] < 199ms;
    above |= delays[1] > 201ms;
  }
  EXPECT_TRUE(below && above);
}

TEST(ExponentialBackOff, RefusesBadValues) {
  const auto refused = [](ExponentialBackOff backoff, const std::string& field) {
    try {
      const Delays delays = backoff;
      ADD_FAILURE() << field << " was taken";
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(field + " is "), std::string::npos) << error.what();
    }
  };
  refused({.n = -1}, "n");
  refused({.first_delay = -1ns}, "first_delay");
  refused({.max_delay = -1ns}, "max_delay");
  refused({.factor = -0.5}, "factor");
  refused({.factor = std::numeric_limits<double>::quiet_NaN()}, "factor");
  refused({.jitter = -0.1}, "jitter");
  refused({.jitter = std::numeric_limits<double>::infinity()}, "jitter");
}

}  // namespace
