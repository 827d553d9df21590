// Behaviours of the catalogue about starting and ending processes that no other test happens to prove. Each test has a
// session of its own. See docs/conformance.md.

#include "child_program.hpp"

#include <muster/muster.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <optional>
#include <type_traits>

namespace muster::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

pid_t os_pid() { return ::getpid(); }
std::string this_program() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

/// Starts workers through the shell.
AddprocsOptions script(const std::string& text, std::chrono::nanoseconds timeout = 60s) {
  return {.exename = "/bin/sh", .exeflags = {"-c", text}, .launch_timeout = timeout};
}

/// A folder that goes with this.
class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("conformance." + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directory(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class ConformanceProcesses : public ::testing::Test {
 protected:
  void start(SessionOptions options = {}) {
    static char name[] = "conformance_processes_test";
    static char* arguments[] = {name, nullptr};
    int count = 1;
    char** values = arguments;
    session_.reset();
    session_.emplace(count, values, std::move(options));
  }
  std::optional<Session> session_;
};

// catalogue: 7, 11
TEST_F(ConformanceProcesses, SurvivorsCountAlike) {
  start();
  const auto added = addprocs(4);
  EXPECT_EQ(other_procs(), added);
  EXPECT_EQ(other_workers(), added);
  for (std::size_t i = 0; i < added.size(); ++i) {
    EXPECT_EQ(nprocs(), 5 - static_cast<int>(i));
    for (const Pid pid : other_procs()) {
      EXPECT_EQ(fetchfrom(pid, [] { return nprocs(); }), nprocs());
      EXPECT_EQ(fetchfrom(pid, [] { return nworkers(); }), nworkers());
      EXPECT_EQ(fetchfrom(pid, [] { return procs(); }), procs());
    }
    rmprocs(added[i]);
  }
}

// catalogue: 13
TEST_F(ConformanceProcesses, AFailedLaunchUsesUpItsNumber) {
  start();
  EXPECT_THAT(addprocs(1), ElementsAre(2));
  EXPECT_THROW((void)addprocs(1, script("exit 1")), LaunchError);
  EXPECT_THAT(addprocs(1), ElementsAre(4));
}

// catalogue: 19, 24
TEST_F(ConformanceProcesses, WorkersJoinWithAnyCookie) {
  for (const std::string cookie : {"foobar", "", "a cookie that is rather longer than sixteen characters \"\\"}) {
    start({.cookie = cookie});
    EXPECT_THAT(addprocs(1), ElementsAre(2)) << cookie;
    EXPECT_EQ(fetchfrom(2, &myid), 2);
  }
}

// catalogue: 33
TEST_F(ConformanceProcesses, WhoDidJoinStaysAndIsNamed) {
  start();
  const Folder folder;
  // The first of the three to make the folder is the one that fails.
  const auto one_fails =
      "mkdir '" + folder.file("taken") + "' 2>&- && exit 3; exec '" + this_program() + "' --muster-worker";
  try {
    (void)addprocs(3, script(one_fails));
    ADD_FAILURE() << "nothing was thrown";
  } catch (const LaunchError& error) {
    EXPECT_EQ(error.failures().size(), 1U);
    EXPECT_EQ(error.joined().size(), 2U);
    EXPECT_EQ(error.joined(), workers());
    for (const Pid pid : error.joined()) EXPECT_EQ(fetchfrom(pid, &myid), pid);
    EXPECT_EQ(fetchfrom(
                  error.joined()[0], [](Pid other) { return fetchfrom(other, &myid); }, error.joined()[1]),
              error.joined()[1]);
  }
}

// catalogue: 35
TEST_F(ConformanceProcesses, StandardInputOfAWorkerIsAtItsEnd) {
  start();
  const Pid pid = addprocs(1).front();
  EXPECT_EQ(fetchfrom(pid,
                      [] {
                        char byte = 0;
                        return static_cast<int>(::read(STDIN_FILENO, &byte, 1));
                      }),
            0);
}

// catalogue: 37, 38
TEST_F(ConformanceProcesses, AWorkerThatNobodyConnectsToEnds) {
  start();
  const Folder folder;
  const auto said = folder.file("said");
  // The worker reads its record, and its address goes to a file: nobody learns where it is.
  const auto left_alone =
      "exec 3<&0; setsid sh -c '\"$1\" --muster-worker <&3 >\"$2\" 2>&1; echo \"status $?\" >>\"$2\"' - '" +
      this_program() + "' '" + said + "' >/dev/null 2>&1 & exit 1";
  EXPECT_THROW((void)addprocs(1, script(left_alone, 1s)), LaunchError);
  EXPECT_TRUE(eventually([&] { return text_of(said).find("status") != std::string::npos; }));
  EXPECT_THAT(text_of(said), ::testing::StartsWith("muster_worker:"));
  EXPECT_THAT(text_of(said), HasSubstr("Master process (id 1) could not connect within 1 seconds"));
  EXPECT_THAT(text_of(said), HasSubstr("exiting."));
  EXPECT_THAT(text_of(said), HasSubstr("status 1\n"));
}

// catalogue: 46
TEST_F(ConformanceProcesses, LaunchesOverlap) {
  start();
  const auto begin = Clock::now();
  EXPECT_EQ(addprocs(6, script("sleep 2; exec '" + this_program() + "' --muster-worker")).size(), 6U);
  EXPECT_LT(Clock::now() - begin, 11s) << "one after the other";
}

// catalogue: 63
TEST_F(ConformanceProcesses, ACallToTheMasterMayRemoveWorkers) {
  start();
  const auto added = addprocs(3);
  const auto remove = [](Pid pid) { rmprocs(pid); };
  remotecall_fetch(remove, 1, added[0]);
  remotecall(remove, 1, added[1]).fetch(20s);
  EXPECT_THAT(procs(), ElementsAre(1, added[2]));
  fetchfrom(1, [](const std::vector<Pid>& rest) { rmprocs(rest); }, std::vector<Pid>{added[2]});
  EXPECT_THAT(procs(), ElementsAre(1));
}

// catalogue: 142
TEST_F(ConformanceProcesses, DroppingHandlesWaitsForNobody) {
  start();
  const Pid pid = addprocs(1).front();
  const pid_t process = fetchfrom(pid, os_pid);
  std::vector<Future<std::vector<double>>> handles;
  for (int i = 0; i < 100; ++i) handles.push_back(remotecall_wait([] { return std::vector<double>(10'000); }, pid));
  EXPECT_EQ(debug::values_owned(pid), 100U);
  ::kill(process, SIGSTOP);
  const auto begin = Clock::now();
  handles.clear();
  EXPECT_LT(Clock::now() - begin, 3s * slowness);
  ::kill(process, SIGCONT);
  EXPECT_TRUE(eventually([pid] { return debug::values_owned(pid) == 0; }));
}

// -- connections ------------------------------------------------------------------------------------------------------

/// Of all these processes together.
std::size_t links_of(const std::vector<Pid>& pids) {
  std::size_t count = 0;
  for (const Pid pid : pids) count += debug::links(pid).size();
  return count;
}

const auto call = [](Pid other) { return fetchfrom(other, &myid); };

// catalogue: 287
TEST_F(ConformanceProcesses, EachPairThatTalksIsOneConnection) {
  start();
  const auto pids = addprocs(8);
  EXPECT_EQ(links_of(pids), 8U) << "the master's";
  std::size_t expected = 8;
  for (const auto& [from, to] : {std::pair(0U, 1U), std::pair(1U, 2U), std::pair(7U, 0U)}) {
    expected += 2;  // one end in each
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(fetchfrom(pids[from], call, pids[to]), pids[to]);
      EXPECT_EQ(fetchfrom(pids[to], call, pids[from]), pids[from]);
    }
    EXPECT_EQ(links_of(pids), expected);
  }
}

// catalogue: 288
TEST_F(ConformanceProcesses, EagerWorkersAreAllConnected) {
  start();
  const auto pids = addprocs(8, {.lazy = false});
  EXPECT_EQ(links_of(pids), 64U);
}

/// Workers that know the even ones before them, or the odd ones.
class ParityManager : public LocalManager {
 public:
  using LocalManager::LocalManager;
  void launch(LaunchContext& context) override {
    Naming naming(context);
    LocalManager::launch(naming);
  }

 private:
  /// The context, with names given to what is started.
  class Naming : public LaunchContext {
   public:
    explicit Naming(LaunchContext& context) : context_(context) {}
    const AddprocsOptions& options() const override { return context_.options(); }
    std::vector<std::string> worker_command() const override { return context_.worker_command(); }
    std::string start_record() const override { return context_.start_record(); }
    void launched(WorkerConfig config) override {
      config.ident = std::to_string(started_);
      for (int before = started_ - 2; before >= 0; before -= 2) config.connect_idents.push_back(std::to_string(before));
      ++started_;
      context_.launched(std::move(config));
    }
    void failed(std::string where, std::string why) override { context_.failed(std::move(where), std::move(why)); }
    std::stop_token stop_token() const override { return context_.stop_token(); }

   private:
    LaunchContext& context_;
    int started_ = 0;
  };
};

// catalogue: 286
TEST_F(ConformanceProcesses, ACustomTopologyIsWhatItsManagerSays) {
  start();
  const auto pids = addprocs(std::make_shared<ParityManager>(8), {.topology = Topology::custom});
  ASSERT_EQ(pids.size(), 8U);
  for (const Pid from : pids)
    for (const Pid to : pids) {
      if (from % 2 == to % 2)
        EXPECT_EQ(fetchfrom(from, call, to), to) << from;
      else
        EXPECT_THROW((void)fetchfrom(from, call, to), RemoteException) << from << " and " << to;
    }
}

// -- interrupts -------------------------------------------------------------------------------------------------------

// catalogue: 300
TEST_F(ConformanceProcesses, SigintDisturbsNoTask) {
  start();
  const Pid pid = addprocs(1).front();
  const pid_t process = fetchfrom(pid, os_pid);
  const Future<int> go;
  const auto waiting = spawnat(pid, [](const Future<int>& until) { return until.fetch(); }, go);
  EXPECT_EQ(fetchfrom(pid, &myid), pid);  // it has begun: tasks start in order
  for (int i = 0; i < 3; ++i) ::kill(process, SIGINT);
  EXPECT_EQ(fetchfrom(pid, &myid), pid);
  go.put(7);
  EXPECT_EQ(waiting.fetch(20s), 7);
}

// -- callbacks --------------------------------------------------------------------------------------------------------

// catalogue: 314
TEST_F(ConformanceProcesses, CallbacksOfTheWrongSignatureDoNotConvert) {
  static_assert(std::is_invocable_v<decltype(on_worker_added), void (*)(Pid)>);
  static_assert(!std::is_invocable_v<decltype(on_worker_added), void (*)(std::string)>);
  static_assert(!std::is_invocable_v<decltype(on_worker_added), void (*)()>);
  static_assert(std::is_invocable_v<decltype(on_worker_removed), void (*)(const WorkerExit&)>);
  static_assert(!std::is_invocable_v<decltype(on_worker_removed), void (*)(Pid)>);
}

// catalogue: 318, 319
TEST_F(ConformanceProcesses, SlowCallbacksDelayNobody) {
  start();
  std::promise<void> added, removed;
  std::atomic<int> ended{0};
  const auto slow_start = on_worker_added([&, go_on = added.get_future().share()](Pid) {
    go_on.wait();
    ++ended;
  });
  const auto slow_end = on_worker_removed([&, go_on = removed.get_future().share()](const WorkerExit&) {
    go_on.wait();
    ++ended;
  });
  const auto pids = addprocs(2);
  for (const Pid pid : pids) EXPECT_EQ(fetchfrom(pid, &myid), pid);
  EXPECT_EQ(ended, 0);
  added.set_value();
  EXPECT_TRUE(eventually([&] { return ended == 2; }));
  rmprocs(pids);
  EXPECT_EQ(nprocs(), 1);
  EXPECT_EQ(ended, 2);
  removed.set_value();
  EXPECT_TRUE(eventually([&] { return ended == 4; }));
}

// catalogue: 321
TEST_F(ConformanceProcesses, ACallbackForDeparturesThatThrowsIsLogged) {
  start();
  std::atomic<int> told{0};
  const auto broken = on_worker_removed([](const WorkerExit&) { throw std::runtime_error("a broken farewell"); });
  const auto sound = on_worker_removed([&](const WorkerExit&) { ++told; });
  ::testing::internal::CaptureStderr();
  rmprocs(addprocs(2));
  EXPECT_TRUE(eventually([&] { return told == 2; }));
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("a broken farewell"));
  EXPECT_THAT(addprocs(1), ElementsAre(4));
}

}  // namespace
}  // namespace muster::testing

int main(int argc, char** argv) { return muster::testing::main_with_roles(argc, argv, {}); }
