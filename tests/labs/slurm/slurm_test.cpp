// Workers under a real SLURM, whose controller and nodes are namespaces of this machine.
#include "../../end_to_end/support.hpp"
#include "slurm_lab.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <set>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::unique_ptr<SlurmLab> lab;

/// What workers have printed.
class Printed {
 public:
  std::string take(Pid pid, std::string_view line) {
    const std::lock_guard lock(mutex_);
    lines_.emplace(pid, line);
    return "      From worker " + std::to_string(pid) + ":\t" + std::string(line);
  }
  bool by(Pid pid, const std::string& line) const {
    const std::lock_guard lock(mutex_);
    return lines_.contains({pid, line});
  }

 private:
  mutable std::mutex mutex_;
  std::set<std::pair<Pid, std::string>> lines_;
};
Printed printed;

std::string host_here() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::string variable_here(const std::string& name) {
  const char* const value = std::getenv(name.c_str());
  return value == nullptr ? "" : value;
}

std::vector<std::string> hosts_of(const std::vector<Pid>& pids) {
  std::vector<std::string> hosts;
  for (const Pid pid : pids) hosts.push_back(remotecall_fetch(host_here, pid));
  std::sort(hosts.begin(), hosts.end());
  return hosts;
}

bool no_jobs() { return shell("squeue -h").output.empty(); }

/// This program as a master of its own, in that role, started by that command.
std::string played(const std::string& role) {
  return "SLURM_TEST_ROLE=" + role + " " + std::filesystem::read_symlink("/proc/self/exe").string();
}

/// What the failures of an addprocs say.
std::string failure_of(const std::shared_ptr<SlurmManager>& manager, const AddprocsOptions& options = {}) {
  try {
    rmprocs(addprocs(manager, options));
  } catch (const LaunchError& error) {
    return error.what();
  }
  ADD_FAILURE() << "it was started";
  return {};
}

/// How workers ended, as on_worker_removed told.
class Exits {
 public:
  std::optional<WorkerExit> wait_for(Pid pid, std::chrono::nanoseconds limit) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, limit, [&] { return exits_.contains(pid); })) return std::nullopt;
    return exits_[pid];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Pid, WorkerExit> exits_;
  CallbackHandle handle_ = on_worker_removed([this](const WorkerExit& exit) {
    const std::lock_guard lock(mutex_);
    exits_[exit.pid] = exit;
    changed_.notify_all();
  });
};

class Slurm : public ::testing::Test {
 protected:
  void SetUp() override {
    const ShellResult reset = lab->run("reset");
    ASSERT_EQ(reset.status, 0) << reset.output;
  }
  void TearDown() override {
    rmprocs(other_procs());
    EXPECT_TRUE(eventually(no_jobs)) << shell("squeue").output;
  }
};

// -- in an allocation -------------------------------------------------------------------------------------------------

TEST_F(Slurm, InAnAllocationThereAreAsManyWorkersAsTasks) {
  const ShellResult result = shell("salloc -Q -N2 -n4 --ntasks-per-node=2 env " + played("inside"));
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("hosts n1 n1 n2 n2\n"));
  EXPECT_THAT(result.output, HasSubstr(":\tprinted by task 3\n"));  // what workers print appears
}

TEST_F(Slurm, ABatchScriptMayBeTheMaster) {
  const std::string out = lab->directory() + "/batch.out";
  const ShellResult result = shell("sbatch -W -Q -N2 -n3 -o " + out + " --wrap '" + played("inside") + "'");
  EXPECT_EQ(result.status, 0) << result.output;
  const std::string said = shell("cat " + out).output;
  EXPECT_THAT(said, HasSubstr("hosts n1 n1 n2\n"));
  EXPECT_THAT(said, HasSubstr("encrypted 1 of 3 in 3\n"));  // its own node's two share memory with it
}

TEST_F(Slurm, ATaskOfAStepMayBeTheMaster) {
  const ShellResult result = shell("salloc -Q -N2 -n2 srun -n1 -N1 env " + played("two"));
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("hosts n1 n2\n"));
}

