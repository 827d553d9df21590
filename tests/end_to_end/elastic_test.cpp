// Workers that somebody starts by the join command, and that leave by themselves.
#include "support.hpp"

#include <gmock/gmock.h>

#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <future>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// A worker that a shell started by a join command. Killed at the end, if it is still there.
class ByHand {
 public:
  explicit ByHand(const std::string& command) : os_pid_(::fork()) {
    if (os_pid_ != 0) return;
    ::execl("/bin/sh", "sh", "-c", ("exec " + command).c_str(), nullptr);
    ::_exit(127);
  }
  ~ByHand() {
    if (status_) return;
    ::kill(os_pid_, SIGKILL);
    ::waitpid(os_pid_, nullptr, 0);
  }
  ByHand(const ByHand&) = delete;
  ByHand& operator=(const ByHand&) = delete;
  int os_pid() const { return os_pid_; }
  /// Its exit status; -1 where a signal ended it or it runs still.
  int status() { return ends() && WIFEXITED(*status_) ? WEXITSTATUS(*status_) : -1; }
  /// The signal that ended it; -1 where it exited or runs still.
  int signal() { return ends() && WIFSIGNALED(*status_) ? WTERMSIG(*status_) : -1; }

 private:
  bool ends() {
    return eventually([&] {
      int status = 0;
      if (!status_ && ::waitpid(os_pid_, &status, WNOHANG) == os_pid_) status_ = status;
      return status_.has_value();
    });
  }
  int os_pid_;
  std::optional<int> status_;
};

std::vector<Pid> wait_for_workers(std::size_t count) {
  EXPECT_TRUE(eventually([&] { return other_procs().size() == count; })) << other_procs().size() << " workers";
  return other_procs();
}

TEST(Elastic, WorkersJoinByTheCommandAtAnyTime) {
  const auto elastic = std::make_shared<ElasticManager>(ElasticOptions{.announce = false});
  EXPECT_THROW((void)elastic->join_command(), std::logic_error);
  EXPECT_TRUE(addprocs(elastic).empty());
  struct stat file{};
  ASSERT_EQ(::stat(elastic->secret_file().c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777U, 0600U);
  EXPECT_THAT(elastic->join_command(), AllOf(HasSubstr("--muster-worker < "), HasSubstr(elastic->secret_file())));
  std::ifstream in(elastic->secret_file());
  const std::string secret((std::istreambuf_iterator<char>(in)), {});
  EXPECT_THAT(elastic->join_command(), Not(HasSubstr(secret.substr(0, secret.size() - 1))));
  std::vector<Pid> heard;
  std::mutex mutex;
  const CallbackHandle handle = on_worker_added([&](Pid pid) {
    const std::lock_guard lock(mutex);
    heard.push_back(pid);
  });
  const ByHand first(elastic->join_command());
  const Pid early = wait_for_workers(1).front();
  EXPECT_EQ(remotecall_fetch([] { return static_cast<int>(::getpid()); }, early), first.os_pid());
  const ByHand second(elastic->join_command());
  const Pid late = wait_for_workers(2).back();
  EXPECT_EQ(remotecall_fetch([](Pid other) { return remotecall_fetch(&myid, other); }, early, late), late);
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock(mutex);
    return heard == std::vector<Pid>{early, late};
  }));
  EXPECT_EQ(pmap([](int x) { return x + 1; }, std::vector<int>{1, 2, 3}), (std::vector<int>{2, 3, 4}));
  rmprocs(workers());
}

/// `muster-worker`, with the program that belongs to this build.
std::string here(const std::string& command) {
  EXPECT_TRUE(command.starts_with("muster-worker ")) << command;
  return MUSTER_WORKER_PROGRAM + command.substr(command.find(' '));
}

