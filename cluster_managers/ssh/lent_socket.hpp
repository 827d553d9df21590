/// @file
/// A socket that libssh uses.
#pragma once

#include "runtime/base/unique_fd.hpp"

namespace muster::runtime::ssh {

/// libssh closes the descriptor that it was given where the connection breaks, and else leaves it open: so it has one
/// of its own, which is closed here where it is still that socket. Its number may be another file's by then. Threads:
/// shut() from any.
class LentSocket {
 public:
  /// @throws Error where no descriptor is left
  explicit LentSocket(UniqueFd socket);
  /// To be destroyed behind the session that uses it.
  ~LentSocket();
  LentSocket(const LentSocket&) = delete;
  LentSocket& operator=(const LentSocket&) = delete;

  /// The descriptor for libssh.
  int lent() const { return lent_; }
  /// Nothing is sent or received any more; who waits for it is told.
  void shut() const noexcept;

 private:
  UniqueFd own_;
  int lent_ = -1;
};

}  // namespace muster::runtime::ssh
