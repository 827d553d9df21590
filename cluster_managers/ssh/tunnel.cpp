#include "cluster_managers/ssh/tunnel.hpp"

#include "runtime/base/log.hpp"

#include <muster/errors.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace muster::runtime::ssh {

namespace {

/// No more than this is read ahead of the other side.
constexpr std::size_t most_pending = std::size_t{256} * 1024;
constexpr std::size_t piece = 32768;

}  // namespace

Tunnel::Tunnel(SshConnection& connection, std::string address, int port)
    : connection_(connection), address_(std::move(address)), port_(port) {}

int Tunnel::listen() {
  listener_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof here;
  auto* const any = reinterpret_cast<sockaddr*>(&here);
  if (::bind(listener_.get(), any, size) != 0 || ::listen(listener_.get(), 8) != 0 ||
      ::getsockname(listener_.get(), any, &size) != 0)
    throw Error(std::string("no port for its tunnel: ") + std::strerror(errno));
  return ntohs(here.sin_port);
}

bool Tunnel::pump() {
  bool moved = accept_one();
  for (Stream& stream : streams_) moved = pump(stream) || moved;
  streams_.remove_if([](const Stream& stream) { return stream.over; });
  return moved;
}

bool Tunnel::accept_one() {
  if (!listener_) return false;
  UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) return false;
  const int yes = 1;
  (void)::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (!carry(std::move(socket))) {
    log::warning("No tunnel through " + connection_.name() + ": " + connection_.last_error() +
                 " (does its SSH server allow forwarding?)");
  }
  return true;
}

bool Tunnel::carry(UniqueFd socket) {
  ssh_session const session = connection_.session();
  ssh_set_blocking(session, 1);
  Channel channel(ssh_channel_new(session));
  const bool opened =
      channel && ssh_channel_open_forward(channel.get(), address_.c_str(), port_, "127.0.0.1", 0) == SSH_OK;
  ssh_set_blocking(session, 0);
  if (opened) streams_.push_back({std::move(socket), std::move(channel)});
  return opened;
}

bool Tunnel::pump(Stream& stream) {
  bool moved = read_socket(stream);
  moved = write_channel(stream) || moved;
  moved = read_channel(stream) || moved;
  moved = write_socket(stream) || moved;
  const bool delivered = stream.channel_ended && stream.to_socket.empty();
  if (delivered) (void)::shutdown(stream.socket.get(), SHUT_WR);
  // When the other side has gone, nobody is there to send to.
  if (delivered && (stream.socket_ended || ssh_channel_is_closed(stream.channel.get()) != 0)) stream.over = true;
  return moved || stream.over;
}

bool Tunnel::read_socket(Stream& stream) {
  if (stream.socket_ended || stream.to_channel.size() >= most_pending) return false;
  std::array<char, piece> part{};
  const auto got = ::read(stream.socket.get(), part.data(), part.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got > 0)
    stream.to_channel.append(part.data(), static_cast<std::size_t>(got));
  else
    stream.socket_ended = true;
  return true;
}

bool Tunnel::write_channel(Stream& stream) {
  ssh_channel const channel = stream.channel.get();
  if (stream.to_channel.empty()) {
    if (!stream.socket_ended || std::exchange(stream.channel_told, true)) return false;
    (void)ssh_channel_send_eof(channel);
    return true;
  }
  const std::size_t size = std::min({stream.to_channel.size(), piece, std::size_t{ssh_channel_window_size(channel)}});
  if (size == 0) return false;
  const int written = ssh_channel_write(channel, stream.to_channel.data(), static_cast<std::uint32_t>(size));
  if (written == SSH_ERROR) stream.over = true;
  if (written <= 0) return written == SSH_ERROR;
  stream.to_channel.erase(0, static_cast<std::size_t>(written));
  return true;
}

bool Tunnel::read_channel(Stream& stream) {
  if (stream.channel_ended || stream.to_socket.size() >= most_pending) return false;
  std::array<char, piece> part{};
  const int got = ssh_channel_read_nonblocking(stream.channel.get(), part.data(), part.size(), 0);
  if (got > 0) {
    stream.to_socket.append(part.data(), static_cast<std::size_t>(got));
    return true;
  }
  if (got != SSH_ERROR && ssh_channel_is_eof(stream.channel.get()) == 0 &&
      ssh_channel_is_closed(stream.channel.get()) == 0)
    return false;
  stream.channel_ended = true;
  return true;
}

bool Tunnel::write_socket(Stream& stream) {
  if (stream.to_socket.empty()) return false;
  const auto written = ::send(stream.socket.get(), stream.to_socket.data(), stream.to_socket.size(), MSG_NOSIGNAL);
  if (written < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (written < 0)
    stream.over = true;
  else
    stream.to_socket.erase(0, static_cast<std::size_t>(written));
  return true;
}

void Tunnel::watch(std::vector<pollfd>& watched) const {
  if (listener_) watched.push_back({listener_.get(), POLLIN, 0});
  for (const Stream& stream : streams_) {
    const bool reads = !stream.socket_ended && stream.to_channel.size() < most_pending;
    const int events = (reads ? POLLIN : 0) | (stream.to_socket.empty() ? 0 : POLLOUT);
    if (events != 0) watched.push_back({stream.socket.get(), static_cast<short>(events), 0});
  }
}

bool Tunnel::close() {
  listener_.reset();
  return streams_.empty();
}

}  // namespace muster::runtime::ssh
