// Workers that mpirun starts, Open MPI's and MPICH's, and programs whose rank 0 is the master.
#include "support.hpp"

#include <gmock/gmock.h>

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <set>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Launcher {
  const char* name;
  const char* command;
  const char* rank;  ///< the variable it tells a rank's number in
  std::vector<std::string> flags;
};

class Mpi : public ::testing::TestWithParam<Launcher> {
 protected:
  static std::vector<Pid> add(int n, const AddprocsOptions& options = {}) {
    return addprocs(
        std::make_shared<MpiManager>(n, MpiOptions{.launcher = GetParam().command, .flags = GetParam().flags}),
        options);
  }
};

std::string variable(const std::string& name) {
  const char* const value = std::getenv(name.c_str());
  return value != nullptr ? value : "none";
}

std::string said_by(const std::string& command, int& status) {
  FILE* const pipe = ::popen((command + " 2>&1").c_str(), "re");
  std::string text;
  std::array<char, 4096> part{};
  while (const std::size_t got = std::fread(part.data(), 1, part.size(), pipe)) text.append(part.data(), got);
  const int ended = ::pclose(pipe);
  status = WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
  return text;
}

TEST_P(Mpi, RanksAreWorkers) {
  const std::vector<Pid> pids = add(3, {.env = {{"OF_ITS_OWN", "a value"}}});
  ASSERT_EQ(pids.size(), 3U);
  std::set<std::string> ranks;
  for (const Pid pid : pids) {
    ranks.insert(remotecall_fetch(variable, pid, std::string(GetParam().rank)));
    EXPECT_EQ(remotecall_fetch(variable, pid, std::string("OF_ITS_OWN")), "a value");
    EXPECT_EQ(remotecall_fetch(variable, pid, std::string("OMP_NUM_THREADS")), "1");
  }
  EXPECT_EQ(ranks, (std::set<std::string>{"0", "1", "2"}));
  EXPECT_EQ(remotecall_fetch([](Pid other) { return remotecall_fetch(&myid, other); }, pids[0], pids[2]), pids[2]);
  EXPECT_EQ(pmap([](int x) { return x * x; }, std::vector<int>{1, 2, 3, 4}), (std::vector<int>{1, 4, 9, 16}));
  rmprocs(pids);
}

TEST_P(Mpi, WhatARankPrintsIsShownAsItsWorkers) {
  const CapturedStderr captured;
  const std::vector<Pid> pids = add(2);
  for (const Pid pid : pids)
    remotecall_fetch([](Pid self) { std::fprintf(stderr, "the words of %d\n", self); }, pid, pid);
  for (const Pid pid : pids) {
    const std::string line =
        "      From worker " + std::to_string(pid) + ":\tthe words of " + std::to_string(pid) + "\n";
    EXPECT_TRUE(eventually([&] { return captured.text().find(line) != std::string::npos; })) << captured.text();
  }
  rmprocs(pids);
}

TEST_P(Mpi, NoLauncherIsLeftWhenItsWorkersAreGone) {
  const std::vector<Pid> pids = add(2);
  const auto parent_of = [] { return static_cast<int>(::getppid()); };
  const int parent = remotecall_fetch(parent_of, pids[0]);
  EXPECT_EQ(::kill(parent, 0), 0);
  rmprocs(pids[0]);
  EXPECT_EQ(remotecall_fetch(&myid, pids[1]), pids[1]) << "one that leaves takes nobody along";
  rmprocs(pids[1]);
  EXPECT_TRUE(eventually([&] { return ::kill(parent, 0) != 0; }));
}

