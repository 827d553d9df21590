/// @file
/// A group of workers behind one pair of streams. This program leads it, and the workers run one of its tests.
#include "runtime/session/worker_group_main.hpp"

#include "runtime/base/child_process.hpp"
#include "runtime/base/worker_group.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <poll.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <random>
#include <system_error>

namespace muster::runtime {
namespace {

using Kind = GroupFrame::Kind;
using testing::HasSubstr;
using testing::StartsWith;

/// What the initialisers of a program find: each worker must have its own.
const pid_t initialised_in = ::getpid();
const unsigned drawn_at_the_start = std::random_device{}();

/// What each worker does: reads a line, writes what it is, and ends as the line says.
TEST(GroupWorker, DISABLED_Acts) {
  std::string line;
  std::getline(std::cin, line);
  int descriptors = 0;
  for ([[maybe_unused]] const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) ++descriptors;
  std::cout << "\nread=" << line << " own_start=" << (initialised_in == ::getpid())
            << " session=" << (::getsid(0) == ::getpid()) << " descriptors=" << descriptors - 1
            << " drawn=" << drawn_at_the_start << " pid=" << ::getpid() << " more=" << std::cin.get() << std::endl;
  std::cerr << "an error of " << line << std::endl;
  if (line == "exit") std::_Exit(7);
  if (line == "leave a process behind" && ::fork() == 0)
    for (;;) ::pause();  // it holds the streams open; ended by the test
  if (line == "much") std::cout << std::string(std::size_t{1} << 20, 'm') << std::endl;
  if (line == "ignore SIGTERM") (void)std::signal(SIGTERM, SIG_IGN);
  if (line.starts_with("wait") || line == "ignore SIGTERM") {
    std::cout << "waiting" << std::endl;
    for (;;) ::pause();
  }
}

/// What came of one worker.
struct Said {
  std::string output, errors;
  std::optional<int> status;
};

/// A leader, led by hand.
class Leader {
 public:
  explicit Leader(std::size_t count) {
    SpawnRequest request;
    request.arguments = {std::filesystem::read_symlink("/proc/self/exe").string(), "--gtest_also_run_disabled_tests",
                         "--gtest_filter=GroupWorker.DISABLED_Acts", "--muster-worker",
                         std::string(worker_group_flag) + "=" + std::to_string(count)};
    request.environment = current_environment();
    process_ = spawn_process(request);
  }
  ~Leader() {
    process_.standard_input.reset();
    process_.standard_output.reset();
    EXPECT_EQ(::waitpid(process_.os_pid, nullptr, 0), process_.os_pid);
  }
  Leader(const Leader&) = delete;
  Leader& operator=(const Leader&) = delete;

