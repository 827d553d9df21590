// Workers on hosts with real SSH servers, in namespaces of this machine.
#include "../../end_to_end/support.hpp"
#include "ssh_lab.hpp"

#include <gmock/gmock.h>

#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <memory>
#include <numeric>
#include <set>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::unique_ptr<SshLab> lab;

std::string host_here() {
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
std::map<std::string, Pid> by_host(const std::vector<Pid>& pids) {
  std::map<std::string, Pid> found;
  for (const Pid pid : pids) found[remotecall_fetch(host_here, pid)] = pid;
  return found;
}

/// What the only failure of an addprocs says.
LaunchFailure failure_of(const std::vector<Machine>& machines, const SshOptions& options = {}) {
  try {
    rmprocs(addprocs(machines, options));
    ADD_FAILURE() << "workers were started";
  } catch (const LaunchError& error) {
    EXPECT_EQ(error.failures().size(), 1U) << error.what();
    return error.failures().front();
  }
  return {};
}

/// Whether that text ever passes the lab's bridge while this lives.
class Capture {
 public:
  explicit Capture(const std::string& bridge) : socket_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x0003))) {
    sockaddr_ll place{};
    place.sll_family = AF_PACKET;
    place.sll_protocol = htons(0x0003);  // every protocol
    place.sll_ifindex = static_cast<int>(::if_nametoindex(bridge.c_str()));
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&place), sizeof place), 0) << std::strerror(errno);
    const timeval patience_of_one{0, 20'000};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience_of_one, sizeof patience_of_one);
    thread_ = std::thread([this] {
      std::vector<char> packet(1U << 17);
      while (!done_) {
        const auto got = ::recv(socket_, packet.data(), packet.size(), 0);
        if (got > 0) heard_.append(packet.data(), static_cast<std::size_t>(got));
      }
    });
  }
  ~Capture() {
    if (thread_.joinable()) (void)heard();
    ::close(socket_);
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  const std::string& heard() {
    done_ = true;
    thread_.join();
    return heard_;
  }

 private:
  int socket_;
  std::atomic<bool> done_{false};
  std::string heard_;  ///< the thread's
  std::thread thread_;
};

// -- they work --------------------------------------------------------------------------------------------------------

// catalogue: 64
TEST(Ssh, TwoHostsOfTwoWorkersComputeAndTalkToEachOther) {
  const SshWorkers four({{"h1", 2}, {"h2", 2}});
  ASSERT_EQ(four.pids().size(), 4U);
  std::multiset<std::string> hosts;
  for (const Pid pid : four.pids()) hosts.insert(remotecall_fetch(host_here, pid));
  EXPECT_THAT(hosts, ElementsAre("h1", "h1", "h2", "h2"));
  const auto ask = [](Pid other) { return remotecall_fetch(&myid, other); };
  for (const Pid from : four.pids())
    for (const Pid to : four.pids()) EXPECT_EQ(remotecall_fetch(ask, from, to), to) << "from " << from;
  for (const Pid pid : four.pids()) {
    EXPECT_EQ(procs(pid).size(), 2U) << "hosts are told apart";
    for (const debug::LinkInfo& link : debug::links(pid)) {
      const bool same_host = check_same_host({pid, link.peer});
      EXPECT_EQ(link.lane, same_host ? "shm" : "zmq-tcp") << pid << " to " << link.peer;
      EXPECT_EQ(link.encrypted, !same_host) << pid << " to " << link.peer;
    }
  }
  EXPECT_EQ(pmap([](int x) { return x * x; }, std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8}).back(), 64);
}

TEST(Ssh, LocalWorkersAndThoseOnHostsReachEachOther) {
  const OwnWorkers here(1);
  const SshWorkers there({"h1"});
  const OwnWorkers later(1);
  const auto ask = [](Pid other) { return remotecall_fetch(&myid, other); };
  for (const auto& [from, to] : {std::pair(here[0], there[0]), std::pair(there[0], here[0]),
                                 std::pair(later[0], there[0]), std::pair(there[0], later[0])})
    EXPECT_EQ(remotecall_fetch(ask, from, to), to) << "from " << from;
}

