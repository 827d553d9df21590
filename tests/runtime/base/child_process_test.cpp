/// @file
/// Starting programs.
#include "runtime/base/child_process.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <exception>
#include <functional>
#include <system_error>

namespace muster::runtime {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

std::string read_to_end(const UniqueFd& fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = ::read(fd.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(count));
  return text;
}

int reap(const ChildProcess& child) {
  int status = 0;
  EXPECT_EQ(::waitpid(child.os_pid, &status, 0), child.os_pid);
  return status;
}

SpawnRequest shell(const std::string& script) {
  return {.arguments = {"/bin/sh", "-c", script}, .environment = current_environment()};
}

/// Starts `script`, and gives what it writes to its standard output.
std::string output_of(const SpawnRequest& request) {
  const ChildProcess child = spawn_process(request);
  std::string text = read_to_end(child.standard_output);
  EXPECT_EQ(reap(child), 0) << read_to_end(child.standard_error);
  return text;
}

std::string failure_of(const std::function<void()>& start, std::errc expected) {
  try {
    start();
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), expected);
    return error.what();
  }
  ADD_FAILURE() << "it started";
  return {};
}

std::string failure_of(const SpawnRequest& request, std::errc expected) {
  return failure_of([&] { reap(spawn_process(request)); }, expected);
}

TEST(ChildProcess, ConnectsThreeStandardStreams) {
  ChildProcess child = spawn_process(shell("read line; echo \"out $line\"; echo \"err $line\" >&2; exit 6"));
  EXPECT_GT(child.os_pid, 0);
  write_all(child.standard_input.get(), "hello\n", 10s);
  child.standard_input.reset();
  EXPECT_EQ(read_to_end(child.standard_output), "out hello\n");
  EXPECT_EQ(read_to_end(child.standard_error), "err hello\n");
  const int status = reap(child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 6);
}

TEST(ChildProcess, ClosingItsInputIsTheEndOfIt) {
  ChildProcess child = spawn_process(shell("cat"));
  child.standard_input.reset();
  EXPECT_EQ(read_to_end(child.standard_output), "");
  EXPECT_EQ(reap(child), 0);
}

TEST(ChildProcess, StartsInTheDirectory) {
  SpawnRequest request = shell("pwd -P");
  request.directory = "/usr/bin";
  EXPECT_EQ(output_of(request), "/usr/bin\n");
  request.arguments = {"./env"};
  request.environment = {{"ONLY", "this"}};
  EXPECT_EQ(output_of(request), "ONLY=this\n") << "a relative program is relative to the directory";
}

TEST(ChildProcess, HasTheEnvironmentOfTheRequestAndNoOther) {
  ::setenv("MUSTER_TEST_INHERITED", "yes", 1);
  const auto environment = current_environment();
  EXPECT_EQ(environment.at("MUSTER_TEST_INHERITED"), "yes");
  ::unsetenv("MUSTER_TEST_INHERITED");
  EXPECT_FALSE(current_environment().contains("MUSTER_TEST_INHERITED"));
  EXPECT_EQ(output_of({.arguments = {"env"}, .environment = {{"A", "1=2"}, {"B", ""}}}), "A=1=2\nB=\n");
}

TEST(ChildProcess, IsASessionOfItsOwnUnlessAskedNot) {
  SpawnRequest request = shell("ps -o sid= -p $$ 2>/dev/null || cut -d' ' -f6 /proc/$$/stat");
  ChildProcess child = spawn_process(request);
  EXPECT_EQ(std::stol(read_to_end(child.standard_output)), child.os_pid);
  reap(child);
  request.new_session = false;
  child = spawn_process(request);
  EXPECT_EQ(std::stol(read_to_end(child.standard_output)), ::getsid(0));
  reap(child);
}

TEST(ChildProcess, HasNoDescriptorButItsStandardStreams) {
  const UniqueFd leaky(::open("/dev/null", O_RDONLY));  // not O_CLOEXEC
  ASSERT_GT(leaky.get(), 2);
  SpawnRequest request = shell("test -e /proc/$$/fd/" + std::to_string(leaky.get()) + " && echo leaked || echo closed");
  EXPECT_EQ(output_of(request), "closed\n");
}

TEST(ChildProcess, DescriptorsOfOneChildAreNotInheritedByTheNext) {
  ChildProcess first = spawn_process(shell("cat"));
  ChildProcess second = spawn_process(shell("cat"));  // must not hold the write end of the first one's input
  first.standard_input.reset();
  EXPECT_EQ(reap(first), 0);
  second.standard_input.reset();
  EXPECT_EQ(reap(second), 0);
}

TEST(ChildProcess, HasFreshSignalHandlingAndNothingBlocked) {
  const auto grep_status = [](const char* line) {  // no shell between: it blocks signals of its own
    return SpawnRequest{.arguments = {"grep", line, "/proc/self/status"}, .environment = current_environment()};
  };
  sigset_t usr1, before;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &usr1, &before);
  auto* const handler = std::signal(SIGTERM, SIG_IGN);
  const std::string blocked = output_of(grep_status("^SigBlk"));
  const std::string ignored = output_of(grep_status("^SigIgn"));
  std::signal(SIGTERM, handler);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  EXPECT_EQ(blocked, "SigBlk:\t0000000000000000\n");
  const unsigned long long mask = std::stoull(ignored.substr(ignored.find('\t')), nullptr, 16);
  EXPECT_EQ(mask & 0x7fffffffULL, 0u) << "signals 1 to 31; 32 and 33 are the C library's own";
}

