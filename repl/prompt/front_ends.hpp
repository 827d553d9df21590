/// @file
/// Which front end a session has, and where its cells go.
#pragma once

#include "repl/front_end/front_end.hpp"
#include "repl/prompt/options.hpp"

#include <memory>
#include <string>
#include <utility>

namespace muster::repl {

/// A lock on a folder, which the kernel takes back from a process that ends in whatever way.
class FolderLock {
 public:
  FolderLock() = default;
  /// @param flags for flock besides LOCK_EX, e.g. LOCK_NB
  FolderLock(const std::string& folder, int flags);
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FolderLock();

  /// The folder; -1 where it could not be locked.
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

/// A folder for the session's cells, gone with it; that of a session which was killed goes when the next one starts.
class CellFolder {
 public:
  /// @throws std::runtime_error where none can be made
  CellFolder();
  ~CellFolder();
  CellFolder(const CellFolder&) = delete;
  CellFolder& operator=(const CellFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
  FolderLock lock_;  ///< says that its session lives
};

/// The front end that the command line asks for; otherwise clang where it is installed, else g++.
/// @param warm see FrontEndOptions
/// @throws std::runtime_error, std::invalid_argument where there is none of that name
std::unique_ptr<FrontEnd> make_front_end(const Options& options, const std::string& folder, bool warm);

}  // namespace muster::repl
