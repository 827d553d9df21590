/// @file
/// Whole clusters in one program, on virtual time: real transports, clusters, calls, references and schedules of maps,
/// with delays, deaths, removals and broken links as a seed has them. What must hold: every wait ends, with the right
/// value or the right error; no call runs twice; maps are complete; every process knows the same members; and when
/// everything was let go, nobody keeps anything.
///
/// MUSTER_SEED=n replays one with a trace; MUSTER_DEATH=step:pid (of a process that dies) or step:pid:pid (of a link
/// that is cut) besides, where the failure names it. MUSTER_SEEDS=n runs so many.
#include "runtime/base/log.hpp"
#include "tests/simulation/simulated_map.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace {

using namespace muster::simulation;
using namespace std::chrono_literals;
using muster::Pid;
using muster::Topology;
namespace runtime = muster::runtime;
namespace log = muster::runtime::log;

#if defined(__has_feature)  // Clang
#define MUSTER_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MUSTER_SANITIZED 1
#else
#define MUSTER_SANITIZED 0
#endif
#if MUSTER_SANITIZED
constexpr std::uint64_t slowness = 20;
#else
constexpr std::uint64_t slowness = 1;
#endif

/// What one run is like.
struct Setting {
  SimulatedCluster::Options cluster;
  Nanoseconds least_delay = 20us, most_delay = 300us;
  int workers = 3;
  int actions = 20;
  Nanoseconds span = 20ms;  ///< in which they happen
  int late_workers = 0, deaths = 0, removals = 0, cuts = 0, maps = 0;
  bool master_dies = false;
  std::size_t lost_message = 0;  ///< breaks the network by hand
  struct Stroke {
    std::uint64_t step = 0;
    Pid pid = 0, other = 0;  ///< other: their link is cut; 0: the process dies
  };
  std::optional<Stroke> stroke = {};
};

class Scenario final : public SimulatedMaps {
 public:
  explicit Scenario(const Setting& setting) : SimulatedMaps(setting.cluster), setting_(setting) {
    around().least_delay = setting.least_delay;
    around().most_delay = setting.most_delay;
    around().lost_message = setting.lost_message;
  }

  /// To the end. @returns what went wrong, or nothing
  const std::string& run() {
    plan();
    let_happen();
    check_waits();
    check_maps();
    check_members();
    if (!failure().empty() || cuts() > 0) return failure();  // what a broken link had on it is not released
    trace().say(0, "all is let go");
    empty_pockets();
    let_happen();
    check_waits();
    if (cuts() == 0) check_nothing_kept();
    return failure();
  }

 private:
  void plan() {
    // Many are started one after the other, and known to each other before they work.
    const bool many = setting_.workers > 50;
    for (int i = 0; i < setting_.workers; ++i) {
      add();
      while (many && time().step() && time().now() < i * 1ms) {
      }
    }
    const Nanoseconds begin = many ? Nanoseconds(100ms) : 0ns;
    const auto somewhen = [this, begin] { return begin + random().between(Nanoseconds(0), setting_.span); };
    for (int i = 0; i < setting_.actions; ++i) time().after(somewhen(), [this] { act(); });
    for (int i = 0; i < setting_.late_workers; ++i) time().after(somewhen(), [this] { add(); });
    for (int i = 0; i < setting_.maps; ++i) time().after(somewhen(), [this] { start_map(); });
    for (int i = 0; i < setting_.deaths; ++i) time().after(somewhen(), [this] { kill(some_worker()); });
    for (int i = 0; i < setting_.removals; ++i) time().after(somewhen(), [this] { remove(some_worker()); });
    for (int i = 0; i < setting_.cuts; ++i)
      time().after(somewhen(), [this] {
        const Pid a = some_worker(), b = random().chance(30) ? 1 : some_worker();
        if (a != 0 && b != 0) (void)cut(a, b);
      });
    if (setting_.master_dies) time().after(somewhen(), [this] { kill(1); });
  }
  void let_happen() {
    constexpr std::uint64_t endless = 20'000'000;
    while (failure().empty()) {
      if (setting_.stroke && time().steps() == setting_.stroke->step) strike(*setting_.stroke);
      if (!time().step()) return;
      if (time().steps() > endless) fail("it never ends");
    }
  }
  void strike(const Setting::Stroke& stroke) {
    if (stroke.other == 0)
      kill(stroke.pid);
    else if (find(stroke.pid) != nullptr && find(stroke.other) != nullptr)
      (void)cut(stroke.pid, stroke.other);
  }
  /// Any that was started; 0: none.
  Pid some_worker() { return setting_.workers == 0 ? 0 : random().between(2, setting_.workers + 1); }
  bool references_travel() const { return setting_.cluster.topology == Topology::all_to_all; }

