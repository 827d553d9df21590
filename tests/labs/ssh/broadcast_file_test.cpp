// Files for every host.
#include "ssh_workers.hpp"

#include <gmock/gmock.h>

#include <sys/stat.h>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A directory that each host of the lab has for itself; here too. Several MiB may be put into it.
class DirectoryOfItsOwn {
 public:
  DirectoryOfItsOwn() {
    char name[] = "/tmp/muster-broadcast.XXXXXX";
    path_ = ::mkdtemp(name);
    for (const char* const host : {"h1", "h2"})
      EXPECT_EQ(lab->run("on", std::string(host) + " mount -t tmpfs -o size=24m tmpfs " + path_).status, 0);
  }
  ~DirectoryOfItsOwn() {
    for (const char* const host : {"h1", "h2"}) (void)lab->run("on", std::string(host) + " umount " + path_);
    std::filesystem::remove_all(path_);
  }
  DirectoryOfItsOwn(const DirectoryOfItsOwn&) = delete;
  DirectoryOfItsOwn& operator=(const DirectoryOfItsOwn&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  /// What is there, hidden files included.
  std::string listed(const std::string& host) const { return lab->run("on", host + " ls -A " + path_).output; }

 private:
  std::string path_;
};

std::string noise(std::size_t size) {
  std::string text(size, ' ');
  std::uint64_t state = 88172645463325252U;
  for (char& c : text) {
    state ^= state << 13U;
    state ^= state >> 7U;
    state ^= state << 17U;
    c = static_cast<char>(state & 0xff);
  }
  return text;
}

void write(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

TEST(BroadcastFile, EveryHostGetsItOnceWithItsPermissions) {
  const DirectoryOfItsOwn directory;
  const SshWorkers four({{"h1", 2}, {"h2", 2}});
  const std::string path = directory / "data", contents = noise(9'000'001);  // parts and a bit
  write(path, contents);
  ::chmod(path.c_str(), 0640);
  const auto before = [&](Pid pid) {
    for (const debug::LinkInfo& link : debug::links(1))
      if (link.peer == pid) return link.bytes_sent;
    return std::uint64_t{0};
  };
  std::uint64_t sent = 0;
  for (const Pid pid : four.pids()) sent -= before(pid);
  broadcast_file(path, four.pids());
  for (const Pid pid : four.pids()) sent += before(pid);
  EXPECT_GE(sent, 2 * contents.size());
  EXPECT_LT(sent, 2 * contents.size() + 1'000'000) << "once per host, not once per worker";
  const auto mode_of = [](const std::string& name) {
    struct stat found{};
    return ::stat(name.c_str(), &found) == 0 ? static_cast<int>(found.st_mode & 0777U) : -1;
  };
  for (const Pid pid : four.pids()) {
    EXPECT_TRUE(remotecall_fetch(&text_of, pid, path) == contents) << "on " << pid;
    EXPECT_EQ(remotecall_fetch(mode_of, pid, path), 0640);
  }
  for (const char* const host : {"h1", "h2"}) EXPECT_EQ(directory.listed(host), "data\n");

  sent = 0;
  for (const Pid pid : four.pids()) sent -= before(pid);
  broadcast_file(path);
  for (const Pid pid : four.pids()) sent += before(pid);
  EXPECT_LT(sent, 100'000U) << "they have it already";

  write(path, contents.substr(1) + "x");  // as long as before
  broadcast_file(path);
  for (const Pid pid : four.pids()) EXPECT_TRUE(remotecall_fetch(&text_of, pid, path) == contents.substr(1) + "x");
}

TEST(BroadcastFile, WhoReadsTheOldOneKeepsIt) {
  const DirectoryOfItsOwn directory;
  const SshWorkers one({"h1"});
  const std::string path = directory / "data";
  write(path, "before");
  broadcast_file(path, one.pids());
  const auto reader = spawnat(
      one[0],
      [](const std::string& name) {
        std::ifstream file(name);
        file.get();
        this_task::sleep_for(500ms);
        return std::string(std::istreambuf_iterator<char>(file), {});
      },
      path);
  write(path, "after");
  broadcast_file(path, one.pids());
  EXPECT_EQ(remotecall_fetch(&text_of, one[0], path), "after");
  EXPECT_EQ(reader.fetch(), "efore");
}

TEST(BroadcastFile, ItMayGetAnotherNameAndComeFromAWorker) {
  const DirectoryOfItsOwn directory;
  const SshWorkers two({"h1", "h2"});
  auto pids = by_host(two.pids());
  const std::string path = directory / "made", target = directory / "taken";
  const auto make = [](const std::string& from, const std::string& to) {
    write(from, "made on a worker");
    broadcast_file(from, procs(), {.target = to});
  };
  remotecall_fetch(make, pids["h1"], path, target);
  for (const Pid pid : procs()) EXPECT_EQ(remotecall_fetch(&text_of, pid, target), "made on a worker") << pid;
  write(path, "");
  broadcast_file(path, two.pids());
  EXPECT_EQ(
      remotecall_fetch([](const std::string& name) { return std::filesystem::file_size(name); }, pids["h2"], path), 0U);
}

TEST(BroadcastFile, WhatFailsOnOneHostIsToldAndTheOtherHasIt) {
  const DirectoryOfItsOwn directory;
  const SshWorkers two({"h1", "h2"});
  auto pids = by_host(two.pids());
  const std::string path = directory / "data";
  write(path, noise(12'000'000));
  ASSERT_EQ(lab->run("on", "h2 dd if=/dev/zero bs=1M count=16 status=none of=" + (directory / "other")).status, 0);
  const auto full = thrown<CompositeException>([&] { broadcast_file(path); });
  ASSERT_TRUE(full);
  EXPECT_EQ(full->exceptions().size(), 1U);
  EXPECT_THAT(full->what(), AllOf(HasSubstr("On host h2"), HasSubstr("No space left"), HasSubstr("12000000 bytes")));
  EXPECT_TRUE(remotecall_fetch(&text_of, pids["h1"], path) == text_of(path));
  EXPECT_TRUE(eventually([&] { return directory.listed("h2") == "other\n"; })) << directory.listed("h2");

  const auto nowhere =
      thrown<CompositeException>([&] { broadcast_file(path, two.pids(), {.target = "/no/such/directory/data"}); });
  ASSERT_TRUE(nowhere);
  EXPECT_EQ(nowhere->exceptions().size(), 2U);
  EXPECT_THAT(nowhere->what(), AllOf(HasSubstr("/no/such/directory/data"), HasSubstr("No such file or directory"),
                                     HasSubstr("Make its directory there first")));
  EXPECT_THROW(broadcast_file(path, two.pids(), {.target = "/tmp"}), CompositeException);
  EXPECT_THROW(broadcast_file(directory / "none"), Error);
  EXPECT_THROW(broadcast_file("/tmp"), Error);
  EXPECT_THROW(broadcast_file(path, {99'999}), std::invalid_argument);
}

TEST(BroadcastFile, AHostThatDiesMeanwhileIsToldAndTheOtherHasIt) {
  const DirectoryOfItsOwn directory;
  const SshWorkers two({"h1", "h2"});
  auto pids = by_host(two.pids());
  const std::string path = directory / "data";
  write(path, noise(12'000'000));
  remote_do([] { ::_exit(3); }, pids["h2"]);
  EXPECT_THROW(broadcast_file(path, two.pids()), Error);
  (void)eventually([&] { return procs().size() == 2; });
  broadcast_file(path);
  EXPECT_TRUE(remotecall_fetch(&text_of, pids["h1"], path) == text_of(path));
}

}  // namespace
}  // namespace muster::test
