// Workers that a real Grid Engine starts, on hosts made of namespaces.
#include "../../end_to_end/support.hpp"
#include "../ssh/ssh_lab.hpp"

#include <gmock/gmock.h>

#include <memory>
#include <set>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// Up for all tests.
class GridEngine {
 public:
  GridEngine() {
    char name[] = "/tmp/muster-ge.XXXXXX";
    directory_ = std::string(::mkdtemp(name));
    const ShellResult up = lab("up", "2 " + std::to_string(::getpid()));
    if (up.status != 0) throw std::runtime_error("the lab did not come up: " + up.output);
  }
  ~GridEngine() {
    (void)lab("down");
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  GridEngine(const GridEngine&) = delete;
  GridEngine& operator=(const GridEngine&) = delete;
  ShellResult lab(const std::string& verb, const std::string& arguments = {}) const {
    return shell(std::string(MUSTER_GRID_ENGINE_LAB) + " " + verb + " " + directory_ + "/lab " + arguments);
  }
  ScriptOptions options() const {
    ScriptOptions options = ScriptOptions::grid_engine();
    const std::string names = std::string(MUSTER_GRID_ENGINE_LAB) + " exec " + directory_ + "/lab ";
    options.submit = names + options.submit;
    options.cancel = names + options.cancel;
    options.state = names + options.state;
    options.shared_directory = directory_;
    return options;
  }
  std::string queue() const { return lab("exec", "qstat").output; }

 private:
  std::string directory_;
};

std::unique_ptr<GridEngine> grid;

std::string host_here() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

TEST(GridEngine, AnArrayOfWorkersJoinsComputesAndIsGone) {
  const std::vector<Pid> pids =
      addprocs(std::make_shared<ScriptManager>(4, grid->options()), {.env = {{"OF_ITS_OWN", "a value"}}});
  ASSERT_EQ(pids.size(), 4U);
  std::multiset<std::string> hosts, tasks;
  for (const Pid pid : pids) {
    hosts.insert(remotecall_fetch(host_here, pid));
    tasks.insert(remotecall_fetch([] { return std::string(std::getenv("SGE_TASK_ID")); }, pid));
    EXPECT_EQ(remotecall_fetch([] { return std::string(std::getenv("OF_ITS_OWN")); }, pid), "a value");
  }
  EXPECT_EQ(hosts, (std::multiset<std::string>{"e1", "e1", "e2", "e2"}));
  EXPECT_EQ(tasks, (std::multiset<std::string>{"1", "2", "3", "4"}));
  for (const debug::LinkInfo& link : debug::links(1)) EXPECT_TRUE(link.encrypted) << "to " << link.peer;
  const auto ask = [](Pid other) { return remotecall_fetch(&myid, other); };
  for (const Pid to : pids) EXPECT_EQ(remotecall_fetch(ask, pids[0], to), to);
  EXPECT_EQ(pmap([](int x) { return x * x; }, std::vector<int>{1, 2, 3, 4, 5}).back(), 25);
  EXPECT_NE(grid->queue(), "");
  rmprocs(pids);
  EXPECT_TRUE(eventually([] { return grid->queue().empty(); })) << grid->queue();
}

TEST(GridEngine, AJobThatIsDeletedIsTheEndOfItsWorkers) {
  const std::vector<Pid> two = addprocs(std::make_shared<ScriptManager>(2, grid->options()));
  const std::string queue = grid->queue();
  const Future<void> waiting = spawnat(two[0], [] { this_task::sleep_for(patience); });
  (void)grid->lab("exec", "qdel -u root");
  EXPECT_TRUE(thrown<ProcessExitedException>([&] { waiting.fetch(); })) << queue;
  EXPECT_TRUE(eventually([] { return other_procs().empty(); }));
}

TEST(GridEngine, AJobThatWaitsTooLongIsToldAboutAndCancelled) {
  ScriptOptions options = grid->options();
  options.directives = {"#$ -h"};  // held: it waits until somebody releases it
  const auto error =
      thrown<LaunchError>([&] { (void)addprocs(std::make_shared<ScriptManager>(1, options), {.launch_timeout = 5s}); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), AllOf(HasSubstr("job "), HasSubstr("The batch system said of it")));
  EXPECT_TRUE(eventually([] { return grid->queue().empty(); })) << grid->queue();
}

TEST(GridEngine, WhatItRefusesIsTold) {
  ScriptOptions options = grid->options();
  options.directives = {"#$ -q no_such_queue"};
  const auto error = thrown<LaunchError>([&] { (void)addprocs(std::make_shared<ScriptManager>(1, options)); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), HasSubstr("no_such_queue"));
}

}  // namespace
}  // namespace muster::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const muster::Session session(argc, argv);
  if (const auto can = muster::test::shell(std::string(MUSTER_GRID_ENGINE_LAB) + " check"); can.status != 0) {
    std::fprintf(stderr, "SKIPPED: tests with Grid Engine can't have one here: %s", can.output.c_str());
    return 77;
  }
  muster::test::grid = std::make_unique<muster::test::GridEngine>();
  const int result = RUN_ALL_TESTS();
  muster::test::grid.reset();
  return result;
}
