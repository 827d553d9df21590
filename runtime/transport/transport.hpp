/// @file
/// Links to peers: whole messages, in order, held back by bytes.
///
/// Back-pressure: a sender may have `credit_window` bytes under way on a link that the receiver has not consumed. What
/// must not wait (replies sent by the receiving thread, control messages) is held in the link until credit comes back.
/// Contents over a megabyte travel in pieces before their message, so that a large array delays others by one piece at
/// most, and no frame is ever large. Heartbeats, credit and the handshake are outside the window.
#pragma once

#include "runtime/transport/lane.hpp"

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

namespace muster::runtime {

/// Limits of a transport.
struct TransportOptions {
  std::uint64_t max_message = std::uint64_t{64} << 30;  ///< bytes of one message, parts included
  std::int64_t credit_window = std::int64_t{64} << 20;  ///< bytes under way on a link
  std::size_t most_assemblies = std::size_t{1} << 14;   ///< messages of a link of which only some pieces are here
  std::chrono::nanoseconds hello_timeout =
      std::chrono::seconds(30);  ///< for who connects to be admitted; see keep_alive
};

class Transport;

/// One link. Its members are the transport's.
struct Link {
  explicit Link(LinkId link, bool by_us = false, std::shared_ptr<LanePort> way_out = nullptr)
      : id(link), port(std::move(way_out)), dialed(by_us) {}

  const LinkId id;
  const std::shared_ptr<LanePort> port;  ///< null: messages go by the link's number
  const bool dialed;                     ///< by us; else by the peer
  std::atomic<Pid> peer{0};              ///< 0 until admitted
  std::atomic<bool> gone{false};
  std::atomic<bool> ending{false};                      ///< its peer is dead, and what comes is what it left
  std::atomic<std::size_t> largest_part{piece_size};    ///< what is larger comes in pieces; settled when admitted
  std::atomic<std::int64_t> outstanding{0};             ///< sent and not yet said to be consumed, in bytes
  std::atomic<std::int64_t> consumed{0};                ///< by us, not yet told
  std::atomic<Clock::rep> last_heard{0}, last_sent{0};  ///< as of the last look, see keep_alive
  std::atomic<std::uint64_t> news{0};  ///< number of the last news its peer was told; see Transport::set_news
  std::atomic<std::uint64_t> messages_sent{0}, messages_received{0}, bytes_sent{0}, bytes_received{0};
  std::uint64_t sent_before = 0, received_before = 0;  ///< messages, at the last look; keep_alive's alone

  struct Held {
    Header header;
    detail::Payload payload;
  };
  std::mutex mutex;  ///< guards held, waiting and at_end
  std::deque<Held> held;
  std::atomic<bool> any_held{false};           ///< also looked at without the lock
  std::vector<std::function<void()>> waiting;  ///< called when credit came back or the link is gone
  std::function<void()> at_end;                ///< called instead of the sink when the link is lost

  struct Assembly {
    std::vector<detail::Part> parts;
    std::uint64_t filled = 0;  ///< bytes of the last part that came
    std::uint64_t total = 0;   ///< bytes of all parts
  };
  std::mutex assemblies_mutex;                             ///< guards assemblies, which whoever closes the link frees
  std::unordered_map<std::uint32_t, Assembly> assemblies;  ///< by stream

  /// What the room above keeps with the link; made when first asked for.
  template <class T>
  T& companion() {
    if (void* const made = made_companion_.load(std::memory_order_acquire)) return *static_cast<T*>(made);
    const std::lock_guard lock(mutex);
    if (!companion_) companion_ = std::make_shared<T>();
    made_companion_.store(companion_.get(), std::memory_order_release);
    return *static_cast<T*>(companion_.get());
  }

