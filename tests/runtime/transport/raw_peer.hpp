/// @file
/// A ZeroMQ peer by hand, over a plain TCP socket: it can say what no library would.
#pragma once

#include "runtime/base/unique_fd.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace muster::runtime {

class RawPeer {
 public:
  explicit RawPeer(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("cannot connect");
  }
  /// ZMTP 3.0: greeting with mechanism NULL, then READY as a ROUTER of that name.
  void shake_hands(const std::string& name) {
    std::string greeting("\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL", 16);
    greeting.resize(64);
    const auto property = [](const std::string& key, const std::string& value) {
      std::string text(1, static_cast<char>(key.size()));
      text += key + std::string(3, '\0') + static_cast<char>(value.size()) + value;
      return text;
    };
    const std::string ready = std::string("\x05READY") + property("Socket-Type", "ROUTER") + property("Identity", name);
    send(greeting + '\x04' + static_cast<char>(ready.size()) + ready);
    (void)receive(64);
    const std::string head = receive(2);
    (void)receive(static_cast<unsigned char>(head[1]));
  }
  /// One frame of a message.
  void frame(const std::string& bytes, bool more = false) {
    const char flag = more ? 1 : 0;
    if (bytes.size() < 256) {
      send(std::string(1, flag) + static_cast<char>(bytes.size()) + bytes);
    } else {
      send(long_head(flag, bytes.size()) + bytes);
    }
  }
  static std::string long_head(char flag, std::uint64_t size) {
    std::string head(1, static_cast<char>(flag | 2));
    for (int shift = 56; shift >= 0; shift -= 8)
      head += static_cast<char>(size >> static_cast<unsigned>(shift) & 0xffU);
    return head;
  }
  /// Any bytes. A connection that was closed takes them too.
  void send(const std::string& bytes) {
    for (std::size_t sent = 0; sent < bytes.size();) {
      const auto n = ::send(fd_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<std::size_t>(n);
    }
  }
  std::string receive(std::size_t size) {
    std::string bytes(size, '\0');
    for (std::size_t got = 0; got < size;) {
      const auto n = ::recv(fd_.get(), bytes.data() + got, size - got, 0);
      if (n <= 0) throw std::runtime_error("the connection was closed");
      got += static_cast<std::size_t>(n);
    }
    return bytes;
  }
  /// Whether the other side ended the connection, looking for that long.
  bool ended(std::chrono::milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (char byte = 0; std::chrono::steady_clock::now() < deadline;) {
      pollfd watched{fd_.get(), POLLIN, 0};
      if (::poll(&watched, 1, 10) > 0 && ::recv(fd_.get(), &byte, 1, 0) <= 0) return true;
    }
    return false;
  }

 private:
  UniqueFd fd_;
};

}  // namespace muster::runtime
