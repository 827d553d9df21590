/// @file
/// What tests of workers over SSH share.
#pragma once

#include "../../end_to_end/support.hpp"
#include "ssh_lab.hpp"

#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

namespace muster::test {

/// Of two hosts; main.cpp has it up for all tests.
extern std::unique_ptr<SshLab> lab;

inline std::string host_here() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

/// Workers of a test's own; gone at its end.
class SshWorkers {
 public:
  explicit SshWorkers(const std::vector<Machine>& machines, const SshOptions& options = {})
      : pids_(addprocs(machines, options)) {}
  ~SshWorkers() { rmprocs(pids_); }
  SshWorkers(const SshWorkers&) = delete;
  SshWorkers& operator=(const SshWorkers&) = delete;
  const std::vector<Pid>& pids() const { return pids_; }
  Pid operator[](std::size_t index) const { return pids_[index]; }

 private:
  std::vector<Pid> pids_;
};

/// One worker per host, whatever order they joined in.
inline std::map<std::string, Pid> by_host(const std::vector<Pid>& pids) {
  std::map<std::string, Pid> found;
  for (const Pid pid : pids) found[remotecall_fetch(host_here, pid)] = pid;
  return found;
}

/// What the only failure of an addprocs says.
inline LaunchFailure failure_of(const std::vector<Machine>& machines, const SshOptions& options = {}) {
  try {
    rmprocs(addprocs(machines, options));
    ADD_FAILURE() << "workers were started";
  } catch (const LaunchError& error) {
    EXPECT_EQ(error.failures().size(), 1U) << error.what();
    return error.failures().front();
  }
  return {};
}

inline std::string program_here() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

/// What on_worker_removed is told.
class Exits {
 public:
  WorkerExit of(Pid pid) {
    EXPECT_TRUE(eventually([&] {
      const std::lock_guard lock(mutex_);
      return exits_.contains(pid);
    })) << "worker "
        << pid << " is not gone";
    const std::lock_guard lock(mutex_);
    return exits_[pid];
  }

 private:
  std::mutex mutex_;
  std::map<Pid, WorkerExit> exits_;
  CallbackHandle handle_ = on_worker_removed([this](const WorkerExit& exit) {
    const std::lock_guard lock(mutex_);
    exits_[exit.pid] = exit;
  });
};

/// This program again, as a master of its own that does what SSH_TEST_ROLE says.
inline std::string another_master(const std::string& role, const std::string& arguments = {}) {
  return "SSH_TEST_ROLE=" + role + " " + std::filesystem::read_symlink("/proc/self/exe").string() + " " + arguments;
}

/// A lab of its own, whose cables can be shaped, cut and healed. The tests' own lab is the HOME again at its end.
class ShapedLab {
 public:
  explicit ShapedLab(int hosts) {
    ::setenv("LAB_SHAPE", MUSTER_LAB_SHAPE, 1);
    lab_ = std::make_unique<SshLab>(hosts);
    ::unsetenv("LAB_SHAPE");
  }
  ~ShapedLab() {
    lab_.reset();
    if (lab) ::setenv("HOME", lab->home().c_str(), 1);
  }
  ShapedLab(const ShapedLab&) = delete;
  ShapedLab& operator=(const ShapedLab&) = delete;
  void run(const std::string& verb, const std::string& arguments) const {
    const ShellResult result = lab_->run(verb, arguments);
    EXPECT_EQ(result.status, 0) << result.output;
  }
  std::string subnet() const { return lab_->network("subnet"); }
  ShellResult on(const std::string& host, const std::string& command) const {
    return lab_->run("on", host + " " + command);
  }

 private:
  std::unique_ptr<SshLab> lab_;
};

}  // namespace muster::test
