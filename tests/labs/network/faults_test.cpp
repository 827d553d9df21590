// Networks that misbehave: slow ones, ones that lose packets, links that are cut; hosts that stand still, are full,
// refuse.
#include "../ssh/ssh_workers.hpp"

#include <gmock/gmock.h>

#include <future>
#include <numeric>

namespace muster::test {

std::unique_ptr<SshLab> lab;  // each test has one of its own

namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

/// main's: API.md's defaults.
constexpr auto heartbeat_timeout = 10s;
/// For what follows from a death, on a machine that is busy.
constexpr auto slack = 5s;

int counted() {
  static std::atomic<int> calls{0};
  return ++calls;
}

/// Calls and items to each of them and back, one every few milliseconds: each arrives once, in order.
void expect_all_to_arrive(const std::vector<Pid>& pids, int count, std::chrono::milliseconds pause) {
  std::vector<RemoteChannel<int>> to, from;
  std::vector<Future<void>> passing;
  for (const Pid pid : pids) {
    to.emplace_back(count, pid);
    from.emplace_back(count, 1);
    passing.push_back(spawnat(
        pid,
        [](const RemoteChannel<int>& in, const RemoteChannel<int>& out) {
          for (const int item : in) out.put(item);
        },
        to.back(), from.back()));
  }
  std::vector<std::vector<Future<int>>> calls(pids.size());
  std::vector<int> before(pids.size());
  for (std::size_t i = 0; i < pids.size(); ++i) before[i] = remotecall_fetch(&counted, pids[i]);
  for (int item = 0; item < count; ++item) {
    for (std::size_t i = 0; i < pids.size(); ++i) {
      calls[i].push_back(spawnat(pids[i], &counted));
      to[i].put(item);
    }
    std::this_thread::sleep_for(pause);
  }
  std::vector<int> expected(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < pids.size(); ++i) {
    std::vector<int> results;
    for (const Future<int>& call : calls[i]) results.push_back(call.fetch());
    std::iota(expected.begin(), expected.end(), before[i] + 1);
    EXPECT_EQ(results, expected) << "calls of " << pids[i] << ": one was lost, doubled or overtaken";
    std::vector<int> items;
    while (items.size() < expected.size()) items.push_back(from[i].take(patience));
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(items, expected) << "items of " << pids[i];
    to[i].close();
    passing[i].fetch();
    EXPECT_EQ(from[i].size(), 0U);
  }
}

std::size_t hosts_of_the_cluster() { return muster::hosts().size(); }

/// What goes wrong in a second thread.
template <class F>
std::future<void> beside(F f) {
  return std::async(std::launch::async, std::move(f));
}

TEST(Network, ALinkOfAHundredMillisecondsCarriesEverything) {
  const ShapedLab hosts(2);
  for (const char* const host : {"h1", "h2"}) hosts.run("shape", std::string(host) + " 100 0");
  const SshWorkers two({"h1", "h2"});
  const auto before = Clock::now();
  EXPECT_EQ(remotecall_fetch(&myid, two[0]), two[0]);
  EXPECT_GE(Clock::now() - before, 200ms) << "the link is not shaped";
  expect_all_to_arrive(two.pids(), 10, 5ms);  // each item waits for its way there and back
  const auto ask = [](Pid other) { return remotecall_fetch(&myid, other); };
  EXPECT_EQ(remotecall_fetch(ask, two[0], two[1]), two[1]);
  const std::vector<double> numbers(1'000'000, 0.5);
  EXPECT_EQ(remotecall_fetch([](const std::vector<double>& all) { return all; }, two[0], numbers), numbers);
}

/// Workers always have their next elements: what a task takes to get there is not waited for.
TEST(Network, APmapDoesNotWaitForASlowLink) {
  const ShapedLab hosts(2);
  for (const char* const host : {"h1", "h2"}) hosts.run("shape", std::string(host) + " 50 0");  // there and back: 100
  const SshWorkers four({{"h1", 2}, {"h2", 2}});
  const auto task = [](int x) {
    std::this_thread::sleep_for(10ms);  // one after the other, as those that compute
    return 2 * x;
  };
  std::vector<int> elements(1000);
  std::iota(elements.begin(), elements.end(), 0);
  const auto before = Clock::now();
  const std::vector<int> results = pmap(task, elements);
  const std::chrono::duration<double> took = Clock::now() - before;
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(results[static_cast<std::size_t>(i)], 2 * i);
  std::printf("pmap of 1,000 tasks of 10 ms on 4 workers, 100 ms away: %.2f s; ideal 2.50 s\n", took.count());
  EXPECT_LT(took, 5s) << "tasks waited for the way";  // 3 s, on a machine that has nothing else to do
}

TEST(Network, ALinkThatLosesOneOfTwentyPacketsCarriesEverything) {
  const ShapedLab hosts(2);
  const SshWorkers two({"h1", "h2"});
  for (const char* const host : {"h1", "h2"}) hosts.run("shape", std::string(host) + " 1 5");
  expect_all_to_arrive(two.pids(), 100, 2ms);
  const std::vector<double> numbers(100'000, 0.5);
  EXPECT_EQ(remotecall_fetch([](const std::vector<double>& all) { return all; }, two[0], numbers), numbers);
  EXPECT_EQ(procs().size(), 3U) << "a worker was given up";
}

TEST(Network, ALinkThatIsCutForThreeSecondsLosesAndDoublesNothing) {
  const ShapedLab hosts(2);
  const SshWorkers two({"h1", "h2"});
  auto pids = by_host(two.pids());
  auto cutting = beside([&] {
    std::this_thread::sleep_for(300ms);
    hosts.run("cut", "h1");
    std::this_thread::sleep_for(3s);
    hosts.run("heal", "h1");
  });
  expect_all_to_arrive(two.pids(), 400, 10ms);  // for four seconds
  cutting.get();
  EXPECT_EQ(procs().size(), 3U) << "a worker was given up";
  EXPECT_EQ(remotecall_fetch([](Pid other) { return remotecall_fetch(&myid, other); }, pids["h1"], pids["h2"]),
            pids["h2"]);
}

TEST(Network, ALinkThatIsCutForGoodEndsItsWorkersInTimeAndTheRestGoesOn) {
  const ShapedLab hosts(2);
  const SshWorkers four({{"h1", 2}, {"h2", 2}});
  const std::vector<Pid> lost = procs(any_on("h1").choose());
  const Pid left = any_on("h2").choose();
  const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, lost[0]);
  const Future<void> waiting = spawnat(lost[0], [] { this_task::sleep_for(10 * patience); });
  auto mapped = std::async(std::launch::async, [] {
    std::vector<int> elements(400);
    std::iota(elements.begin(), elements.end(), 0);
    return pmap(
        [](int x) {
          this_task::sleep_for(20ms);
          return x + 1;
        },
        elements);
  });
  hosts.run("cut", "h1");
  const auto cut = Clock::now();
  EXPECT_EQ(remotecall_fetch(host_here, left), "h2") << "the rest goes on meanwhile";
  const auto error = thrown<ProcessExitedException>([&] { waiting.fetch(); });
  EXPECT_LT(Clock::now() - cut, heartbeat_timeout + slack);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->pid(), lost[0]);
  EXPECT_EQ(remotecall_fetch(host_here, left), "h2");
  const std::vector<int> results = mapped.get();
  for (int i = 0; i < 400; ++i) EXPECT_EQ(results[static_cast<std::size_t>(i)], i + 1);
  EXPECT_TRUE(eventually([] { return hosts_of_the_cluster() == 2; }));
  const auto gone = [&] { return hosts.on("h1", "kill -0 " + std::to_string(os_pid)).status != 0; };
  EXPECT_TRUE(eventually(gone, heartbeat_timeout + patience)) << "a worker without its master goes on";
}

