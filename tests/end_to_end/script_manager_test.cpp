// Workers of batch systems, with scripts that play the submit, cancel and state commands. A real Grid Engine is in
// tests/labs/grid_engine.
#include "support.hpp"

#include <gmock/gmock.h>

#include <csignal>
#include <cstdlib>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// A batch system of shell scripts: jobs are processes of this host, their numbers are in files.
class PlayedSystem {
 public:
  PlayedSystem() {
    char name[] = "/tmp/muster-batch.XXXXXX";
    directory_ = ::mkdtemp(name);
    // submit N SCRIPT: starts N of them, a little later, as a queue would. Prints the id among other words.
    write("submit", "n=$1; cp \"$2\" " + directory_ + "/job.sh; cat \"$2\" >> " + directory_ +
                        "/scripts; i=0; while [ $i -lt $n ]; do setsid sh -c 'sleep 0.2; exec sh " + directory_ +
                        "/job.sh' </dev/null >>" + directory_ + "/out 2>&1 & echo $! >> " + directory_ +
                        "/pids; i=$((i+1)); done; echo $n >> " + directory_ +
                        "/submitted; echo \"Your job 4711.server has been submitted\"\n");
    write("cancel", "echo $1 >> " + directory_ + "/cancelled; for pid in $(cat " + directory_ +
                        "/pids); do kill -TERM $pid 2>/dev/null; done; exit 0\n");
    write("state", "echo job $1 waits for a node; exit ${STATE_STATUS:-0}\n");
    write("refuse", "echo 'qsub: unknown queue' >&2; exit 3\n");
    write("swallow", "echo 4711\n");  // takes the job, and never starts it
  }
  ~PlayedSystem() {
    std::ifstream pids(directory_ + "/pids");
    for (int pid = 0; pids >> pid;) (void)::kill(pid, SIGKILL);
    std::filesystem::remove_all(directory_);
  }
  PlayedSystem(const PlayedSystem&) = delete;
  PlayedSystem& operator=(const PlayedSystem&) = delete;

  ScriptOptions options(const std::string& submit) const {
    ScriptOptions options;
    options.submit = directory_ + "/" + submit;
    options.job_id = R"(([0-9]+)\.server)";
    options.cancel = directory_ + "/cancel {job}";
    options.state = directory_ + "/state {job}";
    options.shared_directory = directory_;
    options.state_interval = 50ms;
    return options;
  }
  std::string text(const std::string& name) const {
    std::ifstream file(directory_ + "/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  /// Files that the manager made.
  int left() const {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      const std::string name = entry.path().filename().string();
      count += name.starts_with("muster-") || name.starts_with("join-") ? 1 : 0;
    }
    return count;
  }

 private:
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ + "/" + name) << "#!/bin/sh\n" << text;
    std::filesystem::permissions(directory_ + "/" + name, std::filesystem::perms::owner_all);
  }
  std::string directory_;
};

TEST(Script, AnArrayIsSubmittedOnceAndCancelledWithItsLastWorker) {
  const PlayedSystem batch;
  ScriptOptions options = batch.options("submit {n} {script}");
  options.directives = {"#PBS -l walltime=1:00:00"};
  const std::vector<Pid> pids =
      addprocs(std::make_shared<ScriptManager>(3, options), {.dir = "/usr", .env = {{"OF_ITS_OWN", "it's a value"}}});
  ASSERT_EQ(pids.size(), 3U);
  EXPECT_EQ(batch.text("submitted"), "3\n");
  EXPECT_THAT(batch.text("scripts"), HasSubstr("#!/bin/sh\n#PBS -l walltime=1:00:00\n"));
  const auto its = [] { return std::filesystem::current_path().string() + " " + std::getenv("OF_ITS_OWN"); };
  for (const Pid pid : pids) EXPECT_EQ(remotecall_fetch(its, pid), "/usr it's a value");
  EXPECT_EQ(batch.left(), 0) << "script and secret are gone once all have joined";
  rmprocs({pids[0], pids[1]});
  EXPECT_EQ(batch.text("cancelled"), "");
  rmprocs(pids[2]);
  EXPECT_TRUE(eventually([&] { return batch.text("cancelled") == "4711\n"; }));
}

