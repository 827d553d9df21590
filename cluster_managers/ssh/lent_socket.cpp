#include "cluster_managers/ssh/lent_socket.hpp"

#include <muster/errors.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace muster::runtime::ssh {

LentSocket::LentSocket(UniqueFd socket) : own_(std::move(socket)), lent_(::fcntl(own_.get(), F_DUPFD_CLOEXEC, 0)) {
  if (lent_ < 0) throw Error(std::string("no descriptor for its connection: ") + std::strerror(errno));
}

LentSocket::~LentSocket() {
  struct stat own{}, there{};
  const bool still_it = ::fstat(own_.get(), &own) == 0 && ::fstat(lent_, &there) == 0 && own.st_dev == there.st_dev &&
                        own.st_ino == there.st_ino;
  if (still_it) ::close(lent_);
}

void LentSocket::shut() const noexcept { (void)::shutdown(own_.get(), SHUT_RDWR); }

}  // namespace muster::runtime::ssh