TEST(Ssh, NothingOfThisHostIsOpenedToTheNetwork) {
  const SshWorkers one({"h1"});
  int listening = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    int listens = 0;
    socklen_t size = sizeof listens;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) continue;
    sockaddr_in address{};
    size = sizeof address;
    ASSERT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
    if (address.sin_family == AF_UNIX) continue;
    ++listening;
    EXPECT_EQ(address.sin_family, AF_INET);
    EXPECT_EQ(ntohl(address.sin_addr.s_addr) >> 24U, 127U);
  }
  EXPECT_EQ(listening, 1);
}

// catalogue: 46, 55, 56
TEST(Ssh, AutoIsItsHardwareThreadsAndMoreThanOneConnectionHolds) {
  const SshWorkers threads({{"h1", Auto}});
  EXPECT_EQ(threads.pids().size(), static_cast<std::size_t>(std::max(1U, std::thread::hardware_concurrency())));
  const SshWorkers many({{"h2", 10}}, {.max_parallel = 1});
  EXPECT_EQ(many.pids().size(), 10U);
}

// catalogue: 54
TEST(Ssh, TheSameMachineTwiceCountsTogether) {
  const std::string address = lab->network("subnet") + ".11";
  const SshWorkers nine({"h1", {"h1", 2}, "root@h1", "h1:22", {address, 3}, "h1"});
  ASSERT_EQ(nine.pids().size(), 9U);
  for (const Pid pid : nine.pids()) EXPECT_EQ(remotecall_fetch(&workers, pid), nine.pids());
}

// catalogue: 44
TEST(Ssh, DirectoryEnvironmentAndArgumentsAreAsAsked) {
  ::setenv("MUSTER_TEST_VARIABLE", "comes along", 1);
  ::setenv("OTHER_TEST_VARIABLE", "stays here", 1);
  const std::string odd = "it's \"$HOME\"\nand `more`";
  const SshWorkers one({"h1"}, {.exeflags = {"an argument", "--its=own"}, .dir = "/usr", .env = {{"ODD", odd}}});
  const auto variable = [](const std::string& name) {
    const char* const value = std::getenv(name.c_str());
    return std::string(value != nullptr ? value : "none");
  };
  const auto its = [&](const std::string& name) { return remotecall_fetch(variable, one[0], name); };
  EXPECT_EQ(its("ODD"), odd);
  EXPECT_EQ(its("MUSTER_TEST_VARIABLE"), "comes along");
  EXPECT_EQ(its("OTHER_TEST_VARIABLE"), "none");
  EXPECT_EQ(its("OMP_NUM_THREADS"), "1");
  ::unsetenv("MUSTER_TEST_VARIABLE");
  EXPECT_EQ(remotecall_fetch([] { return std::filesystem::current_path().string(); }, one[0]), "/usr");
  const std::string command = remotecall_fetch(
      [] {
        std::ifstream file("/proc/self/cmdline");
        return std::string(std::istreambuf_iterator<char>(file), {});
      },
      one[0]);
  EXPECT_THAT(command, AllOf(HasSubstr("an argument"), HasSubstr("--its=own")));
  EXPECT_EQ(command.find("ODD"), std::string::npos) << "others there can read command lines";
}

TEST(Ssh, AManagerMayBeMadeAndUsedAgain) {
  const auto manager = std::make_shared<SshManager>(
      std::vector<Machine>{"h1"}, SshOptions{.exeflags = {"--own"}, .dir = "/usr", .env = {{"A", "its"}}});
  EXPECT_THROW(SshManager({"h1"}, {.max_parallel = 0}), std::invalid_argument);
  const auto its = [] { return std::filesystem::current_path().string() + " " + std::getenv("A"); };
  for (const auto& [options, expected] :
       {std::pair(AddprocsOptions(), "/usr its"),
        std::pair(AddprocsOptions{.dir = "/etc", .env = {{"A", "ours"}}}, "/etc ours")}) {
    const std::vector<Pid> one = addprocs(manager, options);
    EXPECT_EQ(remotecall_fetch(its, one.at(0)), expected);
    rmprocs(one);
  }
}

