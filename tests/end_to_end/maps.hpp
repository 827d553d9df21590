/// @file
/// What tests of pmap share.
#pragma once

#include "support.hpp"
#include "trace.hpp"

#include <muster/pmap.hpp>

#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace muster::test {

class Pmap : public testing::Test {
 protected:
  void SetUp() override { (void)muster::test::at_least(3); }
};

/// 0, 1, 2, ... n - 1.
inline std::vector<int> numbers(int n) {
  std::vector<int> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

inline int twice(int x) { return 2 * x; }

inline std::vector<int> twice_all(int n) {
  auto all = numbers(n);
  for (int& x : all) x *= 2;
  return all;
}

inline int odd_only(int x) {
  if (x % 2 == 0) throw std::runtime_error("even: " + std::to_string(x));
  return x;
}

}  // namespace muster::test
