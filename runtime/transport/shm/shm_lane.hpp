/// @file
/// The lane between processes of one user on one host: rings in shared memory, and a doorbell.
///
/// Who listens does so at a Unix socket named after its endpoint; who dials that endpoint looks there. The socket
/// carries the descriptors of shared memory and, by its end, the news that a process is gone, however it ended.
/// Messages take no system call while both sides are awake.
#pragma once

#include "runtime/transport/shm/shm_peer.hpp"

#include <algorithm>
#include <functional>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

namespace muster::runtime {

class ShmLane final : public Lane {
 public:
  /// Told of a peer that was dialed and does not take this lane; it has what was to be sent over it.
  using Refused = std::function<void(ShmPeer&)>;

  /// Listens at once.
  /// @param endpoint where this process is known, as others dial it
  /// @param refused called by the receiving thread; without it such a link is lost
  /// @param watched wait() also ends when one of these descriptors is readable
  /// @throws std::system_error where the kernel does not give what it takes, or the name is taken
  explicit ShmLane(std::string endpoint, Refused refused = {}, std::span<const int> watched = {});
  ~ShmLane() override;

  const char* name(LinkId /*link*/) const override { return "shm"; }
  std::chrono::nanoseconds spin() const override;
  /// What is larger would lie in fresh memory each time: pages cost more than to copy twice, piece by piece.
  std::size_t largest_part(LinkId /*link*/) const override { return BlockPool::most_idle / 2; }
  std::string endpoint() const override { return endpoint_; }
  LinkId dial(const std::string& endpoint) override;
  void send(LinkId link, const Header& header, const detail::Payload& payload) override {
    (void)try_send(link, header, payload, Urgency::now);
  }
  void send_soon(LinkId link, const Header& header, const detail::Payload& payload) override {
    (void)try_send(link, header, payload, Urgency::soon);
  }
  std::shared_ptr<LanePort> way_out(LinkId link) const override { return find(link); }
  bool receive(LaneEvent& event) override;
  bool anything() const override { return any_ready() || door_.anything() || any_watched(); }
  void wait(Clock::time_point until) override;
  void kick() override;
  bool handed_over(LinkId link) const override;
  bool finish(LinkId link) override;
  void close(LinkId link) override;
  void upkeep(Clock::time_point silent_since) override;

  /// Dials where a process of this host and user listens. @returns 0 where none does
  /// @param why set where one does, and can't be reached all the same
  LinkId try_dial(const std::string& endpoint, std::string& why);
  /// As send. @returns false when the link was refused, or is gone: the message was not taken
  bool try_send(LinkId link, const Header& header, const detail::Payload& payload, Urgency urgency);
  /// Links of this lane have this bit.
  static constexpr LinkId link_bit = LinkId{1} << 63;
  /// Whether a watched descriptor was readable, since this was asked last. The receiving thread's.
  bool take_watched_ready() { return std::exchange(watched_ready_, false); }

 private:
  using PeerPointer = std::shared_ptr<ShmPeer>;

  void watch(int fd, std::uint32_t events, std::uint64_t what);
  void look(const timespec* limit);
  void accept_all();
  void look_at(const PeerPointer& peer);
  PeerPointer add(UniqueFd socket, const std::string& endpoint);
  void remove(const PeerPointer& peer);
  PeerPointer find(LinkId link) const;
  PeerPointer at(std::uint32_t slot) const;
  const PeerPointer& reading_from(std::uint32_t slot);
  /// Whether a link is to be looked at, but for one that is watched: its ring may have been read to its end.
  bool any_ready() const {
    const std::size_t left = ready_.size() - next_ready_;
    if (left != 1) return left > 1;
    const bool is_watched = current_ && current_->watched && current_->slot() == ready_[next_ready_];
    return !is_watched;
  }
  bool any_watched() const {
    return std::any_of(watched_.begin(), watched_.end(), [](const PeerPointer& peer) { return peer->anything(); });
  }
  void watch_ring(const PeerPointer& peer);
  void wake_peers();
  void collect();
  void pass_turn();
  bool end(const PeerPointer& peer, std::string reason, LaneEvent& event);
  bool take_lost(LaneEvent& event);
  void take_finished();
  bool read(const PeerPointer& peer, LaneEvent& event);

  const std::string endpoint_;
  const Refused refused_;
  Door door_;
  UniqueFd epoll_, listener_, spare_;  ///< the last to be given up where no descriptor is left for a connection
  std::atomic<bool> kicked_{false};
  Unheard unheard_;  ///< by a peer that may sleep

  mutable std::shared_mutex mutex_;  ///< guards the following
  std::vector<PeerPointer> peers_;   ///< by slot
  LinkId last_serial_ = 0;
  std::vector<LaneEvent> lost_;  ///< links that never were
  std::atomic<bool> any_lost_{false};
  std::vector<LinkId> finished_;  ///< whose peers are dead
  std::atomic<bool> any_finished_{false};

  // The receiving thread's.
  std::vector<std::uint32_t> ready_;  ///< slots to be looked at
  std::size_t next_ready_ = 0;        ///< of ready_
  PeerPointer current_;               ///< looked at last
  std::vector<PeerPointer> watched_;  ///< whose rings are looked at whether they have knocked or not; the oldest first
  int in_a_row_ = 0;                  ///< messages of one link
  int since_look_ = 0;                ///< at the sockets, in calls of receive
  std::vector<std::byte> first_frame_;  ///< of the event handed out last
  bool watched_ready_ = false;
};

}  // namespace muster::runtime