TEST_F(Slurm, AHeterogeneousAllocationIsUsedWhole) {
  const ShellResult result = shell("salloc -Q -n1 -w n1 : -n2 -w n3 env " + played("inside"));
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("hosts n1 n3 n3\n"));
}

TEST_F(Slurm, OutsideAnyAllocationTheNumberOfTasksIsNeeded) {
  EXPECT_THAT(failure_of(std::make_shared<SlurmManager>()), HasSubstr("runs in no SLURM allocation"));
  EXPECT_THROW(SlurmManager(0), std::invalid_argument);
}

// -- from a login node ------------------------------------------------------------------------------------------------

TEST_F(Slurm, AHeterogeneousJobFromALoginNode) {
  SlurmOptions options{.extra_flags = {"--nodelist=n1"}};
  options.components = {{.ntasks = 2, .extra_flags = {"--nodelist=n3"}}, {.ntasks = 1, .nodes = 1}};
  const auto manager = std::make_shared<SlurmManager>(1, options);
  const std::vector<Pid> pids = addprocs(manager, {.launch_timeout = 60s});
  const std::vector<std::string> on = hosts_of(pids);
  ASSERT_EQ(on.size(), 4U);
  EXPECT_EQ(std::count(on.begin(), on.end(), "n1"), 1);
  EXPECT_EQ(std::count(on.begin(), on.end(), "n3"), 2);
  EXPECT_EQ(manager->jobs().size(), 1U);
  std::set<std::string> parts;
  for (const Pid pid : pids) parts.insert(remotecall_fetch(variable_here, pid, "SLURMD_NODENAME"));
  EXPECT_EQ(parts.size(), 3U) << "each part has nodes of its own";
  Exits exits;
  for (const Pid pid : pids)
    if (remotecall_fetch(host_here, pid) == "n3") {
      remote_do([] { ::kill(::getpid(), SIGKILL); }, pid);
      const auto exit = exits.wait_for(pid, 30s);
      ASSERT_TRUE(exit);
      EXPECT_THAT(exit->cause, AllOf(HasSubstr("on n3"), HasSubstr("Killed")));
      break;
    }
  EXPECT_EQ(other_procs().size(), 3U) << "one that dies takes no other along";
}

TEST_F(Slurm, AHeterogeneousJobThatHasToWait) {
  ASSERT_EQ(shell("sbatch -Q -N4 --exclusive -t 1 -o /dev/null --wrap 'sleep 4'").status, 0);
  ASSERT_TRUE(eventually([] { return shell("squeue -h -t R").output.size() > 1; }));
  SlurmOptions options;
  options.components = {{.ntasks = 2}};
  EXPECT_EQ(addprocs(std::make_shared<SlurmManager>(1, options), {.launch_timeout = 60s}).size(), 3U);
}

TEST_F(Slurm, AHeterogeneousJobBySbatch) {
  SlurmOptions options{
      .submit = SlurmSubmit::Sbatch, .output = lab->directory() + "/het.out", .shared_directory = lab->directory()};
  options.components = {{.ntasks = 2}};
  const auto manager = std::make_shared<SlurmManager>(1, options);
  const std::vector<Pid> pids = addprocs(manager, {.launch_timeout = 60s});
  EXPECT_EQ(pids.size(), 3U);
  EXPECT_EQ(shell("find " + lab->directory() + " -maxdepth 1 -name '.muster-*'").output, "")
      << "the record is gone when all have joined";
  rmprocs(pids);
  EXPECT_TRUE(eventually(no_jobs)) << shell("squeue").output;
}

TEST_F(Slurm, AHeterogeneousJobThatCannotBeHadIsRefused) {
  SlurmOptions options;
  options.components = {{.ntasks = 1, .partition = "nowhere"}};
  EXPECT_THAT(failure_of(std::make_shared<SlurmManager>(1, options)), HasSubstr("invalid partition"));
  options.components = {{.ntasks = 0}};
  EXPECT_THROW(SlurmManager(1, options), std::invalid_argument);
}

