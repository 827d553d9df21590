/// @file
/// What end-to-end tests share.
#pragma once

#include <muster/muster.hpp>

#include <gtest/gtest.h>

#include <sys/mman.h>
#include <unistd.h>

#include <array>
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

/// What this process writes to standard error, readable at any time; GoogleTest's own capture must end to be read.
class CapturedStderr {
 public:
  CapturedStderr() : before_(::dup(STDERR_FILENO)), memory_(::memfd_create("stderr", MFD_CLOEXEC)) {
    ::dup2(memory_, STDERR_FILENO);
  }
  ~CapturedStderr() {
    ::dup2(before_, STDERR_FILENO);
    ::close(before_);
    ::close(memory_);
  }
  CapturedStderr(const CapturedStderr&) = delete;
  CapturedStderr& operator=(const CapturedStderr&) = delete;

  std::string text() const {
    std::string all;
    std::array<char, 4096> part{};
    for (ssize_t got = 0; (got = ::pread(memory_, part.data(), part.size(), static_cast<off_t>(all.size()))) > 0;)
      all.append(part.data(), static_cast<std::size_t>(got));
    return all;
  }

 private:
  int before_;
  int memory_;
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