  void act() {
    const auto there = members();
    if (there.empty()) return;
    const Pid pid = random().chance(40) && find(1)->alive() ? 1 : random().one_of(there);
    SimulatedProcess& at = *find(pid);
    at.enter([&] {
      auto& mine = pocket(pid);
      const int what = random().between(1, 100);
      if (what <= 60 || mine.empty())
        make_call(at, mine);
      else if (what <= 78)
        fetch(at, random().one_of(mine));
      else if (what <= 95)
        drop_one(mine);
      else
        cancel(at, Reference(random().one_of(mine)));
    });
  }
  void make_call(SimulatedProcess& at, const std::vector<Reference>& mine) {
    Plan plan;
    plan.returns =
        std::array{Returns::small, Returns::small, Returns::value, Returns::stays, Returns::nothing}[random().index(5)];
    plan.duration = random().chance(50) ? 0ns : random().between(0ns, setting_.span / 4);
    if (random().chance(3)) plan.result_size = 70'000;  // too large to be brought along
    const int what = random().between(1, 100);
    if (references_travel()) {
      for (int i = random().between(0, 3); i > 0 && !mine.empty(); --i)
        plan.arguments.push_back(mine[random().index(mine.size())]);
      plan.behaviour = what <= 25   ? Behaviour::answer
                       : what <= 33 ? Behaviour::fail
                       : what <= 48 ? Behaviour::relay
                       : what <= 63 ? Behaviour::forward
                       : what <= 80 ? Behaviour::fetch
                                    : Behaviour::keep;
    } else {
      plan.behaviour = what <= 80 ? Behaviour::answer : Behaviour::fail;
    }
    if (setting_.deaths > 0 && random().chance(2)) plan.behaviour = Behaviour::die;
    call(at, target_of(at, plan), std::move(plan));
  }
  Pid target_of(SimulatedProcess& at, Plan& plan) {
    if (!references_travel()) return at.pid() == 1 ? (random().chance(50) ? 0 : 1) : 1;
    if (at.pid() == 1 && random().chance(30)) return 0;
    auto known = at.cluster().procs();
    const Pid target = random().one_of(known);
    if (target == 1 && plan.behaviour == Behaviour::die && !setting_.master_dies) plan.behaviour = Behaviour::answer;
    return target;
  }
  static void drop_one(std::vector<Reference>& mine) {
    const Reference dropped = std::exchange(mine.back(), {});  // destroyed when the vector is in order again
    mine.pop_back();
  }
  void start_map() {
    const auto there = members();
    if (there.empty()) return;
    SimulatedProcess& at = *find(random().chance(60) && find(1)->alive() ? 1 : random().one_of(there));
    if (!references_travel() && at.pid() != 1) return;
    runtime::MapRules rules;
    rules.batch_size = static_cast<std::size_t>(random().chance(40) ? random().between(0, 6) : 1);
    rules.max_restarts = random().between(0, 3);
    rules.retry_delays.assign(static_cast<std::size_t>(random().between(0, 2)),
                              random().between(0ns, Nanoseconds(3ms)));
    std::vector<MapElement> elements(static_cast<std::size_t>(random().between(0, 40)));
    const bool failing = random().chance(50), killing = setting_.deaths > 0 && random().chance(30);
    for (MapElement& element : elements) {
      element.duration = random().between(0ns, setting_.most_delay * 2);
      if (failing && random().chance(15)) element.failures = random().between(1, 3);
      if (killing && random().chance(3)) element.kills = random().between(1, 3);
    }
    at.enter([&] { map(at, std::move(rules), std::move(elements)); });
  }

  const Setting setting_;
};

Setting random_setting(std::uint64_t seed) {
  Random random(seed ^ 0x5e771e5u);
  Setting setting;
  setting.cluster.seed = seed;
  setting.cluster.lazy = random.chance(70);
  setting.cluster.threads = random.chance(60) ? 1 : random.between(2, 4);
  if (random.chance(10)) setting.cluster.topology = Topology::master_worker;
  if (random.chance(35)) setting.cluster.transport.credit_window = random.between(64, 4000);
  setting.most_delay = random.between(Nanoseconds(20us), Nanoseconds(random.chance(50) ? 500us : 15ms));
  setting.least_delay = random.between(Nanoseconds(1us), setting.most_delay);
  setting.workers = random.chance(90) ? random.between(1, 7) : random.between(8, 11);
  setting.actions = random.between(4, 60);
  setting.span = setting.most_delay * random.between(5, 60);
  setting.late_workers = random.chance(30) ? random.between(1, 3) : 0;
  setting.deaths = random.chance(60) ? random.between(1, 3) : 0;
  setting.removals = random.chance(25) ? random.between(1, 2) : 0;
  setting.cuts = random.chance(10) ? random.between(1, 3) : 0;
  setting.maps = random.chance(30) ? random.between(1, 2) : 0;
  setting.master_dies = random.chance(3);
  return setting;
}