TEST_F(Slurm, SrunFromALoginNode) {
  const auto manager = std::make_shared<SlurmManager>(
      4, SlurmOptions{.partition = "main", .time = "5", .nodes = 2, .constraint = "slow", .job_name = "ours"});
  const auto pids = addprocs(manager, {.env = {{"MUSTER_TEST_GIVEN", "a value"}}});
  EXPECT_THAT(hosts_of(pids), ElementsAre("n3", "n3", "n4", "n4"));
  EXPECT_EQ(remotecall_fetch(variable_here, pids[0], std::string("MUSTER_TEST_GIVEN")), "a value");
  ASSERT_EQ(manager->jobs().size(), 1U);
  EXPECT_EQ(shell("squeue -h -o '%i %P %j %l %f %D'").output, manager->jobs()[0] + " main ours 5:00 slow 2\n");
  for (const auto& link : debug::links(1)) EXPECT_TRUE(link.encrypted) << link.peer;
  // They reach each other, at the addresses of the cluster's network.
  EXPECT_EQ(fetchfrom(
                pids[0], [](Pid other) { return remotecall_fetch(host_here, other); }, pids[3]),
            remotecall_fetch(host_here, pids[3]));
  remotecall_fetch([] { std::puts("to the output"), std::fputs("to the error\n", stderr), std::fflush(stdout); },
                   pids[2]);
  EXPECT_TRUE(eventually([&] { return printed.by(pids[2], "to the output") && printed.by(pids[2], "to the error"); }));
}

TEST_F(Slurm, RemovingTheLastWorkerEndsTheJob) {
  const auto manager = std::make_shared<SlurmManager>(2);
  const auto pids = addprocs(manager);
  rmprocs(pids[0]);
  EXPECT_EQ(remotecall_fetch(host_here, pids[1]), "n1");  // the others stay
  EXPECT_FALSE(no_jobs());
  rmprocs(pids[1]);
  EXPECT_TRUE(eventually(no_jobs));
  EXPECT_TRUE(eventually([&] { return manager->jobs().empty(); }));
}

TEST_F(Slurm, SbatchFromALoginNode) {
  const auto manager = std::make_shared<SlurmManager>(3, SlurmOptions{.submit = SlurmSubmit::Sbatch,
                                                                      .nodes = 3,
                                                                      .output = lab->directory() + "/sbatch-%j.out",
                                                                      .shared_directory = lab->directory()});
  const auto pids = addprocs(manager);
  EXPECT_THAT(hosts_of(pids), ElementsAre("n1", "n2", "n3"));
  const std::string job = manager->jobs().at(0);
  // The secret's file is gone, and it is in no script and no command line.
  EXPECT_EQ(shell("ls -A " + lab->directory() + " | grep muster-").output, "");
  EXPECT_THAT(shell("scontrol write batch_script " + job + " -").output,
              AllOf(HasSubstr("srun"), Not(HasSubstr("cookie"))));
  remotecall_fetch([] { std::puts("into the file"), std::fflush(stdout); }, pids[1]);
  EXPECT_TRUE(eventually([&] {
    return shell("cat " + lab->directory() + "/sbatch-" + job + ".out").output.find("into the file") !=
           std::string::npos;
  }));
  rmprocs(pids);
  EXPECT_TRUE(eventually(no_jobs));
}

TEST_F(Slurm, SecretsAreInNoCommandLineNorEnvironment) {
  const auto pids = addprocs(std::make_shared<SlurmManager>(1));
  const std::string node = remotecall_fetch(host_here, pids[0]);
  const std::string seen = shell(
                               "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c "
                               "-e link_[s]ecret -e slurm.test.[c]ookie")
                               .output +
                           shell("squeue -h -o %all; scontrol show job").output;
  EXPECT_THAT(seen, AllOf(::testing::StartsWith("0\n"), Not(HasSubstr("cookie"))));
}