TEST(Script, WithoutArraysEachWorkerIsAJob) {
  const PlayedSystem batch;
  const std::vector<Pid> pids = addprocs(std::make_shared<ScriptManager>(2, batch.options("submit 1 {script}")));
  EXPECT_EQ(pids.size(), 2U);
  EXPECT_EQ(batch.text("submitted"), "1\n1\n");
  rmprocs(pids);
}

TEST(Script, AScriptThatNobodyCopiedIsThereUntilAllHaveJoined) {
  const PlayedSystem batch;
  ScriptOptions options = batch.options("");
  options.submit = "(sleep 0.3; exec sh {script}) > /dev/null 2>&1 < /dev/null & echo 7.server";
  const std::vector<Pid> pids = addprocs(std::make_shared<ScriptManager>(2, options));
  EXPECT_EQ(pids.size(), 2U);
  EXPECT_EQ(batch.left(), 0);
  rmprocs(pids);
}

TEST(Script, TheSecretIsInNoScriptAndNoCommandLine) {
  const PlayedSystem batch;
  const std::vector<Pid> pids = addprocs(std::make_shared<ScriptManager>(1, batch.options("submit {n} {script}")));
  const std::string command = remotecall_fetch(
      [] {
        std::ifstream file("/proc/self/cmdline");
        return std::string(std::istreambuf_iterator<char>(file), {});
      },
      pids[0]);
  EXPECT_EQ(command.find("cookie"), std::string::npos);
  EXPECT_EQ(batch.text("scripts").find("cookie"), std::string::npos);
  rmprocs(pids);
}

TEST(Script, WhatTheBatchSystemRefusesIsTold) {
  const PlayedSystem batch;
  const auto refused = thrown<LaunchError>(
      [&] { (void)addprocs(std::make_shared<ScriptManager>(2, batch.options("refuse {n} {script}"))); });
  ASSERT_TRUE(refused);
  EXPECT_THAT(refused->what(), AllOf(HasSubstr("failed with status 3"), HasSubstr("qsub: unknown queue")));
  const auto silent =
      thrown<LaunchError>([&] { (void)addprocs(std::make_shared<ScriptManager>(2, batch.options("swallow"))); });
  ASSERT_TRUE(silent);
  EXPECT_THAT(silent->what(), HasSubstr("printed no job id"));
  EXPECT_EQ(batch.left(), 0);
  EXPECT_THROW(ScriptManager(1, ScriptOptions()), std::invalid_argument);
  EXPECT_THROW(ScriptManager(-1, ScriptOptions::pbs()), std::invalid_argument);
}

TEST(Script, AJobThatNeverStartsIsCancelledAndItsStateTold) {
  const PlayedSystem batch;
  ScriptOptions options = batch.options("swallow");
  options.job_id = "[0-9]+";
  const auto late = thrown<LaunchError>(
      [&] { (void)addprocs(std::make_shared<ScriptManager>(1, options), {.launch_timeout = 700ms}); });
  ASSERT_TRUE(late);
  EXPECT_THAT(late->what(), AllOf(HasSubstr("4711"), HasSubstr("waits for a node")));
  EXPECT_TRUE(eventually([&] { return batch.text("cancelled") == "4711\n"; }));

  ::setenv("STATE_STATUS", "1", 1);
  const auto unknown = thrown<LaunchError>([&] { (void)addprocs(std::make_shared<ScriptManager>(1, options)); });
  ::unsetenv("STATE_STATUS");
  ASSERT_TRUE(unknown);
  EXPECT_THAT(unknown->what(), HasSubstr("knows of no such job any more"));
}

TEST(Script, TheKnownSystemsHaveTheirCommands) {
  for (const ScriptOptions& options : {ScriptOptions::grid_engine(), ScriptOptions::pbs(), ScriptOptions::lsf()}) {
    EXPECT_THAT(options.submit, AllOf(HasSubstr("{script}"), HasSubstr("{n}"), HasSubstr("{name}")));
    EXPECT_THAT(options.cancel, HasSubstr("{job}"));
  }
}

}  // namespace
}  // namespace muster::test
