/// @file
/// Machines from text.
#include "runtime/cluster/machine.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace muster {
namespace {

using testing::HasSubstr;

struct Parts {
  std::string user = {}, host = {};
  int port = 0;
  std::string bind_address = {};
  int bind_port = 0;
  Count count = 1;
};

void expect(const Machine& machine, const Parts& parts) {
  EXPECT_EQ(machine.user, parts.user);
  EXPECT_EQ(machine.host, parts.host);
  EXPECT_EQ(machine.port, parts.port);
  EXPECT_EQ(machine.bind_address, parts.bind_address);
  EXPECT_EQ(machine.bind_port, parts.bind_port);
  EXPECT_EQ(machine.count, parts.count);
}

std::string refusal(const std::string& text) {
  try {
    const Machine machine(text);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << text;
  return {};
}

// catalogue: 48, 49
TEST(Machine, ReadsHostAndPort) {
  expect("127.0.0.1", {.host = "127.0.0.1"});
  for (const int port : {80, 90, 1, 65535}) {
    expect("127.0.0.1:" + std::to_string(port), {.host = "127.0.0.1", .port = port});
  }
  expect("node_17.cluster-a", {.host = "node_17.cluster-a"});
}

// catalogue: 50
TEST(Machine, ReadsIpv6InBrackets) {
  expect("[2001:db8::1]", {.host = "2001:db8::1"});
  expect("[2001:db8::1]:443", {.host = "2001:db8::1", .port = 443});
  expect("[fe80::1%eth0]:22", {.host = "fe80::1%eth0", .port = 22});
}

// catalogue: 59
TEST(Machine, ReadsUsersAndBindAddresses) {
  expect("h", {.host = "h"});
  expect("user@h", {.user = "user", .host = "h"});
  expect("user@h:22", {.user = "user", .host = "h", .port = 22});
  expect("user@h:22 10.0.0.1", {.user = "user", .host = "h", .port = 22, .bind_address = "10.0.0.1"});
  expect("user@h:22 10.0.0.1:9000",
         {.user = "user", .host = "h", .port = 22, .bind_address = "10.0.0.1", .bind_port = 9000});
  expect("h [::1]:9000", {.host = "h", .bind_address = "::1", .bind_port = 9000});
  expect("user@[::1]:22 [::2]", {.user = "user", .host = "::1", .port = 22, .bind_address = "::2"});
  expect("me@corp@h", {.user = "me@corp", .host = "h"});
  expect("localhost 127.0.0.1:[8000]", {.host = "localhost", .bind_address = "127.0.0.1", .bind_port = 8000});
}

TEST(Machine, ReadsCounts) {
  expect("4*host", {.host = "host", .count = 4});
  expect("auto*host", {.host = "host", .count = Auto});
  expect(" 12 * u@host:1 b:2 \n",
         {.user = "u", .host = "host", .port = 1, .bind_address = "b", .bind_port = 2, .count = 12});
  expect({"host", 4}, {.host = "host", .count = 4});
  expect({"host:3", Auto}, {.host = "host", .port = 3, .count = Auto});
}

TEST(Machine, ConvertsInLists) {
  const std::vector<Machine> machines{"a", std::string("2*b"), {"c", 3}, {"d", Auto}};
  EXPECT_EQ(machines[0].count, 1);
  EXPECT_EQ(machines[1].count, 2);
  EXPECT_EQ(machines[2].count, 3);
  EXPECT_EQ(machines[3].count, Auto);
}

// catalogue: 51, 52
TEST(Machine, RefusesMalformedTextAndNamesIt) {
  for (const char* text : {"",
                           " ",
                           "host:0",
                           "host:-1",
                           "host:65536",
                           "host:99999999999999999999",
                           "host:",
                           "host:8a",
                           "host:+8",
                           ":22",
                           "@host",
                           "user@",
                           "user@:22",
                           "-host",
                           "-oProxyCommand=x",
                           "-u@host",
                           "ho/st",
                           "ho\x01st",
                           "[2001:db8::1]:443:888",
                           "[2001:db8::1",
                           "[2001:db8::1]:aaa",
                           "[2001:db8::1]:",
                           "[2001:db8::1]:0",
                           "[2001:db8::1]x",
                           "[]",
                           "[host]",
                           "[1.2.3.4]",
                           "[::1%]",
                           "[[::1]]",
                           "]",
                           "2001:db8::1",
                           "a:1:2",
                           "0*host",
                           "-1*host",
                           "x*host",
                           "*host",
                           "4*",
                           "4*4*host",
                           "1.5*host",
                           "AUTO*host",
                           "host bind:0",
                           "host bind:x",
                           "host bind more",
                           "host -bind",
                           "host :80",
                           "host b:[8000",
                           "host b:1:[8000]",
                           "host b:[]",
                           "host [::1]:[x]",
                           "host user@bind"}) {
    EXPECT_THAT(refusal(text), HasSubstr("machine \"" + std::string(text) + "\": ")) << text;
  }
  EXPECT_THROW(Machine(static_cast<const char*>(nullptr)), std::invalid_argument);
}

TEST(Machine, SaysWhatIsWrong) {
  EXPECT_THAT(refusal("host:65536"), HasSubstr("port \"65536\" is no number from 1 to 65535"));
  EXPECT_THAT(refusal("[2001:db8::1"), HasSubstr("not closed"));
  EXPECT_THAT(refusal("2001:db8::1"), HasSubstr("must stand in brackets, as in \"[2001:db8::1]\""));
  EXPECT_THAT(refusal("x*host"), HasSubstr("the count \"x\""));
  EXPECT_THAT(refusal("host a b"), HasSubstr("after the bind address"));
  EXPECT_THAT(refusal("@host"), HasSubstr("no user"));
  EXPECT_THAT(refusal("host"
                      " :80"),
              HasSubstr("the bind address is missing"));
}

TEST(Machine, RefusesTwoCountsAndCountsBelowOne) {
  EXPECT_THROW(Machine("4*host", 2), std::invalid_argument);
  EXPECT_THROW(Machine("1*host", Auto), std::invalid_argument);
  EXPECT_THROW(Machine("host", 0), std::invalid_argument);
  EXPECT_THROW(Machine("host", -1), std::invalid_argument);
}

TEST(Machine, AnyTextIsReadOrRefused) {
  std::mt19937 random(5);
  const std::string_view letters = "a1:@[]* .-%\t\xff";
  for (int round = 0; round < 10000; ++round) {
    std::string text;
    for (auto length = random() % 14; length > 0; --length) text += letters[random() % letters.size()];
    try {
      const Machine machine(text);
      EXPECT_FALSE(machine.host.empty()) << text;
      EXPECT_GE(machine.port, 0);
      EXPECT_LE(machine.port, 65535);
    } catch (const std::invalid_argument& error) {
      EXPECT_THAT(error.what(), HasSubstr(text));
    }
  }
}

// catalogue: 65
TEST(MergedMachines, CountsOfRepeatedOnesAddUpAndAutoWins) {
  const auto merged = runtime::merged_machines({"a", "2*b", "a", {"c", Auto}, "3*b", "4*c", "d", "auto*d"});
  ASSERT_EQ(merged.size(), 4u);
  EXPECT_EQ(merged[0].host, "a");
  EXPECT_EQ(merged[0].count, 2);
  EXPECT_EQ(merged[1].host, "b");
  EXPECT_EQ(merged[1].count, 5);
  EXPECT_EQ(merged[2].host, "c");
  EXPECT_EQ(merged[2].count, Auto);
  EXPECT_EQ(merged[3].host, "d");
  EXPECT_EQ(merged[3].count, Auto);
}

TEST(MergedMachines, WhatDiffersInAnythingStaysApart) {
  const std::vector<Machine> machines{"a", "u@a", "a:22", "a b", "a b:1", "c"};
  EXPECT_EQ(runtime::merged_machines(machines).size(), machines.size());
}

TEST(MergedMachines, HugeCountsDoNotOverflow) {
  const auto merged = runtime::merged_machines({{"a", 2147483647}, {"a", 5}});
  ASSERT_EQ(merged.size(), 1u);
  EXPECT_EQ(merged[0].count, 2147483647);
}

}  // namespace
}  // namespace muster