// -- waiting ----------------------------------------------------------------------------------------------------------

TEST_F(Slurm, APendingJobSaysWhyAndIsWaitedForBeyondTheTimeout) {
  ASSERT_EQ(shell("sbatch -Q -N4 --exclusive -t 1 -o /dev/null --wrap 'sleep 7'").status, 0);
  ASSERT_TRUE(eventually([] { return shell("squeue -h -t R").output.size() > 1; }));
  ::testing::internal::CaptureStderr();
  const auto pids = addprocs(std::make_shared<SlurmManager>(2), {.launch_timeout = 4s});
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(pids.size(), 2U);
  EXPECT_THAT(said, AllOf(HasSubstr("is pending: "), AnyOf(HasSubstr("Resources"), HasSubstr("Priority"))));
}

TEST_F(Slurm, APendingJobIsCancelledWhenTheUserHasNoMoreTime) {
  ASSERT_EQ(shell("sbatch -Q -N4 --exclusive -t 1 -o /dev/null --wrap 'sleep 60'").status, 0);
  ASSERT_TRUE(eventually([] { return shell("squeue -h -t R").output.size() > 1; }));
  const std::string failure = failure_of(std::make_shared<SlurmManager>(2, SlurmOptions{.pending_timeout = 2s}));
  EXPECT_THAT(failure, AllOf(HasSubstr("was still pending"), HasSubstr("pending_timeout")));
  EXPECT_TRUE(eventually([] { return shell("squeue -h -t PD").output.empty(); }));
  (void)shell("scancel -u root");
}

TEST_F(Slurm, WhatCanNeverRunFailsAtOnce) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(failure_of(std::make_shared<SlurmManager>(99)), HasSubstr("would wait for ever"));
  EXPECT_THAT(failure_of(std::make_shared<SlurmManager>(1, SlurmOptions{.partition = "nowhere"})),
              HasSubstr("invalid partition specified: nowhere"));
  EXPECT_THAT(failure_of(std::make_shared<SlurmManager>(1, SlurmOptions{.constraint = "golden"})),
              HasSubstr("Invalid feature specification"));
  EXPECT_THAT(failure_of(std::make_shared<SlurmManager>(
                  1, SlurmOptions{.submit = SlurmSubmit::Sbatch, .partition = "nowhere"})),
              AllOf(HasSubstr("sbatch refused the job"), HasSubstr("nowhere")));
  EXPECT_LT(std::chrono::steady_clock::now() - start, 30s);
}

TEST_F(Slurm, WithoutItsCommandsThatIsSaid) {
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", "/nonexistent", 1);
  const std::string failure = failure_of(std::make_shared<SlurmManager>(1));
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_THAT(failure, AllOf(HasSubstr("can't run sinfo"), HasSubstr("on PATH")));
}

TEST_F(Slurm, AProgramThatIsNoWorkerIsAnError) {
  EXPECT_THAT(failure_of(std::make_shared<SlurmManager>(2), {.exename = "/bin/false"}),
              AllOf(HasSubstr("task 0"), HasSubstr("Exited with exit code 1")));
  EXPECT_THAT(failure_of(std::make_shared<SlurmManager>(1), {.exename = "/no/such/program"}),
              HasSubstr("No such file or directory"));
  // The address that leads to the nodes comes first.
  EXPECT_THAT(failure_of(std::make_shared<SlurmManager>(1),
                         {.exename = "/bin/sh", .exeflags = {"-c", "sleep 60"}, .launch_timeout = 3s}),
              HasSubstr("did not connect to the master in time, at " + lab->subnet() + ".1:"));
}

// -- ends -------------------------------------------------------------------------------------------------------------

