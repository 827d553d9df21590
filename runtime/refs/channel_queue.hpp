/// @file
/// One channel at its owner: what is in it, and who waits for it. A state machine without I/O, threads or clocks.
///
/// Each question (put, take, fetch, wait) gets exactly one reply: at once, later, or when it is withdrawn. An item that
/// is handed to a taker stays here, *under way*, until the taker says that it has received it. Where it returns it
/// instead (it had given up waiting), or its process dies, the item goes back to where it was, before everything that
/// came after it. So
///
/// - no item is lost, whatever becomes of takers: it is gone once a taker has received it;
/// - no item is seen twice, but for one whose taker's process died before word of its receipt was here;
/// - a putter whose question was withdrawn, or whose process died, before its item was in leaves none: either its item
/// is in, and
///   its reply is yes, or it is not.
///
/// An item under way leaves its place in the channel free for the next. (What comes back may so exceed the capacity.) A
/// closed channel is drained when nothing is in it nor under way. With capacity 0 the items are those of the putters
/// that wait, and a putter's reply is yes when its item was received.
///
/// A process of which one put comes after the other gets *places* of a queue: it fills them without a question, and
/// without a reply, so that its puts do not wait for the way to here and back (credit-based flow control, as in H. T.
/// Kung, R. Morris: Credit-Based Flow Control for ATM Networks, 1995). Places count as full for everybody else. Who
/// finds no room because of them has them called back, and waits until those who have them say what they did not use;
/// so does who closes the channel, as an item in a place of its own is in, whenever it comes.
#pragma once

#include "runtime/refs/asker.hpp"

#include <muster/detail/channel_core.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

namespace muster::runtime {

/// What is asked of a channel. Numbers are part of the protocol.
enum class ChannelOperation : std::uint32_t {
  create = 1,
  put = 2,
  take = 3,
  fetch = 4,
  wait = 5,
  size = 6,
  is_open = 7,
  close = 8
};

/// What is told about a question that was asked before. Numbers are part of the protocol.
enum class ChannelWord : std::uint32_t {
  withdraw = 1,         ///< who asked does not want to wait any more: reply now
  received = 2,         ///< the taker has the item
  returned = 3,         ///< the taker did not wait for the item: it goes back
  places_returned = 4,  ///< of places that were called back, those that were not used are free
};

/// What the owner tells a putter by itself. Numbers are part of the protocol.
enum class ChannelNotice : std::uint32_t {
  places = 1,  ///< so many more are its own
  recall = 2,  ///< the owner wants back those that are not used
};

/// Not thread-safe.
class ChannelQueue {
 public:
  /// Something to be said to an asker.
  struct Reply {
    enum class What : std::uint8_t {
      yes,  ///< done; to take and fetch: the item
      no,   ///< not done: not at once, or withdrawn
      failed,
      places,  ///< to a process, about no question: so many more are its own
      recall,  ///< likewise: it is to give back what it did not use
    };
    Asker to;
    What what{};
    detail::Payload item = {};
    std::exception_ptr failure = {};
    bool users_failure = false;  ///< of the user's store, not of the channel
    std::uint32_t places = 0;
  };
  using Replies = std::vector<Reply>;

  /// When a process gets places.
  struct PlacesPolicy {
    std::size_t most = 128;     ///< of a process: enough for what is put while word of more is on its way
    std::size_t fewest = 2;     ///< that are worth a message
    int puts_before = 3;        ///< that it asks for before it gets any
    int puts_before_next = 64;  ///< when they were called back: others put too, or it had stopped
  };

  /// A queue of at most so many items; 0: unbuffered.
  explicit ChannelQueue(std::size_t capacity) : ChannelQueue(capacity, PlacesPolicy()) {}
  ChannelQueue(std::size_t capacity, const PlacesPolicy& policy) : capacity_(capacity), policy_(policy) {}
  /// A channel over a user's store. What that throws is the reply to whoever's question it was about.
  explicit ChannelQueue(std::unique_ptr<detail::ItemStore> store) : policy_(), store_(std::move(store)) {}

  // Replies, to whomever, are added to the last parameter.

  /// @param at_once reply no instead of waiting
  void put(Asker asker, detail::Payload&& item, bool at_once, Replies& replies);
  // Within the owner, where nobody waits, all is over at once: nothing is on its way, and nobody has to be told.
  /// @returns false where somebody waits, or there is no room: nothing was done
  bool put_here(detail::Payload& item);
  /// @returns nothing where somebody waits, or there is nothing
  std::optional<detail::Payload> take_here();

