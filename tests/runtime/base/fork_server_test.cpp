/// @file
/// The fork server. This program is the server, and the children run one of its tests.
#include "runtime/base/fork_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dirent.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <system_error>
#include <thread>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MUSTER_NO_FORK_SERVER
#endif
#elif defined(__SANITIZE_THREAD__)
#define MUSTER_NO_FORK_SERVER
#endif

namespace muster::runtime {
namespace {

using testing::HasSubstr;

/// What the initialisers of a program find: each child must have its own.
const pid_t initialised_in = ::getpid();
const unsigned drawn_at_the_start = std::random_device{}();

/// What each child does: reads a line, writes what it is, and ends as the line says.
// NOLINTNEXTLINE(readability-function-size)
TEST(ForkedChild, DISABLED_Acts) {
  std::string line;
  std::getline(std::cin, line);
  std::thread([&] { line += " in a thread"; }).join();  // the thread's records are in order
  int descriptors = 0;
  for ([[maybe_unused]] const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) ++descriptors;
  std::cout << "\nread=" << line << " parent=" << ::getppid() << " own_start=" << (initialised_in == ::getpid())
            << " session=" << (::getsid(0) == ::getpid()) << " directory=" << std::filesystem::current_path().string()
            << " variable=" << std::getenv("MUSTER_TEST_FORK") << " descriptors=" << descriptors - 1
            << " drawn=" << drawn_at_the_start << " code=" << reinterpret_cast<const void*>(&::getpid) << std::endl;
  std::cerr << "an error" << std::endl;
  if (line.starts_with("exit")) std::_Exit(7);
  if (line.starts_with("kill")) (void)::raise(SIGKILL);
}

SpawnRequest children() {
  SpawnRequest request;
  request.arguments = {std::filesystem::read_symlink("/proc/self/exe").string(), "--gtest_also_run_disabled_tests",
                       "--gtest_filter=ForkedChild.DISABLED_Acts", "--muster-worker"};
  request.directory = "/usr/bin";
  request.environment = current_environment();
  request.environment["MUSTER_TEST_FORK"] = "given";
  return request;
}

std::string read_to_end(const UniqueFd& fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = ::read(fd.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(count));
  return text;
}

/// The value behind `name=` in what a child wrote.
std::string value_of(const std::string& text, const std::string& name) {
  const auto at = text.find(name + "=");
  if (at == std::string::npos) return "(none)";
  const auto begin = at + name.size() + 1;
  return text.substr(begin, text.find_first_of(" \n", begin) - begin);
}

int ended(pid_t pid) {
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid) << "it is no child of ours";
  return status;
}

/// Processes whose parent is this one, but for those that have ended.
std::vector<pid_t> own_children() {
  std::vector<pid_t> all;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream in(thread.path() / "children");
    for (pid_t pid = 0; in >> pid;) all.push_back(pid);
  }
  return all;
}

class ForkServerTest : public testing::Test {
 protected:
  void SetUp() override {
#ifdef MUSTER_NO_FORK_SERVER
    EXPECT_EQ(ForkServer::start(children()), nullptr) << "under ThreadSanitizer it must refuse";
    GTEST_SKIP() << "no fork server under ThreadSanitizer";
#endif
  }
};

TEST_F(ForkServerTest, ChildrenAreAsIfStartedByThemselves) {
  const auto server = ForkServer::start(children());
  ASSERT_NE(server, nullptr);
  std::string drawn, code;
  for (int i = 0; i < 3; ++i) {
    auto child = server->spawn();
    ASSERT_TRUE(child);
    write_all(child->standard_input.get(), "line " + std::to_string(i) + "\n", std::chrono::seconds(10));
    const std::string text = read_to_end(child->standard_output);
    EXPECT_THAT(text, HasSubstr("read=line " + std::to_string(i) + " in a thread"));
    EXPECT_EQ(value_of(text, "parent"), std::to_string(::getpid()));
    EXPECT_EQ(value_of(text, "own_start"), "1") << "an initialiser of the program ran before the fork";
    EXPECT_EQ(value_of(text, "session"), "1");
    EXPECT_EQ(value_of(text, "directory"), "/usr/bin");
    EXPECT_EQ(value_of(text, "variable"), "given");
    EXPECT_EQ(value_of(text, "descriptors"), "3") << "it has some of the server's";
    EXPECT_NE(value_of(text, "drawn"), drawn) << "random numbers of one are those of another";
    if (i > 0) {
      EXPECT_EQ(value_of(text, "code"), code) << "not forked from one process";
    }
    drawn = value_of(text, "drawn");
    code = value_of(text, "code");
    EXPECT_THAT(read_to_end(child->standard_error), HasSubstr("an error"));
    EXPECT_EQ(ended(child->os_pid), 0);
  }
}

TEST_F(ForkServerTest, HowChildrenEndIsOursToKnow) {
  const auto server = ForkServer::start(children());
  ASSERT_NE(server, nullptr);
  for (const std::string how : {"exit", "kill"}) {
    auto child = server->spawn();
    ASSERT_TRUE(child);
    write_all(child->standard_input.get(), how + "\n", std::chrono::seconds(10));
    const int status = ended(child->os_pid);
    if (how == "exit") {
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    } else {
      EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
  }
}

TEST_F(ForkServerTest, ChildrenOutliveTheServerOfWhichNothingIsLeft) {
  auto server = ForkServer::start(children());
  ASSERT_NE(server, nullptr);
  auto child = server->spawn();
  ASSERT_TRUE(child);
  server.reset();
  EXPECT_THAT(own_children(), testing::ElementsAre(child->os_pid));
  write_all(child->standard_input.get(), "line\n", std::chrono::seconds(10));
  EXPECT_EQ(ended(child->os_pid), 0);
}

TEST_F(ForkServerTest, ADeadServerSaysSo) {
  auto server = ForkServer::start(children());
  ASSERT_NE(server, nullptr);
  const auto all = own_children();
  ASSERT_EQ(all.size(), 1U);
  ASSERT_EQ(::kill(all[0], SIGKILL), 0);
  EXPECT_FALSE(server->spawn());
}

TEST_F(ForkServerTest, EndsWithItsSocket) {
  SpawnRequest request = children();
  request.socket_as_input = true;
  ChildProcess server = spawn_process(request);
  ASSERT_EQ(::write(server.standard_input.get(), fork_server_greeting.data(), fork_server_greeting.size()),
            static_cast<ssize_t>(fork_server_greeting.size()));
  char answer = 0;
  ASSERT_EQ(::read(server.standard_input.get(), &answer, 1), 1);
  EXPECT_EQ(answer, fork_server_ready);
  server.standard_input.reset();  // as the end of this process would do
  EXPECT_EQ(ended(server.os_pid), 0);
}

TEST(ForkServer, ThereIsNoneOfAnotherProgram) {
  SpawnRequest request = children();
  request.arguments = {"/bin/true"};
  EXPECT_EQ(ForkServer::start(request), nullptr);
  request.arguments = {"/no/such/program"};
  EXPECT_EQ(ForkServer::start(request), nullptr);
  EXPECT_TRUE(own_children().empty());
}

}  // namespace
}  // namespace muster::runtime
