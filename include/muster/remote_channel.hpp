/// @file
/// Channels: queues of values that any process puts into and takes from, wherever they live.
#pragma once

#include <muster/channel.hpp>
#include <muster/detail/channel_core.hpp>
#include <muster/spawn.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

namespace muster {

namespace detail {

/// A user's store, with its items encoded.
template <class T>
class EncodedStore final : public ItemStore {
 public:
  explicit EncodedStore(std::unique_ptr<ChannelStore<T>> store) : store_(std::move(store)) {}

  bool try_put(const Payload& item, std::shared_ptr<void>& decoded) override {
    if (!decoded) decoded = std::make_shared<T>(from_payload<T>(item));
    return store_->try_put(*static_cast<T*>(decoded.get()));
  }
  std::optional<Payload> try_take() override {
    auto value = store_->try_take();
    if (!value) return std::nullopt;
    return to_payload(std::move(*value));
  }
  std::optional<Payload> peek() override {
    const T* const value = store_->peek();
    if (value == nullptr) return std::nullopt;
    Payload item;
    OutputArchive archive(item);
    encode(archive, *value);
    item.own();
    return item;
  }
  std::size_t size() override { return store_->size(); }

 private:
  std::unique_ptr<ChannelStore<T>> store_;
};

}  // namespace detail

/// A handle to a queue of values that lives in one process. Copies are the same channel; it can be sent anywhere as an
/// argument, result, captured value or container element.
///
/// Values are copied: what was put is what is taken, whatever its putter does to the original afterwards, also within
/// one process. Items come out in the order in which they went in; those that wait are served in the order in which
/// they began to.
///
/// An item is gone only once a taker has received it. One that is on its way to a taker that has given up meanwhile
/// (its time was over, its task cancelled) or whose process died goes back to the front. So a taker never swallows an
/// item; a second process can see one only if the first died before word of its receipt was sent. A put that throws has
/// left nothing: who gives up asks the owner for the outcome, for at most a quarter of a second. Only where the owner
/// does not answer that is it unknown, and a TimeoutError then says so.
///
/// Its owner keeps the channel while anybody holds a handle. When the owner dies, every operation that waits and every
/// later one throws ProcessExitedException. The operations of a handle are requests to the owner, one round trip each
/// (a take says besides that it has the item); at the owner itself they send nothing.
///
/// To a process on its host that puts one small item after the other, the owner gives places in advance, as far as
/// there is room: a put into such a place returns when the item was sent, and nothing but the owner's end can keep it
/// from getting there. Whoever hears of that put by way of muster finds the item in the channel; by other ways (a file,
/// a socket) one may hear of it some microseconds before.
/// @par Thread safety
/// Every member from any thread.
/// @throws NoSession from every member; CancelledError or InterruptedError from every member in a task that must stop;
/// TimeoutError when the scope's deadline ends.
template <class T>
class RemoteChannel {
 public:
  using value_type = T;  ///< what it carries
  /// Over what is taken, as it is taken.
  using iterator = detail::ChannelIterator<RemoteChannel>;

  /// A channel of this process that holds one item.
  RemoteChannel() : RemoteChannel(1) {}
  /// A channel that lives at `where`, which is asked for it. @param capacity how many items it holds; 0: unbuffered,
  /// put returns when its item was taken
  /// @throws std::invalid_argument for an unknown process, ProcessExitedException for one that is gone
  explicit RemoteChannel(std::size_t capacity, Pid where = myid())
      : core_(detail::make_channel(capacity, where)), unbuffered_(capacity == 0) {
    detail::check_value<T>();
  }
  /// A channel over a store of one's own: factory runs at `where`, and returns std::unique_ptr<ChannelStore<T>>. The
  /// factory travels as a call's function does. @throws RemoteException where the factory throws
  template <class Make>
  static RemoteChannel make(Make factory, Pid where = myid());

  /// Adds an item; waits while there is no room. @throws ChannelClosed
  void put(T value) const { detail::channel_put(core_, encoded(std::move(value)), {}); }
  /// @throws TimeoutError where there was no room in time: the item is not in the channel. Also all that put throws
  void put(T value, std::chrono::nanoseconds timeout) const {
    detail::channel_put(core_, encoded(std::move(value)), timeout);
  }
  /// Adds an item if there is room now; unbuffered: if somebody takes it now. @throws ChannelClosed
  bool try_put(T value) const { return detail::channel_try_put(core_, encoded(std::move(value))); }
  /// Takes the first item; waits for one. @throws ChannelClosed when the channel is closed and empty
  T take() const { return detail::from_payload<T>(detail::channel_take(core_, {})); }
  /// @throws TimeoutError where none came in time; whatever take throws
  T take(std::chrono::nanoseconds timeout) const {
    return detail::from_payload<T>(detail::channel_take(core_, timeout));
  }
  /// Takes the first item if there is one now. @throws as take
  std::optional<T> try_take() const {
    const auto item = detail::channel_try_take(core_);
    if (!item) return std::nullopt;
    return detail::from_payload<T>(*item);
  }
  /// A copy of the first item, which stays; waits for one. Where several wait each gets it, and before any taker.
  /// @throws ChannelClosed when the channel is closed and empty; std::logic_error for an unbuffered one
  T fetch() const { return fetch_within({}); }
  /// @throws TimeoutError where none came in time; whatever fetch throws
  T fetch(std::chrono::nanoseconds timeout) const { return fetch_within(timeout); }
  /// Waits until there is something to take: unbuffered, until somebody puts. @throws ChannelClosed when it is closed
  /// and empty
  void wait() const { detail::channel_wait(core_, {}); }
  /// @throws TimeoutError where nothing came in time; whatever wait throws
  void wait(std::chrono::nanoseconds timeout) const { detail::channel_wait(core_, timeout); }
  /// Whether there is something to take. The answer may be old as soon as it is here, as those of the four below.
  bool isready() const { return size() != 0; }
  /// Whether there is nothing to take.
  bool isempty() const { return size() == 0; }
  /// How many items can be taken; unbuffered: how many putters wait.
  std::size_t size() const { return detail::channel_size(core_); }
  /// Whether it was not closed yet.
  bool isopen() const { return detail::channel_is_open(core_); }
  /// From now on put throws ChannelClosed, also where it waits; take drains what is left, then throws it. Closing again
  /// does nothing.
  void close() const { detail::channel_close(core_); }