TEST(Elastic, TheGenericWorkerBecomesOneOfThisProgram) {
  const auto elastic = std::make_shared<ElasticManager>(ElasticOptions{.announce = false});
  EXPECT_THROW((void)elastic->connect_command(), std::logic_error);
  (void)addprocs(elastic, {.exeflags = {"--flag-of-ours"}, .env = {{"MUSTER_TEST_GIVEN", "given"}}});
  EXPECT_THAT(elastic->connect_command(),
              AllOf(HasSubstr("--connect " + elastic->endpoints().front()), HasSubstr(elastic->secret_file())));
  ByHand one(here(elastic->connect_command()));
  const Pid pid = wait_for_workers(1).front();
  EXPECT_EQ(remotecall_fetch([] { return static_cast<int>(::getpid()); }, pid), one.os_pid()) << "one process";
  EXPECT_EQ(remotecall_fetch([] { return std::string(std::getenv("MUSTER_TEST_GIVEN")); }, pid), "given");
  const auto words = remotecall_fetch(
      [] {
        std::ifstream file("/proc/self/cmdline");
        return std::string(std::istreambuf_iterator<char>(file), {});
      },
      pid);
  EXPECT_THAT(words, HasSubstr("--flag-of-ours"));
  std::ifstream in(elastic->secret_file());
  std::string secret;
  std::getline(in, secret);
  EXPECT_THAT(words, Not(HasSubstr(secret)));
  EXPECT_EQ(::kill(one.os_pid(), SIGTERM), 0);
  EXPECT_EQ(one.status(), 0) << "it left by signal " << one.signal();

  const ByHand by_pipe(std::string(MUSTER_WORKER_PROGRAM) + " < " + elastic->secret_file());
  EXPECT_EQ(wait_for_workers(1).size(), 1U) << "the key may come on standard input, and says where the master is";
  rmprocs(workers());
}

TEST(Elastic, TheGenericWorkerSaysWhyItCannotJoin) {
  const auto said = [](const std::string& arguments) {
    FILE* const pipe = ::popen((std::string(MUSTER_WORKER_PROGRAM) + " " + arguments + " 2>&1").c_str(), "re");
    std::string text;
    for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) text += static_cast<char>(c);
    const int status = ::pclose(pipe);
    return "status " + std::to_string(WEXITSTATUS(status)) + ": " + text;
  };
  EXPECT_THAT(said("--help"), AllOf(HasSubstr("status 0"), HasSubstr("--key-file FILE")));
  EXPECT_THAT(said("--nonsense"), AllOf(HasSubstr("status 2"), HasSubstr("--nonsense")));
  EXPECT_THAT(said("--key-file /no/such/file"), AllOf(HasSubstr("status 1"), HasSubstr("/no/such/file")));
  EXPECT_THAT(said("< /dev/null"), AllOf(HasSubstr("status 1"), HasSubstr("no key")));
  const std::string copy = ::testing::TempDir() + "elastic-key-" + std::to_string(::getpid());
  {
    const auto elastic = std::make_shared<ElasticManager>(ElasticOptions{.announce = false});
    (void)addprocs(elastic);
    const std::string elastic_secret = elastic->secret_file();
    std::filesystem::copy_file(elastic_secret, copy, std::filesystem::copy_options::overwrite_existing);
    EXPECT_EQ(::chmod(copy.c_str(), 0644), 0);
    EXPECT_THAT(said("--key-file " + copy), AllOf(HasSubstr("status 1"), HasSubstr("chmod 600")));
    EXPECT_EQ(::chmod(copy.c_str(), 0600), 0);
    elastic->close();
    EXPECT_FALSE(std::filesystem::exists(elastic_secret)) << "it is gone with the door";
    EXPECT_THROW((void)elastic->connect_command(), std::logic_error);
    elastic->close();  // once more is nothing
  }
  EXPECT_THAT(said("--key-file " + copy), AllOf(HasSubstr("status 1"), HasSubstr("invitation"), HasSubstr("over")));
  ::unlink(copy.c_str());
}

TEST(Elastic, AWorkerThatIsToldToLeaveEndsItsTasksFirst) {
  const auto elastic = std::make_shared<ElasticManager>(ElasticOptions{.announce = false});
  (void)addprocs(elastic);
  ByHand one(elastic->join_command());
  const Pid pid = wait_for_workers(1).front();
  WorkerExit told;
  std::atomic<bool> gone{false};
  const CallbackHandle handle = on_worker_removed([&](const WorkerExit& exit) {
    told = exit;
    gone = true;
  });
  const Future<int> running = spawnat(pid, [] {
    std::this_thread::sleep_for(1s);
    return 42;
  });
  remotecall_fetch([] {}, 1);
  std::this_thread::sleep_for(100ms);  // so that it runs, and is not just under way
  ASSERT_EQ(::kill(one.os_pid(), SIGTERM), 0);
  EXPECT_EQ(running.fetch(), 42) << "its task was cut short";
  EXPECT_TRUE(eventually([&] { return gone.load(); }));
  EXPECT_EQ(told.pid, pid);
  EXPECT_TRUE(told.expected) << told.describe();
  EXPECT_EQ(one.status(), 0);
}

