// Several workers of a host, which its program leads as a group.
#include "ssh_workers.hpp"

#include <algorithm>
#include <set>
#include <sstream>

namespace muster::test {
namespace {

std::set<int> parents_of(const std::vector<Pid>& pids) {
  std::set<int> parents;
  for (const Pid pid : pids) parents.insert(remotecall_fetch([] { return static_cast<int>(::getppid()); }, pid));
  return parents;
}

TEST(SshGroup, WorkersOfOneHostAreStartedTogetherAndEndEachByItself) {
  Exits exits;
  const SshWorkers twelve({{"h1", 12}}, {.exeflags = {"--own"}, .dir = "/usr", .env = {{"A", "its"}}});
  EXPECT_EQ(parents_of(twelve.pids()).size(), 1U);
  const auto its = [] { return std::filesystem::current_path().string() + " " + std::getenv("A"); };
  for (const Pid pid : twelve.pids()) EXPECT_EQ(remotecall_fetch(its, pid), "/usr its");
  remote_do([] { ::_exit(3); }, twelve[0]);
  remote_do([] { ::kill(::getpid(), SIGKILL); }, twelve[1]);
  const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, twelve[2]);
  ASSERT_EQ(lab->run("on", "h1 kill -STOP " + std::to_string(os_pid)).status, 0);
  rmprocs({twelve[2], twelve[3]});
  EXPECT_EQ(exits.of(twelve[0]).exit_status, 3);
  EXPECT_EQ(exits.of(twelve[1]).signal, SIGKILL);
  EXPECT_EQ(exits.of(twelve[2]).signal, SIGKILL) << "it did not leave, and is killed there";
  EXPECT_EQ(exits.of(twelve[3]).exit_status, 0);
  for (std::size_t i = 4; i < 12; ++i) EXPECT_EQ(remotecall_fetch(&myid, twelve[i]), twelve[i]);
}

TEST(SshGroup, WhatEachPrintsIsShownAsItsOwn) {
  const CapturedStderr captured;
  const SshWorkers three({{"h1", 3}});
  constexpr int lines = 2000;
  const auto print = [] {
    for (int i = 0; i < lines; ++i) std::fprintf(stderr, "line %d of %lld\n", i, static_cast<long long>(myid()));
  };
  std::vector<Future<void>> printing;
  for (const Pid pid : three.pids()) printing.push_back(spawnat(pid, print));
  for (const Future<void>& each : printing) each.fetch();
  for (const Pid pid : three.pids()) {
    const std::string number = std::to_string(pid);
    std::string text;
    EXPECT_TRUE(eventually([&] {
      text = captured.text();
      return text.find("line " + std::to_string(lines - 1) + " of " + number + "\n") != std::string::npos;
    }));
    std::size_t at = 0;
    for (int i = 0; i < lines && at != std::string::npos; ++i) {
      std::ostringstream line;
      line << "      From worker " << number << ":\tline " << i << " of " << number << "\n";
      at = text.find(line.str(), at);
    }
    EXPECT_NE(at, std::string::npos) << "a line of worker " << number << " is missing, or not in its place";
  }
}

TEST(SshGroup, WhoLeadsItTakesItAlong) {
  Exits exits;
  const SshWorkers two({{"h1", 2}});
  const auto os_pid = [](Pid pid) { return remotecall_fetch([] { return static_cast<int>(::getpid()); }, pid); };
  const std::vector<int> processes{os_pid(two[0]), os_pid(two[1])};
  const int leader = *parents_of(two.pids()).begin();
  ASSERT_EQ(lab->run("on", "h1 kill -KILL " + std::to_string(leader)).status, 0);
  for (const Pid pid : two.pids()) EXPECT_FALSE(exits.of(pid).expected);
  for (const int process : processes)
    EXPECT_TRUE(eventually([&] { return lab->run("on", "h1 kill -0 " + std::to_string(process)).status != 0; }));
}

TEST(SshGroup, NothingOfItIsLeft) {
  std::string leader;
  {
    const SshWorkers two({{"h1", 2}});
    leader = std::to_string(*parents_of(two.pids()).begin());
    EXPECT_EQ(lab->run("on", "h1 kill -0 " + leader).status, 0);
  }
  EXPECT_TRUE(eventually([&] { return lab->run("on", "h1 kill -0 " + leader).status != 0; }));
}

}  // namespace
}  // namespace muster::test
