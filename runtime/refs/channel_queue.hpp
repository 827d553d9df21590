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
  withdraw = 1,  ///< who asked does not want to wait any more: reply now
  received = 2,  ///< the taker has the item
  returned = 3,  ///< the taker did not wait for the item: it goes back
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
    };
    Asker to;
    What what{};
    detail::Payload item = {};
    std::exception_ptr failure = {};
    bool users_failure = false;  ///< of the user's store, not of the channel
  };
  using Replies = std::vector<Reply>;

  /// A queue of at most so many items; 0: unbuffered.
  explicit ChannelQueue(std::size_t capacity) : capacity_(capacity) {}
  /// A channel over a user's store. What that throws is the reply to whoever's question it was about.
  explicit ChannelQueue(std::unique_ptr<detail::ItemStore> store) : store_(std::move(store)) {}

  // Replies, to whomever, are added to the last parameter.

  /// @param at_once reply no instead of waiting
  void put(Asker asker, detail::Payload&& item, bool at_once, Replies& replies);
  /// @param at_once as for put
  void take(Asker asker, bool at_once, Replies& replies);
  void fetch(Asker asker, Replies& replies) { watch({asker, true}, replies); }
  /// Until there is something to take.
  void wait(Asker asker, Replies& replies) { watch({asker, false}, replies); }
  /// Nothing for a question that was replied to.
  void withdraw(Asker asker, Replies& replies);
  void received(Asker taker, Replies& replies);
  void returned(Asker taker, Replies& replies);
  void close(Replies& replies);
  /// What it asked is forgotten. What its link had still to deliver has been told before.
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
  void end_drained(Replies& replies);

  const std::size_t capacity_ = 0;
  const std::unique_ptr<detail::ItemStore> store_;
  bool closed_ = false;
  std::uint64_t last_order_ = 0;
  std::map<std::uint64_t, detail::Payload> returned_;  ///< by their order: they go before all others
  std::deque<detail::Payload> items_;
  std::list<Putter> putters_;
  std::deque<Asker> takers_;
  std::deque<Watcher> watchers_;
  UnderWayTable under_way_;
};

/// A channel that lives in this process. Whoever locks the mutex holds none of the calls room's; replies are sent, and
/// what may hold handles is destroyed, after it is unlocked where that can be.
class OwnedChannel {
 public:
  explicit OwnedChannel(std::size_t capacity) : queue(capacity), users_store(false) {}
  explicit OwnedChannel(std::unique_ptr<detail::ItemStore> store) : queue(std::move(store)), users_store(true) {}

  std::mutex mutex;  ///< guards queue
  ChannelQueue queue;
  const bool users_store;  ///< its operations run user code: not on the receiving thread
};

}  // namespace muster::runtime
