// Adding, listing, watching and removing processes.

#include "child_program.hpp"

#include <muster/muster.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <future>
#include <mutex>

namespace muster {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using namespace std::chrono_literals;
using muster::testing::eventually;

std::string variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? "(none)" : value;
}

std::string current_path() { return std::filesystem::current_path().string(); }
std::vector<Pid> all_procs() { return procs(); }
int call_me(int from) {
  return remotecall_fetch([] { return static_cast<int>(myid()); }, from);
}
long os_pid() { return ::getpid(); }

template <class F>
std::string what_of(const F& f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

class Processes : public ::testing::Test {
 protected:
  void TearDown() override { rmprocs(other_procs()); }
};

// catalogue: 1, 5
TEST_F(Processes, WithoutWorkersTheMasterIsAlone) {
  EXPECT_EQ(myid(), 1);
  EXPECT_EQ(nprocs(), 1);
  EXPECT_EQ(nworkers(), 1);
  EXPECT_THAT(procs(), ElementsAre(1));
  EXPECT_THAT(workers(), ElementsAre(1));
  EXPECT_THAT(other_procs(), IsEmpty());
  EXPECT_THAT(other_workers(), IsEmpty());
}

// catalogue: 6, 9, 10, 11, 73
TEST_F(Processes, ListsAgreeEverywhereAtEveryStep) {
  const auto added = addprocs(3);
  ASSERT_EQ(added.size(), 3U);
  EXPECT_TRUE(std::is_sorted(added.begin(), added.end()));
  EXPECT_EQ(nprocs(), 4);
  EXPECT_EQ(nworkers(), 3);
  EXPECT_EQ(workers(), added);
  EXPECT_EQ(other_workers(), added);
  for (const Pid pid : added) {
    EXPECT_EQ(fetchfrom(pid, [] { return myid(); }), pid);
    EXPECT_EQ(fetchfrom(pid, all_procs), procs());
    EXPECT_EQ(fetchfrom(pid, [] { return other_workers(); }).size(), 2U);
  }
  for (const Pid gone : added) {
    rmprocs(gone);
    EXPECT_THAT(procs(), ::testing::Not(::testing::Contains(gone)));
    for (const Pid pid : other_procs()) EXPECT_EQ(fetchfrom(pid, all_procs), procs());
  }
  EXPECT_EQ(nprocs(), 1);
}

TEST_F(Processes, EveryWorkerKnowsAllThatJoinedWithIt) {
  for (int round = 0; round < 5; ++round) {
    const auto added = addprocs(4);
    for (const Pid pid : added) EXPECT_EQ(fetchfrom(pid, all_procs), procs());
    rmprocs(added);
  }
}

// catalogue: 12
TEST_F(Processes, PidsAreNeverUsedAgain) {
  const Pid first = addprocs(1).front();
  rmprocs(first);
  const Pid second = addprocs(1).front();
  EXPECT_GT(second, first);
  EXPECT_THROW((void)spawnat(first, os_pid), ProcessExitedException);
}

// catalogue: 14
TEST_F(Processes, CountsAndManagersAreChecked) {
  EXPECT_THAT(addprocs(0), IsEmpty());
  EXPECT_THROW((void)addprocs(-1), std::invalid_argument);
  EXPECT_THROW((void)addprocs(std::shared_ptr<ClusterManager>()), std::invalid_argument);
  EXPECT_THROW((void)addprocs(1, {.threads = 0}), std::invalid_argument);
  EXPECT_THROW((void)addprocs(1, {.launch_timeout = 0s}), std::invalid_argument);
  EXPECT_EQ(nprocs(), 1);
}

// catalogue: 15, 16
TEST_F(Processes, OnlyTheMasterAddsAndRemoves) {
  const Pid pid = addprocs(1).front();
  const auto refused = [pid](auto f) {
    try {
      remotecall_fetch(f, pid);
    } catch (const RemoteException& error) {
      EXPECT_TRUE(error.is<std::logic_error>());
      return error.message();
    }
    return std::string("nothing was thrown");
  };
  EXPECT_EQ(refused([] { (void)addprocs(1); }), "Only process 1 can add and remove workers");
  EXPECT_EQ(refused([] { rmprocs(2); }), "Only process 1 can add and remove workers");
  EXPECT_EQ(refused([] { (void)rmprocs_async(2); }), "Only process 1 can add and remove workers");
  EXPECT_THAT(refused([] { interrupt(); }), HasSubstr("Only process 1"));
}

// catalogue: 68, 69
TEST_F(Processes, RemovingTheMasterWarnsAndUnknownOnesAreIgnored) {
  const auto added = addprocs(1);
  ::testing::internal::CaptureStderr();
  rmprocs({1, 77, added.front(), added.front()});
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), AllOf(HasSubstr("warning"), HasSubstr("process 1")));
  EXPECT_THAT(procs(), ElementsAre(1));
  ::testing::internal::CaptureStderr();
  rmprocs(added);  // gone already
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