// catalogue: 59, 61, 62
TEST(Ssh, WorkersListenWhereTheMachineSays) {
  const std::string address = lab->network("subnet") + ".11";
  const SshWorkers two({Machine("2*root@h1:22 " + address + ":[29345]"), Machine("h1 " + address + ":29345")});
  EXPECT_EQ(two.pids().size(), 3U);
  EXPECT_EQ(lab->run("on", "h1 bash -c 'exec 3<>/dev/tcp/" + address + "/29345'").status, 0);
}

// catalogue: 58
TEST(Ssh, AConnectionEndsWithItsLastWorker) {
  const auto connections = [] { return lab->run("on", "h1 pgrep -f sshd:.root").output; };
  {
    const SshWorkers two({{"h1", 2}});
    EXPECT_NE(connections(), "");
    rmprocs(two[0]);
    EXPECT_NE(connections(), "");
  }
  EXPECT_TRUE(eventually([&] { return connections().empty(); }));
}

TEST(Ssh, WhatWorkersPrintIsShownHere) {
  const CapturedStderr captured;
  const SshWorkers one({"h1"});
  remotecall_fetch([] { std::fputs("a word of warning\n", stderr); }, one[0]);
  const std::string line = "      From worker " + std::to_string(one[0]) + ":\ta word of warning\n";
  EXPECT_TRUE(eventually([&] { return captured.text().find(line) != std::string::npos; })) << captured.text();
}

TEST(Ssh, TheNetworkCarriesNoPlainText) {
  const std::string text = "the known plain text of an argument and of a result";
  Capture capture(lab->network("bridge"));
  {
    const SshWorkers two({"h1", "h2"});
    const auto echo = [](const std::string& word) { return word; };
    EXPECT_EQ(remotecall_fetch(echo, two[0], text), text);
    const auto pass_on = [](Pid other, const std::string& word) {
      return remotecall_fetch([](const std::string& again) { return again; }, other, word);
    };
    EXPECT_EQ(remotecall_fetch(pass_on, two[0], two[1], text), text);
  }
  const std::string& heard = capture.heard();
  EXPECT_NE(heard.find("SSH-2.0-"), std::string::npos) << "the capture hears nothing";
  EXPECT_EQ(heard.find(text), std::string::npos);
}

// -- hosts whose ports are closed
// --------------------------------------------------------------------------------------

/// The hosts take SSH connections and nothing else.
class ClosedPorts {
 public:
  ClosedPorts() {
    for (const char* host : {"h1", "h2"}) rule(host, "add");
  }
  ~ClosedPorts() {
    for (const char* host : {"h1", "h2"}) rule(host, "del");
  }
  ClosedPorts(const ClosedPorts&) = delete;
  ClosedPorts& operator=(const ClosedPorts&) = delete;

 private:
  /// What comes from a port that is no SSH server's finds no way back.
  static void rule(const std::string& host, const std::string& verb) {
    const ShellResult result =
        lab->run("on", host + " ip rule " + verb + " priority 10 ipproto tcp sport 1024-65534 prohibit");
    EXPECT_EQ(result.status, 0) << result.output;
  }
};

TEST(Ssh, AHostIsReachedThroughAnotherOne) {
  const std::string config = lab->home() + "/.ssh/config", subnet = lab->network("subnet");
  const ChangedFile changed(config, text_of(config) + "Host inner\n  HostName " + subnet +
                                        ".12\n  User root\n  ProxyJump h1\nHost nowhere\n  HostName " + subnet +
                                        ".12\n  ProxyJump nobody@h1\n");
  const SshWorkers three({{"inner", 3}}, {.tunnel = true});
  for (const Pid pid : three.pids()) {
    EXPECT_EQ(remotecall_fetch(host_here, pid), "h2");
    EXPECT_THAT(remotecall_fetch([] { return std::string(std::getenv("SSH_CONNECTION")); }, pid),
                StartsWith(subnet + ".11 "));
  }
  EXPECT_THAT(failure_of({"nowhere"}).message,
              AllOf(HasSubstr("on the way there, at h1"), HasSubstr("refused to let nobody in")));
}

