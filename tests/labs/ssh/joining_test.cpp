// Workers on hosts with real SSH servers, in namespaces of this machine: how they join, and what they find there.
#include "ssh_workers.hpp"

#include <gmock/gmock.h>

#include <memory>
#include <set>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// catalogue: 64
TEST(Ssh, TwoHostsOfTwoWorkersComputeAndTalkToEachOther) {
  const SshWorkers four({{"h1", 2}, {"h2", 2}});
  ASSERT_EQ(four.pids().size(), 4U);
  std::multiset<std::string> hosts;
  for (const Pid pid : four.pids()) hosts.insert(remotecall_fetch(host_here, pid));
  EXPECT_THAT(hosts, ElementsAre("h1", "h1", "h2", "h2"));
  const auto ask = [](Pid other) { return remotecall_fetch(&myid, other); };
  for (const Pid from : four.pids())
    for (const Pid to : four.pids()) EXPECT_EQ(remotecall_fetch(ask, from, to), to) << "from " << from;
  for (const Pid pid : four.pids()) {
    EXPECT_EQ(procs(pid).size(), 2U) << "hosts are told apart";
    for (const debug::LinkInfo& link : debug::links(pid)) {
      const bool same_host = check_same_host({pid, link.peer});
      EXPECT_EQ(link.lane, same_host ? test::lane_within_a_host() : "zmq-tcp") << pid << " to " << link.peer;
      EXPECT_EQ(link.encrypted, !same_host) << pid << " to " << link.peer;
    }
  }
  EXPECT_EQ(pmap([](int x) { return x * x; }, std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8}).back(), 64);
}

TEST(Ssh, LocalWorkersAndThoseOnHostsReachEachOther) {
  const OwnWorkers here(1);
  const SshWorkers there({"h1"});
  const OwnWorkers later(1);
  const auto ask = [](Pid other) { return remotecall_fetch(&myid, other); };
  for (const auto& [from, to] : {std::pair(here[0], there[0]), std::pair(there[0], here[0]),
                                 std::pair(later[0], there[0]), std::pair(there[0], later[0])})
    EXPECT_EQ(remotecall_fetch(ask, from, to), to) << "from " << from;
}

// catalogue: 46, 55, 56
TEST(Ssh, AutoIsItsHardwareThreadsAndMoreThanOneConnectionHolds) {
  const SshWorkers threads({{"h1", Auto}});
  EXPECT_EQ(threads.pids().size(), static_cast<std::size_t>(std::max(1U, std::thread::hardware_concurrency())));
  // A program that was named may be any, so that each of its workers is a command of its own.
  const SshWorkers many({{"h2", 10}}, {.exename = program_here(), .max_parallel = 1});
  EXPECT_EQ(many.pids().size(), 10U);
}

// catalogue: 54
TEST(Ssh, TheSameMachineTwiceCountsTogether) {
  const std::string address = lab->network("subnet") + ".11";
  const SshWorkers nine({"h1", {"h1", 2}, "root@h1", "h1:22", {address, 3}, "h1"});
  ASSERT_EQ(nine.pids().size(), 9U);
  for (const Pid pid : nine.pids()) EXPECT_EQ(remotecall_fetch(&workers, pid), nine.pids());
}

// catalogue: 44
TEST(Ssh, DirectoryEnvironmentAndArgumentsAreAsAsked) {
  ::setenv("MUSTER_TEST_VARIABLE", "comes along", 1);
  ::setenv("OTHER_TEST_VARIABLE", "stays here", 1);
  const std::string odd = "it's \"$HOME\"\nand `more`";
  const SshWorkers one({"h1"}, {.exeflags = {"an argument", "--its=own"}, .dir = "/usr", .env = {{"ODD", odd}}});
  const auto variable = [](const std::string& name) {
    const char* const value = std::getenv(name.c_str());
    return std::string(value != nullptr ? value : "none");
  };
  const auto its = [&](const std::string& name) { return remotecall_fetch(variable, one[0], name); };
  EXPECT_EQ(its("ODD"), odd);
  EXPECT_EQ(its("MUSTER_TEST_VARIABLE"), "comes along");
  EXPECT_EQ(its("OTHER_TEST_VARIABLE"), "none");
  EXPECT_EQ(its("OMP_NUM_THREADS"), "1");
  ::unsetenv("MUSTER_TEST_VARIABLE");
  EXPECT_EQ(remotecall_fetch([] { return std::filesystem::current_path().string(); }, one[0]), "/usr");
  const std::string command = remotecall_fetch(
      [] {
        std::ifstream file("/proc/self/cmdline");
        return std::string(std::istreambuf_iterator<char>(file), {});
      },
      one[0]);
  EXPECT_THAT(command, AllOf(HasSubstr("an argument"), HasSubstr("--its=own")));
  EXPECT_EQ(command.find("ODD"), std::string::npos) << "others there can read command lines";
}

TEST(Ssh, AManagerMayBeMadeAndUsedAgain) {
  const auto manager = std::make_shared<SshManager>(
      std::vector<Machine>{"h1"}, SshOptions{.exeflags = {"--own"}, .dir = "/usr", .env = {{"A", "its"}}});
  EXPECT_THROW(SshManager({"h1"}, {.max_parallel = 0}), std::invalid_argument);
  const auto its = [] { return std::filesystem::current_path().string() + " " + std::getenv("A"); };
  for (const auto& [options, expected] :
       {std::pair(AddprocsOptions(), "/usr its"),
        std::pair(AddprocsOptions{.dir = "/etc", .env = {{"A", "ours"}}}, "/etc ours")}) {
    const std::vector<Pid> one = addprocs(manager, options);
    EXPECT_EQ(remotecall_fetch(its, one.at(0)), expected);
    rmprocs(one);
  }
}

// catalogue: 59, 61, 62
TEST(Ssh, WorkersListenWhereTheMachineSays) {
  const std::string address = lab->network("subnet") + ".11";
  const SshWorkers two({Machine("2*root@h1:22 " + address + ":[29345]"), Machine("h1 " + address + ":29345")});
  EXPECT_EQ(two.pids().size(), 3U);
  EXPECT_EQ(lab->run("on", "h1 bash -c 'exec 3<>/dev/tcp/" + address + "/29345'").status, 0);
}

// catalogue: 58
TEST(Ssh, AConnectionEndsWithItsLastWorker) {
  const auto connections = [] { return lab->run("on", "h1 pgrep -f sshd:.root").output; };
  {
    const SshWorkers two({{"h1", 2}});
    EXPECT_NE(connections(), "");
    rmprocs(two[0]);
    EXPECT_NE(connections(), "");
  }
  EXPECT_TRUE(eventually([&] { return connections().empty(); }));
}

TEST(Ssh, WhatWorkersPrintIsShownHere) {
  const CapturedStderr captured;
  const SshWorkers one({"h1"});
  remotecall_fetch([] { std::fputs("a word of warning\n", stderr); }, one[0]);
  const std::string line = "      From worker " + std::to_string(one[0]) + ":\ta word of warning\n";
  EXPECT_TRUE(eventually([&] { return captured.text().find(line) != std::string::npos; })) << captured.text();
}

TEST(Ssh, AFileOfMachinesIsTakenFromTheCommandLine) {
  const std::string file = lab->directory() + "/machines";
  std::ofstream(file) << "# two and one\n2*h1\n\nroot@h2\n";
  const ShellResult listed = shell(another_master("list", "--muster-machine-file " + file));
  EXPECT_EQ(listed.status, 0) << listed.output;
  EXPECT_EQ(listed.output, "h1 h1 h2 \n");
}

}  // namespace
}  // namespace muster::test