TEST(ChildProcess, ReportsTheSignalThatEndedIt) {
  const ChildProcess child = spawn_process(shell("kill -TERM $$"));
  const int status = reap(child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

TEST(ChildProcess, NamesAProgramThatIsMissing) {
  const std::string text =
      failure_of({.arguments = {"/no/such/program"}, .directory = "/tmp"}, std::errc::no_such_file_or_directory);
  EXPECT_THAT(text, HasSubstr("/no/such/program"));
  EXPECT_THAT(text, HasSubstr("directory '/tmp'"));
  EXPECT_THAT(text, HasSubstr("check its path"));
}

TEST(ChildProcess, NamesADirectoryThatIsMissing) {
  SpawnRequest request = shell("true");
  request.directory = "/no/such/directory";
  const std::string text = failure_of(request, std::errc::no_such_file_or_directory);
  EXPECT_THAT(text, HasSubstr("/bin/sh"));
  EXPECT_THAT(text, HasSubstr("/no/such/directory"));
  EXPECT_THAT(text, HasSubstr("that directory does not exist"));
}

TEST(ChildProcess, SaysThatAFileMayNotBeExecuted) {
  const std::string text = failure_of({.arguments = {"/etc/passwd"}}, std::errc::permission_denied);
  EXPECT_THAT(text, HasSubstr("permissions"));
  EXPECT_THAT(text, HasSubstr("the current directory"));
}

TEST(ChildProcess, RefusesRequestsThatNameNoProgramOrHoldAZeroByte) {
  EXPECT_THROW(spawn_process({.arguments = {}}), std::invalid_argument);
  EXPECT_THROW(spawn_process({.arguments = {""}}), std::invalid_argument);
  EXPECT_THROW(spawn_process(shell(std::string("echo a\0b", 8))), std::invalid_argument);
  SpawnRequest request = shell("true");
  request.environment["X"] = std::string("\0", 1);
  EXPECT_THROW(spawn_process(request), std::invalid_argument);
}

TEST(ChildProcess, SaysWhatToDoAtTheDescriptorLimitAndLeaksNone) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const UniqueFd next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (int more = 1; more <= 5; ++more) {
    rlimit low = before;
    low.rlim_cur = static_cast<rlim_t>(next.get() + more);  // room for more - 1 of the six ends
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
    std::exception_ptr failure;  // looked at later: sanitizers, too, need descriptors to look at an object
    try {
      reap(spawn_process(shell("true")));
    } catch (...) {
      failure = std::current_exception();
    }
    ::setrlimit(RLIMIT_NOFILE, &before);
    ASSERT_TRUE(failure);
    const std::string text = failure_of([&] { std::rethrow_exception(failure); }, std::errc::too_many_files_open);
    EXPECT_THAT(text, HasSubstr("ulimit -n"));
    const UniqueFd after(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(after.get(), next.get() + 1) << "descriptors leaked";
  }
}

TEST(ChildProcess, WorksInAProcessWhoseStandardStreamsAreClosed) {
  // Pipes would get the numbers 0 to 2 here.
  std::vector<UniqueFd> saved;
  for (int fd = 0; fd < 3; ++fd) saved.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 10));
  for (int fd = 0; fd < 3; ++fd) ::close(fd);
  ChildProcess child;
  std::string failure;
  try {
    child = spawn_process(shell("read line; echo \"out $line\"; echo \"err $line\" >&2"));
  } catch (const std::exception& error) {
    failure = error.what();
  }
  for (int fd = 0; fd < 3; ++fd) {
    if (saved[static_cast<std::size_t>(fd)]) ::dup2(saved[static_cast<std::size_t>(fd)].get(), fd);
  }
  ASSERT_EQ(failure, "");
  ASSERT_GT(child.standard_input.get(), 2);
  ASSERT_GT(child.standard_output.get(), 2);
  ASSERT_GT(child.standard_error.get(), 2);
  write_all(child.standard_input.get(), "x\n", 10s);
  EXPECT_EQ(read_to_end(child.standard_output), "out x\n");
  EXPECT_EQ(read_to_end(child.standard_error), "err x\n");
  EXPECT_EQ(reap(child), 0);
}

TEST(WriteAll, ReportsAClosedPipeWithoutSigpipe) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd write_end(ends[1]);
  ::close(ends[0]);
  try {
    write_all(write_end.get(), "x", 1s);
    FAIL() << "it was written";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::broken_pipe);
  }
  sigset_t pending;
  sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
}

TEST(WriteAll, GivesUpOnAReaderThatDoesNotRead) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  try {
    write_all(write_end.get(), std::string(1 << 20, 'x'), 10ms);
    FAIL() << "it was written";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::timed_out);
  }
}

TEST(WriteAll, WritesMoreThanAPipeHolds) {
  ChildProcess child = spawn_process(shell("wc -c"));
  write_all(child.standard_input.get(), std::string(1 << 20, 'x'), 20s);
  child.standard_input.reset();
  EXPECT_EQ(std::stol(read_to_end(child.standard_output)), 1 << 20);
  EXPECT_EQ(reap(child), 0);
}

}  // namespace
}  // namespace muster::runtime