// catalogue: 57
TEST(Ssh, ThroughATunnelClosedPortsAreReached) {
  const ClosedPorts closed;
  EXPECT_EQ(failure_of({"h1"}, {.launch_timeout = 4s}).cause, LaunchCause::handshake) << "the ports are not closed";
  const SshWorkers three({{"h1", 2}, "h2"}, {.tunnel = true});
  std::vector<double> numbers(4'000'000);
  std::iota(numbers.begin(), numbers.end(), 0.0);
  const auto echo = [](const std::vector<double>& all) { return all; };
  for (const Pid pid : three.pids()) EXPECT_EQ(remotecall_fetch(echo, pid, numbers), numbers);
  const auto on_h1 = procs(by_host(three.pids())["h1"]);
  ASSERT_EQ(on_h1.size(), 2U);
  EXPECT_EQ(remotecall_fetch([](Pid other) { return remotecall_fetch(&myid, other); }, on_h1[0], on_h1[1]), on_h1[1]);
}

TEST(Ssh, AWorkerBehindATunnelListensOnItsLoopbackOnly) {
  const SshWorkers one({"h1"}, {.tunnel = true});
  EXPECT_THROW(addprocs({"h1 10.0.0.1"}, {.tunnel = true}), std::invalid_argument);
  EXPECT_EQ(lab->run("on", "h1 ss -Hltn 'sport >= 1024' | grep -vc '127.0.0.1:'").output, "0\n");
}

TEST(Ssh, WorkersBehindTunnelsOfDifferentHostsSayWhyTheyCantTalk) {
  const SshWorkers two({"h1", "h2"}, {.tunnel = true});
  const auto ask = [](Pid other) { return remotecall_fetch(&myid, other); };
  const auto error = thrown<RemoteException>([&] { remotecall_fetch(ask, two[0], two[1]); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->message(), HasSubstr("loopback only"));
}

// -- hosts that share nothing -----------------------------------------------------------------------------------------

std::string program_here() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

/// A lab whose h2 has neither this program nor its libraries.
class BareHost {
 public:
  BareHost() {
    const std::string build = std::filesystem::path(program_here()).parent_path().parent_path().string();
    ::setenv("LAB_HIDE", ("h2:" + build).c_str(), 1);
    lab_ = std::make_unique<SshLab>(2);
    ::unsetenv("LAB_HIDE");
  }
  ~BareHost() {
    lab_.reset();
    ::setenv("HOME", lab->home().c_str(), 1);
  }
  BareHost(const BareHost&) = delete;
  BareHost& operator=(const BareHost&) = delete;
  /// What was copied there.
  std::set<std::string> copied() const {
    std::set<std::string> names;
    if (!std::filesystem::exists(cache())) return names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(cache()))
      if (entry.is_regular_file()) names.insert(entry.path().filename());
    return names;
  }
  std::filesystem::path cache() const { return lab_->directory() + "/cache_h2/muster"; }

 private:
  std::unique_ptr<SshLab> lab_;
};

TEST(Ssh, AProgramThatAHostDoesNotHaveIsCopiedThereOnce) {
  const BareHost bare;
  EXPECT_THAT(failure_of({"h2"}, {.ship = Ship::Never}).message,
              AllOf(HasSubstr("there is no program " + program_here()), HasSubstr("SshOptions::ship")));
  EXPECT_TRUE(bare.copied().empty());
  const auto write_time = [&] {
    return std::filesystem::last_write_time(std::filesystem::directory_iterator(bare.cache())->path());
  };
  std::filesystem::file_time_type first{};
  {
    const SshWorkers three({"h1", {"h2", 2}});
    EXPECT_EQ(remotecall_fetch([](int x) { return x + 1; }, by_host(three.pids())["h2"], 41), 42);
    EXPECT_EQ(remotecall_fetch(program_here, by_host(three.pids())["h1"]), program_here()) << "h1 has it";
    EXPECT_THAT(remotecall_fetch(program_here, by_host(three.pids())["h2"]), HasSubstr("/cache_h2/muster/"));
    EXPECT_THAT(bare.copied(), Contains(std::filesystem::path(program_here()).filename().string()));
    EXPECT_THAT(bare.copied(), Contains(HasSubstr("libmuster.so")));
    for (const std::string& name : bare.copied()) EXPECT_EQ(name.find("libc.so"), std::string::npos) << name;
    first = write_time();
  }
  const SshWorkers again({"h2"});
  EXPECT_EQ(write_time(), first);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(bare.cache()), {}), 1) << "nothing unfinished is left";
}

