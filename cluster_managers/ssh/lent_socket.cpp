#include "cluster_managers/ssh/lent_socket.hpp"

#include <muster/errors.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

namespace muster::runtime::ssh {

namespace {

/// `socket:[NUMBER]`, which no other socket has. fstat would tell, too, but of a file that may be another thread's.
std::string name_of(int fd) {
  std::error_code none;
  return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), none).string();
}

}  // namespace

LentSocket::LentSocket(UniqueFd socket) : own_(std::move(socket)), lent_(::fcntl(own_.get(), F_DUPFD_CLOEXEC, 0)) {
  if (lent_ < 0) throw Error(std::string("no descriptor for its connection: ") + std::strerror(errno));
}

LentSocket::~LentSocket() {
  if (name_of(lent_) == name_of(own_.get())) ::close(lent_);
}

void LentSocket::shut() const noexcept { (void)::shutdown(own_.get(), SHUT_RDWR); }

}  // namespace muster::runtime::ssh
