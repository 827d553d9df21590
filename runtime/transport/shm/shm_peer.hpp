/// @file
/// One connection of the shared-memory lane: a ring each way, blocks for large messages, and a socket.
///
/// The one who dials makes the rings. Both pass each other their doors. What is sent before the other has answered
/// waits, since it may have to be sent over another lane.
#pragma once

#include "runtime/transport/shm/blocks.hpp"
#include "runtime/transport/shm/body.hpp"
#include "runtime/transport/shm/door.hpp"
#include "runtime/transport/shm/ring.hpp"
#include "runtime/transport/shm/unheard.hpp"
#include "runtime/transport/shm/unix_socket.hpp"

#include <muster/detail/small_mutex.hpp>

#include <deque>
#include <memory>
#include <mutex>

namespace muster::runtime {

/// A message that was not encoded yet.
struct UnsentMessage {
  Header header;
  detail::Payload payload;
};

/// Threads: send, release, flush, trim and close from any; the rest is the receiving thread's.
class ShmPeer final : public LanePort, public std::enable_shared_from_this<ShmPeer> {
 public:
  /// @param own this process's door, which outlives the lane's use of this
  /// @param left_unheard noted when this peer may be asleep and have something; outlives that use too
  /// @param slot of the link at that door
  ShmPeer(LinkId id, const Door& own, Unheard& left_unheard, std::uint32_t slot, UniqueFd socket, std::string endpoint);

  LinkId id() const { return id_; }
  std::uint32_t slot() const { return slot_; }
  /// Where it was dialed; empty: it dialed us.
  const std::string& endpoint() const { return endpoint_; }
  const UniqueFd& socket() const { return socket_; }

  /// Sends the dialer's greeting. @throws std::system_error
  void greet();
  /// Reads what came over the socket. @returns false at its end
  /// @throws std::exception for what is no word of this lane
  bool take_packets();
  /// Messages may pass.
  bool is_open() const;
  Clock::time_point since() const { return since_; }

  /// @returns false where it is closed: the message was not taken
  bool send(const Header& header, const detail::Payload& payload, Urgency urgency) override;
  /// Wakes a peer that was left asleep.
  void wake();
  /// Closes a connection that never opened. @returns what was to be sent over it
  std::deque<UnsentMessage> give_up();
  /// Writes what waits for room. @returns whether nothing waits now
  bool flush() { return !any_waiting_.load(std::memory_order_relaxed) || flush_now(); }
  /// Whether everything that was sent is in the ring, where it stays should this process end.
  bool all_written() const;
  /// Frees memory that was not used since.
  void trim(Clock::time_point since);
  /// Whether there is something to do for the receiving thread, from a look at a word or two.
  bool anything() const { return ended || is_closed() || (reader_ && reader_.anything()); }
  /// The next message. @returns false when none is there
  /// @throws SerializationError for anything that is not one
  bool read(LaneEvent& event, std::vector<std::byte>& first_frame);
  /// Ends the connection at both sides.
  void close();
  bool is_closed() const { return closed_.load(std::memory_order_acquire); }

  // The receiving thread's.
  bool ended = false;    ///< the other end is gone; the ring may still hold something
  bool watched = false;  ///< its ring is looked at whether it has knocked or not
  int told = 0;          ///< messages since it was watched last

 private:
  struct Waiting {
    RecordKind kind{};
    std::vector<std::byte> bytes;
    std::size_t done = 0;
  };
  struct Lease;
  /// Whether a peer that sleeps is woken. `later`: by wake(), or where it was left asleep before
  enum class Wake : std::uint8_t { now, later, never };

  void open_rings(SharedMemory memory, bool dialer);
  void take_packet(Packet& packet);
  void take_hello(Packet& packet, std::uint32_t slot);
  void take_welcome(Packet& packet, std::uint32_t slot);
  std::optional<BlockPool::Block> take_block_for(std::size_t size);
  bool pass_segment(std::uint32_t segment, std::uint64_t size, const UniqueFd& memory);
  void write_waiting();
  bool flush_now();
  void put(RecordKind kind, std::span<const std::byte> contents);
  bool put_frame(const Header& header, const detail::Payload& payload, std::size_t size);
  bool put_now(const MessageBody& body);
  bool send_block(const BlockPool::Block& block, const MessageBody& body, bool follow, Wake wake);
  void put_or_keep(const MessageBody& body);
  bool keep_unsent(const Header& header, const detail::Payload& payload);
  template <class F>
  bool writing(F f, Wake wake = Wake::now);
  void release(const BlockPlace& place) noexcept;
  bool take_record(const RingReader::Record& record, LaneEvent& event, std::vector<std::byte>& first_frame);
  void take_block(const BlockPlace& place, LaneEvent& event, std::vector<std::byte>& first_frame);
  std::uint64_t await_written(const BlockHead& head, std::uint64_t bytes) const;
  bool take_fragment(std::span<const std::byte> bytes, LaneEvent& event, std::vector<std::byte>& first_frame);

  const LinkId id_;
  const Door& own_;
  Unheard& left_unheard_;
  const std::uint32_t slot_;
  const UniqueFd socket_;
  const std::string endpoint_;
  const Clock::time_point since_ = Clock::now();
  std::atomic<bool> closed_{false};
  std::atomic<int> unheard_{0};  ///< messages that may lie there while it sleeps

  SharedMemory rings_;
  // In that memory; from the opening on.
  std::atomic<std::uint32_t>* readers_asleep_ = nullptr;  ///< at the other side, for blocks from here
  std::atomic<std::uint32_t>* sleepers_here_ = nullptr;   ///< for blocks from there
  PeerDoor door_;
  RingReader reader_;
  BlockViews views_;
  struct Assembly {
    std::shared_ptr<std::vector<std::byte>> bytes;
    std::uint64_t size = 0;
  } assembly_;

  mutable detail::SmallMutex mutex_;  ///< guards the following, and opening
  bool open_ = false;
  RingWriter writer_;
  BlockPool pool_;
  std::deque<Waiting> waiting_;
  std::atomic<bool> any_waiting_{false};  ///< also looked at without the lock
  std::deque<UnsentMessage> unsent_;
};

}  // namespace muster::runtime
