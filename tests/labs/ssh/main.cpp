// The lab's program: its tests, and masters of their own that they start.
#include "ssh_workers.hpp"

#include <set>

namespace muster::test {

std::unique_ptr<SshLab> lab;

namespace {

int play(const std::string& role) {
  if (role == "wait") {
    const std::vector<Pid> one = addprocs({"h1"});
    std::printf("%d %d\n", ::getpid(), remotecall_fetch([] { return static_cast<int>(::getpid()); }, one[0]));
    std::fflush(stdout);
    ::pause();
  }
  std::multiset<std::string> hosts;
  for (const Pid pid : other_procs()) hosts.insert(remotecall_fetch(host_here, pid));
  for (const std::string& host : hosts) std::printf("%s ", host.c_str());
  std::printf("\n");
  return 0;
}

}  // namespace
}  // namespace muster::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const muster::Session session(
      argc, argv, {.heartbeat_interval = std::chrono::milliseconds(500), .heartbeat_timeout = std::chrono::seconds(5)});
  if (const char* const role = std::getenv("SSH_TEST_ROLE")) return muster::test::play(role);
  if (const auto can = muster::test::SshLab::check(); can.status != 0) {
    std::fprintf(stderr, "SKIPPED: tests of workers over SSH need network namespaces, and there are none here: %s",
                 can.output.c_str());
    return 77;
  }
  muster::test::lab = std::make_unique<muster::test::SshLab>(2);
  const int result = RUN_ALL_TESTS();
  muster::test::lab.reset();
  return result;
}