TEST_F(Slurm, ADeadNodeTakesNoOtherAlong) {
  const auto pids = addprocs(std::make_shared<SlurmManager>(3, SlurmOptions{.nodes = 3}));
  std::map<std::string, Pid> at;
  for (const Pid pid : pids) at[remotecall_fetch(host_here, pid)] = pid;
  ASSERT_EQ(at.size(), 3U);
  Exits exits;
  const auto call = spawnat(at["n2"], [] { std::this_thread::sleep_for(600s); });
  (void)lab->run("cut", "n2");
  const auto exit = exits.wait_for(at["n2"], 30s);
  ASSERT_TRUE(exit);
  EXPECT_FALSE(exit->expected);
  EXPECT_THROW(call.fetch(5s), ProcessExitedException);
  // The others live on beyond SLURM's own notice of it.
  ASSERT_TRUE(eventually([] { return shell("sinfo -h -n n2 -o %T").output.starts_with("down"); }, 60s));
  EXPECT_EQ(remotecall_fetch(host_here, at["n1"]), "n1");
  EXPECT_EQ(remotecall_fetch(host_here, at["n3"]), "n3");
  rmprocs(other_procs());
}

TEST_F(Slurm, AKilledWorkersCauseIsTold) {
  const auto pids = addprocs(std::make_shared<SlurmManager>(2));
  Exits exits;
  (void)spawnat(pids[0], [] { ::raise(SIGKILL); });
  const auto exit = exits.wait_for(pids[0], 20s);
  ASSERT_TRUE(exit);
  EXPECT_THAT(exit->cause, AllOf(HasSubstr("task "), HasSubstr(": Killed")));
  EXPECT_THAT(exit->describe(), HasSubstr(exit->cause));
  EXPECT_EQ(remotecall_fetch(host_here, pids[1]), "n1");
}

TEST_F(Slurm, ScancelIsTold) {
  const auto manager = std::make_shared<SlurmManager>(1);
  const Pid pid = addprocs(manager).front();
  Exits exits;
  ASSERT_EQ(shell("scancel " + manager->jobs().at(0)).status, 0);
  const auto exit = exits.wait_for(pid, 20s);
  ASSERT_TRUE(exit);
  EXPECT_THAT(exit->cause, HasSubstr("was cancelled"));
}

TEST_F(Slurm, PreemptionIsTold) {
  const auto pids =
      addprocs(std::make_shared<SlurmManager>(4, SlurmOptions{.partition = "low", .nodes = 4, .exclusive = true}));
  Exits exits;
  ASSERT_EQ(shell("srun -Q -p high -N4 --exclusive true").status, 0);
  for (const Pid pid : pids) {
    const auto exit = exits.wait_for(pid, 20s);
    ASSERT_TRUE(exit);
    EXPECT_THAT(exit->cause, HasSubstr("was preempted"));
  }
}

TEST_F(Slurm, TheTimeLimitIsTold) {
  const auto manager = std::make_shared<SlurmManager>(2, SlurmOptions{.time = "1"});
  const auto pids = addprocs(manager);
  Exits exits;
  ASSERT_EQ(shell("scontrol update JobId=" + manager->jobs().at(0) + " EndTime=now+2seconds").status, 0);
  for (const Pid pid : pids) {
    const auto exit = exits.wait_for(pid, 100s);  // SLURM looks every half minute
    ASSERT_TRUE(exit);
    EXPECT_THAT(exit->cause, HasSubstr("reached its time limit"));
  }
}

TEST_F(Slurm, AStoppedWorkerIsKilledOnItsNode) {
  const auto pids = addprocs(std::make_shared<SlurmManager>(2));
  (void)spawnat(pids[0], [] { ::raise(SIGSTOP); });
  ASSERT_TRUE(eventually([&] {
    const auto question = spawnat(pids[0], [] { return 1; });
    return !question.wait_for(100ms);
  }));
  const auto processes_there = [] {
    return lab->run("on", "n1 sh -c 'ls -l /proc/[0-9]*/exe 2>/dev/null' | grep -c lab_slurm").output;
  };
  EXPECT_EQ(processes_there(), "2\n");
  rmprocs(pids[0]);
  EXPECT_TRUE(eventually([&] { return processes_there() == "1\n"; })) << processes_there();
  EXPECT_EQ(remotecall_fetch(host_here, pids[1]), "n1");
  rmprocs(pids[1]);
}

