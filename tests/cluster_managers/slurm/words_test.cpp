#include "cluster_managers/slurm/words.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::runtime::slurm {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(SlurmWords, TasksPerNodeAddUp) {
  EXPECT_EQ(total_of("4"), 4);
  EXPECT_EQ(total_of("2(x3),1"), 7);
  EXPECT_THROW((void)total_of("2(3)"), Error);
  EXPECT_THROW((void)total_of("many"), Error);
}

TEST(SlurmWords, AllocationsAreFoundInTheEnvironment) {
  EXPECT_FALSE(allocation_in({{"PATH", "/bin"}}));
  const auto plain = allocation_in({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "5"}, {"SLURM_JOB_NODELIST", "n[1-2]"}});
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->job, "7");
  EXPECT_EQ(plain->ntasks, 5);
  EXPECT_FALSE(plain->in_step);
  EXPECT_EQ(allocation_in({{"SLURM_JOB_ID", "7"}, {"SLURM_TASKS_PER_NODE", "1(x2)"}})->ntasks, 2);
  const auto mixed = allocation_in({{"SLURM_JOB_ID_HET_GROUP_0", "8"}, {"SLURM_HET_SIZE", "2"}, {"SLURM_NTASKS", "3"}});
  EXPECT_EQ(mixed->components, 2);
  EXPECT_EQ(mixed->ntasks, 3);
  EXPECT_TRUE(allocation_in({{"SLURM_JOB_ID", "7"}, {"SLURM_STEP_ID", "0"}})->in_step);
  EXPECT_THROW((void)allocation_in({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "x"}}), Error);
}

TEST(SlurmWords, ANewJobGetsNoOrdersOfAnOuterOne) {
  const auto left = without_outer_job(
      {{"SLURM_JOB_ID", "7"}, {"SLURM_MEM_PER_CPU", "1"}, {"SBATCH_ACCOUNT", "a"}, {"SLURM_CONF", "c"}, {"PATH", "p"}});
  EXPECT_EQ(left, (Environment{{"SLURM_CONF", "c"}, {"PATH", "p"}}));
}

TEST(SlurmWords, CommandsHaveWhatWasAskedForAndNothingElse) {
  const SlurmOptions options{.partition = "p", .account = "a", .time = "5", .nodes = 2, .extra_flags = {"--mem=1G"}};
  const StepRequest job{
      .ntasks = 4, .allocation = nullptr, .mark = "m", .directory = "/d", .worker = {"/w", "--muster-worker"}};
  EXPECT_THAT(srun_command(options, job),
              ElementsAre("srun", "--partition=p", "--account=a", "--time=5", "--comment=m", "--nodes=2",
                          "--job-name=muster", "--chdir=/d", "--kill-on-bad-exit=0", "--wait=0", "--no-kill",
                          "--mpi=none", "--label", "--ntasks=4", "--mem=1G", "/w", "--muster-worker"));
  Allocation allocation{.job = "7", .ntasks = 4, .components = 2, .in_step = true, .nodes = ""};
  StepRequest step = job;
  step.allocation = &allocation;
  EXPECT_THAT(srun_command(options, step), Contains("--overlap"));
  EXPECT_THAT(srun_command(options, step), Contains("--het-group=0-1"));
  EXPECT_THAT(srun_command(options, step), Not(Contains("--partition=p")));
  EXPECT_THAT(sbatch_command(options, job), Contains("--parsable"));
}

TEST(SlurmWords, TheScriptRemovesTheRecordBeforeItStarts) {
  const std::string script = batch_script({.ntasks = 2, .worker = {"/my program", "it's"}}, "/s/.muster-1", 1);
  EXPECT_LT(script.find("rm -f '/s/.muster-1'"), script.find("srun"));
  EXPECT_THAT(script, HasSubstr("--ntasks=2 '/my program' 'it'\\''s'\n"));
}

