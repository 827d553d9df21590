// Workers that connect to the master by themselves, with the start record of an invitation.

#include "child_program.hpp"
#include "support.hpp"

#include <muster/cluster_manager.hpp>
#include <muster/muster.hpp>

#include <gmock/gmock.h>

#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <set>

namespace muster {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using namespace std::chrono_literals;
using muster::testing::eventually;
using muster::testing::start_worker;
using muster::testing::StartedWorker;

/// Starts workers that call, all with one record, and takes in whoever comes.
class CallingManager : public ClusterManager {
 public:
  explicit CallingManager(int n) : n_(n) {}
  ~CallingManager() override {
    invitation_.reset();
    for (const StartedWorker& each : started_) {
      ::kill(each.os_pid, SIGKILL);
      ::waitpid(each.os_pid, nullptr, 0);
      ::close(each.output_fd);
    }
  }

  void launch(LaunchContext& context) override {
    context_ = &context;
    invitation_ = context.invite({.asked = {"MUSTER_TEST_FACT", "MUSTER_TEST_NONE"}},
                                 [this](LaunchContext& where, Caller caller) { called(where, std::move(caller)); });
    ::setenv("MUSTER_TEST_FACT", "a fact", 1);
    for (int i = 0; i < n_; ++i) start_one();
    ::unsetenv("MUSTER_TEST_FACT");
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, 30s, [this] { return callers_.size() == static_cast<std::size_t>(n_); }))
      context.failed("here", "not all called");
  }
  void kill(Pid, const WorkerConfig&) override {}

  StartedWorker start_one() {
    std::string record = invitation_->start_record();
    if (from_elsewhere_) {  // as a worker on another host would find it
      const std::string key = "\"master_host\":\"";
      record.insert(record.find(key) + key.size(), "not ");
    }
    started_.push_back(start_worker(*context_, record));
    return started_.back();
  }
  void withdraw() { invitation_.reset(); }
  std::vector<Caller> callers() const {
    const std::lock_guard lock(mutex_);
    return callers_;
  }
  std::vector<std::string> endpoints() const { return invitation_->endpoints(); }
  std::string record() const { return invitation_->start_record(); }
  bool from_elsewhere_ = false;

 private:
  void called(LaunchContext& context, Caller caller) {
    WorkerConfig config;
    config.caller = caller.id;
    config.host = caller.host;
    context.launched(std::move(config));
    const std::lock_guard lock(mutex_);
    callers_.push_back(std::move(caller));
    changed_.notify_all();
  }

  const int n_;
  LaunchContext* context_ = nullptr;
  std::unique_ptr<Invitation> invitation_;
  std::vector<StartedWorker> started_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Caller> callers_;
};

std::string read_to_end(int fd) {
  std::string text;
  char part[1024];
  for (ssize_t got = 0; (got = ::read(fd, part, sizeof part)) > 0;) text.append(part, static_cast<std::size_t>(got));
  return text;
}

TEST(Caller, SeveralComeByOneRecordAndTellWhatWasAsked) {
  const auto manager = std::make_shared<CallingManager>(3);
  const auto pids = addprocs(manager);
  ASSERT_EQ(pids.size(), 3U);
  std::set<long> there, said;
  for (const Pid pid : pids) there.insert(fetchfrom(pid, [] { return static_cast<long>(::getpid()); }));
  for (const Caller& caller : manager->callers()) {
    said.insert(caller.os_pid);
    EXPECT_EQ(caller.facts, (std::map<std::string, std::string>{{"MUSTER_TEST_FACT", "a fact"}}));
    EXPECT_FALSE(caller.host.empty());
  }
  EXPECT_EQ(there, said);
  EXPECT_EQ(there.size(), 3U);
  // They reach each other.
  EXPECT_EQ(fetchfrom(
                pids[0], [](Pid other) { return fetchfrom(other, [] { return static_cast<int>(myid()); }); }, pids[2]),
            pids[2]);
  for (const auto& link : debug::links(1)) EXPECT_EQ(link.lane, test::lane_within_a_host());
  rmprocs(pids);
}