  void write(const std::string& text) const {
    write_all(process_.standard_input.get(), text, std::chrono::seconds(10));
  }
  void ask(int worker, Kind what) const {
    const GroupFrame frame{.kind = what, .worker = static_cast<std::uint16_t>(worker)};
    write(std::string(reinterpret_cast<const char*>(&frame), sizeof frame));
  }
  void close_input() { process_.standard_input.reset(); }
  void close_output() { process_.standard_output.reset(); }
  /// Reads frames until that holds of them. @returns false where the leader ended before
  template <class Condition>
  bool read_until(Condition condition) {
    while (!condition()) {
      pollfd readable{process_.standard_output.get(), POLLIN, 0};
      if (::poll(&readable, 1, 20'000) <= 0) {
        ADD_FAILURE() << "the leader says nothing";
        return false;
      }
      std::array<char, 4096> part{};
      const auto got = ::read(process_.standard_output.get(), part.data(), part.size());
      if (got <= 0) return false;
      text_.append(part.data(), static_cast<std::size_t>(got));
      take_frames();
    }
    return true;
  }
  void read_to_end() {
    (void)read_until([] { return false; });
    EXPECT_TRUE(text_.empty()) << text_;
  }
  std::map<int, Said> said;

 private:
  void take_frames() {
    if (!greeted_) {
      if (text_.size() < worker_group_greeting.size()) return;
      ASSERT_THAT(text_, StartsWith(std::string(worker_group_greeting)));
      text_.erase(0, worker_group_greeting.size());
      greeted_ = true;
    }
    for (GroupFrame frame{}; text_.size() >= sizeof frame;) {
      std::memcpy(&frame, text_.data(), sizeof frame);
      ASSERT_LE(frame.size, GroupFrame::longest);
      if (text_.size() < sizeof frame + frame.size) return;
      const std::string content = text_.substr(sizeof frame, frame.size);
      text_.erase(0, sizeof frame + frame.size);
      Said& worker = said[frame.worker];
      EXPECT_FALSE(worker.status) << "something came after the end";
      if (frame.kind == Kind::output) worker.output += content;
      if (frame.kind == Kind::errors) worker.errors += content;
      if (frame.kind != Kind::ended) continue;
      std::int32_t status = 0;
      ASSERT_EQ(content.size(), sizeof status);
      std::memcpy(&status, content.data(), sizeof status);
      worker.status = status;
    }
  }

  ChildProcess process_;
  std::string text_;
  bool greeted_ = false;
};

/// The value behind `name=` in what a worker wrote.
std::string value_of(const std::string& text, const std::string& name) {
  const auto at = text.find(name + "=");
  if (at == std::string::npos) return "(none)";
  const auto begin = at + name.size() + 1;
  return text.substr(begin, text.find_first_of(" \n", begin) - begin);
}

TEST(WorkerGroup, WorkersAreAsIfStartedByThemselves) {
  Leader leader(3);
  leader.write("first\nsecond\nexit\n");
  leader.read_to_end();
  ASSERT_EQ(leader.said.size(), 3U);
  EXPECT_EQ(leader.said[0].status, 0);
  EXPECT_EQ(leader.said[1].status, 0);
  EXPECT_EQ(leader.said[2].status, 7 << 8);
  EXPECT_THAT(leader.said[0].output, HasSubstr("read=first "));
  EXPECT_THAT(leader.said[1].output, HasSubstr("read=second "));
  EXPECT_THAT(leader.said[1].errors, HasSubstr("an error of second\n"));
  std::string drawn;
  for (const auto& [index, worker] : leader.said) {
    EXPECT_EQ(value_of(worker.output, "own_start"), "1") << "an initialiser of the program ran before the fork";
    EXPECT_EQ(value_of(worker.output, "session"), "1");
    EXPECT_EQ(value_of(worker.output, "descriptors"), "3") << "it has some of the group's";
    EXPECT_EQ(value_of(worker.output, "more"), "-1") << "it can read what is another's";
    EXPECT_NE(value_of(worker.output, "drawn"), drawn) << "random numbers of one are those of another";
    EXPECT_THAT(worker.output, StartsWith(std::string(worker_process_tag) + value_of(worker.output, "pid") + "\n"));
    drawn = value_of(worker.output, "drawn");
  }
}

TEST(WorkerGroup, AllThatAWorkerPrintedComesBeforeItsEnd) {
  Leader leader(2);
  leader.write("much\nsecond\n");
  leader.read_to_end();
  EXPECT_THAT(leader.said[0].output, HasSubstr(std::string(std::size_t{1} << 20, 'm')));
}

TEST(WorkerGroup, WorkersAreInterruptedAndKilled) {
  Leader leader(3);
  leader.write("wait for SIGINT\nignore SIGTERM\nwait for SIGTERM\n");
  ASSERT_TRUE(leader.read_until([&] {
    return leader.said[0].output.find("waiting") != std::string::npos &&
           leader.said[1].output.find("waiting") != std::string::npos &&
           leader.said[2].output.find("waiting") != std::string::npos;
  }));
  leader.ask(7, Kind::kill);  // there is none
  leader.ask(0, Kind::interrupt);
  leader.ask(1, Kind::kill);
  leader.ask(2, Kind::kill);
  leader.read_to_end();
  EXPECT_EQ(leader.said[0].status, SIGINT);
  EXPECT_EQ(leader.said[1].status, SIGKILL);
  EXPECT_EQ(leader.said[2].status, SIGTERM);
}

TEST(WorkerGroup, WhatAWorkerLeavesBehindHoldsNothingUp) {
  Leader leader(1);
  leader.write("leave a process behind\n");
  leader.read_to_end();
  EXPECT_EQ(leader.said[0].status, 0);
  const std::string session = value_of(leader.said[0].output, "pid");
  ASSERT_NE(session, "(none)");
  EXPECT_EQ(::kill(-std::stoi(session), SIGKILL), 0) << "the process that it left, in its session";
}

TEST(WorkerGroup, EndsWithItsStreams) {
  Leader leader(1);
  leader.write("wait\n");
  ASSERT_TRUE(leader.read_until([&] { return leader.said[0].output.find("waiting") != std::string::npos; }));
  leader.close_output();
  // It would say that the worker has ended, where it has not met with the end of its output before.
  EXPECT_EQ(::kill(std::stoi(value_of(leader.said[0].output, "pid")), SIGKILL), 0);
}

TEST(WorkerGroup, AWorkerWithoutARecordFindsNone) {
  Leader leader(2);
  leader.write("only one\n");
  leader.close_input();
  leader.read_to_end();
  EXPECT_THAT(leader.said[0].output, HasSubstr("read=only one"));
  EXPECT_THAT(leader.said[1].output, HasSubstr("read= "));
}

TEST(WorkerGroup, IsAskedForByItsFlag) {
  const auto asked = [](const std::string& argument) {
    std::string program = "program", word = argument;
    std::array<char*, 3> arguments{program.data(), word.data(), nullptr};
    return worker_group_asked(2, arguments.data());
  };
  EXPECT_EQ(asked("--muster-worker-group=4"), 4U);
  EXPECT_EQ(asked("--muster-worker-group"), 0U);
  EXPECT_EQ(asked("--muster-worker-groups=4"), 0U);
  EXPECT_EQ(asked("--muster-worker-group=-1"), 0U);
  EXPECT_EQ(asked("--muster-worker-group=x"), 0U);
  EXPECT_EQ(asked("--muster-worker-group=1000000000000"), 16384U);
}

}  // namespace
}  // namespace muster::runtime
