/// @file
/// What tests of channels share.
#pragma once

#include "support.hpp"

#include <muster/remote_channel.hpp>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace muster::test {

/// What every process owns now, to be found again later.
class Owned {
 public:
  Owned() {
    for (const Pid pid : procs()) before_[pid] = debug::values_owned(pid);
  }
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

 private:
  std::map<Pid, std::size_t> before_;
};

inline void kill_worker(Pid pid) {
  const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, pid);
  ASSERT_EQ(::kill(os_pid, SIGKILL), 0);
}

inline bool is_gone(Pid pid) {
  const auto all = procs();
  return std::find(all.begin(), all.end(), pid) == all.end();
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

class Channels : public testing::Test {
 protected:
  Channels() : pids(at_least(2)) {}
  ~Channels() override {
    EXPECT_TRUE(owned.as_before()) << "something is left";
    EXPECT_TRUE(eventually([] { return debug::calls_in_flight(1) == 0; }));
  }
  const std::vector<Pid> pids;
  const Owned owned;
};

/// Waits until another process waits in an operation on a channel: it has asked, and has no answer.
inline bool waits(Pid pid, std::size_t calls = 1) {
  return eventually([&] { return debug::calls_in_flight(pid) >= calls; });
}

}  // namespace muster::test
