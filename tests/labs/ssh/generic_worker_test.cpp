// Workers by muster-worker, on hosts that have nothing but it.
#include "bare_host.hpp"

#include <gmock/gmock.h>

#include <csignal>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

/// A command that runs on a host until this ends it.
class RunningThere {
 public:
  RunningThere(const BareHost& host, const std::string& command) : os_pid_(::fork()) {
    if (os_pid_ != 0) return;
    ::execl("/bin/sh", "sh", "-c", ("exec " + host.command(command)).c_str(), nullptr);
    ::_exit(127);
  }
  ~RunningThere() {
    ::kill(os_pid_, SIGKILL);
    ::waitpid(os_pid_, nullptr, 0);
  }
  RunningThere(const RunningThere&) = delete;
  RunningThere& operator=(const RunningThere&) = delete;

 private:
  pid_t os_pid_;
};

/// muster-worker as somebody installed it there, and a copy of the key.
class Installed {
 public:
  Installed(const BareHost& host, const ElasticManager& elastic) : folder_(host.directory() + "/installed") {
    std::filesystem::create_directories(folder_);
    const std::filesystem::path worker = MUSTER_WORKER_PROGRAM;
    std::filesystem::copy_file(worker, folder_ / "muster-worker");
    // Its library, as the loader names it.
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      const auto path = line.find('/');
      if (path == std::string::npos || line.find("/libmuster.so") == std::string::npos) continue;
      const std::filesystem::path library = line.substr(path);
      for (const auto& entry : std::filesystem::directory_iterator(library.parent_path()))
        if (entry.path().filename().string().starts_with("libmuster.so"))
          std::filesystem::copy_file(entry.path(), folder_ / entry.path().filename(),
                                     std::filesystem::copy_options::overwrite_existing);
      break;
    }
    std::filesystem::copy_file(elastic.secret_file(), folder_ / "key");
    ::chmod((folder_ / "key").c_str(), 0600);
  }
  std::string command(const std::string& arguments) const {
    return "env LD_LIBRARY_PATH=" + folder_.string() + " XDG_CACHE_HOME=" + folder_.parent_path().string() +
           "/cache_h2 " + (folder_ / "muster-worker").string() + " " + arguments;
  }
  std::string key() const { return (folder_ / "key").string(); }

 private:
  const std::filesystem::path folder_;
};

// A suite of its own, which runs behind the others: what it opens to the network stays open as long as the session.
TEST(SshElastic, AHostThatHasOnlyMusterWorkerJoinsByIt) {
  const BareHost bare;
  const auto elastic = std::make_shared<ElasticManager>(ElasticOptions{.announce = false});
  (void)addprocs(elastic);
  const Installed there(bare, *elastic);
  const std::string address =
      bare.subnet() + ".1:" + elastic->endpoints().front().substr(elastic->endpoints().front().rfind(':') + 1);
  const RunningThere worker(bare, there.command("--connect " + address + " --key-file " + there.key()));
  ASSERT_TRUE(eventually([] { return other_procs().size() == 1; }));
  const Pid pid = other_procs().front();
  EXPECT_EQ(remotecall_fetch(host_here, pid), "h2");
  EXPECT_THAT(remotecall_fetch(program_here, pid), HasSubstr("/cache_h2/muster/"));
  EXPECT_THAT(bare.copied(), Contains(std::filesystem::path(program_here()).filename().string()));
  EXPECT_THAT(bare.copied(), Contains(HasSubstr("libmuster.so")));
  const auto links = debug::links(1);
  ASSERT_EQ(links.size(), 1U);
  EXPECT_TRUE(links.front().encrypted);
  const std::vector<double> many(100000, 0.5);
  EXPECT_EQ(remotecall_fetch([](const std::vector<double>& x) { return x.size(); }, pid, many), many.size());
  const RunningThere second(bare, there.command("< " + there.key()));
  EXPECT_TRUE(eventually([] { return other_procs().size() == 2; })) << "another by the copy that is there";
  rmprocs(workers());
  elastic->close();
}

TEST(SshElastic, MusterWorkerSaysWhatKeepsItFromJoining) {
  const BareHost bare;
  const auto elastic = std::make_shared<ElasticManager>(ElasticOptions{.announce = false});
  (void)addprocs(elastic);
  const Installed there(bare, *elastic);
  EXPECT_THAT(bare.on(there.command("--key-file " + there.key() + " --connect " + bare.subnet() + ".1:1")),
              AllOf(HasSubstr("could not be reached"), HasSubstr(".1:1")));
  EXPECT_THAT(bare.on(there.command("--key-file " + there.key() + " --connect localhost:1")),
              HasSubstr("is this host itself, where the master is not"));
  const std::string cache = bare.cache().parent_path();
  bare.on("mkdir -p " + cache);
  bare.on("mount -t tmpfs -o size=256k tmpfs " + cache);
  EXPECT_THAT(
      bare.on(there.command("--key-file " + there.key())),
      AllOf(HasSubstr("can't be written to " + cache), HasSubstr("No space left"), HasSubstr("XDG_CACHE_HOME")));
  EXPECT_EQ(bare.on("find " + cache + " -type f ! -name '*.lock'"), "");
  elastic->close();
}

}  // namespace
}  // namespace muster::test
