/// @file
/// Remote channels without the type of their items: the handle that a process has, and what it asks of the owner.
#pragma once

#include <muster/detail/future_core.hpp>
#include <muster/detail/put_places.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>

namespace muster::runtime {
class OwnedChannel;
}

namespace muster::detail {

/// A user's own store behind a channel, its items encoded. Called by one thread at a time.
class ItemStore {
 public:
  ItemStore() = default;
  ItemStore(const ItemStore&) = delete;
  ItemStore& operator=(const ItemStore&) = delete;
  virtual ~ItemStore() = default;
  /// @param decoded the item itself, kept between attempts to put it; null before the first
  /// @returns false where there is no room now
  virtual bool try_put(const Payload& item, std::shared_ptr<void>& decoded) = 0;
  virtual std::optional<Payload> try_take() = 0;
  virtual std::optional<Payload> peek() = 0;
  virtual std::size_t size() = 0;
};

/// The handle that this process has of a channel.
/// Threads: every function from any.
class ChannelCore final : public Handle {
 public:
  /// @param owned the channel itself, where it lives in this process
  ChannelCore(std::shared_ptr<Anchor> anchor, RemoteRefId id, Pid owner, std::shared_ptr<runtime::OwnedChannel> owned)
      : Handle(HandleKind::channel, id, owner), owned_(std::move(owned)), anchor_(std::move(anchor)) {}
  ~ChannelCore() override;

  Anchor& anchor() const { return *anchor_; }
  const std::shared_ptr<runtime::OwnedChannel>& owned() const { return owned_; }

  bool counted = false;  ///< its owner counts this process as a holder; guarded by the calls room
  PutPlaces places;      ///< where it lives elsewhere

 private:
  const std::shared_ptr<runtime::OwnedChannel> owned_;
  const std::shared_ptr<Anchor> anchor_;
};

using ChannelPointer = std::shared_ptr<ChannelCore>;

// All of these throw what RemoteChannel's members do.

/// @throws std::logic_error for the pointer of a handle that was moved from, or comes out of a foreign archive
void check_names_channel(const ChannelPointer& channel);
/// A new channel of process `where`, empty and open.
ChannelPointer make_channel(std::size_t capacity, Pid where);
/// A new channel of this process over a user's store.
ChannelPointer make_channel(std::unique_ptr<ItemStore> store);
void channel_put(const ChannelPointer& channel, Payload&& item, Timeout timeout);
bool channel_try_put(const ChannelPointer& channel, Payload&& item);
Payload channel_take(const ChannelPointer& channel, Timeout timeout);
std::optional<Payload> channel_try_take(const ChannelPointer& channel);
Payload channel_fetch(const ChannelPointer& channel, Timeout timeout);
void channel_wait(const ChannelPointer& channel, Timeout timeout);
std::size_t channel_size(const ChannelPointer& channel);
bool channel_is_open(const ChannelPointer& channel);
void channel_close(const ChannelPointer& channel);

/// The channel that a message names. @throws SerializationError where its handle is of another kind
ChannelPointer channel_of(const std::shared_ptr<Handle>& handle);

}  // namespace muster::detail
