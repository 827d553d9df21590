// Libraries loaded at run time, and calls of their functions on processes that do not have them.
// lanes: shm zmq

#include "plugins/shapes.hpp"
#include "support.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace muster;
using namespace muster::test;

std::string plugin(const std::string& name) { return MUSTER_PLUGINS "/lib" + name + ".so"; }

LoadedModule shapes() { return load_module(plugin("shapes")); }

/// How often a library of that name is mapped in a process; a copy is one file.
int copies_on(Pid pid, const std::string& name) {
  return remotecall_fetch(
      [](const std::string& part) {
        std::ifstream maps("/proc/self/maps");
        std::set<std::string> files;
        for (std::string line; std::getline(maps, line);) {
          if (line.find(part) == std::string::npos) continue;
          std::istringstream fields(line);
          std::string range, rights, offset, device, inode;
          fields >> range >> rights >> offset >> device >> inode;
          files.insert(inode);
        }
        return static_cast<int>(files.size());
      },
      pid, "lib" + name + ".so");
}

/// What the failure of a call says.
template <class F, class... A>
std::string failure_of(F f, Pid pid, A... arguments) {
  const auto failure = thrown<RemoteException>([&] { remotecall_fetch(f, pid, arguments...); });
  return failure ? failure->message() : "";
}

class Modules : public testing::Test {
 protected:
  Modules() : pids(at_least(3)) {}
  const std::vector<Pid> pids;
};

TEST_F(Modules, AFunctionOfALoadedModuleRunsOnWorkersThatLackIt) {
  const OwnWorkers workers(2);
  const auto module = shapes();
  EXPECT_EQ(module.build_id().size(), 40U);
  const auto triple = module.function<int(int)>("triple");
  for (const Pid pid : workers.pids()) {
    EXPECT_EQ(copies_on(pid, "shapes"), 0);
    EXPECT_EQ(remotecall_fetch(triple, pid, 14), 42);
    EXPECT_EQ(remotecall_fetch(triple, pid, 15), 45);
    EXPECT_EQ(copies_on(pid, "shapes"), 1);
  }
  EXPECT_EQ(triple(2), 6);
  EXPECT_EQ(shapes().build_id(), module.build_id());  // loaded again, it is the same
}

TEST_F(Modules, SoDoesOneOfALibraryThatWasOpenedWithDlopen) {
  void* const library = ::dlopen(plugin("late").c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << ::dlerror();
  const auto function = reinterpret_cast<int (*)()>(::dlsym(library, "forty_two"));
  ASSERT_NE(function, nullptr);
  EXPECT_EQ(spawnat(pids[0], function).fetch(), 42);
}

TEST_F(Modules, ItsLambdasTravelWithWhatTheyCapture) {
  const auto module = shapes();
  EXPECT_EQ(module.function<int(Pid, int, int)>("add_there")(pids[1], 40, 2), 42);
  const auto mapped = module.function<std::string(Pid, const std::vector<std::string>&)>("mapped_there");
  EXPECT_EQ(mapped(pids[2], {"a", "b"}), "ab");
}

TEST_F(Modules, FirstCallsAtOnceBringOneCopy) {
  const OwnWorkers workers(2);
  const auto triple = shapes().function<int(int)>("triple");
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  threads.reserve(8);
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      std::vector<Future<int>> results;
      for (int j = 0; j < 20; ++j) results.push_back(spawnat(workers[static_cast<std::size_t>(j % 2)], triple, i + j));
      for (int j = 0; j < 20; ++j) right += results[static_cast<std::size_t>(j)].fetch() == 3 * (i + j) ? 1 : 0;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, 160);
  const auto constructions = shapes().function<int()>("constructions");
  for (const Pid pid : workers.pids()) {
    EXPECT_EQ(copies_on(pid, "shapes"), 1);
    EXPECT_EQ(remotecall_fetch(constructions, pid), 1);
  }
}

void append(const std::string& text) {
  const char* before = std::getenv("MUSTER_TEST_ORDER");
  setenv("MUSTER_TEST_ORDER", ((before != nullptr ? before : "") + text).c_str(), 1);
}

