/// @file
/// What simulations share: a run that its seed decides, so that one that failed can be told again, step by step.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <sstream>
#include <string>

namespace muster::simulation {

/// Base of a run: its chances, its trace, and the first thing that went wrong.
class SeededRun {
 protected:
  SeededRun(std::uint64_t seed, bool traced) : random_(seed), traced_(traced) {}
  ~SeededRun() = default;

  int between(int low, int high) { return std::uniform_int_distribution(low, high)(random_); }
  bool chance(int percent) { return between(1, 100) <= percent; }
  bool traced() const { return traced_; }
  template <class... Parts>
  void trace(const Parts&... parts) const {
    if (traced_) (std::cerr << ... << parts) << '\n';
  }
  template <class... Parts>
  void fail(const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    if (failure_.empty()) failure_ = text.str();
    trace("FAILED: ", failure_);
  }

  std::mt19937_64 random_;
  std::string failure_;  ///< the first; empty while all is well

 private:
  const bool traced_;
};

/// Runs seeds 1 to `last`; where MUSTER_SEED names one, that one only, with its trace.
/// @param run called with a seed and whether it is traced; returns what went wrong, or nothing
template <class Run>
void run_seeds(std::uint64_t last, const Run& run) {
  if (const char* chosen = std::getenv("MUSTER_SEED")) {
    EXPECT_EQ(run(std::strtoull(chosen, nullptr, 10), true), "");
    return;
  }
  for (std::uint64_t seed = 1; seed <= last; ++seed)
    ASSERT_EQ(run(seed, false), "") << "replay with MUSTER_SEED=" << seed;
}

}  // namespace muster::simulation
