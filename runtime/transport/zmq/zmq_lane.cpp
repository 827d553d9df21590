#include "runtime/transport/zmq/zmq_lane.hpp"

#include "runtime/base/address.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/random.hpp"
#include "runtime/transport/zmq/endpoints.hpp"

#include <muster/errors.hpp>

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace muster::runtime {

namespace {

/// A signal that arrives in the middle is no failure.
template <class F>
auto uninterrupted(F f) {
  for (;;) {
    try {
      return f();
    } catch (const zmq::error_t& error) {
      if (error.num() != EINTR) throw;
    }
  }
}

auto receive_frame(zmq::socket_t& socket, zmq::message_t& frame) {
  return uninterrupted([&] { return socket.recv(frame, zmq::recv_flags::dontwait); });
}

UniqueFd make_eventfd() {
  UniqueFd fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!fd)
    throw Error(std::string("Cannot create an eventfd: ") + std::strerror(errno) +
                ". Raise the limit of open files (ulimit -n).");
  return fd;
}

zmq::context_t make_context() {
  zmq::context_t context(1);
  context.set(zmq::ctxopt::max_sockets, 16);
  return context;
}

void set_options(zmq::socket_t& socket, const std::string& token) {
  socket.set(zmq::sockopt::routing_id, token);
  socket.set(zmq::sockopt::router_mandatory, true);  // else messages to a lost peer vanish without a word
  socket.set(zmq::sockopt::linger, 500);             // a goodbye still leaves; a dead peer does not hold us up for long
  socket.set(zmq::sockopt::sndhwm, 0);               // counted in bytes above, by credit
  socket.set(zmq::sockopt::rcvhwm, 0);
  socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(longest_frame));  // who says more is cut off by libzmq
  socket.set(zmq::sockopt::handshake_ivl, 5000);  // bytes that are no ZeroMQ handshake: gone after 5 s
  socket.set(zmq::sockopt::connect_timeout, 10000);
  // A lost link stays lost, the cluster decides what follows: a day is never, and the lane disconnects it once it was
  // read empty. (-1, which says so, makes libzmq drop what came last and was not read yet.)
  socket.set(zmq::sockopt::reconnect_ivl, 24 * 3600 * 1000);
  socket.set(zmq::sockopt::tcp_keepalive, 1);
  socket.set(zmq::sockopt::backlog, 1024);  // very many workers dial at once
}

void release_owner(void* /*data*/, void* hint) noexcept { delete static_cast<std::shared_ptr<const void>*>(hint); }

UniqueFd duplicate(const UniqueFd& fd) { return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

constexpr const char* no_descriptor = "no file descriptor is left; raise the limit of open files (ulimit -n)";

/// A frame of this part: without a copy where somebody keeps it alive.
zmq::message_t part_frame(const detail::Part& part) {
  if (!part.owner) return {part.data, part.size};
  auto keep = std::make_unique<std::shared_ptr<const void>>(part.owner);
  zmq::message_t frame(const_cast<std::byte*>(part.data), part.size, release_owner, keep.get());
  (void)keep.release();  // NOLINT(bugprone-unused-return-value): release_owner has it now
  return frame;
}

}  // namespace

ZmqLane::ZmqLane(const std::string& address, int port, LinkSecurity security)
    : token_(random_token(32)),
      address_(told_address(address)),
      security_(std::move(security)),
      kick_(make_eventfd()),
      spare_(make_eventfd()),
      context_(make_context()),
      socket_(context_, zmq::socket_type::router),
      monitor_(context_, zmq::socket_type::pair) {
  set_options(socket_, token_);
  if (address.find(':') != std::string::npos) socket_.set(zmq::sockopt::ipv6, true);
  const std::string watched = "inproc://monitor-" + token_;
  if (zmq_socket_monitor(socket_.handle(), watched.c_str(),
                         ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_CLOSED |
                             ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                             ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) != 0)
    throw Error(std::string("Cannot watch a ZeroMQ socket: ") + zmq_strerror(zmq_errno()));
  monitor_.set(zmq::sockopt::linger, 0);
  monitor_.set(zmq::sockopt::rcvhwm, 0);  // else libzmq's I/O thread stands still while nobody reads a thousand events
  monitor_.connect(watched);
  port_ = bind_there(address, port);
  descriptors_ = {socket_.get(zmq::sockopt::fd), monitor_.get(zmq::sockopt::fd), kick_.get()};
}