 private:
  std::shared_ptr<void> companion_;  ///< guarded by mutex
  std::atomic<void*> made_companion_{nullptr};
};

/// Says at its end that a message's bytes were consumed, which lets its sender go on.
class Receipt {
 public:
  Receipt() = default;
  Receipt(Transport& transport, std::shared_ptr<Link> link, std::int64_t bytes)
      : transport_(&transport), link_(std::move(link)), bytes_(bytes) {}
  Receipt(Receipt&& other) noexcept
      : transport_(std::exchange(other.transport_, nullptr)), link_(std::move(other.link_)), bytes_(other.bytes_) {}
  Receipt& operator=(Receipt&& other) noexcept {
    if (this != &other) {
      give();
      transport_ = std::exchange(other.transport_, nullptr);
      link_ = std::move(other.link_);
      bytes_ = other.bytes_;
    }
    return *this;
  }
  ~Receipt() { give(); }
  /// They were, before its end.
  void give() noexcept {
    if (transport_ != nullptr) give_now();
  }
  /// Where they came from; null for none. Also once it was given.
  const std::shared_ptr<Link>& link() const { return link_; }

 private:
  void give_now() noexcept;

  Transport* transport_ = nullptr;
  std::shared_ptr<Link> link_;
  std::int64_t bytes_ = 0;
};

/// A message that arrived whole.
struct Incoming {
  std::shared_ptr<Link> link;
  Header header;
  detail::Payload payload;            ///< without handles
  std::vector<HandleRecord> handles;  ///< for the references room to turn into handles
  Receipt receipt;
};

/// A message of one frame, without handles, while the sink looks at it. Most are such.
class PlainMessage {
 public:
  PlainMessage(Transport& transport, const std::shared_ptr<Link>& link, const Header& header,
               std::span<const std::byte> bytes)
      : transport_(transport), link_(link), header_(header), bytes_(bytes) {}

  const std::shared_ptr<Link>& link() const { return link_; }
  const Header& header() const { return header_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  /// Its bytes are consumed when that ends; where nobody asks for it, when the sink has returned.
  Receipt take_receipt() {
    kept_ = true;
    return {transport_, link_, charged()};
  }
  bool kept() const { return kept_; }
  std::int64_t charged() const { return static_cast<std::int64_t>(header_size + bytes_.size()); }

 private:
  Transport& transport_;
  const std::shared_ptr<Link>& link_;
  const Header& header_;
  std::span<const std::byte> bytes_;
  bool kept_ = false;
};

/// What is done with what arrives. Called by the receiving thread, on_lost by that of keep_alive too; must not block.
class TransportSink {
 public:
  virtual ~TransportSink() = default;
  virtual void on_message(Incoming message) = 0;
  /// Whether plain messages of that kind go the short way, to on_plain instead of on_message.
  virtual bool takes_plain(MessageKind /*kind*/) const { return false; }
  /// What is done with one.
  virtual void on_plain(PlainMessage& /*message*/) {}
  /// @param reason for people
  virtual void on_lost(const std::shared_ptr<Link>& link, const std::string& reason) = 0;
  /// Something is about to be sent over a link whose peer has not been told the news: it is to be sent now, and
  /// Link::news to be set. Called by any thread that sends, which may hold locks of its own.
  virtual void on_behind(Link& /*link*/) {}
};

/// Threads: every function from any thread, but for receive_all and wait (one at a time).
class Transport {
 public:
  Transport(std::unique_ptr<Lane> lane, TransportSink& sink, TransportOptions options);
  ~Transport();

  Lane& lane() { return *lane_; }
  const TransportOptions& options() const { return options_; }

  /// May wait for a name server, holding no lock; never where lane().resolve made the endpoint.
  std::shared_ptr<Link> dial(const std::string& endpoint);
  /// From now on the link is that peer's, and may send anything.
  void admit(Link& link, Pid peer);
  /// Drops the connection; nothing more comes from it.
  void close(const std::shared_ptr<Link>& link);
  /// As close, for a peer that is dead: what it had handed over still comes, with Link::ending set, and then f is
  /// called (on the receiving thread, or this one).
  void finish(const std::shared_ptr<Link>& link, std::function<void()> f);
  /// Whether the peer gets everything that was sent over that link, even if this process is killed now.
  bool handed_over(const Link& link) const { return lane_->handed_over(link.id); }

