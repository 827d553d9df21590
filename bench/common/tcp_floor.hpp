/// @file
/// The raw TCP floor: one blocking socket to a child process over the loopback interface.
#pragma once

#include "child.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace bench {

/// A TCP socket. Move-only; every call throws std::system_error when it fails.
class TcpSocket {
 public:
  TcpSocket() : TcpSocket(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  TcpSocket(TcpSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  TcpSocket& operator=(TcpSocket&&) = delete;
  ~TcpSocket() {
    if (fd_ >= 0) close(fd_);
  }

  /// Listens on a free port of 127.0.0.1 and returns that port.
  std::uint16_t listen_anywhere() {
    sockaddr_in address = loopback(0);
    check(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
    check(listen(fd_, 1), "listen");
    socklen_t length = sizeof address;
    check(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
    return ntohs(address.sin_port);
  }
  /// The next connection to this listening socket.
  TcpSocket accept_one() { return TcpSocket(accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)); }
  /// Connects to a port of 127.0.0.1.
  void connect_to(std::uint16_t port) {
    const sockaddr_in address = loopback(port);
    check(connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), "connect");
  }
  /// Small writes go out at once.
  void no_delay() {
    const int on = 1;
    check(setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
  }
  /// Writes all bytes.
  void write_all(const std::vector<char>& bytes) {
    for (std::size_t done = 0; done < bytes.size();) {
      done += advanced(::send(fd_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL));
    }
  }
  /// Fills all bytes. Throws when the other side has closed.
  void read_all(std::vector<char>& bytes) {
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t count = recv(fd_, bytes.data() + done, bytes.size() - done, 0);
      if (count == 0) throw std::system_error(ECONNRESET, std::generic_category(), "the raw TCP floor's other side");
      done += advanced(count);
    }
  }

 private:
  explicit TcpSocket(int fd) : fd_(fd) { check(fd, "socket"); }

  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  static void check(int result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  }
  static std::size_t advanced(ssize_t count) {
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EINTR) return 0;
    throw std::system_error(errno, std::generic_category(), "the raw TCP floor's socket");
  }

  int fd_;
};

/// The raw TCP floor's side in this process.
class TcpFloor {
 public:
  /// Starts the child and connects. Each ping-pong is of these sizes.
  TcpFloor(std::size_t request_bytes, std::size_t reply_bytes)
      : port_(listener_.listen_anywhere()),
        child_({"tcp", std::to_string(port_), std::to_string(request_bytes), std::to_string(reply_bytes)}),
        connection_(listener_.accept_one()),
        request_(request_bytes),
        reply_(reply_bytes) {
    connection_.no_delay();
  }

  /// One request and its reply.
  void ping_pong() {
    connection_.write_all(request_);
    connection_.read_all(reply_);
  }

 private:
  TcpSocket listener_;
  std::uint16_t port_;
  Child child_;
  TcpSocket connection_;
  std::vector<char> request_;
  std::vector<char> reply_;
};

/// The child: answers until it is killed. `arguments` are port, request and reply bytes.
inline void serve_tcp_floor(const std::vector<std::string>& arguments) {
  TcpSocket connection;
  connection.connect_to(static_cast<std::uint16_t>(std::stoul(arguments.at(0))));
  connection.no_delay();
  std::vector<char> request(std::stoul(arguments.at(1)));
  std::vector<char> reply(std::stoul(arguments.at(2)));
  for (;;) {
    connection.read_all(request);
    connection.write_all(reply);
  }
}

}  // namespace bench
