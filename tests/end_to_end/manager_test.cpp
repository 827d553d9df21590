// Cluster managers that a program brings along.

#include "child_program.hpp"

#include <muster/cluster_manager.hpp>
#include <muster/muster.hpp>

#include <gmock/gmock.h>

#include <atomic>
#include <csignal>
#include <mutex>
#include <string_view>
#include <thread>

namespace muster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;
using muster::testing::eventually;
using muster::testing::start_worker;
using muster::testing::StartedWorker;

class PlainManager : public ClusterManager {
 public:
  explicit PlainManager(int n) : n_(n) {}
  void launch(LaunchContext& context) override {
    for (int i = 0; i < n_; ++i) {
      const auto [os_pid, output_fd] = start_worker(context, context.start_record());
      WorkerConfig config;
      config.output_fd = output_fd;
      config.os_pid = os_pid;
      config.userdata = i;
      context.launched(std::move(config));
    }
  }
  void manage(Pid pid, WorkerConfig& config, ManageOp op) override {
    const std::lock_guard lock(mutex_);
    operations_.emplace_back(pid, op);
    EXPECT_EQ(std::any_cast<int>(config.userdata), pid - first_);
    if (op == ManageOp::Interrupt) ClusterManager::manage(pid, config, op);
  }
  std::vector<ManageOp> operations(Pid pid) const {
    const std::lock_guard lock(mutex_);
    std::vector<ManageOp> mine;
    for (const auto& [whose, op] : operations_)
      if (whose == pid) mine.push_back(op);
    return mine;
  }
  Pid first_ = 0;  ///< that it is going to start

 private:
  int n_;
  mutable std::mutex mutex_;
  std::vector<std::pair<Pid, ManageOp>> operations_;
};

class Manager : public ::testing::Test {
 protected:
  void TearDown() override { rmprocs(other_procs()); }
  static Pid next_pid() {
    const Pid pid = addprocs(1).front();
    rmprocs(pid);
    return pid + 1;
  }
};

/// Asks on many threads, as one with a thread for each host does.
class AskingManager : public ClusterManager {
 public:
  void launch(LaunchContext& context) override {
    const std::string expected = context.start_record();
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&, invites = i == 0] {
        for (int k = 0; k < 500; ++k) {
          if (invites)
            (void)context.invite({.bind_address = "127.0.0.1"}, [](LaunchContext&, const Caller&) {});
          else
            wrong_ += context.start_record() == expected ? 0 : 1;
        }
      });
    for (std::thread& thread : threads) thread.join();
  }
  int wrong() const { return wrong_; }

 private:
  std::atomic<int> wrong_ = 0;
};

TEST_F(Manager, MayAskForStartRecordsOnManyThreads) {
  const auto manager = std::make_shared<AskingManager>();
  EXPECT_TRUE(addprocs(manager).empty());
  EXPECT_EQ(manager->wrong(), 0);
}

// catalogue: 22, 45
TEST_F(Manager, StartsWorkersAndIsToldAboutThem) {
  const auto manager = std::make_shared<PlainManager>(2);
  manager->first_ = next_pid();
  const auto pids = addprocs(manager);
  ASSERT_EQ(pids.size(), 2U);
  for (const Pid pid : pids) EXPECT_EQ(fetchfrom(pid, [] { return myid(); }), pid);
  EXPECT_TRUE(eventually([&] { return manager->operations(pids[1]).size() == 1; }));
  interrupt(pids[0]);
  EXPECT_TRUE(eventually([&] { return manager->operations(pids[0]).size() == 2; }));
  EXPECT_EQ(fetchfrom(pids[0], [] { return myid(); }), pids[0]);  // an idle worker minds no SIGINT
  rmprocs(pids);
  EXPECT_TRUE(eventually([&] { return manager->operations(pids[0]).size() == 3; }));
  EXPECT_TRUE(eventually([&] { return manager->operations(pids[1]).size() == 2; }));
  EXPECT_THAT(manager->operations(pids[0]), ElementsAre(ManageOp::Register, ManageOp::Interrupt, ManageOp::Deregister));
  EXPECT_THAT(manager->operations(pids[1]), ElementsAre(ManageOp::Register, ManageOp::Deregister));
}

