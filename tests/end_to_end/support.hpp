/// @file
/// What end-to-end tests share.
#pragma once

#include <muster/muster.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace muster::test {

using namespace std::chrono_literals;

/// Long enough for anything that happens at all, also under sanitizers beside other work.
inline constexpr std::chrono::nanoseconds patience = 30s;

/// Whether that becomes true in time.
template <class Predicate>
bool eventually(Predicate&& predicate, std::chrono::nanoseconds limit = patience) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!predicate()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

/// At least that many workers, which tests of one program share.
inline std::vector<Pid> at_least(int count) {
  const int have = static_cast<int>(other_procs().size());
  if (have < count) (void)addprocs(count - have);
  return workers();
}

/// Workers of a test's own; gone at its end.
class OwnWorkers {
 public:
  explicit OwnWorkers(int count, const AddprocsOptions& options = {}) : pids_(addprocs(count, options)) {}
  ~OwnWorkers() { rmprocs(pids_); }
  OwnWorkers(const OwnWorkers&) = delete;
  OwnWorkers& operator=(const OwnWorkers&) = delete;

  const std::vector<Pid>& pids() const { return pids_; }
  Pid operator[](std::size_t index) const { return pids_[index]; }

 private:
  std::vector<Pid> pids_;
};

/// The exception f() throws, as that type; anything else fails the test.
template <class E, class F>
std::optional<E> thrown(F&& f) {
  try {
    f();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const E& error) {
    return error;
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another exception: " << error.what();
  }
  return std::nullopt;
}

}  // namespace muster::test