TEST_P(Mpi, AProgramThatIsNotThereIsAnErrorWithTheLaunchersWords) {
  const auto error = thrown<LaunchError>([&] { (void)add(2, {.exename = "/no/such/program"}); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->failures().size(), 2U);
  EXPECT_THAT(error->what(), AllOf(HasSubstr(GetParam().command), HasSubstr("/no/such/program")));
  const auto flag = thrown<LaunchError>([&] {
    (void)addprocs(std::make_shared<MpiManager>(
        1, MpiOptions{.launcher = GetParam().command, .flags = {"--no-such-flag-at-all"}}));
  });
  ASSERT_TRUE(flag);
  EXPECT_THAT(flag->what(), HasSubstr("no-such-flag-at-all"));
}

TEST_P(Mpi, AProgramUnderItHasRankZeroForItsMaster) {
  std::string command = "MPI_TEST_ROLE=master " + std::string(GetParam().command) + " -n 4";
  for (const std::string& flag : GetParam().flags) command += " " + flag;
  int status = 0;
  const std::string said =
      said_by(command + " " + std::filesystem::read_symlink("/proc/self/exe").string() + " --muster-mpi auto", status);
  EXPECT_EQ(status, 0) << said;
  EXPECT_THAT(said, HasSubstr("3 workers, sum 6\n")) << "one master, and every other rank its worker";
}

INSTANTIATE_TEST_SUITE_P(
    Launchers, Mpi,
    ::testing::Values(Launcher{"OpenMpi", "mpirun.openmpi", "OMPI_COMM_WORLD_RANK", {"--oversubscribe"}},
                      Launcher{"Mpich", "mpiexec.mpich", "PMI_RANK", {}}),
    [](const auto& which) { return std::string(which.param.name); });

TEST(MpiLauncher, OneRankThatDiesIsOneWorkerLess) {
  const std::vector<Pid> pids =
      addprocs(std::make_shared<MpiManager>(3, MpiOptions{.launcher = "mpirun.openmpi", .flags = {"--oversubscribe"}}));
  kill_worker(pids[1]);
  EXPECT_TRUE(eventually([&] { return other_procs() == std::vector<Pid>{pids[0], pids[2]}; }));
  EXPECT_EQ(remotecall_fetch(&myid, pids[0]), pids[0]);
  EXPECT_EQ(remotecall_fetch(&myid, pids[2]), pids[2]);
  rmprocs(pids);
}

TEST(MpiLauncher, ARankOfThisHostThatHangsIsKilledAlone) {
  const std::vector<Pid> pids =
      addprocs(std::make_shared<MpiManager>(2, MpiOptions{.launcher = "mpirun.openmpi", .flags = {"--oversubscribe"}}));
  const auto os_pid = [] { return static_cast<int>(::getpid()); };
  const int stopped = remotecall_fetch(os_pid, pids[0]);
  stop_process(stopped);
  rmprocs(pids[0], {.waitfor = 20s});
  EXPECT_EQ(other_procs(), std::vector<Pid>{pids[1]});
  EXPECT_TRUE(eventually([&] { return ::kill(stopped, 0) != 0; })) << "nothing is left of it";
  EXPECT_EQ(remotecall_fetch([] { return 1; }, pids[1]), 1);
  rmprocs(pids[1]);
}

TEST(MpiLauncher, OneThatIsNoneIsAnError) {
  for (const auto& [launcher, words] :
       {std::pair("/no/such/mpiexec", "/no/such/mpiexec"), std::pair("/bin/ls", "neither Open MPI's mpiexec")}) {
    const auto error =
        thrown<LaunchError>([&] { (void)addprocs(std::make_shared<MpiManager>(1, MpiOptions{.launcher = launcher})); });
    ASSERT_TRUE(error);
    EXPECT_THAT(error->what(), HasSubstr(words));
  }
  EXPECT_THROW(MpiManager(-1), std::invalid_argument);
  EXPECT_TRUE(addprocs(std::make_shared<MpiManager>(0)).empty());
}

TEST(MpiLauncher, TheFlagOutsideAnyMpirunIsAnError) {
  int status = 0;
  const std::string said =
      said_by(std::filesystem::read_symlink("/proc/self/exe").string() + " --muster-mpi auto", status);
  EXPECT_EQ(status, 2);
  EXPECT_THAT(said, HasSubstr("not started by mpirun"));
}

}  // namespace

int master() {
  int sum = 0;
  for (const Pid pid : workers()) sum += remotecall_fetch([](int x) { return x; }, pid, pid - 1);
  std::printf("%d workers, sum %d\n", nworkers(), sum);
  return 0;
}

}  // namespace muster::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);  // Open MPI starts nothing for root otherwise
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  const muster::Session session(argc, argv);
  if (std::getenv("MPI_TEST_ROLE") != nullptr) return muster::test::master();
  return RUN_ALL_TESTS();
}