  /// How far a message that must wait for credit has come.
  struct Progress {
    std::size_t part = 0, offset = 0;
    std::uint32_t stream = 0;
    bool started = false;
  };
  using Urgency = muster::runtime::Urgency;
  /// Sends, or stops where the window is used up.
  /// @returns false: call again with the same progress when credit came back (on_credit).
  /// @throws SerializationError when the message exceeds max_message.
  bool try_send(Link& link, const Header& header, const detail::Payload& payload, Progress& progress,
                Urgency urgency = Urgency::now);
  /// Sends now or, when the window is used up, later: never waits. Keeps the order with other calls of this function.
  void send(Link& link, const Header& header, detail::Payload&& payload);
  /// Calls f once, when credit came back or the link is gone (at once, where that is so already). f must not block.
  void on_credit(Link& link, std::function<void()> f);

  /// There are news for every peer, up to that number. They need not be sent at once: whatever else is sent to a peer
  /// (but for what keeps the link going) goes behind them, as the sink is asked for them first (on_behind).
  void set_news(std::uint64_t number) { news_.store(number, std::memory_order_relaxed); }

  /// Receives and hands to the sink what is there, at most that many messages.
  /// @returns whether there was anything.
  bool receive_some(int most);
  /// Whether messages are put here by who sends them. The receiving thread's.
  bool direct() const { return lane_->direct(); }
  /// Whether receive_some may have something. The receiving thread's.
  bool anything() const { return lane_->anything(); }
  void wait(Clock::time_point until) {
    if (recent_ && recent_->gone) recent_ = nullptr;
    lane_->wait(until);
  }
  void kick() { lane_->kick(); }

  /// Sends heartbeats on links that were quiet for `interval`, and gives up those from which nothing came for
  /// `timeout`. Who connected and was not admitted within hello_timeout is closed. (Links that were dialed are for the
  /// dialer to give up.)
  void keep_alive(std::chrono::nanoseconds interval, std::chrono::nanoseconds timeout);
  std::vector<std::shared_ptr<Link>> links() const;

 private:
  friend class Receipt;

  bool window_used(const Link& link) const {
    return link.outstanding.load(std::memory_order_relaxed) >= options_.credit_window;
  }
  void tell_news(Link& link, MessageKind kind) {
    if (link.news.load(std::memory_order_relaxed) != news_.load(std::memory_order_relaxed)) tell_news_now(link, kind);
  }
  void tell_news_now(Link& link, MessageKind kind);
  void check_size(const Link& link, const Header& header, const detail::Payload& payload) const;
  bool try_send_plain(Link& link, const Header& header, const detail::Payload& payload, Urgency urgency);
  bool send_pieces(Link& link, const detail::Payload& payload, Progress& progress, bool may_stop);
  void send_main(Link& link, Header header, const detail::Payload& payload, const Progress& progress, Urgency urgency);
  void transmit(Link& link, const Header& header, const detail::Payload& payload, std::int64_t charged,
                Urgency urgency = Urgency::now);
  static void count_sent(Link& link, std::int64_t charged, std::uint64_t bytes);
  void hand_over(Link& link, const Header& header, const detail::Payload& payload, Urgency urgency);
  void flush_held(Link& link);
  void tell_waiting(Link& link);
  void consumed(Link& link, std::int64_t bytes);
  void take(LaneEvent& event);
  bool take_plain(const std::shared_ptr<Link>& link, const LaneEvent& event);
  void take_message(const std::shared_ptr<Link>& link, LaneEvent& event);
  void take_credit(Link& link, std::uint64_t bytes);
  void take_piece(Link& link, const FrameView& view, const LaneEvent& event);
  /// Ends the assembly of that message's pieces. @param arrived bytes of the message without them
  std::vector<detail::Part> take_assembled(Link& link, std::uint32_t stream, std::size_t arrived) const;
  void lost(const std::shared_ptr<Link>& link, const std::string& reason);
  const std::shared_ptr<Link>* known_link(LinkId id);
  const std::shared_ptr<Link>& link_of(LinkId id);

  TransportOptions options_;
  TransportSink& sink_;
  std::unique_ptr<Lane> lane_;
  std::atomic<std::uint32_t> last_stream_{0};
  std::atomic<std::uint64_t> news_{0};
  mutable std::shared_mutex mutex_;  ///< guards links_
  std::unordered_map<LinkId, std::shared_ptr<Link>> links_;
  // The receiving thread's alone.
  std::shared_ptr<Link> recent_;  ///< of the message before
  LaneEvent event_;               ///< whose memory is used again
  std::atomic<Clock::rep> last_check_{0};
};

}  // namespace muster::runtime
