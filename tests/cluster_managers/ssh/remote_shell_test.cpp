/// @file
/// Scripts for other hosts, run by this one's shell.
#include "cluster_managers/ssh/remote_shell.hpp"

#include "cluster_managers/ssh/jump.hpp"
#include "cluster_managers/ssh/ssh_host.hpp"
#include "runtime/base/child_process.hpp"

#include <muster/errors.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <random>

namespace muster::runtime::ssh {
namespace {

using ::testing::HasSubstr;

/// What the shell prints that is given the script and more on its standard input.
std::string said(const std::string& script, const std::string& input = {}) {
  SpawnRequest request;
  request.arguments = {"/bin/sh", "-c", script_runner};
  request.environment = current_environment();
  ChildProcess child = spawn_process(request);
  write_all(child.standard_input.get(), script + "\n" + input, std::chrono::seconds(10));
  child.standard_input.reset();
  std::string all;
  std::array<char, 4096> part{};
  for (ssize_t got = 0; (got = ::read(child.standard_output.get(), part.data(), part.size())) > 0;)
    all.append(part.data(), static_cast<std::size_t>(got));
  ::waitpid(child.os_pid, nullptr, 0);
  return all;
}

TEST(RemoteShell, AnyTextIsOneWord) {
  std::mt19937 random(7);  // NOLINT(bugprone-random-generator-seed): the same texts each time
  std::vector<std::string> texts{"", "'", "\n", "a b", "$HOME `id` \\ \"x\" !!", "\n\n'\n", "-n", "*"};
  for (int i = 0; i < 50; ++i) {
    std::string text;
    for (auto size = random() % 20; size > 0; --size) text += static_cast<char>(1 + random() % 255);
    texts.push_back(text);
  }
  std::string commands = "printf '<%s>'", expected;
  for (const std::string& text : texts) {
    commands += " " + quoted(text);
    expected += "<" + text + ">";
  }
  const std::string script = script_of(commands);
  EXPECT_EQ(script.find('\n'), std::string::npos) << "it is read as one line";
  EXPECT_EQ(said(script), expected);
}

TEST(RemoteShell, WhatFollowsTheScriptIsLeftToWhatItStarts) {
  EXPECT_EQ(said("exec cat", "the record\nand more"), "the record\nand more");
}

TEST(RemoteShell, FactsAreReadWhateverComesBefore) {
  const std::string output = said("echo welcome; printf 'no newline'; " + facts_question("/usr", "sh", true));
  const HostFacts facts = read_facts(output);
  EXPECT_TRUE(facts.directory);
  EXPECT_TRUE(facts.program);
  EXPECT_GE(facts.threads, 1);
  EXPECT_THAT(facts.system, HasSubstr("Linux "));
  const HostFacts none = read_facts(said(facts_question("/no/such/directory", "/no/such/program", false)));
  EXPECT_FALSE(none.directory);
  EXPECT_FALSE(none.program);
  EXPECT_EQ(read_facts("\nmuster_facts=\nconnection=10.0.0.1 4711 10.0.0.2 22\nmuster_facts_end=\n").address,
            "10.0.0.2");
  EXPECT_THROW((void)read_facts("This account is not available."), Error);
}

TEST(Jump, TheHostInBetweenIsReadFromWhatLibsshMakesOfProxyJump) {
  const auto plain = jump_host("ssh -W '[%h]:%p' gate");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->host, "gate");
  EXPECT_EQ(plain->port, 0);
  const auto full = jump_host("ssh -l me -p 2222 -W '[%h]:%p' gate.example");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->user, "me");
  EXPECT_EQ(full->port, 2222);
  for (const char* other : {"", "none", "nc %h %p", "ssh gate nc %h %p", "ssh -W %h:%p gate",
                            "ssh -J first -W '[%h]:%p' gate", "ssh -W '[%h]:%p'"})
    EXPECT_FALSE(jump_host(other)) << other;
}

TEST(Shipment, FilesOfThisProgramHaveBuildIds) {
  const auto files = files_of_program("/some/where/program");
  ASSERT_GE(files.size(), 2U);
  EXPECT_EQ(files.front().path, "/some/where/program");
  EXPECT_EQ(files.front().build_id.size(), 40U);
  bool library = false;
  for (const ProgramFile& file : files) {
    EXPECT_EQ(file.path.find("libc.so"), std::string::npos);
    if (file.path.find("libmuster.so") == std::string::npos) continue;
    library = true;
    EXPECT_EQ(file.build_id.size(), 40U);
  }
  EXPECT_TRUE(library);
  EXPECT_EQ(build_id_at("no ELF file"), "");
}

}  // namespace
}  // namespace muster::runtime::ssh