TEST(SlurmWords, AHeterogeneousJobHasItsPartsBehindColons) {
  SlurmOptions options{.partition = "p", .time = "5", .job_name = ""};
  options.components = {{.ntasks = 3, .partition = "q", .nodes = 1, .constraint = "fast", .extra_flags = {"--mem=1G"}}};
  const StepRequest job{.ntasks = 4, .allocation = nullptr, .mark = "m", .directory = "", .worker = {"/w"}};
  EXPECT_THAT(srun_command(options, job),
              ElementsAre("srun", "--partition=p", "--time=5", "--comment=m", "--kill-on-bad-exit=0", "--wait=0",
                          "--no-kill", "--mpi=none", "--label", "--ntasks=4", ":", "--partition=q", "--time=5",
                          "--constraint=fast", "--comment=m", "--nodes=1", "--kill-on-bad-exit=0", "--wait=0",
                          "--no-kill", "--mpi=none", "--ntasks=3", "--mem=1G", "/w"));
  EXPECT_THAT(sbatch_command(options, job),
              ElementsAre("sbatch", "--parsable", "--no-requeue", "--no-kill", "--partition=p", "--time=5",
                          "--comment=m", "--ntasks=4", ":", "--partition=q", "--time=5", "--constraint=fast",
                          "--comment=m", "--nodes=1", "--no-requeue", "--no-kill", "--ntasks=3", "--mem=1G"));
  const std::string script = batch_script(job, "/s/.muster-1", 2);
  EXPECT_THAT(script, HasSubstr("--het-group=0-1 --input=none"));
  EXPECT_THAT(script, Not(HasSubstr("rm -f"))) << "each worker reads the record, when it starts";
}

TEST(SlurmWords, AHeterogeneousJobAnswersToItsLowestNumber) {
  EXPECT_EQ(job_with_mark("12|other\n9|mine\n8|mine\n10|mine\n7|mine too\n", "mine"), "8");
  EXPECT_EQ(job_with_mark("12|other\n", "mine"), "");
  EXPECT_EQ(job_with_mark("", "mine"), "");
}

TEST(SlurmWords, StatesAreRead) {
  const auto state = job_state_in("PENDING|Resources|2026-01-02T03:04:05\n");
  ASSERT_TRUE(state);
  EXPECT_EQ(state->reason, "Resources");
  EXPECT_EQ(state->start, "2026-01-02T03:04:05");
  EXPECT_FALSE(is_over(*state));
  EXPECT_EQ(job_state_in("PENDING|Priority|N/A")->start, "");
  EXPECT_FALSE(job_state_in(""));
  EXPECT_TRUE(is_hopeless("BadConstraints"));
  EXPECT_FALSE(is_hopeless("Resources"));
}

TEST(SlurmWords, CausesAreSaid) {
  EXPECT_EQ(cause_of("7", {"TIMEOUT", "None", ""}), "SLURM job 7 reached its time limit");
  EXPECT_EQ(cause_of("7", {"COMPLETING", "TimeLimit", ""}), "SLURM job 7 reached its time limit");
  EXPECT_EQ(cause_of("7", {"OUT_OF_MEMORY", "None", ""}), "SLURM job 7 ran out of memory");
  EXPECT_EQ(cause_of("7", {"NODE_FAIL", "None", ""}), "SLURM job 7 lost a node");
  EXPECT_EQ(cause_of("7", {"RUNNING", "None", ""}), "");
  EXPECT_EQ(cause_of("7", {"COMPLETED", "None", ""}), "");
}

TEST(SlurmWords, LabelsAreRead) {
  EXPECT_EQ(labelled("3: text")->task, 3);
  EXPECT_EQ(labelled(" 3: a: b")->text, "a: b");
  EXPECT_EQ(labelled("3: ")->text, "");
  EXPECT_EQ(labelled("3:")->text, "");
  EXPECT_FALSE(labelled("srun: error: n1"));
  EXPECT_FALSE(labelled("12:30 o'clock"));
  EXPECT_FALSE(labelled(""));
}

TEST(SlurmWords, EndsOfTasksAreRead) {
  const auto one = task_end_in("srun: error: n2: task 2: Exited with exit code 3");
  ASSERT_TRUE(one);
  EXPECT_THAT(one->tasks, ElementsAre(2));
  EXPECT_EQ(one->node, "n2");
  EXPECT_EQ(one->how, "Exited with exit code 3");
  const auto several = task_end_in("srun: error: n1: tasks 0,3-5: Out Of Memory");
  ASSERT_TRUE(several);
  EXPECT_THAT(several->tasks, ElementsAre(0, 3, 4, 5));
  EXPECT_EQ(several->how, "Out Of Memory");
  EXPECT_FALSE(task_end_in("srun: error: Unable to allocate resources: Invalid partition name specified"));
  EXPECT_FALSE(task_end_in("srun: Force Terminated StepId=3.0"));
  EXPECT_FALSE(task_end_in("srun: error: n1: task x: y"));
  EXPECT_FALSE(task_end_in("srun: error: task"));
}

}  // namespace
}  // namespace muster::runtime::slurm