TEST(Caller, ComesEncryptedFromAnotherHost) {
  const auto manager = std::make_shared<CallingManager>(2);
  manager->from_elsewhere_ = true;
  const auto pids = addprocs(manager);
  ASSERT_EQ(pids.size(), 2U);
  EXPECT_EQ(fetchfrom(pids[1], [] { return myid(); }), pids[1]);
  const bool leaves_the_host = !manager->endpoints().front().starts_with("127.");
  ASSERT_EQ(debug::links(1).size(), 2U);
  for (const auto& link : debug::links(1)) {
    EXPECT_EQ(link.lane, leaves_the_host ? "zmq-tcp" : test::lane_within_a_host());  // a machine may have no network
    EXPECT_EQ(link.encrypted, leaves_the_host);
  }
  rmprocs(pids);
}

TEST(Caller, ItsDeathIsNoticedAtOnce) {
  const auto manager = std::make_shared<CallingManager>(2);
  manager->from_elsewhere_ = true;
  const auto pids = addprocs(manager);
  const auto os_pid = fetchfrom(pids[0], [] { return ::getpid(); });
  const auto call = spawnat(pids[0], [] { std::this_thread::sleep_for(60s); });
  const auto start = std::chrono::steady_clock::now();
  ::kill(os_pid, SIGKILL);
  EXPECT_THROW(call.fetch(30s), ProcessExitedException);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);  // the heartbeat's timeout is ten
  rmprocs(pids);
}

TEST(Caller, MayComeLongAfterAddprocsReturned) {
  const auto manager = std::make_shared<CallingManager>(0);
  EXPECT_TRUE(addprocs(manager).empty());
  const auto before = nprocs();
  (void)manager->start_one();
  ASSERT_TRUE(eventually([&] { return nprocs() == before + 1; }));
  const Pid pid = workers().back();
  EXPECT_EQ(fetchfrom(pid, [] { return myid(); }), pid);
  rmprocs(pid);
  EXPECT_TRUE(eventually([&] { return nprocs() == before; }));
}

TEST(Caller, IsTurnedAwayWhenTheInvitationIsOver) {
  const auto manager = std::make_shared<CallingManager>(1);
  const auto pids = addprocs(manager);
  const std::string record = manager->record();
  manager->withdraw();
  struct Late : ClusterManager {
    explicit Late(std::string text) : record(std::move(text)) {}
    void launch(LaunchContext& context) override { worker = start_worker(context, record); }
    std::string record;
    StartedWorker worker{};
  };
  const auto late = std::make_shared<Late>(record);
  EXPECT_TRUE(addprocs(late).empty());
  EXPECT_THAT(read_to_end(late->worker.output_fd), HasSubstr("The invitation that this worker came by is over"));
  int status = 0;
  ::waitpid(late->worker.os_pid, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 1);
  ::close(late->worker.output_fd);
  EXPECT_EQ(fetchfrom(pids[0], [] { return myid(); }), pids[0]);  // who is in stays in
  rmprocs(pids);
}

TEST(Caller, WithoutTheCookieIsTurnedAway) {
  const auto manager = std::make_shared<CallingManager>(0);
  (void)addprocs(manager);
  std::string record = manager->record();
  const std::string key = "\"cookie\":\"";
  record.insert(record.find(key) + key.size(), "another");
  struct Stranger : ClusterManager {
    explicit Stranger(std::string text) : record(std::move(text)) {}
    void launch(LaunchContext& context) override { worker = start_worker(context, record); }
    std::string record;
    StartedWorker worker{};
  };
  const auto stranger = std::make_shared<Stranger>(record);
  ::testing::internal::CaptureStderr();
  (void)addprocs(stranger);
  const std::string said = read_to_end(stranger->worker.output_fd);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("A worker was turned away"));
  EXPECT_THAT(said, HasSubstr("did not take this worker in: invalid connection credentials"));
  ::waitpid(stranger->worker.os_pid, nullptr, 0);
  ::close(stranger->worker.output_fd);
  EXPECT_TRUE(manager->callers().empty());
}

}  // namespace
}  // namespace muster