  /// Fills a place of that process.
  void put_in_place(Pid putter, detail::Payload&& item, Replies& replies);
  /// To be asked after a put of another process: gives it places where that pays, and there are some.
  void offer_places(Pid putter, Replies& replies);
  /// That process has said what it did not use, or nothing more can come from it.
  void places_returned(Pid putter, Replies& replies);
  /// @param at_once as for put
  void take(Asker asker, bool at_once, Replies& replies);
  void fetch(Asker asker, Replies& replies) { watch({asker, true}, replies); }
  /// Until there is something to take.
  void wait(Asker asker, Replies& replies) { watch({asker, false}, replies); }
  /// Nothing for a question that was replied to.
  void withdraw(Asker asker, Replies& replies);
  void received(Asker taker, Replies& replies);
  void returned(Asker taker, Replies& replies);
  /// The reply is yes when no item can come any more.
  void close(Asker asker, Replies& replies);
  /// What it asked is forgotten. Its places stay, until places_returned: items for them may still be under way.
  void process_died(Pid pid, Replies& replies);

  bool is_open() const { return !closed_; }
  bool is_unbuffered() const { return capacity_ == 0 && !store_; }
  /// How many items could be taken at once. May throw what the user's store does.
  std::size_t size() const;

 private:
  struct Putter {
    Asker asker;
    detail::Payload item;
    bool at_once = false;
    std::uint64_t order = 0;             ///< unbuffered: counted, so that an item that comes back finds its place
    std::shared_ptr<void> decoded = {};  ///< for the user's store
    bool withdrawn = false;              ///< while its item is under way
    bool dead = false;                   ///< while its item is under way: its process died
  };
  struct Watcher {
    Asker asker;
    bool wants_item;
  };
  struct UnderWay {
    std::uint64_t order;  ///< of handing out; unbuffered: of its putter
    detail::Payload item;
    std::optional<Putter> putter;  ///< unbuffered, without its item
  };
  using UnderWayTable = std::map<Asker, UnderWay>;
  /// Of one process that puts.
  struct Places {
    std::size_t count = 0;  ///< not filled yet
    int puts = 0;           ///< asked for since it has none: some are to come before it gets any
    bool called_back = false;
  };

  void watch(Watcher watcher, Replies& replies);
  void serve(Replies& replies);
  bool admit(Replies& replies);
  void show(Replies& replies);
  bool hand_out(Replies& replies);
  /// Nothing where there is nothing to take. May throw what the user's store does.
  std::optional<UnderWay> next_item();
  std::optional<detail::Payload> peek();
  void put_back(UnderWay&& item, Replies& replies);
  void refuse_hasty(Replies& replies);
  bool has_room() const { return items_.size() + reserved_ < capacity_; }
  void call_back(Replies& replies);
  void end_close(Replies& replies);
  void end_drained(Replies& replies);

  const std::size_t capacity_ = 0;
  const PlacesPolicy policy_;
  const std::unique_ptr<detail::ItemStore> store_;
  bool closed_ = false;
  std::uint64_t last_order_ = 0;
  std::map<std::uint64_t, detail::Payload> returned_;  ///< by their order: they go before all others
  std::deque<detail::Payload> items_;
  std::list<Putter> putters_;
  std::deque<Asker> takers_;
  std::deque<Watcher> watchers_;
  UnderWayTable under_way_;
  std::unordered_map<Pid, Places> places_;
  std::size_t reserved_ = 0;    ///< their sum
  std::vector<Asker> closers_;  ///< who wait for items that may still come
};

/// A channel that lives in this process. Whoever locks the mutex holds none of the calls room's; replies are sent, and
/// what may hold handles is destroyed, after it is unlocked where that can be.
class OwnedChannel {
 public:
  explicit OwnedChannel(std::size_t capacity) : queue(capacity), users_store(false) {}
  explicit OwnedChannel(std::unique_ptr<detail::ItemStore> store) : queue(std::move(store)), users_store(true) {}

  RemoteRefId id;  ///< set before anybody else knows of it

  std::mutex mutex;  ///< guards queue
  ChannelQueue queue;
  const bool users_store;  ///< its operations run user code: not on the receiving thread
};

}  // namespace muster::runtime