// catalogue: 66, 299
TEST_F(Processes, AQuietRemovalLogsNothing) {
  ::testing::internal::CaptureStderr();
  const auto added = addprocs(2);
  for (const Pid pid : added) (void)fetchfrom(pid, os_pid);
  rmprocs(added);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST_F(Processes, RemovedWorkersAreGoneAsProcesses) {
  const Pid pid = addprocs(1).front();
  const auto os = static_cast<pid_t>(fetchfrom(pid, os_pid));
  rmprocs(pid);
  EXPECT_FALSE(muster::testing::runs(os));
}

// catalogue: 71, 74
TEST_F(Processes, RemovingWithoutWaiting) {
  const auto added = addprocs(2);
  const auto call = spawnat(added[0], [] { this_task::sleep_for(60s); });
  const Future<void> gone = rmprocs_async(added);
  gone.wait(20s);
  EXPECT_THAT(procs(), ElementsAre(1));
  EXPECT_THROW(call.fetch(), ProcessExitedException);
  rmprocs_async(added).wait(20s);  // nothing to wait for
}

// catalogue: 72
TEST_F(Processes, RemovalUnderWorkMakesNoErrors) {
  for (int round = 0; round < 5; ++round) {
    const Pid pid = addprocs(1).front();
    const auto call = spawnat(pid, [] { this_task::sleep_for(5s); });
    (void)rmprocs_async(pid);
    EXPECT_THROW(call.fetch(), ProcessExitedException);
  }
  EXPECT_TRUE(eventually([] { return nprocs() == 1; }));
}

// catalogue: 74
TEST_F(Processes, AWorkerThatComputesIsRemovedInTime) {
  const Pid pid = addprocs(1).front();
  const auto call = spawnat(pid, [] {
    for (;;) std::this_thread::sleep_for(1s);
  });
  rmprocs(pid);
  EXPECT_THROW(call.fetch(), ProcessExitedException);
}

// catalogue: 67, 70
TEST_F(Processes, ATimeoutNamesWhoIsStillThereAndRemovalGoesOn) {
  const Pid pid = addprocs(1).front();
  const auto os = static_cast<pid_t>(fetchfrom(pid, os_pid));
  ::kill(os, SIGSTOP);
  std::atomic<bool> told = false;
  const auto handle = on_worker_removed([&](const WorkerExit&) { told = true; });
  ::testing::internal::CaptureStderr();
  const auto text = what_of([pid] { rmprocs(pid, {.waitfor = 100ms}); });
  EXPECT_THAT(text, AllOf(HasSubstr(std::to_string(pid)), HasSubstr("0.1"), HasSubstr("waitfor")));
  EXPECT_THAT(procs(), ElementsAre(1, pid));
  EXPECT_TRUE(eventually([] { return nprocs() == 1; }));
  EXPECT_TRUE(eventually([&] { return told.load(); }));
  EXPECT_FALSE(muster::testing::runs(os));
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("did not leave"));
}