int ZmqLane::bind_there(const std::string& address, int port) {
  const bool encrypted = security_.applies_to(address);
  socket_.set(zmq::sockopt::curve_server, false);
  if (encrypted) {
    if (!keys_) keys_ = derive_curve_keys(security_.secret);
    if (!guard_) guard_ = std::make_unique<KeyGuard>(context_, keys_->client.public_key);
    secure_next_bind(socket_, *keys_);
  }
  try {
    try {
      socket_.bind("tcp://" + endpoint_of(address, port));
    } catch (const zmq::error_t& error) {
      if (port == 0 || error.num() != EADDRINUSE) throw;
      log::warning(
          "Port " + std::to_string(port) + " of " + address +
          " is in use; another one is taken. Where a firewall lets only that one through, end the program that "
          "has it (ss -ltnp), or name another port.");
      socket_.bind("tcp://" + endpoint_of(address, 0));
    }
  } catch (const zmq::error_t& error) {
    throw Error(
        "Cannot listen on " + address + ":" + std::to_string(port) + ": " + error.what() +
        ". Give an address of this host (SessionOptions::bind_address), and see that files may be opened (ulimit -n).");
  }
  const int bound = port_in(socket_.get(zmq::sockopt::last_endpoint));
  listeners_.push_back({address, bound, encrypted});
  return bound;
}

int ZmqLane::listen(const std::string& address, int port) {
  const std::lock_guard lock(mutex_);
  for (const Listener& each : listeners_)
    if (each.address == address && (port == 0 || port == each.port)) return each.port;
  if (address.find(':') != std::string::npos) socket_.set(zmq::sockopt::ipv6, true);
  const int bound = bind_there(address, port);
  touched();
  return bound;
}

/// Whether who came in there is encrypted. Its port tells: the monitor names the interface's own address.
bool ZmqLane::listens_encrypted_on(const std::string& endpoint) const {
  const int port = port_in(endpoint);
  return std::any_of(listeners_.begin(), listeners_.end(),
                     [port](const Listener& each) { return each.port == port && each.encrypted; });
}

ZmqLane::~ZmqLane() {
  (void)zmq_socket_monitor(socket_.handle(), nullptr, 0);
  monitor_.close();
  socket_.close();
}

std::string ZmqLane::resolve(const std::string& endpoint) {
  try {
    return numeric_endpoint(endpoint, 0);
  } catch (const Error& error) {
    log::warning("Cannot resolve " + endpoint + ": " + error.what());
    return endpoint;
  }
}

LinkId ZmqLane::dial(const std::string& endpoint) {
  std::string name = random_token(24);
  std::string numeric, failure;
  bool encrypted = false;
  try {
    numeric = numeric_endpoint(endpoint, AI_NUMERICHOST);
    encrypted = security_.applies_to(host_in(numeric));
    numeric.insert(0, "tcp://");
    // libzmq would try again in a day.
    if (!duplicate(kick_)) failure = no_descriptor;
  } catch (const Error& error) {
    failure = error.what();
  }
  const std::lock_guard lock(mutex_);
  Peer& peer = peers_[name];
  peer.link = ++last_link_;
  peer.name = std::move(name);
  by_link_[peer.link] = &peer;
  peer.endpoint = numeric;
  peer.encrypted = encrypted;
  if (!failure.empty()) {
    lose(peer, "cannot connect to " + endpoint + ": " + failure);
    return peer.link;
  }
  dialed_[peer.endpoint] = &peer;
  try {
    if (peer.endpoint.find('[') != std::string::npos) socket_.set(zmq::sockopt::ipv6, true);
    if (encrypted && !keys_) keys_ = derive_curve_keys(security_.secret);
    if (keys_) secure_next_connect(socket_, encrypted ? &*keys_ : nullptr);
    // A new name for each connection: the peer would not listen to a second one of a name it knows.
    socket_.set(zmq::sockopt::routing_id, random_token(24));
    socket_.set(zmq::sockopt::connect_routing_id, peer.name);
    uninterrupted([&] { socket_.connect(peer.endpoint); });
    peer.connected = true;
  } catch (const std::exception& error) {
    lose(peer, "cannot connect to " + endpoint + ": " + error.what());
  }
  touched();
  return peer.link;
}

