/// @file
/// What tests of channels share.
#pragma once

#include "support.hpp"

#include <muster/remote_channel.hpp>

#include <algorithm>
#include <vector>

namespace muster::test {

inline bool is_gone(Pid pid) {
  const auto all = procs();
  return std::find(all.begin(), all.end(), pid) == all.end();
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

/// Waits until what a process asked of a channel, and waits for, is known to the channel.
inline void asked(Pid pid, const RemoteChannel<int>& channel) {
  ASSERT_TRUE(waits(pid));
  // A second task runs there once the first is blocked, and its question comes after that one's.
  (void)remotecall_fetch([](const RemoteChannel<int>& c) { return c.isready(); }, pid, channel);
}

}  // namespace muster::test