/// What the environment asks to be replayed.
std::optional<std::uint64_t> chosen_seed() {
  const char* const seed = std::getenv("MUSTER_SEED");
  return seed != nullptr ? std::optional(std::strtoull(seed, nullptr, 10)) : std::nullopt;
}
std::optional<Setting::Stroke> chosen_stroke() {
  const char* const death = std::getenv("MUSTER_DEATH");
  if (death == nullptr) return std::nullopt;
  Setting::Stroke stroke;
  char* rest = nullptr;
  stroke.step = std::strtoull(death, &rest, 10);
  if (*rest == ':') stroke.pid = static_cast<Pid>(std::strtol(rest + 1, &rest, 10));
  if (*rest == ':') stroke.other = static_cast<Pid>(std::strtol(rest + 1, &rest, 10));
  return stroke;
}

class ClusterSimulation : public testing::Test {
 protected:
  ClusterSimulation() { log::set_level(chosen_seed() ? log::Level::debug : log::Level::off); }
  ~ClusterSimulation() override { log::set_level(log::Level::info); }

  static std::string replay(const Setting& setting) {
    std::string command = "replay with MUSTER_SEED=" + std::to_string(setting.cluster.seed);
    if (setting.stroke) {
      command += " MUSTER_DEATH=" + std::to_string(setting.stroke->step) + ':' + std::to_string(setting.stroke->pid);
      if (setting.stroke->other != 0) command += ':' + std::to_string(setting.stroke->other);
    }
    const auto* const test = testing::UnitTest::GetInstance()->current_test_info();
    return command + " test_simulation --gtest_filter=ClusterSimulation." + test->name();
  }
  struct Sums {
    std::size_t calls = 0, failed = 0, fetched = 0, deaths = 0, elements = 0, messages = 0;
    std::uint64_t steps = 0, fingerprint = 0;
    void print(std::uint64_t runs) const {
      std::cout << runs << " clusters: " << calls << " calls, " << failed << " failures, " << fetched << " fetches, "
                << elements << " elements of maps, " << deaths << " deaths, " << messages << " messages, " << steps
                << " steps\n";
    }
  };
  /// @returns what went wrong
  static std::string run(Setting setting, Sums& sums) {
    setting.cluster.traced = chosen_seed().has_value();
    Scenario scenario(setting);
    const std::string failure = scenario.run();
    sums.calls += scenario.calls_made();
    sums.failed += scenario.calls_failed();
    sums.fetched += scenario.references_fetched();
    sums.deaths += scenario.deaths();
    sums.elements += scenario.elements_delivered();
    sums.messages += scenario.around().messages;
    sums.steps += scenario.time().steps();
    sums.fingerprint = scenario.trace().fingerprint();
    return failure;
  }
};

TEST_F(ClusterSimulation, EveryWaitEndsRightAndNothingIsKept) {
  Sums sums;
  if (const auto seed = chosen_seed()) {
    EXPECT_EQ(run(random_setting(*seed), sums), "");
    return;
  }
  const char* const more = std::getenv("MUSTER_SEEDS");
  const std::uint64_t seeds = more != nullptr ? std::strtoull(more, nullptr, 10) : 20'000 / slowness;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const Setting setting = random_setting(seed);
    ASSERT_EQ(run(setting, sums), "") << replay(setting);
  }
  sums.print(seeds);
  EXPECT_GT(sums.calls, seeds * 10);
  EXPECT_GT(sums.failed, seeds / 10);
  EXPECT_GT(sums.fetched, seeds);
  EXPECT_GT(sums.deaths, seeds / 10);
  EXPECT_GT(sums.elements, seeds);
}

/// A short script, into every step of which something strikes.
Setting script(std::uint64_t seed) {
  Setting setting;
  setting.cluster.seed = seed;
  setting.cluster.lazy = seed % 3 != 0;
  setting.workers = 3;
  setting.actions = 8;
  setting.span = 3ms;
  setting.maps = seed % 2 == 0 ? 1 : 0;
  return setting;
}