TEST(Ssh, AProgramIsCopiedWhereThatIsAskedFor) {
  const SshWorkers one({"h1"}, {.ship = Ship::Always});
  EXPECT_THAT(remotecall_fetch(program_here, one[0]), HasSubstr("/cache_h1/muster/"));
}

// -- they end ---------------------------------------------------------------------------------------------------------

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

TEST(Ssh, HowAWorkerEndedIsKnown) {
  Exits exits;
  const SshWorkers four({{"h1", 4}});
  remote_do([] { ::_exit(3); }, four[0]);
  remote_do([] { ::kill(::getpid(), SIGTERM); }, four[1]);
  rmprocs(four[2]);
  EXPECT_EQ(exits.of(four[0]).exit_status, 3);
  EXPECT_EQ(exits.of(four[0]).host, "h1");
  EXPECT_EQ(exits.of(four[1]).signal, SIGTERM);
  EXPECT_EQ(exits.of(four[2]).exit_status, 0);
  EXPECT_TRUE(exits.of(four[2]).expected);
  EXPECT_EQ(remotecall_fetch(&myid, four[3]), four[3]);
}

TEST(Ssh, AWorkerThatDoesNotLeaveIsKilledThere) {
  Exits exits;
  const std::vector<Pid> one = addprocs({"h1"});
  const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, one[0]);
  ASSERT_EQ(lab->run("on", "h1 kill -STOP " + std::to_string(os_pid)).status, 0);
  rmprocs(one);
  EXPECT_EQ(exits.of(one[0]).signal, SIGKILL);
  EXPECT_NE(lab->run("on", "h1 kill -0 " + std::to_string(os_pid)).status, 0);
}

TEST(Ssh, WorkersEndWithTheirConnection) {
  Exits exits;
  const SshWorkers two({"h1", "h2"});
  auto pids = by_host(two.pids());
  const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, pids["h1"]);
  const Future<void> lost = spawnat(pids["h1"], [] { this_task::sleep_for(patience); });
  lab->end_connections("h1");
  EXPECT_TRUE(thrown<ProcessExitedException>([&] { lost.fetch(); }));
  EXPECT_THAT(exits.of(pids["h1"]).last_output, HasSubstr("the SSH connection is gone"));
  EXPECT_TRUE(eventually([&] { return lab->run("on", "h1 kill -0 " + std::to_string(os_pid)).status != 0; }));
  EXPECT_EQ(remotecall_fetch(&myid, pids["h2"]), pids["h2"]);
}

/// This program again, as a master of its own that does what SSH_TEST_ROLE says.
std::string another_master(const std::string& role, const std::string& arguments = {}) {
  return "SSH_TEST_ROLE=" + role + " " + std::filesystem::read_symlink("/proc/self/exe").string() + " " + arguments;
}

TEST(Ssh, WorkersEndWithTheirMaster) {
  FILE* const said = ::popen(another_master("wait").c_str(), "re");
  int master = 0, worker = 0;
  ASSERT_EQ(std::fscanf(said, "%d %d", &master, &worker), 2);
  EXPECT_EQ(lab->run("on", "h1 kill -0 " + std::to_string(worker)).status, 0);
  ASSERT_EQ(::kill(master, SIGKILL), 0);
  EXPECT_TRUE(eventually([&] { return lab->run("on", "h1 kill -0 " + std::to_string(worker)).status != 0; }));
  ::pclose(said);
}