// catalogue: 79, 299, 315, 316, 317, 320
TEST_F(Processes, CallbacksSeeWhoCameAndWent) {
  std::mutex mutex;
  std::vector<Pid> came;
  std::vector<WorkerExit> went;
  bool listed_when_told = true, off_lists_when_told = true;
  auto broken = on_worker_added([](Pid) { throw std::runtime_error("a broken callback"); });
  auto added_handle = on_worker_added([&](Pid pid) {
    const std::lock_guard lock(mutex);
    came.push_back(pid);
    const auto all = procs();
    listed_when_told = listed_when_told && std::find(all.begin(), all.end(), pid) != all.end();
    (void)fetchfrom(pid, os_pid);  // may call muster
  });
  const auto removed_handle = on_worker_removed([&](const WorkerExit& exit) {
    const std::lock_guard lock(mutex);
    went.push_back(exit);
    const auto all = procs();
    off_lists_when_told = off_lists_when_told && std::find(all.begin(), all.end(), exit.pid) == all.end();
  });
  ::testing::internal::CaptureStderr();
  const auto first = addprocs(2);
  const auto told = [&](std::size_t n, const auto& list) {
    return eventually([&] {
      const std::lock_guard lock(mutex);
      return list.size() == n;
    });
  };
  ASSERT_TRUE(told(2, came));
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("a broken callback"));
  broken = CallbackHandle();
  EXPECT_TRUE(listed_when_told);
  std::sort(came.begin(), came.end());
  EXPECT_EQ(came, first);
  rmprocs(first[0]);
  ASSERT_TRUE(told(1, went));
  EXPECT_EQ(went[0].pid, first[0]);
  EXPECT_TRUE(went[0].expected);
  EXPECT_EQ(went[0].exit_status, 0);
  ::testing::internal::CaptureStderr();
  remote_do([] { std::_Exit(7); }, first[1]);
  ASSERT_TRUE(told(2, went));
  EXPECT_FALSE(went[1].expected);
  EXPECT_EQ(went[1].exit_status, 7);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("exited with status 7"));
  EXPECT_TRUE(off_lists_when_told);
  added_handle = CallbackHandle();
  rmprocs(addprocs(1));
  ASSERT_TRUE(told(3, went));
  EXPECT_EQ(came.size(), 2U);  // unregistered
}

struct Seen {
  std::mutex mutex;
  std::vector<Pid> came, went;
  CallbackHandle added, removed;
};

Seen& seen_here() {
  static Seen seen;
  return seen;
}

TEST_F(Processes, WorkersHearOfOthersToo) {
  const auto pids = addprocs(2);
  fetchfrom(pids[0], [] {
    Seen& seen = seen_here();
    seen.added = on_worker_added([&seen](Pid pid) {
      const std::lock_guard lock(seen.mutex);
      seen.came.push_back(pid);
    });
    seen.removed = on_worker_removed([&seen](const WorkerExit& exit) {
      const std::lock_guard lock(seen.mutex);
      seen.went.push_back(exit.pid);
    });
  });
  const auto later = addprocs(1);
  rmprocs(pids[1]);
  const auto saw = [](bool going, Pid pid) {
    Seen& seen = seen_here();
    const std::lock_guard lock(seen.mutex);
    return (going ? seen.went : seen.came) == std::vector<Pid>{pid};
  };
  EXPECT_TRUE(eventually([&] { return fetchfrom(pids[0], saw, false, later[0]); }));
  EXPECT_TRUE(eventually([&] { return fetchfrom(pids[0], saw, true, pids[1]); }));
  fetchfrom(pids[0], [] {
    seen_here().added = CallbackHandle();
    seen_here().removed = CallbackHandle();
  });
}

// catalogue: 317
TEST_F(Processes, DestroyingAHandleWaitsForItsCallback) {
  std::promise<void> entered;
  std::atomic<bool> left{false};
  auto handle = on_worker_added([&](Pid) {
    entered.set_value();
    std::this_thread::sleep_for(50ms);
    left = true;
  });
  (void)addprocs(1);
  entered.get_future().wait();
  handle = CallbackHandle();
  EXPECT_TRUE(left);
}

