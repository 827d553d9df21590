// Hosts that share nothing.
#include "ssh_workers.hpp"

#include <gmock/gmock.h>

#include <set>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

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
  /// What a command there says.
  std::string on(const std::string& command) const { return lab_->run("on", "h2 " + command).output; }
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

TEST(Ssh, AHostWithoutRoomForTheProgramSaysSoAndKeepsNothing) {
  const BareHost bare;
  const std::string cache = bare.cache().parent_path();
  bare.on("mkdir -p " + cache);
  bare.on("mount -t tmpfs -o size=256k tmpfs " + cache);
  EXPECT_THAT(failure_of({"h2"}).message,
              AllOf(HasSubstr("can't be copied to " + cache), HasSubstr("No space left"), HasSubstr("XDG_CACHE_HOME")));
  EXPECT_EQ(bare.on("find " + cache + " -type f"), "");
}

TEST(Ssh, AHostWithoutGzipGetsTheProgramAsItIs) {
  const BareHost bare;
  bare.on("mount --bind /bin/false /usr/bin/gzip");
  const SshWorkers one({"h2"});
  EXPECT_THAT(remotecall_fetch(program_here, one[0]), HasSubstr("/cache_h2/muster/"));
}

TEST(Ssh, AProgramIsCopiedWhereThatIsAskedFor) {
  const SshWorkers one({"h1"}, {.ship = Ship::Always});
  EXPECT_THAT(remotecall_fetch(program_here, one[0]), HasSubstr("/cache_h1/muster/"));
}

}  // namespace
}  // namespace muster::test
