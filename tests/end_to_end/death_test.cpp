// Processes that die: who is told what, and that nothing is left.

#include "child_program.hpp"

#include <muster/muster.hpp>

#include <gmock/gmock.h>

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <exception>
#include <future>
#include <optional>
#include <sstream>

/// A master that calls exit() while its session is open, as one does here, leaves threads that nobody can join any
/// more. Read by ThreadSanitizer, where it is there.
extern "C" const char* __tsan_default_options() { return "report_thread_leaks=0"; }  // NOLINT: its name

namespace muster::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

pid_t os_pid() { return ::getpid(); }

/// A session of its own for each test.
class Death : public ::testing::Test {
 protected:
  void start(SessionOptions options = {}) {
    static char name[] = "death_test";
    static char* arguments[] = {name, nullptr};
    int count = 1;
    char** values = arguments;
    session_.emplace(count, values, std::move(options));
  }
  std::optional<Session> session_;
};

void die_by_signal(int number) {
  std::signal(number, SIG_DFL);  // a sanitizer may have its own handler
  std::raise(number);
}
void die_by_segmentation_fault() { die_by_signal(SIGSEGV); }
void die_by_kill() { die_by_signal(SIGKILL); }
void die_by_abort() { std::abort(); }
void die_by_exit() { std::exit(3); }
void die_by_terminate() {
  std::puts("about to terminate");
  std::terminate();
}

struct End {
  const char* name;
  void (*die)();
  std::optional<int> exit_status, signal;
};

class DeathInACall : public Death, public ::testing::WithParamInterface<End> {};

// catalogue: 79, 294, 296, 304
TEST_P(DeathInACall, FailsEveryWaitingCallAndNobodyElse) {
  start();
  const auto pids = addprocs(2, {.threads = 3});
  const auto waiting = spawnat(pids[0], [] { std::this_thread::sleep_for(60s); });
  const auto other = spawnat(pids[1], [] {
    this_task::sleep_for(300ms);
    return 42;
  });
  std::promise<WorkerExit> told;
  const auto handle = on_worker_removed([&](const WorkerExit& exit) { told.set_value(exit); });
  const auto begin = Clock::now();
  const auto fatal = spawnat(pids[0], GetParam().die);
  for (const auto& call : {fatal, waiting}) {
    try {
      call.fetch();
      ADD_FAILURE() << "nothing was thrown";
    } catch (const ProcessExitedException& error) {
      EXPECT_EQ(error.exit().pid, pids[0]);
      EXPECT_EQ(error.exit().exit_status, GetParam().exit_status);
      EXPECT_EQ(error.exit().signal, GetParam().signal);
      EXPECT_EQ(error.exit().calls_in_flight, 2U);
      EXPECT_FALSE(error.exit().expected);
      if (GetParam().die == die_by_terminate) {
        EXPECT_THAT(error.exit().last_output, HasSubstr("about to terminate"));
        EXPECT_THAT(error.what(), HasSubstr("about to terminate"));
      }
    }
  }
  EXPECT_LT(Clock::now() - begin, 3s * slowness);
  EXPECT_THAT(procs(), ElementsAre(1, pids[1]));
  EXPECT_EQ(other.fetch(), 42);
  EXPECT_EQ(fetchfrom(pids[1], [] { return nprocs(); }), 2);
  EXPECT_EQ(told.get_future().get().pid, pids[0]);
  EXPECT_THROW((void)spawnat(pids[0], os_pid), ProcessExitedException);
  EXPECT_EQ(addprocs(1).front(), pids[1] + 1);  // life goes on
}

INSTANTIATE_TEST_SUITE_P(All, DeathInACall,
                         ::testing::Values(End{"Kill", die_by_kill, {}, SIGKILL},
                                           End{"SegmentationFault", die_by_segmentation_fault, {}, SIGSEGV},
                                           End{"Abort", die_by_abort, {}, SIGABRT}, End{"Exit", die_by_exit, 3, {}},
                                           End{"Terminate", die_by_terminate, {}, SIGABRT}),
                         [](const auto& one) { return one.param.name; });

/// Elements of which only the first half can be read: who sends them is ended there.
View<double> half_readable(std::size_t count) {
  std::signal(SIGBUS, SIG_DFL);  // a sanitizer may have its own handler
  const int fd = memfd_create("half", MFD_CLOEXEC);
  const std::size_t size = count * sizeof(double);
  if (ftruncate(fd, static_cast<off_t>(size / 2)) != 0) throw std::runtime_error("ftruncate");
  void* const memory = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  return {std::span(static_cast<const double*>(memory), count), nullptr};
}
std::size_t count_of(const std::vector<double>& elements) { return elements.size(); }

