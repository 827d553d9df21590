/// @file
/// Who belongs to the cluster, and who may call whom.
#include "runtime/cluster/membership.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::runtime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Member member(Pid pid, std::string host_identity = "here", std::string ident = "",
              std::vector<std::string> connect_idents = {}) {
  return {.pid = pid,
          .endpoint = "",
          .host = "",
          .host_identity = std::move(host_identity),
          .ident = std::move(ident),
          .connect_idents = std::move(connect_idents)};
}

WorkerExit exit_of(Pid pid) {
  WorkerExit exit;
  exit.pid = pid;
  exit.signal = 9;
  return exit;
}

template <class F>
std::string what_of(const F& f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Membership, ListsAreSorted) {
  Membership membership;
  for (const Pid pid : {3, 1, 2}) EXPECT_TRUE(membership.add(member(pid)));
  EXPECT_THAT(membership.pids(), ElementsAre(1, 2, 3));
  EXPECT_EQ(membership.members().size(), 3U);
  EXPECT_NE(membership.find(2), nullptr);
  EXPECT_EQ(membership.find(4), nullptr);
}

TEST(Membership, WhoIsKnownStays) {
  Membership membership;
  EXPECT_TRUE(membership.add(member(2, "here")));
  EXPECT_FALSE(membership.add(member(2, "there")));
  EXPECT_EQ(membership.find(2)->host_identity, "here");
}

TEST(Membership, WhoLeavesIsAMemberUntilItIsGone) {
  Membership membership;
  for (const Pid pid : {1, 2, 3}) membership.add(member(pid));
  membership.set_leaving(2);
  membership.set_leaving(4);
  EXPECT_THAT(membership.pids(), ElementsAre(1, 2, 3));
  EXPECT_THAT(membership.pids_staying(), ElementsAre(1, 3));
  membership.remove(exit_of(2));
  membership.add(member(4));
  EXPECT_THAT(membership.pids_staying(), ElementsAre(1, 3, 4)) << "4 was not there when it was asked to leave";
}

TEST(Membership, WhoIsGoneStaysGone) {
  Membership membership;
  membership.add(member(2));
  EXPECT_TRUE(membership.remove(exit_of(2)));
  EXPECT_FALSE(membership.remove(exit_of(2)));
  EXPECT_FALSE(membership.add(member(2)));  // the news of its coming was late
  EXPECT_EQ(membership.find(2), nullptr);
  ASSERT_NE(membership.exit_of(2), nullptr);
  EXPECT_EQ(membership.exit_of(2)->signal, 9);
  EXPECT_EQ(membership.exit_of(3), nullptr);
  EXPECT_FALSE(membership.remove(exit_of(3)));  // gone before it was heard of
  EXPECT_FALSE(membership.add(member(3)));
}

TEST(Membership, Hosts) {
  Membership membership;
  membership.add(member(1, "a"));
  membership.add(member(2, "b"));
  membership.add(member(3, "a"));
  EXPECT_THAT(membership.pids_on_host_of(1), ElementsAre(1, 3));
  EXPECT_THAT(membership.pids_on_host_of(2), ElementsAre(2));
  EXPECT_TRUE(membership.one_host({}));
  EXPECT_TRUE(membership.one_host({2}));
  EXPECT_TRUE(membership.one_host({1, 3, 1}));
  EXPECT_FALSE(membership.one_host({1, 2}));
  EXPECT_THROW((void)membership.pids_on_host_of(9), std::invalid_argument);
  EXPECT_THROW((void)membership.one_host({1, 9}), std::invalid_argument);
}

// catalogue: 289, 292
TEST(Membership, TopologyMayChangeOnlyWithoutWorkers) {
  Membership membership;
  membership.add(member(1));
  membership.set_topology(Topology::master_worker, false);
  membership.add(member(2));
  EXPECT_NO_THROW(membership.set_topology(Topology::master_worker, false));
  EXPECT_THAT(what_of([&] { membership.set_topology(Topology::all_to_all, false); }),
              AllOf(HasSubstr("master_worker"), HasSubstr("all_to_all")));
  EXPECT_THAT(what_of([&] { membership.set_topology(Topology::master_worker, true); }),
              AllOf(HasSubstr("lazy=false"), HasSubstr("lazy=true")));
  membership.remove(exit_of(2));
  EXPECT_NO_THROW(membership.set_topology(Topology::all_to_all, true));
}

