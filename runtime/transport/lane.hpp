/// @file
/// A lane carries whole messages between this process and its peers, in order for each. It knows bytes and links,
/// nothing of what they mean.
#pragma once

#include "runtime/wire/codec.hpp"

#include <muster/detail/payload.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace muster::runtime {

/// Number of a connection to one peer, counted in this process; never used twice.
using LinkId = std::uint64_t;
using Clock = std::chrono::steady_clock;

/// One frame that arrived, or part of it.
struct ReceivedFrame {
  const std::byte* data = nullptr;
  std::size_t size = 0;
  std::shared_ptr<const void> owner;
  detail::Arriving* arriving = nullptr;  ///< as in a Part
};

/// What a lane hands over.
struct LaneEvent {
  enum class Kind : std::uint8_t { message, lost } kind = Kind::message;
  LinkId link = 0;
  std::vector<ReceivedFrame> frames;  ///< message: the first frame and its parts
  std::string reason;                 ///< lost: why, for people
};

/// Whether a receiver that sleeps is woken for a message at once: see Lane::send_soon.
enum class Urgency : bool { soon, now };

/// The way out over one link, for who would not have it looked up for each message. Any thread.
class LanePort {
 public:
  LanePort() = default;
  LanePort(const LanePort&) = delete;
  LanePort& operator=(const LanePort&) = delete;
  virtual ~LanePort() = default;
  /// As Lane::send, or send_soon.
  /// @returns false where it leads nowhere any more: the lane may know another way
  virtual bool send(const Header& header, const detail::Payload& payload, Urgency urgency) = 0;
};

/// Interface of lanes.
/// Threads: send, close, dial and kick from any thread; receive and wait from one thread at a time.
class Lane {
 public:
  virtual ~Lane() = default;
  /// What carries that link, as debug::links shows it.
  virtual const char* name(LinkId link) const = 0;
  /// Whether what travels over that link can't be read by who carries it.
  virtual bool encrypted(LinkId /*link*/) const { return false; }
  /// How long it pays to look for messages, yielding the processor, before sleeping for them.
  virtual std::chrono::nanoseconds spin() const { return {}; }
  /// Where this process can be dialed, as `host:port` or the lane's own form.
  virtual std::string endpoint() const = 0;
  /// Also listens there from now on.
  /// @param port 0: any free one
  /// @returns the port
  /// @throws Error naming address and port when it can't
  virtual int listen(const std::string& address, int port);
  /// Puts addresses in place of host names, for which dial() does not look; may wait for a name server for seconds.
  /// @returns the endpoint unchanged where it has none, or its name is not known (which dial() reports).
  virtual std::string resolve(const std::string& endpoint) { return endpoint; }
  /// Larger parts of a message are to be cut in pieces, in bytes. Known for certain from the first message that came
  /// over the link; both ends say the same.
  virtual std::size_t largest_part(LinkId /*link*/) const { return piece_size; }
  /// Starts a connection; does not wait. Messages may be sent at once; a failure shows as a lost link.
  virtual LinkId dial(const std::string& endpoint) = 0;
  /// Hands a message to the lane, whole. Copies the small part and borrowed parts; owned parts are kept until sent, or
  /// copied too.
  /// A lost link swallows it.
  virtual void send(LinkId link, const Header& header, const detail::Payload& payload) = 0;
  /// As send; but a receiver that sleeps may hear of it a little later, with the next message or before this process
  /// sleeps: to wake somebody costs more than to send.
  virtual void send_soon(LinkId link, const Header& header, const detail::Payload& payload) {
    send(link, header, payload);
  }
  /// What sends over that link; null: only send does. Not to be used any more once the lane is gone.
  virtual std::shared_ptr<LanePort> way_out(LinkId /*link*/) const { return nullptr; }
  /// Takes one event, without waiting.
  /// @returns false when there is none.
  virtual bool receive(LaneEvent& event) = 0;
  /// Whether what comes is put here by who sends it, and not by a thread of this process. The receiving thread's.
  virtual bool direct() const { return false; }
  /// Whether receive() may have something, from a look that costs next to nothing. The receiving thread's.
  virtual bool anything() const { return true; }
  /// Waits until receive() may have something, kick() was called, or the time came.
  virtual void wait(Clock::time_point until) = 0;
  /// Ends a wait() now or the next one.
  virtual void kick() = 0;
  /// Whether the peer gets everything that was sent over that link, even if this process is killed now.
  virtual bool handed_over(LinkId /*link*/) const { return false; }
  /// Ends a connection whose peer is dead, once what it had handed over was received: then the link is lost.
  /// @returns false where nothing was done, as nothing more can come
  virtual bool finish(LinkId /*link*/) { return false; }
  /// Drops a connection at this side and, where the lane can, at the other. receive() hands out nothing more of it, but
  /// what it is handing out just then.
  virtual void close(LinkId link) = 0;
  /// To be called now and then. Drops connections that others made before that time and over which no message has
  /// come: they are no links yet.
  virtual void upkeep(Clock::time_point /*silent_since*/) {}
};

}  // namespace muster::runtime