bool ZmqLane::encrypted(LinkId link) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_link_.find(link);
  return found != by_link_.end() && found->second->encrypted;
}

void ZmqLane::send(LinkId link, const Header& header, const detail::Payload& payload) {
  zmq::message_t first(frame_size(payload));
  write_frame(static_cast<std::byte*>(first.data()), header, payload);
  const std::lock_guard lock(mutex_);
  const auto found = by_link_.find(link);
  if (found == by_link_.end() || found->second->closed || found->second->lost) return;
  Peer& peer = *found->second;
  const auto put = [this](zmq::message_t&& frame, bool last) {
    uninterrupted([&] {
      return socket_.send(std::move(frame),
                          last ? zmq::send_flags::dontwait : zmq::send_flags::dontwait | zmq::send_flags::sndmore);
    });
  };
  try {
    put(zmq::message_t(peer.name), false);
    put(std::move(first), payload.parts.empty());
    for (std::size_t i = 0; i < payload.parts.size(); ++i)
      put(part_frame(payload.parts[i]), i + 1 == payload.parts.size());
  } catch (const zmq::error_t& error) {
    lose(peer, std::string("cannot send to it: ") + error.what());
  }
  touched();
}

bool ZmqLane::receive(LaneEvent& event) {
  const std::lock_guard lock(mutex_);
  if (receive_message(event)) return true;
  drained_ = true;
  if (lost_.empty() && look_at_monitor_.exchange(false)) {
    drain_monitor();
    // What a peer sent before it was lost is there by now, and comes first.
    if (!lost_.empty() && receive_message(event)) return true;
  }
  return next_lost(event);
}

bool ZmqLane::receive_message(LaneEvent& event) {
  zmq::message_t routing_id;
  for (;;) {
    if (!receive_frame(socket_, routing_id)) {
      settle_doubts();
      return false;
    }
    event.frames.clear();
    (void)receive_frame(socket_, first_frame_);
    const Peer& peer = peer_of(routing_id, first_frame_);
    event.frames.push_back({static_cast<const std::byte*>(first_frame_.data()), first_frame_.size(), nullptr});
    for (bool more = first_frame_.more(); more;) {
      auto part = std::make_shared<zmq::message_t>();
      (void)receive_frame(socket_, *part);
      more = part->more();
      const auto* data = static_cast<const std::byte*>(part->data());
      const std::size_t size = part->size();
      event.frames.push_back({data, size, std::shared_ptr<const void>(std::move(part), data)});
    }
    if (peer.closed) continue;
    event.kind = LaneEvent::Kind::message;
    event.link = peer.link;
    return true;
  }
}

ZmqLane::Peer& ZmqLane::peer_of(const zmq::message_t& routing_id, zmq::message_t& first) {
  const std::string name(static_cast<const char*>(routing_id.data()), routing_id.size());
  Peer& peer = peers_[name];
  if (peer.link == 0) {
    peer.link = ++last_link_;
    peer.name = name;
    by_link_[peer.link] = &peer;
    claim(peer, zmq_msg_get(first.handle(), ZMQ_SRCFD));
  }
  return peer;
}

void ZmqLane::claim(Peer& peer, int fd) {
  drain_monitor();
  const auto found = by_fd_.find(fd);
  if (found == by_fd_.end() || !found->second.open) {  // it was closed before its first message was read
    if (found != by_fd_.end()) by_fd_.erase(found);
    lose(peer, "the connection was closed");
    return;
  }
  Connection& connection = found->second;
  peer.encrypted = connection.encrypted;
  if (connection.peer == nullptr && !connection.doubtful) {
    connection.peer = &peer;
    peer.fd = fd;
    return;
  }
  // The descriptor had two owners before anything was read, and nobody can tell which of them this is. Sending will
  // tell when it is gone; closed, it is deaf.
  connection.spoke = true;
  if (connection.peer != nullptr) std::exchange(connection.peer, nullptr)->fd = -1;
}