TEST_F(Death, InTheMiddleOfAnAnswerIsToldAsAnyOther) {
  for (const std::size_t count : {std::size_t{5'000}, std::size_t{500'000}}) {
    start();
    const Pid worker = addprocs(1).front();
    EXPECT_EQ(remotecall_fetch(&count_of, worker, std::vector<double>(count)), count);
    try {
      (void)remotecall_fetch(&half_readable, worker, count);
      ADD_FAILURE() << "an answer that never came was fetched";
    } catch (const ProcessExitedException& error) {
      EXPECT_EQ(error.exit().pid, worker);
      const auto signal = error.exit().signal;
      EXPECT_TRUE(signal == SIGBUS || signal == SIGABRT) << "the latter of libzmq, which the kernel tells of it";
    }
    session_.reset();
  }
}

TEST_F(Death, InTheMiddleOfACallLeavesItsCalleeAsItWas) {
  start();
  const auto workers = addprocs(2);
  const auto call_and_die = [callee = workers[1]] {
    return remotecall_fetch(&count_of, callee, half_readable(500'000));
  };
  EXPECT_THROW((void)remotecall_fetch(call_and_die, workers[0]), ProcessExitedException);
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(remotecall_fetch(&count_of, workers[1], std::vector<double>(500'000)), 500'000u);
}

// catalogue: 296
TEST_F(Death, OfAnIdleWorkerIsNoticedAndTold) {
  start();
  const auto pids = addprocs(2);
  ::kill(fetchfrom(pids[0], os_pid), SIGKILL);
  EXPECT_TRUE(eventually([] { return nprocs() == 2; }, 3s * slowness));
  EXPECT_TRUE(eventually([&] { return fetchfrom(pids[1], [] { return nprocs(); }) == 2; }));
}

// catalogue: 297
TEST_F(Death, FailsWorkersThatWaitForIt) {
  start();
  const auto pids = addprocs(2);
  const pid_t victim = fetchfrom(pids[1], os_pid);  // before its only slot is taken
  const auto call = spawnat(
      pids[0],
      [](Pid other) {
        return remotecall_fetch(
            [] {
              std::this_thread::sleep_for(60s);
              return 1;
            },
            other);
      },
      pids[1]);
  ASSERT_TRUE(eventually([&] { return debug::calls_in_flight(pids[0]) == 1; })) << "it asks the other one";
  const auto begin = Clock::now();
  ::kill(victim, SIGKILL);
  try {
    call.fetch();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const RemoteException& error) {
    EXPECT_TRUE(error.is<ProcessExitedException>());
    EXPECT_THAT(error.what(), HasSubstr("SIGKILL"));
  }
  EXPECT_LT(Clock::now() - begin, 3s * slowness);
}

// catalogue: 103, 295
TEST_F(Death, AWorkerThatStoppedIsDeclaredDeadAfterTheHeartbeatTimeout) {
  SessionOptions options;
  options.heartbeat_interval = 50ms * slowness;
  options.heartbeat_timeout = 500ms * slowness;
  start(options);
  const auto pids = addprocs(2);
  const pid_t victim = fetchfrom(pids[0], os_pid);
  const auto call = spawnat(pids[0], [] { std::this_thread::sleep_for(60s); });
  // Busy is not dead.
  EXPECT_EQ(fetchfrom(pids[1],
                      [] {
                        const auto until = Clock::now() + 3s * slowness;
                        while (Clock::now() < until) {
                        }
                        return 1;
                      }),
            1);
  EXPECT_EQ(nprocs(), 3);
  ::kill(victim, SIGSTOP);
  const auto begin = Clock::now();
  EXPECT_THROW(call.fetch(), ProcessExitedException);
  const auto took = Clock::now() - begin;
  EXPECT_GE(took, 400ms * slowness);
  EXPECT_LT(took, 3s * slowness);
  EXPECT_EQ(nprocs(), 2);
  EXPECT_TRUE(eventually([victim] { return !runs(victim); }));
}

// -- the master -------------------------------------------------------------------------------------------------------

void compute_for_ever() {
  static std::atomic<unsigned> count{0};
  for (;;) ++count;
}

/// Prints its workers' process numbers, and does what the next argument says.
int leads_busy_workers(int& argc, char**& argv) {
  const std::string end = argv[2];
  Session session(argc, argv);
  const auto pids = addprocs(2);
  (void)addprocs(1);  // stays idle
  std::string numbers = "workers";
  for (const Pid pid : workers()) numbers += " " + std::to_string(fetchfrom(pid, os_pid));
  for (const Pid pid : pids) remote_do(compute_for_ever, pid);
  std::printf("%s end\n", numbers.c_str());
  std::fflush(stdout);
  if (end == "throw") throw std::runtime_error("nobody catches this");
  if (end == "exit") std::exit(5);
  if (end == "return") return 7;
  for (;;) ::pause();
}

struct MasterEnd {
  const char* name;
  const char* role;
  int signal;  ///< sent to it; 0: none
  int status;  ///< as waitpid gives it
};

class MasterDeath : public ::testing::TestWithParam<MasterEnd> {};

// catalogue: 21, 76, 77, 78
TEST_P(MasterDeath, LeavesNothing) {
  const auto here = std::filesystem::temp_directory_path() / ("death_test." + std::to_string(::getpid()));
  std::filesystem::create_directory(here);
  const auto shared = names_in("/dev/shm");
  ChildProgram master({"role:master", GetParam().role}, {.env = {{"TMPDIR", here.string()}}});
  ASSERT_TRUE(master.prints(" end\n"));
  std::istringstream words(master.out().substr(master.out().find("workers") + 7));
  std::vector<pid_t> all;
  for (pid_t one = 0; words >> one;) all.push_back(one);
  ASSERT_EQ(all.size(), 3U);
  if (GetParam().signal != 0) master.signal(GetParam().signal);
  const int status = master.ends();
  const auto begin = Clock::now();
  if (GetParam().signal == 0 && GetParam().status != SIGABRT)
    EXPECT_EQ(WEXITSTATUS(status), GetParam().status);
  else
    EXPECT_EQ(WTERMSIG(status), GetParam().status);
  for (const pid_t one : all) EXPECT_TRUE(eventually([one] { return !runs(one); })) << one << " lives on";
  EXPECT_LT(Clock::now() - begin, 3s * slowness);
  EXPECT_THAT(names_in(here), ::testing::IsEmpty());
  for (const auto& name : names_in("/dev/shm"))
    EXPECT_TRUE(shared.contains(name) || name.find("muster") == std::string::npos) << name;
  std::filesystem::remove_all(here);
}

INSTANTIATE_TEST_SUITE_P(All, MasterDeath,
                         ::testing::Values(MasterEnd{"Kill", "wait", SIGKILL, SIGKILL},
                                           MasterEnd{"Terminate", "wait", SIGTERM, SIGTERM},
                                           MasterEnd{"Interrupt", "wait", SIGINT, SIGINT},
                                           MasterEnd{"AnyOther", "wait", SIGUSR1, SIGUSR1},
                                           MasterEnd{"Throw", "throw", 0, SIGABRT}, MasterEnd{"Exit", "exit", 0, 5},
                                           MasterEnd{"Return", "return", 0, 7}),
                         [](const auto& one) { return one.param.name; });

// -- the end of a session ---------------------------------------------------------------------------------------------

class SessionEnd : public Death {
 protected:
  void end_in_time() {
    std::vector<pid_t> all;
    for (const auto& [pid, os_pid] : os_pids_) all.push_back(os_pid);  // some may have left the lists by now
    const auto begin = Clock::now();
    session_.reset();
    EXPECT_LT(Clock::now() - begin, 5s);
    for (const pid_t one : all) EXPECT_FALSE(runs(one));
  }
  std::vector<Pid> add(int n) {
    start();
    const auto pids = addprocs(n);
    for (const Pid pid : pids) os_pids_[pid] = fetchfrom(pid, os_pid);
    return pids;
  }
  std::map<Pid, pid_t> os_pids_;
};

// catalogue: 78
TEST_F(SessionEnd, WithIdleWorkers) {
  add(3);
  end_in_time();
}

// catalogue: 75
TEST_F(SessionEnd, WithBusyWorkers) {
  for (const Pid pid : add(2)) remote_do(compute_for_ever, pid);
  end_in_time();
}

// catalogue: 67, 75
TEST_F(SessionEnd, WithWorkersThatNeitherExitNorMindSigterm) {
  for (const Pid pid : add(2))
    fetchfrom(pid, [] {
      std::signal(SIGTERM, SIG_IGN);
      std::atexit([] { std::this_thread::sleep_for(60s); });
    });
  end_in_time();
}

TEST_F(SessionEnd, WithAStoppedWorker) {
  const auto pids = add(2);
  ::kill(os_pids_[pids[0]], SIGSTOP);
  end_in_time();
}

TEST_F(SessionEnd, WithCallsUnderWay) {
  const auto pids = add(2);
  std::vector<Future<int>> calls;
  for (int i = 0; i < 100; ++i)
    calls.push_back(spawn([] {
      this_task::sleep_for(10s);
      return 1;
    }));
  end_in_time();
  for (const auto& call : calls) EXPECT_THROW((void)call.fetch(), std::exception);
}

TEST_F(SessionEnd, RightAfterARemovalBegan) {
  const auto pids = add(3);
  (void)rmprocs_async(pids);
  end_in_time();
}

TEST_F(SessionEnd, AndAnotherBegins) {
  for (int round = 0; round < 3; ++round) {
    const auto pids = add(1);
    EXPECT_EQ(pids.front(), 2);
    EXPECT_EQ(fetchfrom(2, [] { return myid(); }), 2);
    end_in_time();
  }
}

}  // namespace
}  // namespace muster::testing

int main(int argc, char** argv) {
  return muster::testing::main_with_roles(argc, argv, {{"master", muster::testing::leads_busy_workers}});
}
