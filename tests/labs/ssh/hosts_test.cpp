// Which processes share a host, and calls to any worker of one.
#include "ssh_workers.hpp"

#include <gmock/gmock.h>

#include <set>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const Host& named(const std::vector<Host>& all, const std::string& name) {
  for (const Host& host : all)
    if (host.name == name) return host;
  throw std::runtime_error("there is no host " + name);
}

TEST(Hosts, EveryProcessKnowsWhoSharesAHost) {
  const SshWorkers five({{"h1", 2}, {"h2", 3}});
  const std::vector<Host> all = hosts();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all.front().pids, std::vector<Pid>{1}) << "the master's host is the first";
  EXPECT_EQ(all.front().name, host_here());
  EXPECT_EQ(named(all, "h1").pids.size(), 2U);
  EXPECT_EQ(named(all, "h2").pids.size(), 3U);
  EXPECT_LT(all[1].pids.front(), all[2].pids.front());
  for (const Host& host : all) {
    for (const Pid pid : host.pids) {
      EXPECT_EQ(procs(pid), host.pids);
      EXPECT_EQ(remotecall_fetch(&hosts, pid), all) << "as process " << pid << " sees them";
      EXPECT_EQ(remotecall_fetch(host_here, pid), host.name);
    }
  }
}

TEST(Hosts, RanksCountTheProcessesOfAHost) {
  const SshWorkers five({{"h1", 2}, {"h2", 3}});
  const std::vector<Host> all = hosts();
  EXPECT_EQ(host_rank(), (HostRank{.rank = 0, .size = 1, .host = 0, .hosts = 3}));
  for (std::size_t host = 0; host < all.size(); ++host) {
    for (std::size_t rank = 0; rank < all[host].pids.size(); ++rank) {
      const HostRank expected{.rank = static_cast<int>(rank),
                              .size = static_cast<int>(all[host].pids.size()),
                              .host = static_cast<int>(host),
                              .hosts = 3};
      EXPECT_EQ(host_rank(all[host].pids[rank]), expected);
      EXPECT_EQ(remotecall_fetch([] { return host_rank(); }, all[host].pids[rank]), expected);
    }
  }
  EXPECT_THROW((void)host_rank(99'999), std::invalid_argument);
}

TEST(Hosts, ACallToAnyOnAHostRunsThereWhereItIsFree) {
  const SshWorkers four({{"h1", 2}, {"h2", 2}});
  const std::vector<Host> all = hosts();
  for (const char* const name : {"h1", "h2"}) {
    std::multiset<Pid> ran;
    for (int i = 0; i < 4; ++i) ran.insert(spawnat(any_on(name), &myid).fetch());
    const std::vector<Pid>& pids = named(all, name).pids;
    EXPECT_THAT(ran, ElementsAre(pids[0], pids[0], pids[1], pids[1])) << "ties go in turn, on " << name;
    EXPECT_EQ(remotecall_fetch(host_here, any_on(named(all, name))), name);
    EXPECT_EQ(remotecall_fetch(host_here, any_on(pids[1])), name);
    EXPECT_EQ(remotecall(host_here, any_on(name)).fetch(), name);
    EXPECT_EQ(remotecall_wait(host_here, any_on(name)).fetch(), name);
    const Future<void> busy = spawnat(pids[0], [] { this_task::sleep_for(patience); });
    for (int i = 0; i < 3; ++i) EXPECT_EQ(spawnat(any_on(name), &myid).fetch(), pids[1]) << "the other one is busy";
    busy.cancel();
  }
  const auto from_there = [](const std::string& name) { return remotecall_fetch(host_here, any_on(name)); };
  EXPECT_EQ(remotecall_fetch(from_there, any_on("h1"), std::string("h2")), "h2");
  EXPECT_EQ(spawnat(any_on(all.front()), &myid).fetch(), 1) << "where no worker is, the master";
}

TEST(Hosts, AHostThatIsNotThereIsAnErrorThatNamesThoseThereAre) {
  const SshWorkers one({"h1"});
  const auto error = thrown<std::invalid_argument>([] { (void)spawnat(any_on("elsewhere"), &myid); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), AllOf(HasSubstr("elsewhere"), HasSubstr(host_here() + ", h1")));
  const Host gone = named(hosts(), "h1");
  rmprocs(one.pids());
  EXPECT_THROW((void)spawnat(any_on(gone), &myid), std::invalid_argument);
  EXPECT_EQ(hosts().size(), 1U);
}

}  // namespace
}  // namespace muster::test
