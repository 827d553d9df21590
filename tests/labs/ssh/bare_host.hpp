/// @file
/// A host that shares nothing with this one.
#pragma once

#include "ssh_workers.hpp"

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <set>
#include <string>

namespace muster::test {

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
  /// The command that runs that one there.
  std::string command(const std::string& there) const {
    return std::string(MUSTER_SSH_LAB) + " on " + directory() + " h2 " + there;
  }
  const std::string& directory() const { return lab_->directory(); }
  std::string subnet() const { return lab_->network("subnet"); }
  std::filesystem::path cache() const { return lab_->directory() + "/cache_h2/muster"; }

 private:
  std::unique_ptr<SshLab> lab_;
};

}  // namespace muster::test
