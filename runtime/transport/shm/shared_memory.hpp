/// @file
/// Memory that two processes of one host share. It has no name, so nothing of it is left when both are gone, however
/// they ended; and whoever maps it knows that the other can't make it shorter, which would end this process by SIGBUS.
#pragma once

#include "runtime/base/unique_fd.hpp"

#include <cstddef>
#include <utility>

namespace muster::runtime {

/// A mapping, unmapped at its end.
class SharedMemory {
 public:
  enum class Access : bool { read, write };

  SharedMemory() = default;
  SharedMemory(SharedMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  SharedMemory& operator=(SharedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~SharedMemory();

  /// Makes new memory, all zero, for reading and writing here.
  /// @param size bytes, a multiple of a page
  /// @param fd the descriptor to pass to the other process
  /// @throws std::system_error, also when large memory is more than there is left
  static SharedMemory create(std::size_t size, UniqueFd& fd);
  /// Maps what another process made and passed.
  /// @throws std::runtime_error when it does not have that size, or could be made shorter; std::system_error
  static SharedMemory map(const UniqueFd& fd, std::size_t size, Access access);

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  SharedMemory(int fd, std::size_t size, int protection);

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace muster::runtime
