/// @file
/// An owned file descriptor.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace muster::runtime {

/// Owns a file descriptor and closes it. Not thread-safe, as any value.
class UniqueFd {
 public:
  UniqueFd() = default;
  /// Takes over `fd`; a negative one is none.
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~UniqueFd() { reset(); }

  /// The descriptor, still owned; negative when there is none.
  int get() const noexcept { return fd_; }
  /// Whether there is one.
  explicit operator bool() const noexcept { return fd_ >= 0; }
  /// Gives it to the caller.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  /// Closes the descriptor and takes over another. `errno` stays as it was, so that it may stand between a failure and
  /// its report.
  void reset(int fd = -1) noexcept {
    const int before = std::exchange(fd_, fd);
    if (before < 0) return;
    const int error = errno;
    ::close(before);  // on Linux the descriptor is gone even when close reports EINTR: never again
    errno = error;
  }

 private:
  int fd_ = -1;
};

}  // namespace muster::runtime
