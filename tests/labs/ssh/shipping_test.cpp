// Hosts that share nothing.
#include "bare_host.hpp"

#include <gmock/gmock.h>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

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

TEST(Ssh, OnATerminalABarShowsHowFarTheCopyingHasGot) {
  const BareHost bare;
  const std::string machines = bare.directory() + "/machines";
  std::ofstream(machines) << "h2\n";
  const ShellResult shown =
      shell("script -qec '" + another_master("list", "--muster-machine-file " + machines) + "' /dev/null");
  EXPECT_EQ(shown.status, 0) << shown.output;
  EXPECT_THAT(shown.output, AllOf(HasSubstr("Copying the program to h2 100% ["), HasSubstr("iB/s in 0:")));
  EXPECT_THAT(shown.output, HasSubstr("h2 \r\n"));
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

TEST(Ssh, WhatAKilledMasterCopiedInPartIsRemovedADayLater) {
  const BareHost bare;
  const std::string old = bare.cache().string() + "/old.unfinished-1",
                    fresh = bare.cache().string() + "/new.unfinished-2";
  bare.on("mkdir -p " + old + " " + fresh);
  bare.on("touch " + old + "/part");
  bare.on("touch -d 2020-01-01 " + old);
  const SshWorkers one({"h2"});
  EXPECT_FALSE(std::filesystem::exists(old));
  EXPECT_TRUE(std::filesystem::exists(fresh));
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
