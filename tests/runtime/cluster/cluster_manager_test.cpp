/// @file
/// What a cluster manager does unless it is overridden.
#include "runtime/base/child_process.hpp"

#include <muster/cluster_manager.hpp>
#include <muster/slurm_manager.hpp>

#include <gtest/gtest.h>

#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <sstream>
#include <string>

namespace muster {
namespace {

using runtime::ChildProcess;
using Clock = std::chrono::steady_clock;

class PlainManager : public ClusterManager {
 public:
  void launch(LaunchContext&) override {}
};

/// Starts a shell script, and waits until it has printed a line.
ChildProcess start(const std::string& script) {
  ChildProcess child =
      runtime::spawn_process({.arguments = {"/bin/sh", "-c", script}, .environment = runtime::current_environment()});
  char byte = 0;
  while (::read(child.standard_output.get(), &byte, 1) == 1 && byte != '\n') {
  }
  return child;
}

WorkerConfig config_of(long os_pid) {
  WorkerConfig config;
  config.os_pid = os_pid;
  return config;
}

int reap(const ChildProcess& child) {
  int status = 0;
  EXPECT_EQ(::waitpid(child.os_pid, &status, 0), child.os_pid);
  return status;
}

TEST(ClusterManager, KillsByTermAndReturnsAsSoonAsTheProcessIsGone) {
  const ChildProcess child = start("echo; read forever");
  const auto begin = Clock::now();
  PlainManager().kill(2, config_of(child.os_pid));
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(1900));
  const int status = reap(child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

TEST(ClusterManager, GivesTheProcessTimeToEndByItself) {
  const ChildProcess child = start("trap 'sleep 0.2; exit 9' TERM; echo; while :; do read forever; done");
  PlainManager().kill(2, config_of(child.os_pid));
  const int status = reap(child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 9);
}

TEST(ClusterManager, KillsAProcessThatIgnoresTermAfterTwoSeconds) {
  const ChildProcess child = start("trap '' TERM; echo; read forever");
  const auto begin = Clock::now();
  PlainManager().kill(2, config_of(child.os_pid));
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(1900));
  const int status = reap(child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

TEST(ClusterManager, InterruptsBySigint) {
  const ChildProcess child = start("trap 'exit 8' INT; echo; while :; do read forever; done");
  WorkerConfig config = config_of(child.os_pid);
  PlainManager manager;
  manager.manage(2, config, ManageOp::Register);
  manager.manage(2, config, ManageOp::Deregister);
  EXPECT_EQ(::waitpid(child.os_pid, nullptr, WNOHANG), 0) << "it must be left alone until it is interrupted";
  manager.manage(2, config, ManageOp::Interrupt);
  const int status = reap(child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 8);
}

TEST(ClusterManager, LeavesAloneWhatIsNoProcessOrGone) {
  const ChildProcess child = start("echo");
  reap(child);
  PlainManager manager;
  for (const long os_pid : {-1L, 0L, static_cast<long>(child.os_pid), -static_cast<long>(::getpid()), 1L << 40}) {
    WorkerConfig config = config_of(os_pid);
    const auto begin = Clock::now();
    manager.kill(2, config);
    manager.manage(2, config, ManageOp::Interrupt);
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(1)) << os_pid;
  }
}

// catalogue: 53
TEST(ClusterManager, CanBePrinted) {
  std::ostringstream text;
  text << PlainManager() << ' ' << LocalManager(4) << ' '
       << SshManager({"node1", {"user@node2:2222", 4}, {"[::1]", Auto}}) << ' ' << SlurmManager() << ' '
       << SlurmManager(8) << ' ' << MpiManager(2) << ' ' << ElasticManager();
  EXPECT_EQ(text.str(),
            "PlainManager() LocalManager(4) SshManager(node1, 4*user@node2:2222, auto*[::1]) SlurmManager() "
            "SlurmManager(8) MpiManager(2) ElasticManager()");
}

TEST(ClusterManager, AnUnreapedProcessCountsAsGone) {
  const ChildProcess child = start("echo; exit 3");
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.os_pid), &info, WEXITED | WNOWAIT), 0);
  const auto begin = Clock::now();
  PlainManager().kill(2, config_of(child.os_pid));
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(1));
  EXPECT_EQ(WEXITSTATUS(reap(child)), 3);
}

}  // namespace
}  // namespace muster