TEST(Network, AHostThatStandsStillIsGivenUpAndItsWorkersEndWhenItWakes) {
  const ShapedLab hosts(2);
  const SshWorkers two({"h1", "h2"});
  auto pids = by_host(two.pids());
  const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, pids["h1"]);
  const auto alive = [&] { return hosts.on("h1", "kill -0 " + std::to_string(os_pid)).status == 0; };
  const Future<void> waiting = spawnat(pids["h1"], [] { this_task::sleep_for(10 * patience); });
  (void)hosts.on("h1", "kill -STOP -1");  // all that runs there, the SSH server too; its kernel still answers
  const auto stopped = Clock::now();
  const auto error = thrown<ProcessExitedException>([&] { waiting.fetch(); });
  EXPECT_LT(Clock::now() - stopped, heartbeat_timeout + slack);
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), HasSubstr("its connection was lost"));
  EXPECT_TRUE(alive());
  EXPECT_EQ(remotecall_fetch(host_here, pids["h2"]), "h2");
  (void)hosts.on("h1", "kill -CONT -1");
  EXPECT_TRUE(eventually([&] { return !alive(); })) << "it was not told that it is dead";
  EXPECT_EQ(procs(), (std::vector<Pid>{1, pids["h2"]})) << "the dead do not come back";
}

TEST(Network, AHostThatRefusesAnotherOneIsAnErrorOfThatCallOnly) {
  const ShapedLab hosts(2);
  const SshWorkers two({"h1", "h2"});
  auto pids = by_host(two.pids());
  // Which of the two connects is theirs to say.
  EXPECT_EQ(hosts.on("h1", "ip rule add priority 10 to " + hosts.subnet() + ".12 prohibit").status, 0);
  EXPECT_EQ(hosts.on("h2", "ip rule add priority 10 to " + hosts.subnet() + ".11 prohibit").status, 0);
  const auto ask = [](Pid other) { return remotecall_fetch(&myid, other); };
  const auto before = Clock::now();
  const auto error = thrown<RemoteException>([&] { remotecall_fetch(ask, pids["h1"], pids["h2"]); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->message(), HasSubstr("can't be reached from process"));
  EXPECT_LT(Clock::now() - before, 20s);
  EXPECT_EQ(remotecall_fetch(host_here, pids["h1"]), "h1");
  EXPECT_EQ(remotecall_fetch(host_here, pids["h2"]), "h2");
}

}  // namespace
}  // namespace muster::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const muster::Session session(argc, argv);
  if (const auto can = muster::test::SshLab::check(); can.status != 0) {
    std::fprintf(stderr, "SKIPPED: tests of networks need network namespaces, and there are none here: %s",
                 can.output.c_str());
    return 77;
  }
  return RUN_ALL_TESTS();
}