TEST_F(Manager, OutputOfItsWorkersIsOnStandardOutput) {
  const auto manager = std::make_shared<PlainManager>(1);
  manager->first_ = next_pid();
  const auto pid = addprocs(manager).front();
  ::testing::internal::CaptureStdout();
  fetchfrom(pid, [] {
    std::puts("out");
    std::fputs("error\n", stderr);
  });
  rmprocs(pid);
  const auto mark = "      From worker " + std::to_string(pid) + ":\t";
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), mark + "out\n" + mark + "error\n");
}

/// Reads the address line itself, and gives no process number.
class ReadingManager : public ClusterManager {
 public:
  void launch(LaunchContext& context) override {
    started_ = start_worker(context, context.start_record());
    std::string line;
    for (char c = 0; ::read(started_.output_fd, &c, 1) == 1 && c != '\n';) line += c;
    WorkerConfig config;
    const auto colon = line.find(':'), hash = line.find('#');
    config.port = std::stoi(line.substr(colon + 1, hash - colon - 1));
    config.host = line.substr(hash + 1);
    context.launched(std::move(config));
  }
  void kill(Pid, const WorkerConfig&) override {
    ++kills_;
    ::kill(started_.os_pid, SIGKILL);
  }
  ~ReadingManager() override {
    ::close(started_.output_fd);
    ::waitpid(started_.os_pid, nullptr, 0);
  }
  StartedWorker started_{};
  std::atomic<int> kills_{0};
};

// catalogue: 38
TEST_F(Manager, MayReadTheAddressLineItself) {
  const auto manager = std::make_shared<ReadingManager>();
  const Pid pid = addprocs(manager).front();
  EXPECT_EQ(fetchfrom(pid, [] { return myid(); }), pid);
  EXPECT_EQ(fetchfrom(pid, [] { return static_cast<int>(::getpid()); }), manager->started_.os_pid);
  rmprocs(pid);
  EXPECT_TRUE(eventually([&] { return !muster::testing::runs(manager->started_.os_pid); }));
  EXPECT_EQ(manager->kills_, 0);
}

// catalogue: 67
TEST_F(Manager, KillsAWorkerThatDoesNotLeave) {
  const auto manager = std::make_shared<ReadingManager>();
  const Pid pid = addprocs(manager).front();
  ::kill(manager->started_.os_pid, SIGSTOP);
  ::testing::internal::CaptureStderr();
  rmprocs(pid);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("did not leave"));
  EXPECT_EQ(manager->kills_, 1);
}

TEST_F(Manager, DeathOfAWorkerWithoutAProcessNumberIsNoticed) {
  const auto manager = std::make_shared<ReadingManager>();
  const Pid pid = addprocs(manager).front();
  const auto call = spawnat(pid, [] { std::this_thread::sleep_for(60s); });
  ::kill(manager->started_.os_pid, SIGKILL);
  EXPECT_THROW(call.fetch(20s), ProcessExitedException);
}

/// Names them for the custom topology: a line, each knows the one before it.
class LineManager : public ClusterManager {
 public:
  void launch(LaunchContext& context) override {
    for (int i = 0; i < 3; ++i) {
      const auto [os_pid, output_fd] = start_worker(context, context.start_record());
      WorkerConfig config;
      config.output_fd = output_fd;
      config.os_pid = os_pid;
      config.ident = "number " + std::to_string(i);
      config.connect_idents = {"number " + std::to_string(i - 1)};
      context.launched(std::move(config));
    }
  }
};