/// Nothing is left to read: of whatever was accepted before, all that earlier connections sent was read. (libzmq's I/O
/// thread hands over what a connection sent before it accepts the next one.)
void ZmqLane::settle_doubts() {
  for (const int fd : doubtful_)
    if (const auto found = by_fd_.find(fd); found != by_fd_.end()) found->second.doubtful = false;
  doubtful_.clear();
}

bool ZmqLane::next_lost(LaneEvent& event) {
  while (!lost_.empty()) {
    Peer& peer = *lost_.front().peer;
    event = {LaneEvent::Kind::lost, peer.link, {}, std::move(lost_.front().reason)};
    lost_.pop_front();
    const bool tell = !peer.closed;
    disconnect(peer);
    by_link_.erase(peer.link);
    peers_.erase(std::string(peer.name));
    if (tell) return true;
  }
  return false;
}

void ZmqLane::drain_monitor() {
  zmq::message_t head, address;
  while (receive_frame(monitor_, head)) {
    (void)receive_frame(monitor_, address);
    std::uint16_t what = 0;
    std::int32_t value = 0;
    std::memcpy(&what, head.data(), sizeof what);
    std::memcpy(&value, static_cast<const std::byte*>(head.data()) + sizeof what, sizeof value);
    switch (what) {
      case ZMQ_EVENT_ACCEPTED: {
        const auto [found, is_new] = by_fd_.try_emplace(value);
        const bool doubtful = !is_new && !found->second.open;
        found->second = {.encrypted = listens_encrypted_on(address.to_string()),
                         .open = true,
                         .doubtful = doubtful,
                         .since = Clock::now()};
        if (doubtful) doubtful_.push_back(value);
        break;
      }
      case ZMQ_EVENT_CONNECTED:
        if (const auto found = dialed_.find(address.to_string()); found != dialed_.end()) {
          Peer& peer = *found->second;
          // Had it one, that was an earlier connection to the same place.
          if (const auto old = by_fd_.find(peer.fd); old != by_fd_.end() && old->second.peer == &peer)
            by_fd_.erase(old);
          peer.fd = value;
          by_fd_[value] = {.peer = &peer, .open = true};
        }
        break;
      case ZMQ_EVENT_CLOSED:  // after a connect that was refused
        if (const auto found = dialed_.find(address.to_string()); found != dialed_.end() && found->second->fd < 0)
          lose(*found->second, "nobody listens at " + address.to_string());
        break;
      case ZMQ_EVENT_CONNECT_RETRIED:  // that is, it will be, in a day
        // Where no descriptor was left for the first try, no other event tells. It also comes after the loss of an
        // earlier peer there, so it proves nothing by itself.
        if (const auto found = dialed_.find(address.to_string());
            found != dialed_.end() && found->second->fd < 0 && !duplicate(kick_))
          lose(*found->second, "cannot connect to " + address.to_string() + ": " + no_descriptor);
        break;
      case ZMQ_EVENT_DISCONNECTED:
        forget_fd(value, "the connection was closed", std::exchange(handshake_failed_, false));
        break;
      case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:  // the guard has told of it
        handshake_failed_ = true;
        break;
      case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
      case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        handshake_failed_ = true;
        log::warning("A peer was closed at " + address.to_string() + ": what it sent is no ZeroMQ handshake" +
                     (listens_encrypted_on(address.to_string()) ? " with this cluster's keys" : ""));
        break;
      default: break;
    }
  }
}

/// @param unheard nothing was received from it: no handshake came to its end
void ZmqLane::forget_fd(int fd, const std::string& reason, bool unheard) {
  const auto found = by_fd_.find(fd);
  if (found == by_fd_.end()) return;
  if (found->second.peer != nullptr)
    lose(*found->second.peer, reason);
  else if (unheard && !found->second.doubtful)
    by_fd_.erase(found);
  else
    found->second.open = false;
}

void ZmqLane::lose(Peer& peer, std::string reason) {
  if (peer.lost) return;
  peer.lost = true;
  if (const auto found = by_fd_.find(peer.fd); found != by_fd_.end() && found->second.peer == &peer)
    by_fd_.erase(found);
  if (const auto found = dialed_.find(peer.endpoint); found != dialed_.end() && found->second == &peer)
    dialed_.erase(found);
  lost_.push_back({&peer, std::move(reason)});
  if (sleeping_) kick();
}

