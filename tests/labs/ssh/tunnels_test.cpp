// Hosts whose ports are closed.
#include "ssh_workers.hpp"

#include <gmock/gmock.h>

#include <numeric>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// The hosts take SSH connections and nothing else.
class ClosedPorts {
 public:
  ClosedPorts() {
    for (const char* host : {"h1", "h2"}) rule(host, "add");
  }
  ~ClosedPorts() {
    for (const char* host : {"h1", "h2"}) rule(host, "del");
  }
  ClosedPorts(const ClosedPorts&) = delete;
  ClosedPorts& operator=(const ClosedPorts&) = delete;

 private:
  /// What comes from a port that is no SSH server's finds no way back.
  static void rule(const std::string& host, const std::string& verb) {
    const ShellResult result =
        lab->run("on", host + " ip rule " + verb + " priority 10 ipproto tcp sport 1024-65534 prohibit");
    EXPECT_EQ(result.status, 0) << result.output;
  }
};

TEST(Ssh, AHostIsReachedThroughAnotherOne) {
  const std::string config = lab->home() + "/.ssh/config", subnet = lab->network("subnet");
  const ChangedFile changed(config, text_of(config) + "Host inner\n  HostName " + subnet +
                                        ".12\n  User root\n  ProxyJump h1\nHost nowhere\n  HostName " + subnet +
                                        ".12\n  ProxyJump nobody@h1\n");
  const SshWorkers three({{"inner", 3}}, {.tunnel = true});
  for (const Pid pid : three.pids()) {
    EXPECT_EQ(remotecall_fetch(host_here, pid), "h2");
    EXPECT_THAT(remotecall_fetch([] { return std::string(std::getenv("SSH_CONNECTION")); }, pid),
                StartsWith(subnet + ".11 "));
  }
  EXPECT_THAT(failure_of({"nowhere"}).message,
              AllOf(HasSubstr("on the way there, at h1"), HasSubstr("refused to let nobody in")));
}

// catalogue: 57
TEST(Ssh, ThroughATunnelClosedPortsAreReached) {
  const ClosedPorts closed;
  EXPECT_EQ(failure_of({"h1"}, {.launch_timeout = 4s}).cause, LaunchCause::handshake) << "the ports are not closed";
  const SshWorkers three({{"h1", 2}, "h2"}, {.tunnel = true});
  std::vector<double> numbers(4'000'000);
  std::iota(numbers.begin(), numbers.end(), 0.0);
  const auto echo = [](const std::vector<double>& all) { return all; };
  for (const Pid pid : three.pids()) EXPECT_EQ(remotecall_fetch(echo, pid, numbers), numbers);
  const auto on_h1 = procs(by_host(three.pids())["h1"]);
  ASSERT_EQ(on_h1.size(), 2U);
  EXPECT_EQ(remotecall_fetch([](Pid other) { return remotecall_fetch(&myid, other); }, on_h1[0], on_h1[1]), on_h1[1]);
}

// What comes for the tunnel may be read together with what the worker printed: it is passed on at once all the same.
TEST(Ssh, NothingWaitsInATunnelForMoreToCome) {
  const CapturedStderr captured;
  const SshWorkers one({"h1"}, {.tunnel = true});
  const DeadlineScope deadline(10s);
  const auto print = [] { std::fputs("a line\n", stderr); };
  for (int i = 0; i < 1000; ++i) remotecall_fetch(print, one[0]);
}

TEST(Ssh, AWorkerBehindATunnelListensOnItsLoopbackOnly) {
  const SshWorkers one({"h1"}, {.tunnel = true});
  EXPECT_THROW(addprocs({"h1 10.0.0.1"}, {.tunnel = true}), std::invalid_argument);
  EXPECT_EQ(lab->run("on", "h1 ss -Hltn 'sport >= 1024' | grep -vc '127.0.0.1:'").output, "0\n");
}

TEST(Ssh, WorkersBehindTunnelsOfDifferentHostsSayWhyTheyCantTalk) {
  const SshWorkers two({"h1", "h2"}, {.tunnel = true});
  const auto ask = [](Pid other) { return remotecall_fetch(&myid, other); };
  const auto error = thrown<RemoteException>([&] { remotecall_fetch(ask, two[0], two[1]); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->message(), AllOf(HasSubstr("SshOptions::tunnel"), HasSubstr("loopback only"),
                                      HasSubstr("let the master fetch the value and pass it on")));
  EXPECT_EQ(remotecall_fetch([](Pid from) { return from; }, two[1], remotecall_fetch(&myid, two[0])), two[0])
      << "which it can";
}

}  // namespace
}  // namespace muster::test