// catalogue: 286
TEST_F(Manager, MakesACustomTopology) {
  const auto pids = addprocs(std::make_shared<LineManager>(), {.topology = Topology::custom});
  const auto ask = [](Pid other) { return remotecall_fetch([] { return static_cast<int>(myid()); }, other); };
  // Eagerly connected, and by no more than these.
  EXPECT_TRUE(eventually([&] { return debug::links(pids[1]).size() == 3; }));
  EXPECT_EQ(fetchfrom(pids[0], ask, pids[1]), pids[1]);
  EXPECT_EQ(fetchfrom(pids[1], ask, pids[0]), pids[0]);
  EXPECT_EQ(fetchfrom(pids[2], ask, pids[1]), pids[1]);
  try {
    (void)fetchfrom(pids[0], ask, pids[2]);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const RemoteException& error) {
    EXPECT_THAT(error.message(), HasSubstr("the topology custom"));
  }
  EXPECT_EQ(debug::links(pids[0]).size(), 2U);
}

class ThrowingManager : public ClusterManager {
 public:
  void launch(LaunchContext& context) override {
    context.failed("the moon", "nobody answers");
    throw std::runtime_error("no fuel");
  }
};

TEST_F(Manager, FailuresAreCollected) {
  try {
    (void)addprocs(std::make_shared<ThrowingManager>());
    ADD_FAILURE() << "nothing was thrown";
  } catch (const LaunchError& error) {
    ASSERT_EQ(error.failures().size(), 2U);
    EXPECT_EQ(error.failures()[0].where, "the moon");
    EXPECT_EQ(error.failures()[0].message, "nobody answers");
    EXPECT_EQ(error.failures()[1].message, "no fuel");
    EXPECT_EQ(error.failures()[1].cause, LaunchCause::not_started);
    EXPECT_TRUE(error.joined().empty());
  }
}

/// Reports what can't work: neither output nor address, and an address where nobody listens.
class WrongManager : public ClusterManager {
 public:
  void launch(LaunchContext& context) override {
    context.launched({});
    WorkerConfig nowhere;
    nowhere.host = "127.0.0.1";
    nowhere.port = 1;
    context.launched(std::move(nowhere));
  }
};

TEST_F(Manager, ReportsThatCannotWorkFailAtOnce) {
  const auto begin = muster::testing::Clock::now();
  try {
    (void)addprocs(std::make_shared<WrongManager>());
    ADD_FAILURE() << "nothing was thrown";
  } catch (const LaunchError& error) {
    ASSERT_EQ(error.failures().size(), 2U);
    EXPECT_EQ(error.failures()[0].cause, LaunchCause::not_started);
    EXPECT_EQ(error.failures()[1].cause, LaunchCause::handshake);
    EXPECT_THAT(error.failures()[1].message, HasSubstr("127.0.0.1:1"));
  }
  EXPECT_LT(muster::testing::Clock::now() - begin, 10s);
  EXPECT_EQ(nprocs(), 1);
}

/// Never comes to an end by itself.
class SlowManager : public ClusterManager {
 public:
  void launch(LaunchContext& context) override {
    while (!(stubborn_ ? over_.load() : context.stop_token().stop_requested())) std::this_thread::sleep_for(1ms);
    context.failed("somewhere", "stopped");
  }
  const bool stubborn_;
  std::atomic<bool> over_{false};
  explicit SlowManager(bool stubborn) : stubborn_(stubborn) {}
};

TEST_F(Manager, IsAskedToStopWhenTimeIsUp) {
  const auto begin = muster::testing::Clock::now();
  EXPECT_THROW((void)addprocs(std::make_shared<SlowManager>(false), {.launch_timeout = 100ms}), LaunchError);
  const auto stubborn = std::make_shared<SlowManager>(true);
  try {
    (void)addprocs(stubborn, {.launch_timeout = 100ms});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const LaunchError& error) {
    EXPECT_THAT(error.what(), HasSubstr("stop_token"));
  }
  EXPECT_LT(muster::testing::Clock::now() - begin, 10s);
  stubborn->over_ = true;
}

}  // namespace
}  // namespace muster
