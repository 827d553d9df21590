#include "cluster_managers/ssh/dial.hpp"

#include "runtime/base/address.hpp"

#include <muster/errors.hpp>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <system_error>

namespace muster::runtime::ssh {

namespace {

using Clock = std::chrono::steady_clock;
using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Addresses addresses_of(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); error != 0)
    throw Error("there is no host \"" + host + "\" (" + gai_strerror(error) + ")");
  return {found, freeaddrinfo};
}

/// Waits until it is connected. @returns 0, or errno of what went wrong; ETIMEDOUT; ECANCELED
int wait_until_connected(int fd, int stopped, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    std::array<pollfd, 2> watched{{{fd, POLLOUT, 0}, {stopped, POLLIN, 0}}};
    const int ready =
        left <= 0 ? 0
                  : ::poll(watched.data(), watched.size(), static_cast<int>(std::min<std::int64_t>(left, 1'000'000)));
    if (ready == 0 && left <= 1'000'000) return ETIMEDOUT;
    if (ready < 0 && errno != EINTR) return errno;
    if (ready > 0 && watched[1].revents != 0) return ECANCELED;
    if (ready > 0) break;
  }
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

void set_options(int fd) {
  const int yes = 1;
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);  // else opening a channel takes 40 ms
  (void)::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);  // workers may print nothing for days
}

}  // namespace

UniqueFd dial(const std::string& host, int port, Clock::time_point deadline, const std::stop_token& stop) {
  const Addresses addresses = addresses_of(host, port);
  const UniqueFd stopped(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const std::stop_callback on_stop(stop, [&stopped] {
    const std::uint64_t one = 1;
    (void)!::write(stopped.get(), &one, sizeof one);
  });
  int error = 0;
  for (const addrinfo* each = addresses.get(); each != nullptr; each = each->ai_next) {
    UniqueFd fd(::socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, each->ai_protocol));
    if (!fd) {
      error = errno;
      continue;
    }
    set_options(fd.get());
    error = ::connect(fd.get(), each->ai_addr, each->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) error = wait_until_connected(fd.get(), stopped.get(), deadline);
    if (error == 0) return fd;
    if (error == ECANCELED || Clock::now() >= deadline) break;
  }
  throw Error("nobody answers at " + endpoint_of(host, port) + " (" + std::generic_category().message(error) +
              "). See that the host runs, that its SSH server listens there, and that no firewall is in between.");
}

}  // namespace muster::runtime::ssh
