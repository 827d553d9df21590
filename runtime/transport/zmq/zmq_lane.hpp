/// @file
/// The lane over ZeroMQ: one ROUTER per process, which both listens and dials.
///
/// A single socket keeps the waiting thread at one descriptor however many peers there are. Each process gives its
/// ROUTER a random routing id, and random names to those it dials, so nobody can take a peer's place. Peer loss comes
/// from the socket monitor, since Debian's libzmq has no notifications of its own: a link remembers the descriptor of
/// its connection, and the monitor says which descriptor was closed.
///
/// Closing one peer of a listening socket, for which libzmq has no call, is to shut down its connection under libzmq.
/// Descriptors are used again, so that must be certain to meet the right one. libzmq's I/O thread reports a
/// connection's end before it closes the descriptor. So: duplicate the descriptor, which pins whatever it is, then read
/// all that the monitor has reported: where that does not tell of the end, the duplicate is of this connection, and of
/// no later one.
#pragma once

#include "runtime/base/unique_fd.hpp"
#include "runtime/transport/lane.hpp"
#include "runtime/transport/zmq/curve.hpp"

#include <zmq.hpp>

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace muster::runtime {

class ZmqLane final : public Lane {
 public:
  /// Binds at once.
  /// @param address interface to listen on, e.g. `127.0.0.1`; with `0.0.0.0` or `::`, all of them, and others are told
  /// this host's first address that is not loopback
  /// @param port 0: any free one; else that one, or when it is taken any free one
  /// @param security which links are encrypted
  /// @throws Error naming address and port when it can't listen there.
  explicit ZmqLane(const std::string& address, int port = 0, LinkSecurity security = {});
  ~ZmqLane() override;

  const char* name(LinkId /*link*/) const override { return "zmq-tcp"; }
  bool encrypted(LinkId link) const override;
  /// About as long as a round trip takes where nobody sleeps, libzmq's I/O threads included.
  std::chrono::nanoseconds spin() const override { return std::chrono::microseconds(75); }
  std::string endpoint() const override { return address_ + ":" + std::to_string(port_); }
  LinkId dial(const std::string& endpoint) override;
  void send(LinkId link, const Header& header, const detail::Payload& payload) override;
  bool receive(LaneEvent& event) override;
  void wait(Clock::time_point until) override;
  void kick() override;
  void close(LinkId link) override;
  /// Where it listens already, it says so again.
  int listen(const std::string& address, int port) override;
  std::string resolve(const std::string& endpoint) override;
  void upkeep(Clock::time_point silent_since) override;

  // A wait for this lane and something else, in place of wait().
  /// @returns false: something may be there, do not sleep. Else one of descriptors() becomes readable when there is.
  bool begin_sleep();
  /// @param readable which of them did
  void end_sleep(const std::array<bool, 3>& readable);
  const std::array<int, 3>& descriptors() const { return descriptors_; }

  int port() const { return port_; }
  const std::string& address() const { return address_; }

 private:
  struct Peer {
    LinkId link = 0;
    std::string name;      ///< its routing id here
    std::string endpoint;  ///< of a dialed peer, `tcp://host:port`; empty for one that dialed us
    int fd = -1;           ///< of its connection, as the monitor names it; -1 where that is not known
    bool encrypted = false;
    bool connected = false;  ///< libzmq has an entry for that endpoint, which is to be taken away
    bool closed = false;     ///< by us: what still comes is dropped
    bool lost = false;       ///< its connection is gone; it stays here until that was handed out
  };
  /// A descriptor of libzmq's, as far as the monitor told.
  struct Connection {
    Peer* peer = nullptr;          ///< null until its first message was read
    bool encrypted = false;        ///< one that was accepted
    bool open = false;             ///< false: closed, and if it had sent messages, they were not read yet
    bool doubtful = false;         ///< the next first message from it may be of an earlier connection
    bool spoke = false;            ///< a first message came that may be its own or an earlier connection's
    Clock::time_point since = {};  ///< when the monitor's word of it was read
  };
  struct Loss {
    Peer* peer;
    std::string reason;
  };

  int bind_there(const std::string& address, int port);
  bool listens_encrypted_on(const std::string& endpoint) const;
  bool receive_message(LaneEvent& event);
  bool next_lost(LaneEvent& event);
  Peer& peer_of(const zmq::message_t& routing_id, zmq::message_t& first);
  void claim(Peer& peer, int fd);
  void settle_doubts();
  template <class Condition>
  void shut_down(int fd, Condition is_it);
  void disconnect(Peer& peer);
  void drain_monitor();
  void forget_fd(int fd, const std::string& reason, bool unheard);
  void lose(Peer& peer, std::string reason);
  bool readable();
  /// After every use of the socket but receiving, which may consume the edge that another thread sleeps for.
  void touched();

  std::string token_, address_;
  int port_ = 0;
  const LinkSecurity security_;
  UniqueFd kick_;
  std::array<int, 3> descriptors_{};  ///< of the socket, the monitor and kick_
  UniqueFd spare_;  ///< for duplicates, which must work where no descriptor is left; of kick_ when not in use
  zmq::context_t context_;

  mutable std::mutex mutex_;  ///< guards everything below; a ZeroMQ socket belongs to one thread at a time
  std::unique_ptr<KeyGuard>
      guard_;  ///< where this lane listens encrypted. Before the sockets, which end after it began
  zmq::socket_t socket_;
  zmq::socket_t monitor_;
  std::optional<CurveKeys> keys_;  ///< derived when first needed
  struct Listener {
    std::string address;
    int port = 0;
    bool encrypted = false;
  };
  std::vector<Listener> listeners_;
  bool sleeping_ = false;  ///< a thread polls: whoever consumes the socket's edge must kick it
  bool drained_ = false;   ///< nothing was there, and nobody touched the socket since: its descriptor will tell
  /// Its descriptor became readable. True at first: who has never looked is not told.
  std::atomic<bool> look_at_monitor_{true};
  LinkId last_link_ = 0;
  std::unordered_map<std::string, Peer> peers_;  ///< by routing id
  std::unordered_map<LinkId, Peer*> by_link_;
  std::unordered_map<int, Connection> by_fd_;
  std::vector<int> doubtful_;                      ///< descriptors of doubtful connections
  bool handshake_failed_ = false;                  ///< of the connection whose end the monitor reports next
  std::unordered_map<std::string, Peer*> dialed_;  ///< by endpoint
  std::deque<Loss> lost_;                          ///< not handed out yet
  zmq::message_t first_frame_;                     ///< of the event handed out last
};

}  // namespace muster::runtime