// catalogue: 36, 39, 40, 41, 42, 43
TEST_F(Processes, DirectoryAndEnvironmentAndArguments) {
  const auto directory = std::filesystem::canonical(std::filesystem::temp_directory_path());
  ASSERT_EQ(::setenv("MUSTER_TEST_INHERITED", "before", 1), 0);
  const Pid pid =
      addprocs(1, {.dir = directory, .env = {{"MUSTER_TEST_GIVEN", "given"}, {"OMP_NUM_THREADS", "3"}}}).front();
  ASSERT_EQ(::setenv("MUSTER_TEST_INHERITED", "after", 1), 0);
  EXPECT_EQ(fetchfrom(pid, current_path), directory);
  EXPECT_EQ(fetchfrom(pid, variable, std::string("MUSTER_TEST_INHERITED")), "before");
  EXPECT_EQ(fetchfrom(pid, variable, std::string("MUSTER_TEST_GIVEN")), "given");
  EXPECT_EQ(fetchfrom(pid, variable, std::string("OMP_NUM_THREADS")), "3");
  EXPECT_EQ(fetchfrom(pid, variable, std::string("OPENBLAS_NUM_THREADS")), "1");
  EXPECT_EQ(fetchfrom(pid, variable, std::string("MKL_NUM_THREADS")), "1");
  const Pid blas = addprocs(1, {.exeflags = {"--of-the-program", "7"}, .threaded_blas = true}).front();
  EXPECT_EQ(fetchfrom(blas, variable, std::string("MKL_NUM_THREADS")), variable("MKL_NUM_THREADS"));
  EXPECT_EQ(fetchfrom(blas, variable, std::string("MUSTER_TEST_INHERITED")), "after");
  const auto command_line = fetchfrom(blas, [] {
    std::ifstream file("/proc/self/cmdline");
    return std::string(std::istreambuf_iterator<char>(file), {});
  });
  EXPECT_THAT(command_line, HasSubstr(std::string("--of-the-program\0007\000", 19)));
  ::unsetenv("MUSTER_TEST_INHERITED");
}

TEST_F(Processes, ThreadsIsHowManyTasksRunAtOnce) {
  const Pid pid = addprocs(1, {.threads = 2}).front();
  // Each waits, without muster's knowing, for the other.
  const auto meet = [] {
    static std::atomic<int> there{0};
    ++there;
    for (int i = 0; there < 2 && i < 10000; ++i) std::this_thread::sleep_for(1ms);
    return there.load();
  };
  const auto first = spawnat(pid, meet), second = spawnat(pid, meet);
  EXPECT_EQ(first.fetch(), 2);
  EXPECT_EQ(second.fetch(), 2);
}

// catalogue: 289, 292
TEST_F(Processes, TopologiesClashByName) {
  (void)addprocs(1, {.topology = Topology::master_worker});
  EXPECT_THAT(what_of([] { (void)addprocs(1); }), AllOf(HasSubstr("master_worker"), HasSubstr("all_to_all")));
  EXPECT_THROW((void)addprocs(1, {.topology = Topology::custom}), std::invalid_argument);
  rmprocs(other_procs());
  (void)addprocs(1, {.lazy = false});
  EXPECT_THAT(what_of([] { (void)addprocs(1); }), AllOf(HasSubstr("lazy=false"), HasSubstr("lazy=true")));
}