/// Lets each of those strokes happen at each step in turn.
void strike_everywhere(Setting setting, const std::vector<Setting::Stroke>& strokes, auto&& run) {
  setting.stroke.reset();
  const std::uint64_t steps = run(setting);
  for (std::uint64_t step = 0; step <= steps && !testing::Test::HasFatalFailure(); ++step) {
    for (Setting::Stroke stroke : strokes) {
      stroke.step = step;
      setting.stroke = stroke;
      (void)run(setting);
    }
  }
}

TEST_F(ClusterSimulation, ADeathAtEveryStep) {
  Sums sums;
  std::uint64_t runs = 0;
  const auto run_one = [&](const Setting& setting) {
    const auto before = sums.steps;
    ++runs;
    [&] { ASSERT_EQ(run(setting, sums), "") << replay(setting); }();
    return sums.steps - before;
  };
  if (const auto seed = chosen_seed()) {
    Setting setting = script(*seed);
    setting.stroke = chosen_stroke();
    run_one(setting);
    return;
  }
  const std::uint64_t scripts = slowness == 1 ? 12 : 1;
  for (std::uint64_t seed = 1; seed <= scripts && !HasFatalFailure(); ++seed)
    strike_everywhere(script(seed), {{0, 2, 0}, {0, 3, 0}, {0, 4, 0}, {0, 1, 0}, {0, 3, 1}, {0, 3, 2}}, run_one);
  sums.print(runs);
}

Setting large(std::uint64_t seed, int workers) {
  Setting setting;
  setting.cluster.seed = seed;
  setting.workers = workers;
  setting.actions = 3 * workers;
  setting.span = 40ms;
  setting.late_workers = 5;
  setting.deaths = 10 + workers / 100;
  setting.removals = 5;
  setting.maps = 3;
  return setting;
}

TEST_F(ClusterSimulation, HundredsOfProcesses) {
  Sums sums;
  const auto chosen = chosen_seed();
  const std::uint64_t first = chosen.value_or(1), last = chosen.value_or(slowness == 1 ? 8 : 1);
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    const Setting setting = large(seed, 100 + static_cast<int>(seed % 5) * 50);
    ASSERT_EQ(run(setting, sums), "") << replay(setting);
  }
  sums.print(last - first + 1);
}

// Each knows all others: MUSTER_PROCESSES=2000 takes four times as long, and 1.5 GB.
TEST_F(ClusterSimulation, AThousandProcesses) {
  if (slowness != 1) GTEST_SKIP() << "too much for a sanitizer";
  Sums sums;
  const char* const processes = std::getenv("MUSTER_PROCESSES");
  const Setting setting = large(chosen_seed().value_or(1), processes != nullptr ? std::atoi(processes) : 1000);
  EXPECT_EQ(run(setting, sums), "") << replay(setting);
  sums.print(1);
}

// Who goes is told together with others: what each costs does not grow with the number of those who stay.
TEST_F(ClusterSimulation, ManyWhoGoAreToldTogether) {
  const auto messages = [](int removals) {
    Setting setting;
    setting.workers = 200;
    setting.actions = 0;
    setting.removals = removals;
    Sums sums;
    EXPECT_EQ(run(setting, sums), "") << replay(setting);
    return sums.messages;
  };
  EXPECT_LT(messages(100), messages(0) + std::size_t{100} * 10);
}

TEST_F(ClusterSimulation, TheSameSeedIsTheSameRun) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Sums first, second;
    ASSERT_EQ(run(random_setting(seed), first), "");
    ASSERT_EQ(run(random_setting(seed), second), "");
    ASSERT_EQ(first.fingerprint, second.fingerprint) << "seed " << seed;
    ASSERT_EQ(first.steps, second.steps) << "seed " << seed;
  }
}

// That what is checked can fail: a network that loses a message, and tells nobody.
TEST_F(ClusterSimulation, ALostMessageShows) {
  if (chosen_seed()) GTEST_SKIP();
  std::size_t runs = 0, shown = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    Setting setting = script(seed);
    Sums sums;
    ASSERT_EQ(run(setting, sums), "");
    for (std::size_t message = 1; message <= sums.messages; message += slowness) {
      setting.lost_message = message;
      Sums unused;
      const std::string failure = run(setting, unused);
      ++runs;
      shown += failure.empty() ? 0 : 1;
    }
  }
  std::cout << shown << " of " << runs << " lost messages show\n";
  EXPECT_GT(shown, runs * 9 / 10);
}

}  // namespace
