/// @file
/// Workers on this host. /bin/sh stands for the worker; the launch context is the test's.
#include "runtime/base/child_process.hpp"
#include "runtime/cluster/worker_output.hpp"

#include <muster/cluster_manager.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace muster {
namespace {

using runtime::UniqueFd;
using testing::HasSubstr;

/// Starts `script` for each worker, and keeps what is reported.
class ShellContext : public LaunchContext {
 public:
  explicit ShellContext(std::string script, AddprocsOptions options = {})
      : command{"/bin/sh", "-c", std::move(script)}, options_(std::move(options)) {}
  ~ShellContext() override {
    for (WorkerConfig& config : launched_configs) {
      const UniqueFd output(config.output_fd);
      ::waitpid(static_cast<pid_t>(config.os_pid), nullptr, 0);
    }
  }
  const AddprocsOptions& options() const override { return options_; }
  std::vector<std::string> worker_command() const override { return command; }
  std::string start_record() const override { return "secret " + std::to_string(++records); }
  void launched(WorkerConfig config) override {
    launched_configs.push_back(std::move(config));
    if (stop_after_first) stop.request_stop();
  }
  void failed(std::string where, std::string why) override { failures.emplace_back(std::move(where), std::move(why)); }
  std::stop_token stop_token() const override { return stop.get_token(); }

  std::vector<std::string> command;
  mutable int records = 0;
  std::vector<WorkerConfig> launched_configs;
  std::vector<std::pair<std::string, std::string>> failures;
  std::stop_source stop;
  bool stop_after_first = false;

