#include "runtime/base/fork_server.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <system_error>

namespace muster::runtime {

namespace {

/// For a program to be loaded, and for a fork.
constexpr std::chrono::milliseconds patience{10'000};

/// @returns whether so many bytes came in time
bool read_all(int fd, void* bytes, std::size_t size) {
  auto* at = static_cast<char*>(bytes);
  while (size > 0) {
    pollfd readable{fd, POLLIN, 0};
    const int ready = ::poll(&readable, 1, static_cast<int>(patience.count()));
    if (ready < 0 && errno == EINTR) continue;
    const ssize_t got = ready > 0 ? ::read(fd, at, size) : -1;
    if (got < 0 && ready > 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

/// A byte, and descriptors with it. @returns whether they were sent
bool send_descriptors(int socket, const std::array<int, 3>& descriptors) {
  char byte = 1;
  iovec content{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof descriptors)> control{};
  msghdr message{};
  message.msg_iov = &content;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof descriptors);
  std::memcpy(CMSG_DATA(header), descriptors.data(), sizeof descriptors);
  ssize_t sent;
  do sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == 1;
}

void end(const ChildProcess& server) {
  ::kill(server.os_pid, SIGKILL);  // our child, not reaped: the number is still its own
  while (::waitpid(server.os_pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

ForkServer::ForkServer(SpawnRequest request, ChildProcess server)
    : request_(std::move(request)), server_(std::move(server)) {}

ForkServer::~ForkServer() { end(server_); }

std::unique_ptr<ForkServer> ForkServer::start(SpawnRequest request) {
  request.socket_as_input = true;
  ChildProcess server;
  try {
    server = spawn_process(request);
  } catch (const std::system_error&) {
    return nullptr;
  }
  request.socket_as_input = false;
  // It has nothing to print. What prints all the same (a preloaded library) ends it, and each worker prints for itself.
  server.standard_output.reset();
  server.standard_error.reset();
  const int socket = server.standard_input.get();
  char answer = fork_server_unable;
  const ssize_t sent = ::send(socket, fork_server_greeting.data(), fork_server_greeting.size(), MSG_NOSIGNAL);
  const bool able = sent == static_cast<ssize_t>(fork_server_greeting.size()) && read_all(socket, &answer, 1) &&
                    answer == fork_server_ready;
  if (able) return std::unique_ptr<ForkServer>(new ForkServer(std::move(request), std::move(server)));
  end(server);
  return nullptr;
}

std::optional<ChildProcess> ForkServer::spawn() {
  ChildStreams streams;
  ChildProcess child = make_streams(request_, streams);
  const int socket = server_.standard_input.get();
  std::int32_t answer = 0;
  if (!send_descriptors(socket, {streams.input.get(), streams.output.get(), streams.error.get()}) ||
      !read_all(socket, &answer, sizeof answer))
    return std::nullopt;
  if (answer < 0) fail_to_start(-answer, request_);
  child.os_pid = answer;
  return child;
}

}  // namespace muster::runtime