TEST_F(Modules, CallsBehindTheFirstOneKeepTheirOrder) {
  const OwnWorkers workers(1);
  const auto append_p = shapes().function<void()>("append_p");
  std::string expected;
  for (int i = 0; i < 20; ++i) {
    remote_do(&append, workers[0], std::to_string(i));
    remote_do(append_p, workers[0]);
    expected += std::to_string(i) + "p";
  }
  const auto order = [] {
    const char* text = std::getenv("MUSTER_TEST_ORDER");
    return std::string(text != nullptr ? text : "");
  };
  EXPECT_EQ(remotecall_fetch(order, workers[0]), expected);
}

TEST_F(Modules, ACallThatWaitsForItsModuleCanBeCancelled) {
  const OwnWorkers workers(1);
  auto call = spawnat(workers[0], shapes().function<int(int)>("triple"), 1);
  (void)call.cancel();
  EXPECT_EQ(remotecall_fetch(shapes().function<int(int)>("triple"), workers[0], 2), 6);
}

TEST_F(Modules, AWorkerPassesItOnToAnother) {
  const OwnWorkers workers(3);
  const auto triple = shapes().function<int(int)>("triple");
  const auto through = [](int (*f)(int), const std::vector<Pid>& way) {
    return remotecall_fetch([](int (*g)(int), Pid last) { return remotecall_fetch(g, last, 5); }, way[0], f, way[1]);
  };
  EXPECT_EQ(remotecall_fetch(through, workers[0], triple, std::vector<Pid>{workers[1], workers[2]}), 15);
}

TEST_F(Modules, FunctionsInValuesBringTheirModule) {
  const OwnWorkers workers(2);
  const auto triple = shapes().function<int(int)>("triple");
  const auto call_all = [](const std::vector<int (*)(int)>& all) {
    int sum = 0;
    for (const auto f : all) sum += f(1);
    return sum;
  };
  EXPECT_EQ(remotecall_fetch(call_all, workers[0], std::vector<int (*)(int)>{triple, triple}), 6);
  // A value that a third process keeps, which never looks into it.
  const auto kept = spawnat(pids[0], [](int (*f)(int)) { return std::vector<int (*)(int)>{f}; }, triple);
  const auto fetch_and_call = [](const Future<std::vector<int (*)(int)>>& future) { return future.fetch().at(0)(7); };
  EXPECT_EQ(remotecall_fetch(fetch_and_call, workers[1], kept), 21);
  RemoteChannel<int (*)(int)> channel(4, pids[0]);
  channel.put(triple);
  const OwnWorkers another(1);
  EXPECT_EQ(remotecall_fetch([](RemoteChannel<int (*)(int)> from) { return from.take()(8); }, another[0], channel), 24);
}

TEST_F(Modules, MapsUseThem) {
  const OwnWorkers workers(2);
  const auto triple = shapes().function<int(int)>("triple");
  EXPECT_EQ(pmap(triple, std::vector<int>{1, 2, 3}), (std::vector<int>{3, 6, 9}));
}

TEST_F(Modules, EverywhereAlwaysReachesWorkersThatComeLater) {
  const auto module = load_module(plugin("late"));
  everywhere_always(module.function<void()>("run_once_more"));
  const OwnWorkers later(2);
  for (const Pid pid : later.pids()) EXPECT_EQ(remotecall_fetch(module.function<int()>("runs_here"), pid), 1);
  EXPECT_EQ(module.function<int()>("runs_here")(), 1);
}

TEST_F(Modules, AWorkersOwnModuleGoesToTheMasterAndToAll) {
  const auto load = [](const std::string& path) { load_module(path).function<void(int)>("mark_everywhere_always")(5); };
  remotecall_fetch(load, pids[0], plugin("worker_only"));
  const OwnWorkers later(1);
  const auto read = [](const std::string& path, Pid pid) {
    return load_module(path).function<int(Pid)>("read_marks")(pid);
  };
  for (const Pid pid : {pids[0], pids[1], later[0], 1})
    EXPECT_EQ(remotecall_fetch(read, pids[0], plugin("worker_only"), pid), 5) << pid;
}

