#include "runtime/cluster/gathering.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <optional>

namespace muster::runtime {
namespace {

namespace fs = std::filesystem;

class SecretFiles : public ::testing::Test {
 protected:
  SecretFiles() { fs::create_directory(directory_); }
  ~SecretFiles() override { fs::remove_all(directory_); }

  int count() const {
    const fs::directory_iterator files(directory_);
    return static_cast<int>(std::distance(begin(files), end(files)));
  }

  const std::string directory_ = ::testing::TempDir() + "secrets-" + std::to_string(::getpid());
};

TEST_F(SecretFiles, AreForTheirUserOnlyAndGoWithTheirMaker) {
  std::optional<SecretFile> file(std::in_place, "", directory_, "record");
  struct stat facts = {};
  ASSERT_EQ(::stat(file->path().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777U, 0600U);
  EXPECT_EQ(facts.st_size, 7);
  file.reset();
  EXPECT_EQ(count(), 0);
}

TEST_F(SecretFiles, OfAKilledProcessAreRemovedByTheNextAndNoLivingOnes) {
  const pid_t child = ::fork();
  if (child == 0) {
    const SecretFile file("", directory_, "of one that is killed");
    ::kill(::getpid(), SIGKILL);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(count(), 1);
  const SecretFile one("", directory_, "of one that lives"), other("", directory_, "of another");
  EXPECT_EQ(count(), 2);
  EXPECT_TRUE(fs::exists(one.path()));
  EXPECT_TRUE(fs::exists(other.path()));
}

TEST_F(SecretFiles, OthersFilesStay) {
  const std::string others = directory_ + "/join-elsewhere-abc", named = directory_ + "/named";
  std::optional<SecretFile> file(std::in_place, others, "", "record");
  file.reset();
  EXPECT_EQ(count(), 0);
  const SecretFile elsewhere(others, "", "of another host"), with_name(named, "", "record"), own("", directory_, "own");
  EXPECT_EQ(count(), 3);
}

}  // namespace
}  // namespace muster::runtime