TEST(Membership, EverybodyMayTalkToTheMasterAndToItself) {
  for (const Topology topology : {Topology::all_to_all, Topology::master_worker, Topology::custom}) {
    const Membership membership(topology, false);
    EXPECT_TRUE(membership.may_talk(1, 2));
    EXPECT_TRUE(membership.may_talk(2, 1));
    EXPECT_TRUE(membership.may_talk(2, 2));
    EXPECT_EQ(membership.may_talk(2, 3), topology == Topology::all_to_all);
  }
}

// catalogue: 286
TEST(Membership, CustomTopologiesConnectWhomOneOfTheTwoNames) {
  Membership membership(Topology::custom, false);
  membership.add(member(2, "", "two"));
  membership.add(member(3, "", "three", {"two"}));
  membership.add(member(4, "", "", {""}));  // without a name nobody can name it
  membership.add(member(5));
  EXPECT_TRUE(membership.may_talk(2, 3));
  EXPECT_TRUE(membership.may_talk(3, 2));
  EXPECT_FALSE(membership.may_talk(2, 4));
  EXPECT_FALSE(membership.may_talk(4, 5));
  EXPECT_FALSE(membership.may_talk(2, 9));
  EXPECT_TRUE(
      membership.may_talk(*membership.find(2), member(9, "", "nine", {"two"})));  // of which only it itself told
  EXPECT_NO_THROW(membership.check_may_talk(2, 3));
  EXPECT_THAT(what_of([&] { membership.check_may_talk(4, 5); }),
              AllOf(HasSubstr("Process 4"), HasSubstr("process 5"), HasSubstr("custom")));
}

TEST(Membership, TheHigherPidDialsUnlessOnlyItCanBeReached) {
  const auto at = [](Pid pid, const char* host, const char* endpoint) {
    Member made = member(pid, host);
    made.endpoint = endpoint;
    return made;
  };
  const Member low = at(2, "one", "127.0.0.1:1"), near = at(3, "one", "127.0.0.1:2");
  const Member far = at(4, "other", "10.0.0.4:1"), farther = at(5, "third", "10.0.0.5:1"),
               hidden = at(6, "fourth", "127.0.0.1:3");
  for (const auto& [from, to] : {std::pair(near, low), std::pair(farther, far), std::pair(low, far),
                                 std::pair(near, farther), std::pair(hidden, far), std::pair(hidden, low)}) {
    EXPECT_TRUE(dials(from, to)) << from.pid << " to " << to.pid;
    EXPECT_FALSE(dials(to, from)) << to.pid << " to " << from.pid;
  }
}

TEST(Membership, TwoOnLoopbacksOfDifferentNetworksAreHiddenFromEachOther) {
  const auto at = [](const char* host, const char* endpoint) {
    Member made = member(2, host);
    made.endpoint = endpoint;
    return made;
  };
  const Member one = at("boot/a/pid-1/net-1", "127.0.0.1:1"), other = at("boot/b/pid-2/net-2", "127.0.0.1:1");
  EXPECT_TRUE(hidden_from_each_other(one, other));
  EXPECT_TRUE(hidden_from_each_other(one, at("reboot/a/pid-1/net-1", "[::1]:1")));
  EXPECT_FALSE(hidden_from_each_other(one, at("boot/b/pid-2/net-1", "127.0.0.1:2"))) << "containers of one network";
  EXPECT_FALSE(hidden_from_each_other(one, at("boot/b/pid-2/net-2", "10.0.0.1:1"))) << "one can be reached";
  EXPECT_FALSE(hidden_from_each_other(at("unknown-1", "127.0.0.1:1"), at("unknown-2", "127.0.0.1:1")));
}

}  // namespace
}  // namespace muster::runtime