TEST_F(Modules, ExceptionsKeepTheirTypes) {
  const OwnWorkers workers(1);
  const auto module = shapes();
  const auto own =
      thrown<RemoteException>([&] { remotecall_fetch(module.function<void()>("fail_with_own_type"), workers[0]); });
  ASSERT_TRUE(own);
  EXPECT_TRUE(own->is<ShapeError>());
  EXPECT_EQ(own->message(), "no such shape");
  EXPECT_THROW(own->rethrow_cause(), ShapeError);
  EXPECT_NE(own->backtrace().find("fail_with_own_type"), std::string::npos) << own->backtrace();
  const auto standard = thrown<RemoteException>(
      [&] { remotecall_fetch(module.function<void()>("fail_with_standard_type"), workers[0]); });
  ASSERT_TRUE(standard);
  EXPECT_THROW(standard->rethrow_cause(), std::out_of_range);
}

TEST_F(Modules, TypesAreTheSameOnBothSidesOfItsBorder) {
  const OwnWorkers workers(1);
  const auto module = shapes();
  // The program catches what the plugin throws, by its own name for it.
  const auto program_catches = [](void (*thrower)()) {
    try {
      thrower();
    } catch (const ShapeError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(remotecall_fetch(program_catches, workers[0], module.function<void()>("fail_with_own_type")),
            "no such shape");
  // The plugin catches what the program throws.
  const auto plugin_catches = module.function<bool(void (*)())>("catches_what_it_throws");
  void (*const thrower)() = [] { throw ShapeError("from the program"); };
  EXPECT_TRUE(remotecall_fetch(plugin_catches, workers[0], thrower));
  const auto cast = [](Shape* (*make)(double), double (*area)(const Shape&)) {
    const std::unique_ptr<Shape> shape(make(3));
    return shape->area() + area(*shape);
  };
  EXPECT_EQ(remotecall_fetch(cast, workers[0], module.function<Shape*(double)>("new_square"),
                             module.function<double(const Shape&)>("area_if_square")),
            18);
}

TEST_F(Modules, StaticObjectsAreMadeOnceAndDestroyedInTheEnd) {
  const auto file = std::filesystem::temp_directory_path() / ("muster_witness." + std::to_string(::getpid()));
  {
    const OwnWorkers workers(1, {.env = {{"MUSTER_TEST_WITNESS", file.string()}}});
    const auto module = shapes();
    EXPECT_EQ(remotecall_fetch(module.function<int()>("constructions"), workers[0]), 1);
    EXPECT_EQ(remotecall_fetch(module.function<int()>("sum_of_table"), workers[0]), 6);
    EXPECT_FALSE(std::filesystem::exists(file));
  }
  EXPECT_TRUE(eventually([&] { return std::filesystem::exists(file); }));
  std::filesystem::remove(file);
}

TEST_F(Modules, EachThreadHasItsThreadLocals) {
  const OwnWorkers workers(1);
  const auto next = shapes().function<int()>("next_of_this_thread");
  const auto in_two_threads = [](int (*f)()) {
    const int first = f();
    int other = 0;
    std::thread([&] { other = f(); }).join();
    return std::vector<int>{f() - first, other};
  };
  EXPECT_EQ(remotecall_fetch(in_two_threads, workers[0], next), (std::vector<int>{1, 41}));
}

TEST_F(Modules, OneWithoutABuildIdIsRefusedWithTheCure) {
  const auto refused = thrown<Error>([] { (void)load_module(plugin("unnamed")); });
  ASSERT_TRUE(refused);
  EXPECT_NE(std::string(refused->what()).find("-Wl,--build-id"), std::string::npos) << refused->what();
  void* const library = ::dlopen(plugin("unnamed").c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr);
  const auto text = failure_of(reinterpret_cast<int (*)()>(::dlsym(library, "nameless")), pids[0]);
  EXPECT_NE(text.find("libunnamed.so has no build-id"), std::string::npos) << text;
  EXPECT_NE(text.find("-Wl,--build-id"), std::string::npos) << text;
}

TEST_F(Modules, WhatIsNoModuleIsRefused) {
  const auto no_file = thrown<Error>([] { (void)load_module("./nowhere.so"); });
  ASSERT_TRUE(no_file);
  EXPECT_NE(std::string(no_file->what()).find("No such file"), std::string::npos) << no_file->what();
  const auto no_library = thrown<Error>([] { (void)load_module("/proc/self/cmdline"); });
  ASSERT_TRUE(no_library);
  EXPECT_NE(std::string(no_library->what()).find("/proc/self/cmdline"), std::string::npos) << no_library->what();
  const auto no_symbol = thrown<Error>([] { (void)shapes().function<void()>("no_such_function"); });
  ASSERT_TRUE(no_symbol);
  EXPECT_NE(std::string(no_symbol->what()).find("no_such_function"), std::string::npos) << no_symbol->what();
}

// One test, since what this process has loaded stays loaded.
TEST_F(Modules, OneThatNeedsAnotherSaysSoAndFollowsIt) {
  const OwnWorkers workers(1);
  ASSERT_NE(::dlopen(plugin("base").c_str(), RTLD_NOW | RTLD_LOCAL), nullptr);  // found by its name from now on
  void* const dependent = ::dlopen(plugin("dependent").c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(dependent, nullptr) << ::dlerror();
  const auto value = reinterpret_cast<int (*)()>(::dlsym(dependent, "dependent_value"));
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto text = failure_of(value, workers[0]);
    EXPECT_NE(text.find("libdependent.so"), std::string::npos) << text;
    EXPECT_NE(text.find("libbase.so: cannot open shared object file"), std::string::npos) << text;
    EXPECT_NE(text.find("process " + std::to_string(workers[0]) + " (host "), std::string::npos) << text;
  }
  // With it there, the same call works: also where it failed before.
  const auto base = load_module(plugin("base"), {.global = true});
  EXPECT_EQ(remotecall_fetch(base.function<int()>("base_value"), workers[0]), 1000);
  EXPECT_EQ(remotecall_fetch(value, workers[0]), 1001);
  // What is loaded after a global one brings it along, though nobody called that.
  const auto follower = load_module(plugin("follower"));
  const OwnWorkers fresh(1);
  EXPECT_EQ(remotecall_fetch(follower.function<int()>("follower_value"), fresh[0]), 1002);
  EXPECT_EQ(copies_on(fresh[0], "base"), 1);
}

TEST_F(Modules, AReplacedFileIsNotSent) {
  const auto copy = std::filesystem::temp_directory_path() / ("libmuster_copy." + std::to_string(::getpid()) + ".so");
  std::filesystem::copy_file(plugin("large"), copy, std::filesystem::copy_options::overwrite_existing);
  const auto first = load_module(copy.string()).function<int()>("first_of_large");
  std::filesystem::remove(copy);
  std::filesystem::copy_file(plugin("late"), copy);
  const auto text = failure_of(first, pids[0]);
  EXPECT_NE(text.find("Leave the files of loaded libraries where they are"), std::string::npos) << text;
  std::filesystem::remove(copy);
}

TEST_F(Modules, WhoDiesBeforeItGivesItsCodeHoldsNobodyUp) {
  const OwnWorkers workers(1);
  const Pid doomed = addprocs(1).front();
  const auto call = [](const std::string& path, Pid to) { load_module(path).function<void(Pid)>("call_and_die")(to); };
  (void)thrown<ProcessExitedException>([&] { remotecall_fetch(call, doomed, plugin("dying"), workers[0]); });
  EXPECT_EQ(remotecall_fetch([] { return 5; }, workers[0]), 5);
  EXPECT_TRUE(eventually([&] { return debug::calls_in_flight(workers[0]) == 0; }));
}

}  // namespace