  /// `for (auto& item : channel)` takes until the channel is closed and empty.
  iterator begin() const { return iterator(*this); }
  /// The end, which is met when the channel is closed and empty.
  iterator end() const { return {}; }

  /// Process that keeps the items.
  Pid where() const { return core_->owner(); }
  /// Its name, the same everywhere.
  RemoteRefId id() const { return core_->id(); }
  /// Whether both are the same channel.
  friend bool operator==(const RemoteChannel& a, const RemoteChannel& b) { return a.id() == b.id(); }

  /// For muster's own use.
  RemoteChannel(std::in_place_t, detail::ChannelPointer core, bool unbuffered)
      : core_(std::move(core)), unbuffered_(unbuffered) {}
  /// For muster's own use.
  const detail::ChannelPointer& core() const { return core_; }
  /// For muster's own use.
  bool is_unbuffered() const { return unbuffered_; }
  /// @cond
  // Into archives of other kinds; see carries_handles.
  template <class Archive>
  void save(Archive&) const {}
  template <class Archive>
  void load(Archive&) {
    core_.reset();
  }
  /// @endcond

 private:
  static detail::Payload encoded(T&& value) {
    detail::check_value<T>();
    return detail::to_payload(std::move(value));
  }
  T fetch_within(detail::Timeout timeout) const {
    if (unbuffered_) detail::throw_unbuffered_fetch();
    return detail::from_payload<T>(detail::channel_fetch(core_, timeout));
  }

  detail::ChannelPointer core_;
  bool unbuffered_ = false;
};

/// The channel's first item, which stays. @see RemoteChannel::fetch
template <class T>
T fetch(const RemoteChannel<T>& channel) {
  return channel.fetch();
}
/// Waits until there is something to take. @see RemoteChannel::wait
template <class T>
void wait(const RemoteChannel<T>& channel) {
  channel.wait();
}

namespace detail {

template <class T>
struct Codec<RemoteChannel<T>> {
  using Elements = TypeList<>;
  static constexpr std::size_t least_bytes = sizeof(std::uint32_t) + 1;
  static void save(OutputArchive& archive, const RemoteChannel<T>& channel) {
    check_names_channel(channel.core());
    archive.write_number(archive.add_handle(channel.core()));
    archive.write_number(static_cast<std::uint8_t>(channel.is_unbuffered() ? 1 : 0));
  }
  static RemoteChannel<T> make(InputArchive& archive) {
    std::uint32_t index = 0;
    std::uint8_t unbuffered = 0;
    archive.read_number(index);
    archive.read_number(unbuffered);
    return {std::in_place, channel_of(archive.handle(index)), unbuffered != 0};
  }
};

/// What RemoteChannel::make runs where the channel is to live.
template <class T, class Make>
RemoteChannel<T> make_channel_with(Make factory) {
  std::unique_ptr<ChannelStore<T>> store = factory();
  if (!store) throw std::invalid_argument("muster: the factory of a channel returned no store");
  return {std::in_place, make_channel(std::make_unique<EncodedStore<T>>(std::move(store))), false};
}

}  // namespace detail

/// @cond
template <class T>
template <class Make>
RemoteChannel<T> RemoteChannel<T>::make(Make factory, Pid where) {
  detail::check_value<T>();
  static_assert(
      std::is_convertible_v<std::invoke_result_t<Make>, std::unique_ptr<ChannelStore<T>>>,
      "muster: the factory of a channel takes no arguments, and returns a std::unique_ptr<muster::ChannelStore<T>>");
  return remotecall_fetch(&detail::make_channel_with<T, Make>, where, std::move(factory));
}
/// @endcond

}  // namespace muster

/// @cond
template <class T>
struct std::hash<muster::RemoteChannel<T>> {
  std::size_t operator()(const muster::RemoteChannel<T>& channel) const noexcept {
    return std::hash<muster::RemoteRefId>{}(channel.id());
  }
};
/// @endcond
