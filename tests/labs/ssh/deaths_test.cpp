// How workers on other hosts end.
#include "ssh_workers.hpp"

#include <gmock/gmock.h>

namespace muster::test {
namespace {

using ::testing::HasSubstr;

TEST(Ssh, HowAWorkerEndedIsKnown) {
  Exits exits;
  const SshWorkers four({{"h1", 4}});
  remote_do([] { ::_exit(3); }, four[0]);
  remote_do([] { ::kill(::getpid(), SIGTERM); }, four[1]);
  rmprocs(four[2]);
  EXPECT_EQ(exits.of(four[0]).exit_status, 3);
  EXPECT_EQ(exits.of(four[0]).host, "h1");
  EXPECT_EQ(exits.of(four[1]).signal, SIGTERM);
  EXPECT_EQ(exits.of(four[2]).exit_status, 0);
  EXPECT_TRUE(exits.of(four[2]).expected);
  EXPECT_EQ(remotecall_fetch(&myid, four[3]), four[3]);
}

TEST(Ssh, AWorkerThatDoesNotLeaveIsKilledThere) {
  Exits exits;
  const std::vector<Pid> one = addprocs({"h1"});
  const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, one[0]);
  ASSERT_EQ(lab->run("on", "h1 kill -STOP " + std::to_string(os_pid)).status, 0);
  rmprocs(one);
  EXPECT_EQ(exits.of(one[0]).signal, SIGKILL);
  EXPECT_NE(lab->run("on", "h1 kill -0 " + std::to_string(os_pid)).status, 0);
}

TEST(Ssh, WorkersEndWithTheirConnection) {
  Exits exits;
  const SshWorkers two({"h1", "h2"});
  auto pids = by_host(two.pids());
  const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, pids["h1"]);
  const Future<void> lost = spawnat(pids["h1"], [] { this_task::sleep_for(patience); });
  lab->end_connections("h1");
  EXPECT_TRUE(thrown<ProcessExitedException>([&] { lost.fetch(); }));
  EXPECT_THAT(exits.of(pids["h1"]).last_output, HasSubstr("the SSH connection is gone"));
  EXPECT_TRUE(eventually([&] { return lab->run("on", "h1 kill -0 " + std::to_string(os_pid)).status != 0; }));
  EXPECT_EQ(remotecall_fetch(&myid, pids["h2"]), pids["h2"]);
}

TEST(Ssh, WorkersEndWithTheirMaster) {
  FILE* const said = ::popen(another_master("wait").c_str(), "re");
  int master = 0, worker = 0;
  ASSERT_EQ(std::fscanf(said, "%d %d", &master, &worker), 2);
  EXPECT_EQ(lab->run("on", "h1 kill -0 " + std::to_string(worker)).status, 0);
  ASSERT_EQ(::kill(master, SIGKILL), 0);
  EXPECT_TRUE(eventually([&] { return lab->run("on", "h1 kill -0 " + std::to_string(worker)).status != 0; }));
  ::pclose(said);
}

TEST(Ssh, AHostThatVanishesTakesItsWorkersOnly) {
  SshLab other(2);
  {
    const SshWorkers three({{"h1", 2}, "h2"});
    auto pids = by_host(three.pids());
    const Future<void> lost = spawnat(pids["h1"], [] { this_task::sleep_for(patience); });
    ASSERT_EQ(other.run("kill", "h1").status, 0);
    EXPECT_TRUE(thrown<ProcessExitedException>([&] { lost.fetch(); }));
    EXPECT_EQ(remotecall_fetch(host_here, pids["h2"]), "h2");
    EXPECT_TRUE(eventually([&] { return other_procs() == std::vector<Pid>{pids["h2"]}; }));
  }
  ::setenv("HOME", lab->home().c_str(), 1);
}

TEST(Ssh, AHostThatIsHeardOfNoMoreIsGivenUp) {
  SshLab other(2);
  {
    const SshWorkers two({"h1", "h2"});
    auto pids = by_host(two.pids());
    const Future<void> lost = spawnat(pids["h1"], [] { this_task::sleep_for(10 * patience); });
    ASSERT_EQ(other.run("cut", "h1").status, 0);
    EXPECT_TRUE(thrown<ProcessExitedException>([&] { lost.fetch(); }));
    EXPECT_EQ(remotecall_fetch(host_here, pids["h2"]), "h2");
  }
  ::setenv("HOME", lab->home().c_str(), 1);
}

}  // namespace
}  // namespace muster::test
