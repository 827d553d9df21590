#include "repl/front_end/frames.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace muster::repl {

namespace {

constexpr std::uint64_t longest = std::uint64_t{1} << 32;  // no input or answer comes near

void append(std::string& bytes, std::uint64_t number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
}

bool read_all(int fd, void* target, std::size_t size) {
  auto* at = static_cast<char*>(target);
  while (size > 0) {
    const ssize_t count = ::read(fd, at, size);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    at += count;
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

}  // namespace

bool send_frame(int fd, const Frame& frame) {
  std::string bytes;
  append(bytes, frame.size());
  for (const std::string& text : frame) {
    append(bytes, text.size());
    bytes += text;
  }
  for (std::size_t sent = 0; sent < bytes.size();) {
    ssize_t count = ::send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno == ENOTSOCK) count = ::write(fd, bytes.data() + sent, bytes.size() - sent);  // a pipe
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    sent += static_cast<std::size_t>(count);
  }
  return true;
}

std::optional<Frame> receive_frame(int fd) {
  std::uint64_t count = 0;
  if (!read_all(fd, &count, sizeof count) || count > longest) return std::nullopt;
  Frame frame;
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t size = 0;
    if (!read_all(fd, &size, sizeof size) || size > longest) return std::nullopt;
    std::string& text = frame.emplace_back();
    text.resize(size);
    if (!read_all(fd, text.data(), size)) return std::nullopt;
  }
  return frame;
}

}  // namespace muster::repl
