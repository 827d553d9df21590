/// @file
/// What the leader of a group of workers says (runtime/base/worker_group.hpp), as it comes from its host.
#pragma once

#include "cluster_managers/ssh/remote_worker.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace muster::runtime::ssh {

/// Gives each worker what is its. A host's thread drives it.
class GroupOutput {
 public:
  using Workers = std::vector<std::shared_ptr<RemoteWorker>>;

  /// @param workers as their start records came
  explicit GroupOutput(Workers workers) : workers_(std::move(workers)) {}
  /// The next part. What comes before the greeting may have been said by a login shell, or tell why there is no leader:
  /// each worker printed it.
  /// @throws Error where it is nothing that leaders say
  void take(std::string_view text);
  /// It was the last part.
  void end();

 private:
  std::size_t take_line(std::string_view text, bool is_last);
  std::size_t take_frame(std::string_view text);

  const Workers workers_;
  bool greeted_ = false;
  std::string part_;  ///< of a line or a frame
};

}  // namespace muster::runtime::ssh
