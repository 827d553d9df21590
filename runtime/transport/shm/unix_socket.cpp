#include "runtime/transport/shm/unix_socket.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace muster::runtime {

namespace {

constexpr std::size_t most_descriptors = 16;
constexpr std::size_t longest_packet = 64;
constexpr int most_waiting = 4096;  ///< very many workers connect at once

struct Address {
  sockaddr_un socket{};
  socklen_t size = 0;
};

/// A name that starts with a zero byte is not one of a file.
Address abstract(const std::string& name) {
  Address address;
  address.socket.sun_family = AF_UNIX;
  const std::size_t length = std::min(name.size(), sizeof address.socket.sun_path - 1);
  std::memcpy(address.socket.sun_path + 1, name.data(), length);
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  return address;
}

UniqueFd make_socket() { return UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

template <class F>
auto uninterrupted(F f) {
  for (;;)
    if (const auto result = f(); result >= 0 || errno != EINTR) return result;
}

}  // namespace

UniqueFd listen_at(const std::string& name) {
  UniqueFd socket = make_socket();
  const Address address = abstract(name);
  if (!socket || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address.socket), address.size) != 0 ||
      ::listen(socket.get(), most_waiting) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot listen at the Unix socket @" + name);
  return socket;
}

UniqueFd connect_to(const std::string& name) {
  UniqueFd socket = make_socket();
  const Address address = abstract(name);
  const auto connect = [&] {
    return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address.socket), address.size);
  };
  if (!socket || uninterrupted(connect) != 0) return {};
  return socket;
}

UniqueFd accept_from(const UniqueFd& listener) {
  return UniqueFd(
      uninterrupted([&] { return ::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); }));
}

bool is_same_user(const UniqueFd& socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == ::geteuid();
}

bool send_packet(const UniqueFd& socket, std::span<const std::byte> bytes, std::span<const int> descriptors) {
  iovec contents{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &contents;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(most_descriptors * sizeof(int))> control{};
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(head), descriptors.data(), descriptors.size_bytes());
  }
  const auto sent = uninterrupted([&] { return ::sendmsg(socket.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT); });
  return sent == static_cast<ssize_t>(bytes.size());
}

Arrival receive_packet(const UniqueFd& socket, Packet& packet) {
  packet = {};
  packet.bytes.resize(longest_packet);
  iovec contents{packet.bytes.data(), packet.bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(most_descriptors * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &contents;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const auto received =
      uninterrupted([&] { return ::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT); });
  if (received < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? Arrival::nothing : Arrival::end;
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    std::array<int, most_descriptors> passed{};
    const std::size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::memcpy(passed.data(), CMSG_DATA(head), count * sizeof(int));
    for (std::size_t i = 0; i < count; ++i) packet.descriptors.emplace_back(passed[i]);
  }
  packet.bytes.resize(static_cast<std::size_t>(received));
  if (received == 0 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return Arrival::end;
  return Arrival::packet;
}

}  // namespace muster::runtime