/// A master that was killed leaves no job: neither a running one nor one that waits.
class KilledMaster : public Slurm, public ::testing::WithParamInterface<const char*> {};

TEST_P(KilledMaster, LeavesNoJob) {
  const std::string role = GetParam();
  const bool waits = role == "pending";
  if (waits) {
    ASSERT_EQ(shell("sbatch -Q -N4 --exclusive -J blocker -o /dev/null --wrap 'sleep 60'").status, 0);
    ASSERT_TRUE(eventually([] { return shell("squeue -h -t R").output.size() > 1; }));
  }
  FILE* const master = ::popen(("exec env " + played(role) + " 2>&1").c_str(), "re");
  ASSERT_NE(master, nullptr);
  long os_pid = 0;
  char line[256];
  while (os_pid == 0 && std::fgets(line, sizeof line, master) != nullptr)
    (void)std::sscanf(line, "master %ld", &os_pid);
  ASSERT_GT(os_pid, 0);
  ASSERT_TRUE(eventually([&] { return shell(waits ? "squeue -h -t PD" : "squeue -h -t R").output.size() > 1; }));
  ::kill(static_cast<pid_t>(os_pid), SIGKILL);
  ::pclose(master);
  EXPECT_TRUE(eventually([&] { return shell("squeue -h -n muster").output.empty(); })) << shell("squeue").output;
  if (waits) (void)shell("scancel -n blocker");
}

INSTANTIATE_TEST_SUITE_P(Roles, KilledMaster, ::testing::Values("srun", "sbatch", "pending"));

}  // namespace

int play(const std::string& role) {
  if (role == "inside" || role == "two") {
    const auto manager = role == "two" ? std::make_shared<SlurmManager>(2) : std::make_shared<SlurmManager>();
    const auto pids = addprocs(manager);
    for (const Pid pid : pids)
      remotecall_fetch([] { std::printf("printed by task %s\n", std::getenv("SLURM_PROCID")), std::fflush(stdout); },
                       pid);
    std::printf("hosts");
    for (const std::string& host : hosts_of(pids)) std::printf(" %s", host.c_str());
    const auto links = debug::links(1);
    std::printf("\nencrypted %td of %zu in %zu\n",
                std::count_if(links.begin(), links.end(), [](const auto& link) { return link.encrypted; }),
                links.size(), pids.size());
    rmprocs(pids);
    return 0;
  }
  std::printf("master %d\n", ::getpid());
  std::fflush(stdout);
  SlurmOptions options{.submit = role == "sbatch" ? SlurmSubmit::Sbatch : SlurmSubmit::Srun, .output = "/dev/null"};
  (void)addprocs(std::make_shared<SlurmManager>(2, options));
  ::pause();
  return 0;
}

}  // namespace muster::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const muster::Session session(
      argc, argv,
      {.cookie = "slurm-test-cookie",
       .heartbeat_interval = std::chrono::milliseconds(500),
       .heartbeat_timeout = std::chrono::seconds(5),
       .worker_output = [](muster::Pid pid, std::string_view line) { return muster::test::printed.take(pid, line); }});
  if (const char* const role = std::getenv("SLURM_TEST_ROLE")) return muster::test::play(role);
  if (const auto can = muster::test::SlurmLab::check(); can.status != 0) {
    std::fprintf(stderr, "SKIPPED: tests of workers under SLURM need SLURM and network namespaces: %s",
                 can.output.c_str());
    return 77;
  }
  muster::test::lab = std::make_unique<muster::test::SlurmLab>(4);
  const int result = RUN_ALL_TESTS();
  muster::rmprocs(muster::other_procs());
  muster::test::lab.reset();
  return result;
}