TEST(Elastic, AWorkerMayBeToldToLeaveAsSoonAsItHasJoined) {
  const auto elastic = std::make_shared<ElasticManager>(ElasticOptions{.announce = false});
  (void)addprocs(elastic);
  for (int round = 0; round < 10; ++round) {
    ByHand one(elastic->join_command());
    (void)wait_for_workers(1);
    ::kill(one.os_pid(), SIGTERM);
    EXPECT_EQ(one.status(), 0) << "it left by signal " << one.signal();
    EXPECT_TRUE(eventually([] { return other_procs().empty(); }));
  }
}

TEST(Elastic, ASecondSignalEndsAWorkerThatWaitsForATask) {
  const auto elastic = std::make_shared<ElasticManager>(ElasticOptions{.announce = false});
  (void)addprocs(elastic);
  ByHand one(elastic->join_command());
  const Pid pid = wait_for_workers(1).front();
  const Future<void> endless = spawnat(pid, [] { std::this_thread::sleep_for(10 * patience); });
  std::this_thread::sleep_for(100ms);
  ::kill(one.os_pid(), SIGTERM);
  std::this_thread::sleep_for(100ms);
  ::kill(one.os_pid(), SIGTERM);
  EXPECT_TRUE(thrown<ProcessExitedException>([&] { endless.fetch(); }));
  EXPECT_EQ(one.status(), 0);
}

TEST(Elastic, AWorkerOfThisHostThatHangsIsKilled) {
  const auto elastic = std::make_shared<ElasticManager>(ElasticOptions{.announce = false});
  (void)addprocs(elastic);
  ByHand one(elastic->join_command());
  const Pid pid = wait_for_workers(1).front();
  stop_process(one.os_pid());
  rmprocs(pid, {.waitfor = 10s});
  EXPECT_TRUE(other_procs().empty());
  EXPECT_EQ(one.signal(), SIGKILL);
}

TEST(Elastic, AddprocsMayWaitForSomeAndSaysHowManyCame) {
  const auto elastic = std::make_shared<ElasticManager>(ElasticOptions{.at_least = 2, .announce = false});
  const auto error = thrown<LaunchError>([&] { (void)addprocs(elastic, {.launch_timeout = 500ms}); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), AllOf(HasSubstr("0 of 2 workers came"), HasSubstr("--muster-worker < ")));
  EXPECT_THROW((void)elastic->join_command(), std::logic_error) << "nobody can join by a manager that failed";
  auto adding = std::async(std::launch::async, [&] { return addprocs(elastic); });
  std::string command;
  ASSERT_TRUE(eventually([&] {
    try {
      command = elastic->join_command();
    } catch (const std::logic_error&) {
      return false;
    }
    return true;
  }));
  const ByHand one(command), other(command);
  (void)adding.get();
  EXPECT_EQ(wait_for_workers(2).size(), 2U);
  rmprocs(workers());
  EXPECT_THROW(ElasticManager({.at_least = -1}), std::invalid_argument);
}

TEST(Elastic, TheSecretFileMayBeNamed) {
  std::string secret;
  {
    const auto elastic = std::make_shared<ElasticManager>(
        ElasticOptions{.secret_file = ::testing::TempDir() + "elastic-secret", .announce = false});
    (void)addprocs(elastic);
    secret = elastic->secret_file();
    EXPECT_EQ(secret, ::testing::TempDir() + "elastic-secret");
  }
  const auto elsewhere =
      std::make_shared<ElasticManager>(ElasticOptions{.secret_file = "/no/such/directory/secret", .announce = false});
  const auto error = thrown<LaunchError>([&] { (void)addprocs(elsewhere); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), AllOf(HasSubstr("/no/such/directory/secret"), HasSubstr("No such file or directory")));
}

}  // namespace
}  // namespace muster::test