 private:
  AddprocsOptions options_;
};

std::string read_to_end(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = ::read(fd, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(count));
  return text;
}

/// What a single worker that runs `script` writes to its standard output.
std::string output_of(const std::string& script, AddprocsOptions options = {}) {
  ShellContext context(script, std::move(options));
  LocalManager(1).launch(context);
  if (context.launched_configs.size() != 1) {
    ADD_FAILURE() << "not started: " << (context.failures.empty() ? "not reported" : context.failures[0].second);
    return {};
  }
  return read_to_end(context.launched_configs[0].output_fd);
}

TEST(LocalManager, RefusesANegativeNumber) {
  EXPECT_THROW(LocalManager(-1), std::invalid_argument);
  ShellContext context("true");
  LocalManager(0).launch(context);
  EXPECT_TRUE(context.launched_configs.empty());
  EXPECT_TRUE(context.failures.empty());
}

TEST(LocalManager, EachWorkerReadsARecordOfItsOwnAndThenTheEnd) {
  ShellContext context("cat");
  LocalManager(3).launch(context);
  ASSERT_EQ(context.launched_configs.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    const WorkerConfig& config = context.launched_configs[static_cast<std::size_t>(i)];
    EXPECT_EQ(read_to_end(config.output_fd), "secret " + std::to_string(i + 1) + "\n");
    EXPECT_EQ(config.host, "") << "its address is not known to the manager";
  }
}

TEST(LocalManager, KeepsOutputAndErrorApart) {
  ShellContext context("echo out; echo err >&2");
  LocalManager(1).launch(context);
  ASSERT_EQ(context.launched_configs.size(), 1u);
  const UniqueFd error = runtime::take_standard_error(context.launched_configs[0]);
  ASSERT_TRUE(error);
  EXPECT_EQ(read_to_end(context.launched_configs[0].output_fd), "out\n");
  EXPECT_EQ(read_to_end(error.get()), "err\n");
}

TEST(LocalManager, ReportsTheProcessWhichIsOursToReap) {
  ShellContext context("echo $$; exit 7");
  LocalManager(1).launch(context);
  ASSERT_EQ(context.launched_configs.size(), 1u);
  const auto os_pid = static_cast<pid_t>(context.launched_configs[0].os_pid);
  EXPECT_EQ(read_to_end(context.launched_configs[0].output_fd), std::to_string(os_pid) + "\n");
  int status = 0;
  ASSERT_EQ(::waitpid(os_pid, &status, 0), os_pid);
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(LocalManager, AWorkerThatEndsWithoutReadingItsRecordIsReportedAsStarted) {
  ShellContext context("exec <&-; echo cannot; exit 2");
  LocalManager(20).launch(context);
  EXPECT_EQ(context.launched_configs.size(), 20u);
  for (const WorkerConfig& config : context.launched_configs) EXPECT_EQ(read_to_end(config.output_fd), "cannot\n");
}

// catalogue: 36
TEST(LocalManager, StartsInTheDirectoryAskedForOrTheCurrentOne) {
  EXPECT_EQ(output_of("pwd -P"), std::filesystem::current_path().string() + "\n");
  AddprocsOptions options;
  options.dir = "/usr/bin";
  EXPECT_EQ(output_of("pwd -P", options), "/usr/bin\n");
}

// catalogue: 41, 43
TEST(LocalManager, InheritsTheEnvironmentAsItIsAtTheStartAndAddsToIt) {
  ::setenv("MUSTER_TEST_A", "inherited", 1);
  ::setenv("MUSTER_TEST_B", "inherited", 1);
  AddprocsOptions options;
  options.env = {{"MUSTER_TEST_B", "given"}, {"MUSTER_TEST_C", "x=y"}};
  LocalManager manager(1);
  ::setenv("MUSTER_TEST_A", "changed", 1);
  ShellContext context("echo $MUSTER_TEST_A $MUSTER_TEST_B $MUSTER_TEST_C", options);
  manager.launch(context);
  ::setenv("MUSTER_TEST_A", "too late", 1);
  ASSERT_EQ(context.launched_configs.size(), 1u);
  EXPECT_EQ(read_to_end(context.launched_configs[0].output_fd), "changed given x=y\n");
  ::unsetenv("MUSTER_TEST_A");
  ::unsetenv("MUSTER_TEST_B");
}

// catalogue: 39, 40
TEST(LocalManager, LimitsThreadsOfNumericalLibrariesUnlessTold) {
  const std::string script = "echo $OMP_NUM_THREADS $OPENBLAS_NUM_THREADS ${MKL_NUM_THREADS-unset}";
  ::setenv("OMP_NUM_THREADS", "9", 1);
  ::setenv("OPENBLAS_NUM_THREADS", "8", 1);
  ::unsetenv("MKL_NUM_THREADS");
  AddprocsOptions options;
  EXPECT_EQ(output_of(script, options), "1 1 1\n");
  options.env = {{"OMP_NUM_THREADS", "4"}};
  EXPECT_EQ(output_of(script, options), "4 1 1\n");
  options.threaded_blas = true;
  EXPECT_EQ(output_of(script, options), "4 8 unset\n");
  EXPECT_STREQ(std::getenv("OMP_NUM_THREADS"), "9") << "the master's own must stay";
  ::unsetenv("OMP_NUM_THREADS");
  ::unsetenv("OPENBLAS_NUM_THREADS");
}

TEST(LocalManager, ReportsAMissingProgramForEachWorker) {
  ShellContext context("");
  context.command = {"/no/such/program"};
  LocalManager(2).launch(context);
  ASSERT_EQ(context.failures.size(), 2u);
  EXPECT_TRUE(context.launched_configs.empty());
  for (const auto& [where, why] : context.failures) {
    EXPECT_EQ(where, "localhost");
    EXPECT_THAT(why, HasSubstr("/no/such/program"));
    EXPECT_THAT(why, HasSubstr("check its path"));
  }
}

TEST(LocalManager, ReportsAMissingDirectory) {
  AddprocsOptions options;
  options.dir = "/no/such/directory";
  ShellContext context("true", options);
  LocalManager(1).launch(context);
  ASSERT_EQ(context.failures.size(), 1u);
  EXPECT_THAT(context.failures[0].second, HasSubstr("/no/such/directory"));
}

TEST(LocalManager, BeyondTheDescriptorLimitStartsNoneAndSaysWhatToDo) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  ShellContext context("cat");
  const UniqueFd next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  rlimit low = before;
  low.rlim_cur = static_cast<rlim_t>(next.get() + 1 + 11);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  std::string text;
  try {
    LocalManager(10).launch(context);
  } catch (const std::exception& error) {
    text = error.what();
  }
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_THAT(text, HasSubstr("ulimit -n"));
  EXPECT_TRUE(context.launched_configs.empty());
}

TEST(LocalManager, StopsWhenAskedAndReportsTheRest) {
  ShellContext context("true");
  context.stop_after_first = true;
  LocalManager(3).launch(context);
  EXPECT_EQ(context.launched_configs.size(), 1u);
  ASSERT_EQ(context.failures.size(), 2u);
  EXPECT_THAT(context.failures[0].second, HasSubstr("ended before"));
}

}  // namespace
}  // namespace muster
