// A session that encrypts every link over ZeroMQ, the one to processes of the same host included.
#include "support.hpp"

#include <cstdlib>
#include <numeric>

namespace muster::test {
namespace {

TEST(Encryption, WorkersComputeAndTalkToEachOtherEncrypted) {
  const OwnWorkers two(2);
  EXPECT_EQ(remotecall_fetch([](int a, int b) { return a * b; }, two[0], 6, 7), 42);
  const auto sum_from_there = [](Pid there, const std::vector<double>& numbers) {
    return remotecall_fetch([](const std::vector<double>& all) { return std::accumulate(all.begin(), all.end(), 0.0); },
                            there, numbers);
  };
  EXPECT_EQ(remotecall_fetch(sum_from_there, two[1], two[0], std::vector<double>(2'000'000, 0.5)), 1'000'000.0);
  for (const Pid pid : procs()) {
    for (const debug::LinkInfo& link : debug::links(pid)) {
      EXPECT_EQ(link.lane, "zmq-tcp");
      EXPECT_TRUE(link.encrypted) << "between " << pid << " and " << link.peer;
    }
  }
  EXPECT_EQ(debug::links(two[1]).size(), 2U) << "with the master and the other worker";
}

TEST(Encryption, ADeathIsNoticedAsEver) {
  const OwnWorkers one(1);
  const Future<void> lost = spawnat(one[0], [] { this_task::sleep_for(patience); });
  kill_worker(one[0]);
  EXPECT_TRUE(thrown<ProcessExitedException>([&] { lost.fetch(); }));
}

}  // namespace
}  // namespace muster::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  ::setenv("MUSTER_LANE", "zmq", 1);
  const muster::Session session(argc, argv, {.encryption = muster::Encryption::On});
  return RUN_ALL_TESTS();
}