TEST(Ssh, AFileOfMachinesIsTakenFromTheCommandLine) {
  const std::string file = lab->directory() + "/machines";
  std::ofstream(file) << "# two and one\n2*h1\n\nroot@h2\n";
  const ShellResult listed = shell(another_master("list", "--muster-machine-file " + file));
  EXPECT_EQ(listed.status, 0) << listed.output;
  EXPECT_EQ(listed.output, "h1 h1 h2 \n");
}

TEST(Ssh, AHostThatVanishesTakesItsWorkersOnly) {
  SshLab other(2);
  {
    const SshWorkers three({{"h1", 2}, "h2"});
    auto pids = by_host(three.pids());
    const Future<void> lost = spawnat(pids["h1"], [] { this_task::sleep_for(patience); });
    ASSERT_EQ(other.run("kill", "h1").status, 0);
    EXPECT_TRUE(thrown<ProcessExitedException>([&] { lost.fetch(); }));
    EXPECT_EQ(remotecall_fetch(host_here, pids["h2"]), "h2");
    EXPECT_TRUE(eventually([&] { return other_procs() == std::vector<Pid>{pids["h2"]}; }));
  }
  ::setenv("HOME", lab->home().c_str(), 1);
}

TEST(Ssh, AHostThatIsHeardOfNoMoreIsGivenUp) {
  SshLab other(2);
  {
    const SshWorkers two({"h1", "h2"});
    auto pids = by_host(two.pids());
    const Future<void> lost = spawnat(pids["h1"], [] { this_task::sleep_for(10 * patience); });
    ASSERT_EQ(other.run("cut", "h1").status, 0);
    EXPECT_TRUE(thrown<ProcessExitedException>([&] { lost.fetch(); }));
    EXPECT_EQ(remotecall_fetch(host_here, pids["h2"]), "h2");
  }
  ::setenv("HOME", lab->home().c_str(), 1);
}

// -- they can't be started --------------------------------------------------------------------------------------------

// catalogue: 31
TEST(Ssh, AHostThatIsNoneIsAnError) {
  const LaunchFailure failure = failure_of({"no.such.host.invalid"});
  EXPECT_EQ(failure.where, "no.such.host.invalid");
  EXPECT_EQ(failure.cause, LaunchCause::not_started);
  EXPECT_THAT(failure.message, HasSubstr("there is no host"));
}

TEST(Ssh, AHostWithoutAServerIsAnError) {
  EXPECT_THAT(failure_of({lab->network("subnet") + ".11:23"}).message, HasSubstr("nobody answers at"));
  const auto before = std::chrono::steady_clock::now();
  const LaunchFailure silent = failure_of({lab->network("subnet") + ".99"}, {.launch_timeout = 2s});
  EXPECT_THAT(silent.message, HasSubstr("nobody answers at"));
  EXPECT_LT(std::chrono::steady_clock::now() - before, 2s + patience / 3);
}

// catalogue: 32
TEST(Ssh, OneOfSeveralIsReportedWithThoseThatJoined) {
  try {
    (void)addprocs({"h1", "no.such.host.invalid", "h2"});
    FAIL() << "nothing was thrown";
  } catch (const LaunchError& error) {
    EXPECT_EQ(error.failures().size(), 1U);
    EXPECT_EQ(error.joined().size(), 2U);
    rmprocs(error.joined());
  }
}

TEST(Ssh, AnUnknownHostKeyIsRefusedUnlessNewOnesAreAccepted) {
  const ChangedFile known_hosts(lab->known_hosts(), "");
  EXPECT_THAT(failure_of({"h1"}).message,
              AllOf(HasSubstr("is not known"), HasSubstr("SHA256:"), HasSubstr("KnownHosts::AcceptNew")));
  EXPECT_EQ(known_hosts.text(), "");
  {
    const SshWorkers one({"h1"}, {.known_hosts = KnownHosts::AcceptNew});
  }
  EXPECT_THAT(known_hosts.text(), HasSubstr("ssh-ed25519"));
  {
    const SshWorkers one({"h1"});
  }
}

