/// @file
/// What end-to-end tests share.
#pragma once

#include <muster/muster.hpp>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
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

/// What carries links within a host, as debug::links tells it: the tests run over each lane.
inline std::string lane_within_a_host() {
  const char* const chosen = std::getenv("MUSTER_LANE");
  return chosen != nullptr && std::string(chosen) == "zmq" ? "zmq-tcp" : "shm";
}

/// Bytes that those workers sent to each other.
inline std::uint64_t sent_between(const std::vector<Pid>& pids) {
  std::uint64_t sent = 0;
  for (const Pid pid : pids)
    for (const auto& link : debug::links(pid))
      if (link.peer != 1) sent += link.bytes_sent;
  return sent;
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

/// Ends a worker without a word to it.
inline void kill_worker(Pid pid) {
  const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, pid);
  ASSERT_EQ(::kill(os_pid, SIGKILL), 0);
}

/// Stops a process, and waits until it stands still.
inline void stop_process(int os_pid) {
  ASSERT_EQ(::kill(os_pid, SIGSTOP), 0);
  ASSERT_TRUE(eventually([os_pid] {
    for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(os_pid) + "/task")) {
      std::ifstream in(thread.path() / "stat");
      std::string stat;
      std::getline(in, stat);
      const auto name_end = stat.rfind(')');
      if (name_end == std::string::npos || stat.substr(name_end, 3) != ") T") return false;
    }
    return true;
  }));
}

/// What every process owns now, to be found again later.
class Owned {
 public:
  Owned() {
    for (const Pid pid : procs()) before_[pid] = debug::values_owned(pid);
  }
  /// Values that process keeps beyond those at the start.
  std::size_t more_on(Pid pid) const { return debug::values_owned(pid) - before_.at(pid); }
  /// Whether all that was kept is freed within the time API.md names; machines that are busy get more.
  bool as_before() const {
    return eventually(
        [this] {
          for (const auto& [pid, count] : before_)
            if (debug::values_owned(pid) != count) return false;
          return true;
        },
        10s);
  }
  /// For people: what each process owned, and owns.
  std::string difference() const {
    std::string text;
    for (const auto& [pid, count] : before_)
      text +=
          " " + std::to_string(pid) + ": " + std::to_string(count) + " -> " + std::to_string(debug::values_owned(pid));
    return text;
  }

 private:
  std::map<Pid, std::size_t> before_;
};

/// What this process writes to standard error, readable at any time; GoogleTest's own capture must end to be read.
class CapturedStderr {
 public:
  CapturedStderr() : before_(::dup(STDERR_FILENO)), memory_(::memfd_create("stderr", MFD_CLOEXEC)) {
    (void)::fcntl(memory_, F_SETFL, O_APPEND);  // else two threads may write to one place of it
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