/// Also drops what was still to be read.
void ZmqLane::disconnect(Peer& peer) {
  if (!std::exchange(peer.connected, false)) return;
  while (zmq_disconnect(socket_.handle(), peer.endpoint.c_str()) != 0 && zmq_errno() == EINTR) {
  }
  touched();
}

bool ZmqLane::readable() {
  return (uninterrupted([this] { return socket_.get(zmq::sockopt::events); }) & ZMQ_POLLIN) != 0;
}

void ZmqLane::touched() {
  drained_ = false;
  if (sleeping_ && readable()) kick();
}

bool ZmqLane::begin_sleep() {
  const std::lock_guard lock(mutex_);
  if ((!drained_ && readable()) || !lost_.empty() || look_at_monitor_) return false;
  sleeping_ = true;
  return true;
}

void ZmqLane::end_sleep(const std::array<bool, 3>& readable) {
  const auto [message, told, kicked] = readable;
  if (kicked) {
    std::uint64_t kicks = 0;
    (void)!::read(kick_.get(), &kicks, sizeof kicks);
  }
  if (told) look_at_monitor_ = true;  // its descriptor says so once: it is remembered until the monitor was drained
  const std::lock_guard lock(mutex_);
  sleeping_ = false;
}

void ZmqLane::wait(Clock::time_point until) {
  if (!begin_sleep()) return;
  std::array<pollfd, 3> watched{};
  const auto watch = [](int fd) { return pollfd{fd, POLLIN, 0}; };
  std::transform(descriptors_.begin(), descriptors_.end(), watched.begin(), watch);
  const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(until - Clock::now()).count();
  timespec limit{};
  if (left > 0) limit = {left / 1'000'000'000, left % 1'000'000'000};
  (void)ppoll(watched.data(), watched.size(), until == Clock::time_point::max() ? nullptr : &limit, nullptr);
  std::array<bool, 3> readable{};
  std::transform(watched.begin(), watched.end(), readable.begin(),
                 [](const pollfd& each) { return each.revents != 0; });
  end_sleep(readable);
}

void ZmqLane::kick() {
  const std::uint64_t one = 1;
  (void)!::write(kick_.get(), &one, sizeof one);
}

void ZmqLane::close(LinkId link) {
  const std::lock_guard lock(mutex_);
  const auto found = by_link_.find(link);
  if (found == by_link_.end()) return;
  Peer& peer = *found->second;
  peer.closed = true;
  drain_monitor();
  disconnect(peer);
  if (!peer.endpoint.empty()) lose(peer, {});
  if (peer.lost) return;
  // The entry stays, deaf, until the monitor reports the loss.
  const int fd = peer.fd;
  if (fd >= 0) shut_down(fd, [&] { return !peer.lost && peer.fd == fd; });
}

void ZmqLane::upkeep(Clock::time_point silent_since) {
  const std::lock_guard lock(mutex_);
  drain_monitor();
  const auto is_silent = [silent_since](const Connection& connection) {
    return connection.open && connection.peer == nullptr && !connection.spoke && !connection.doubtful &&
           connection.since < silent_since;
  };
  std::vector<int> silent;
  for (const auto& [fd, connection] : by_fd_)
    if (is_silent(connection)) silent.push_back(fd);
  for (const int fd : silent) {
    shut_down(fd, [&] {
      const auto found = by_fd_.find(fd);
      return found != by_fd_.end() && is_silent(found->second);
    });
  }
  if (!silent.empty())
    log::warning(std::to_string(silent.size()) + " connections were closed over which nothing had come");
}

/// Ends the connection under libzmq, which then reports its loss.
/// @param is_it asked when all that the monitor told was read: whether the descriptor still is of the connection that
/// is meant
template <class Condition>
void ZmqLane::shut_down(int fd, Condition is_it) {
  if (::dup3(fd, spare_.get(), O_CLOEXEC) < 0) return;
  drain_monitor();
  if (is_it()) (void)::shutdown(spare_.get(), SHUT_RDWR);
  (void)::dup3(kick_.get(), spare_.get(), O_CLOEXEC);
}

}  // namespace muster::runtime