TEST(Ssh, AChangedHostKeyIsRefused) {
  const std::string stranger = shell("cut -d' ' -f1,2 " + lab->key("stranger.pub")).output;
  const ChangedFile known_hosts(lab->known_hosts(), lab->network("subnet") + ".11 " + stranger);
  for (const KnownHosts policy : {KnownHosts::Strict, KnownHosts::AcceptNew})
    EXPECT_THAT(failure_of({"h1"}, {.known_hosts = policy}).message, HasSubstr("has changed"));
  const SshWorkers one({"h1"}, {.known_hosts = KnownHosts::Off});
}

TEST(Ssh, AKeyThatTheHostDoesNotTakeIsAnError) {
  EXPECT_THAT(failure_of({"h1"}, {.identity_file = lab->key("stranger")}).message,
              AllOf(HasSubstr("refused to let root in"), HasSubstr("publickey"), HasSubstr("authorized_keys")));
  EXPECT_THAT(failure_of({"h1"}, {.identity_file = lab->key("none")}).message, HasSubstr("there is no identity file"));
  EXPECT_THAT(failure_of({"nobody@h1"}).message, HasSubstr("refused to let nobody in"));
}

TEST(Ssh, AKeyWithAPassphraseIsTheAgents) {
  const std::string locked = lab->key("locked");
  EXPECT_THAT(failure_of({"h1"}, {.identity_file = locked}).message, HasSubstr("refused to let root in"));
  const std::string socket = lab->directory() + "/agent";
  const std::string ask = lab->directory() + "/ask";
  std::ofstream(ask) << "#!/bin/sh\necho a passphrase\n";
  std::filesystem::permissions(ask, std::filesystem::perms::owner_all);
  const ShellResult agent = shell("ssh-agent -a " + socket);
  ASSERT_EQ(agent.status, 0) << agent.output;
  const std::string pid = agent.output.substr(agent.output.find("SSH_AGENT_PID=") + 14);
  ::setenv("SSH_AUTH_SOCK", socket.c_str(), 1);
  const ShellResult added = shell("SSH_ASKPASS_REQUIRE=force SSH_ASKPASS=" + ask + " ssh-add " + locked);
  EXPECT_EQ(added.status, 0) << added.output;
  {
    const SshWorkers one({"h1"}, {.identity_file = locked});
  }
  ::unsetenv("SSH_AUTH_SOCK");
  ::kill(std::stoi(pid), SIGTERM);
}

// catalogue: 60
TEST(Ssh, AProgramThatIsNotThereIsAnError) {
  const LaunchFailure failure = failure_of({"h1"}, {.exename = "/no/such/program"});
  EXPECT_THAT(failure.message, AllOf(HasSubstr("there is no program /no/such/program"), HasSubstr("h1")));
  EXPECT_THAT(failure_of({"h1"}, {.dir = "/no/such/directory"}).message,
              HasSubstr("there is no directory /no/such/directory"));
}

TEST(Ssh, AnotherBuildIsAnError) {
  const LaunchFailure failure = failure_of({"h1"}, {.exename = MUSTER_OTHER_PROGRAM});
  EXPECT_EQ(failure.cause, LaunchCause::handshake);
  EXPECT_THROW(std::rethrow_exception(failure.error), CodeMismatch) << failure.message;
  EXPECT_EQ(failure.where, "h1");
}

TEST(Ssh, AProgramThatIsNoWorkerIsAnError) {
  const LaunchFailure failure = failure_of({"h1"}, {.exename = "/bin/false"});
  EXPECT_EQ(failure.cause, LaunchCause::exited);
  EXPECT_EQ(failure.exit_status, 1);
  EXPECT_EQ(failure.where, "h1");
  const LaunchFailure silent = failure_of({"h1"}, {.exename = "/bin/sleep", .exeflags = {"60"}, .launch_timeout = 3s});
  EXPECT_THAT(silent.cause, AnyOf(LaunchCause::no_address_line, LaunchCause::exited)) << silent.message;
}

}  // namespace

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
