/// @file
/// For managers whose workers connect to the master by themselves: counts them in, and hands them their secret.
#pragma once

#include "runtime/base/unique_fd.hpp"

#include <muster/cluster_manager.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace muster::runtime {

/// `~/.cache/muster` or `$XDG_CACHE_HOME/muster`, which is made where it is not there.
std::string cache_directory();

/// A start record in a file that its user alone can read; removed with this. What a killed process left is removed by
/// the next that makes one there, unless it had a name of its own.
class SecretFile {
 public:
  /// @param path empty: a new file in `directory`, or, where that is empty too, in the user's cache directory
  /// @throws Error saying what to do
  SecretFile(std::string path, const std::string& directory, const std::string& record);
  ~SecretFile();
  SecretFile(const SecretFile&) = delete;
  SecretFile& operator=(const SecretFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  UniqueFd file_;  ///< open and locked: its maker lives
};

/// Takes in whoever calls, as long as it lives.
class Gathering {
 public:
  /// Adds what the manager knows of that one. On a thread of muster's.
  using Describe = std::function<void(const Caller& caller, WorkerConfig& config)>;

  /// @throws as LaunchContext::invite
  Gathering(LaunchContext& context, InviteOptions options, Describe describe = {});
  ~Gathering();
  Gathering(const Gathering&) = delete;
  Gathering& operator=(const Gathering&) = delete;

  const Invitation& invitation() const { return *invitation_; }
  /// Waits until that many have called, somebody asks to stop, or `look`, asked at each interval, says why no more
  /// will.
  /// @returns why the others will not come; empty where all came
  std::string wait_for(int count, const std::stop_token& stop, std::chrono::nanoseconds interval,
                       const std::function<std::string()>& look);
  int came() const;

 private:
  struct Count;
  std::shared_ptr<Count> count_;
  std::unique_ptr<Invitation> invitation_;
};

}  // namespace muster::runtime
