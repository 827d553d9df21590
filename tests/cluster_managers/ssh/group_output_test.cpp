#include "cluster_managers/ssh/group_output.hpp"

#include "runtime/base/unique_fd.hpp"

#include <muster/errors.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <random>
#include <vector>

namespace muster::runtime::ssh {
namespace {

using Kind = GroupFrame::Kind;

std::string frame(Kind kind, int worker, const std::string& content) {
  const GroupFrame head{
      .kind = kind, .worker = static_cast<std::uint16_t>(worker), .size = static_cast<std::uint32_t>(content.size())};
  std::string bytes(sizeof head, '\0');
  std::memcpy(bytes.data(), &head, sizeof head);
  return bytes + content;
}

std::string ended(int worker, std::int32_t status) {
  std::string content(sizeof status, '\0');
  std::memcpy(content.data(), &status, sizeof status);
  return frame(Kind::ended, worker, content);
}

/// Two workers, and what reads their pipes.
struct Group {
  struct Member {
    UniqueFd output, errors;
    int status = -2;
    std::string printed(const UniqueFd& pipe) const {
      std::array<char, 65536> buffer{};
      const auto got = ::read(pipe.get(), buffer.data(), buffer.size());
      return got > 0 ? std::string(buffer.data(), static_cast<std::size_t>(got)) : std::string();
    }
  };
  std::array<Member, 2> members;
  GroupOutput::Workers workers;

  Group() {
    for (Member& member : members) {
      std::array<int, 2> output{}, errors{};
      EXPECT_EQ(::pipe2(output.data(), O_CLOEXEC | O_NONBLOCK), 0);
      EXPECT_EQ(::pipe2(errors.data(), O_CLOEXEC | O_NONBLOCK), 0);
      member.output.reset(output[0]);
      member.errors.reset(errors[0]);
      workers.push_back(std::make_shared<RemoteWorker>(UniqueFd(output[1]), UniqueFd(errors[1])));
      workers.back()->when_ended([&member](int status) { member.status = status; });
    }
  }
  void flush() {
    for (const auto& worker : workers) (void)worker->flush();
  }
};

TEST(GroupOutput, EachWorkerGetsWhatIsItsHoweverItIsCut) {
  const std::string said = "welcome\nno newline" + std::string(worker_group_greeting) +
                           frame(Kind::output, 1, "muster_process:4712\n") +
                           frame(Kind::output, 0, "muster_process:4711\nzero\n") + frame(Kind::errors, 1, "an error") +
                           ended(1, SIGKILL) + frame(Kind::output, 0, std::string("\0more\n", 6)) + ended(0, 7 << 8);
  std::mt19937 random(3);  // NOLINT(bugprone-random-generator-seed): the same cuts each time
  for (unsigned round = 1; round <= 50; ++round) {
    Group group;
    GroupOutput output(group.workers);
    for (std::size_t at = 0; at < said.size();) {
      const std::size_t size = std::min<std::size_t>(said.size() - at, 1 + random() % round);
      output.take(std::string_view(said).substr(at, size));
      at += size;
    }
    output.end();
    group.flush();
    EXPECT_EQ(group.workers[0]->os_pid(), 4711);
    EXPECT_EQ(group.workers[1]->os_pid(), 4712);
    EXPECT_EQ(group.members[0].printed(group.members[0].output), std::string("welcome\nno newlinezero\n\0more\n", 29));
    EXPECT_EQ(group.members[1].printed(group.members[1].output), "welcome\nno newline");
    EXPECT_EQ(group.members[1].printed(group.members[1].errors), "an error");
    EXPECT_EQ(group.members[0].status, 7 << 8);
    EXPECT_EQ(group.members[1].status, SIGKILL);
  }
}

TEST(GroupOutput, WhatNoLeaderSaidIsPrintedByAll) {
  Group group;
  GroupOutput output(group.workers);
  output.take("This account\nis not available");
  output.end();
  for (std::size_t i = 0; i < 2; ++i) {
    group.workers[i]->close(RemoteWorker::output);
    group.flush();
    EXPECT_EQ(group.members[i].printed(group.members[i].output), "This account\nis not available");
  }
}

TEST(GroupOutput, ALineWithoutEndIsPassedOn) {
  Group group;
  GroupOutput output(group.workers);
  for (int i = 0; i < 512; ++i) output.take(std::string(1024, '.'));
  EXPECT_FALSE(group.workers[0]->has_room(RemoteWorker::output)) << "it is kept where nobody sees how much it is";
}

TEST(GroupOutput, NonsenseIsRefused) {
  const std::vector<std::string> nonsense{frame(Kind::output, 2, "nobody's"), ended(0, 0).replace(4, 1, "\5"),
                                          frame(Kind::kill, 0, ""), frame(static_cast<Kind>('?'), 0, ""),
                                          std::string("o\0\0\0\1\0\1\0", 8)};
  for (const std::string& each : nonsense) {
    const Group group;
    GroupOutput output(group.workers);
    output.take(worker_group_greeting);
    EXPECT_THROW(output.take(each), Error) << testing::PrintToString(each);
  }
}

TEST(GroupOutput, AnyBytesAreTakenOrRefused) {
  std::mt19937 random(11);  // NOLINT(bugprone-random-generator-seed)
  for (int round = 0; round < 2000; ++round) {
    Group group;
    GroupOutput output(group.workers);
    output.take(worker_group_greeting);
    std::string bytes;
    for (int i = 0; i < 40; ++i) bytes += static_cast<char>(random() % 4 == 0 ? 'o' : random() % 3);
    try {
      output.take(bytes);
      output.end();
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): as it should
    }
    group.flush();
  }
}

}  // namespace
}  // namespace muster::runtime::ssh
