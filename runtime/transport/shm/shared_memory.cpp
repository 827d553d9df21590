#include "runtime/transport/shm/shared_memory.hpp"

#include <muster/detail/payload.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace muster::runtime {

namespace {

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

/// Large memory is mapped at once: one fault for each of its pages would cost more than filling it.
constexpr std::size_t mapped_at_once = std::size_t{1} << 20;

// Since Linux 5.14.
#ifndef MADV_POPULATE_READ
constexpr int MADV_POPULATE_READ = 22;
constexpr int MADV_POPULATE_WRITE = 23;
#endif

/// Gives memory its pages, huge ones where shared memory may have them. Says where there are none left, rather than end
/// the process by SIGBUS when it writes there. Before Linux 5.14 they come one by one.
void take_pages(std::byte* memory, std::size_t size, int protection) {
  if (size >= detail::huge_from) detail::prefer_huge_pages(memory, size);
  const int advice = (protection & PROT_WRITE) != 0 ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  while (::madvise(memory, size, advice) != 0) {
    if (errno == EINVAL || errno == ENOSYS) return;
    if (errno != EINTR && errno != EAGAIN) fail("there is no shared memory left");
  }
}

}  // namespace

SharedMemory::SharedMemory(int fd, std::size_t size, int protection) {
  void* const memory = ::mmap(nullptr, size, protection, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) fail("shared memory can't be mapped");
  SharedMemory mapping;  // unmapped where its pages can't be had
  mapping.data_ = static_cast<std::byte*>(memory);
  mapping.size_ = size;
  if (size >= mapped_at_once) take_pages(mapping.data_, size, protection);
  *this = std::move(mapping);
}

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) (void)::munmap(data_, size_);
}

SharedMemory SharedMemory::create(std::size_t size, UniqueFd& fd) {
  UniqueFd made(::memfd_create("muster", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!made) fail("memfd_create");
  if (::ftruncate(made.get(), static_cast<off_t>(size)) != 0) fail("shared memory can't be had");
  if (::fcntl(made.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    fail("shared memory can't be sealed");
  SharedMemory memory(made.get(), size, PROT_READ | PROT_WRITE);
  fd = std::move(made);
  return memory;
}

SharedMemory SharedMemory::map(const UniqueFd& fd, std::size_t size, Access access) {
  struct stat status = {};
  if (::fstat(fd.get(), &status) != 0) fail("shared memory can't be looked at");
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || static_cast<std::size_t>(status.st_size) != size)
    throw std::runtime_error("it passed memory of another size, or that could be made shorter");
  return {fd.get(), size, access == Access::write ? PROT_READ | PROT_WRITE : PROT_READ};
}

}  // namespace muster::runtime
