// Ranks on several hosts, which Open MPI's and MPICH's launchers reach by ssh.
#include "ssh_workers.hpp"

#include <gmock/gmock.h>

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace muster::test {
namespace {

using ::testing::ElementsAre;

/// The ssh program with the lab's keys: it looks for its files where the user database says that home is.
std::string ssh_of_the_lab() {
  const std::string path = lab->directory() + "/ssh", ssh = lab->home() + "/.ssh/";
  std::ofstream(path) << "#!/bin/sh\nexec ssh -F " << ssh << "config -i " << ssh
                      << "id_ed25519 -o UserKnownHostsFile=" << ssh << "known_hosts -o BatchMode=yes \"$@\"\n";
  EXPECT_EQ(::chmod(path.c_str(), 0755), 0);
  return path;
}

struct Launcher {
  const char* name;
  const char* command;
  std::vector<std::string> (*flags)(const std::string& ssh);
};

class MpiOnHosts : public ::testing::TestWithParam<Launcher> {};

TEST_P(MpiOnHosts, RanksOfSeveralHostsAreWorkers) {
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  const auto manager = std::make_shared<MpiManager>(
      3, MpiOptions{.launcher = GetParam().command, .flags = GetParam().flags(ssh_of_the_lab())});
  const std::vector<Pid> pids = addprocs(manager);
  std::vector<std::string> on;
  for (const Pid pid : pids) on.push_back(remotecall_fetch(host_here, pid));
  std::sort(on.begin(), on.end());
  EXPECT_THAT(on, ElementsAre("h1", "h2", "h2"));
  for (const debug::LinkInfo& link : debug::links(1)) EXPECT_TRUE(link.encrypted) << link.peer;
  for (const Pid from : pids)
    for (const Pid to : pids)
      EXPECT_EQ(remotecall_fetch([](Pid other) { return remotecall_fetch(&myid, other); }, from, to), to);
  EXPECT_EQ(pmap([](int x) { return x * x; }, std::vector<int>{1, 2, 3, 4}), (std::vector<int>{1, 4, 9, 16}));
  rmprocs(pids);
  EXPECT_TRUE(eventually([] {
    return lab->run("on", "h1 pgrep -f [-]-muster-worker").output.empty() &&
           lab->run("on", "h2 pgrep -f [-]-muster-worker").output.empty();
  })) << "nothing is left on the hosts";
}

INSTANTIATE_TEST_SUITE_P(Launchers, MpiOnHosts,
                         ::testing::Values(Launcher{"OpenMpi", "mpirun.openmpi",
                                                    [](const std::string& ssh) {
                                                      return std::vector<std::string>{"--host", "h1:1,h2:2", "--mca",
                                                                                      "plm_rsh_agent", ssh};
                                                    }},
                                           Launcher{"Mpich", "mpiexec.mpich",
                                                    [](const std::string& ssh) {
                                                      return std::vector<std::string>{
                                                          "-hosts", "h1:1,h2:2",           "-launcher",
                                                          "ssh",    "-launcher-exec",      ssh,
                                                          "-iface", lab->network("bridge")};
                                                    }}),
                         [](const auto& which) { return std::string(which.param.name); });

}  // namespace
}  // namespace muster::test