// catalogue: 285
TEST_F(Processes, MasterWorkerKeepsWorkersApart) {
  ::testing::internal::CaptureStderr();
  const auto added = addprocs(3, {.topology = Topology::master_worker});
  for (const Pid from : added)
    for (const Pid to : added) {
      if (from == to) continue;
      const auto text = what_of([&] { (void)fetchfrom(from, call_me, to); });
      EXPECT_THAT(text, AllOf(HasSubstr("Process " + std::to_string(from)), HasSubstr("process " + std::to_string(to)),
                              HasSubstr("master_worker")));
    }
  EXPECT_EQ(fetchfrom(added[0], call_me, 1), 1);
  // Whom spawn chooses there is one that it may call.
  EXPECT_THAT(fetchfrom(added[0], [] { return spawn([] { return myid(); }).fetch(); }), ::testing::AnyOf(1, added[0]));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

// catalogue: 287, 291
TEST_F(Processes, WorkersCallEachOtherLazily) {
  const auto added = addprocs(3);
  EXPECT_EQ(fetchfrom(added[0], [] { return debug::links(myid()).size(); }), 1U);  // the master's
  for (const Pid from : added)
    for (const Pid to : added) EXPECT_EQ(fetchfrom(from, call_me, to), to);
  EXPECT_EQ(fetchfrom(added[0], [] { return debug::links(myid()).size(); }), 3U);
}

// catalogue: 288
TEST_F(Processes, EagerWorkersAreConnectedBeforeTheirFirstCall) {
  const auto added = addprocs(2, {.lazy = false});
  const auto more = addprocs(2, {.lazy = false});
  for (const Pid pid : procs()) EXPECT_EQ(debug::links(pid).size(), 4U) << "process " << pid;
  for (const Pid from : added)
    for (const Pid to : more) {
      EXPECT_EQ(fetchfrom(from, call_me, to), to);
      EXPECT_EQ(fetchfrom(to, call_me, from), from);
    }
}

// catalogue: 290
TEST_F(Processes, TwoFirstCallsThatCrossMakeOneLink) {
  for (int round = 0; round < 5; ++round) {
    const auto added = addprocs(2, {.threads = 2});
    const auto there = spawnat(added[0], call_me, added[1]);
    const auto back = spawnat(added[1], call_me, added[0]);
    EXPECT_EQ(there.fetch(), added[1]);
    EXPECT_EQ(back.fetch(), added[0]);
    EXPECT_EQ(debug::links(added[0]).size(), 2U);
    EXPECT_EQ(debug::links(added[1]).size(), 2U);
    rmprocs(added);
  }
}

// catalogue: 20
TEST_F(Processes, SameHost) {
  const auto added = addprocs(2);
  EXPECT_TRUE(check_same_host(procs()));
  EXPECT_TRUE(check_same_host({}));
  EXPECT_EQ(procs(1), procs());
  EXPECT_EQ(procs(added[1]), procs());
  EXPECT_EQ(fetchfrom(added[0], [](Pid pid) { return procs(pid); }, added[1]), procs());
  EXPECT_THROW((void)procs(77), std::invalid_argument);
  EXPECT_THROW((void)check_same_host({1, 77}), std::invalid_argument);
}

// catalogue: 300, 301
TEST_F(Processes, InterruptStopsWhatRunsAndHarmsNobodyIdle) {
  const auto added = addprocs(2);
  const auto call = spawnat(added[0], [] { this_task::sleep_for(60s); });
  const auto busy = spawnat(added[1], [] {
    for (;;) this_task::check();
  });
  // Not before they run: one interrupted before has not started.
  std::this_thread::sleep_for(50ms);
  interrupt();
  EXPECT_THROW(call.fetch(20s), RemoteException);
  EXPECT_THROW(busy.fetch(20s), RemoteException);
  interrupt(added);
  interrupt(added[0]);
  for (const Pid pid : added) {
    ::kill(static_cast<pid_t>(fetchfrom(pid, os_pid)), SIGINT);
    EXPECT_EQ(fetchfrom(pid, [] { return myid(); }), pid);
  }
  EXPECT_THROW(interrupt(77), std::invalid_argument);
  rmprocs(added[0]);
  interrupt(added[0]);  // gone: nothing to interrupt
}

TEST_F(Processes, ManyAddAndRemoveAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([] {
      for (int round = 0; round < 3; ++round) {
        const auto added = addprocs(2);
        EXPECT_EQ(fetchfrom(added[0], call_me, added[1]), added[1]);
        rmprocs(added);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(nprocs(), 1);
}

}  // namespace
}  // namespace muster
