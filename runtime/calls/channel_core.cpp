#include "runtime/base/deadline.hpp"
#include "runtime/calls/calls.hpp"
#include "runtime/exec/executor.hpp"

#include <muster/channel.hpp>
#include <muster/detail/channel_core.hpp>

#include <stdexcept>

namespace muster::detail {

namespace {

using runtime::ChannelOperation;

/// A duration of one operation, as the scope's deadline: then it bounds all that the operation waits for.
class LimitedTo {
 public:
  explicit LimitedTo(Timeout timeout) : limited_(timeout.has_value()) {
    if (!timeout) return;
    before_ = runtime::exchange_scope_deadline(std::nullopt);
    (void)runtime::exchange_scope_deadline(runtime::earlier(before_, runtime::deadline_after(*timeout)));
  }
  ~LimitedTo() {
    if (limited_) (void)runtime::exchange_scope_deadline(before_);
  }
  LimitedTo(const LimitedTo&) = delete;
  LimitedTo& operator=(const LimitedTo&) = delete;

 private:
  const bool limited_;
  std::optional<runtime::Clock::time_point> before_;
};

/// @throws NoSession, and as check_names_channel
runtime::Calls& calls_of(const ChannelPointer& channel) {
  check_names_channel(channel);
  return channel->anchor().get();
}

/// A question whose reply is yes or a failure.
Payload ask(const ChannelPointer& channel, ChannelOperation operation, Timeout timeout, Payload&& item = {}) {
  const LimitedTo limit(timeout);
  // NOLINTNEXTLINE(bugprone-unchecked-optional-access): nothing is the reply to what was asked at once only
  return *calls_of(channel).ask_channel(channel, operation, false, std::move(item));
}

}  // namespace

void check_names_channel(const ChannelPointer& channel) {
  if (channel) return;
  throw std::logic_error(
      "muster: this RemoteChannel names no channel: it was moved from, or read out of an archive that is not muster's "
      "own");
}

ChannelCore::~ChannelCore() {
  anchor_->with([this](runtime::Calls& calls) { calls.release(*this); });
}

void channel_put(const ChannelPointer& channel, Payload&& item, Timeout timeout) {
  (void)ask(channel, ChannelOperation::put, timeout, std::move(item));
}

bool channel_try_put(const ChannelPointer& channel, Payload&& item) {
  return calls_of(channel).ask_channel(channel, ChannelOperation::put, true, std::move(item)).has_value();
}

Payload channel_take(const ChannelPointer& channel, Timeout timeout) {
  return ask(channel, ChannelOperation::take, timeout);
}

std::optional<Payload> channel_try_take(const ChannelPointer& channel) {
  return calls_of(channel).ask_channel(channel, ChannelOperation::take, true);
}

Payload channel_fetch(const ChannelPointer& channel, Timeout timeout) {
  return ask(channel, ChannelOperation::fetch, timeout);
}

void channel_wait(const ChannelPointer& channel, Timeout timeout) {
  (void)ask(channel, ChannelOperation::wait, timeout);
}

std::size_t channel_size(const ChannelPointer& channel) {
  const Payload size = ask(channel, ChannelOperation::size, {});
  runtime::FieldReader in(size.bytes.bytes());
  return in.u64();
}

bool channel_is_open(const ChannelPointer& channel) {
  return calls_of(channel).ask_channel(channel, ChannelOperation::is_open).has_value();
}

void channel_close(const ChannelPointer& channel) { (void)ask(channel, ChannelOperation::close, {}); }

void throw_unbuffered_fetch() {
  throw std::logic_error(
      "muster: an unbuffered channel (capacity 0) holds no item that fetch could show: take it, or make the channel "
      "with a capacity");
}

ChannelPointer channel_of(const std::shared_ptr<Handle>& handle) {
  auto channel = std::dynamic_pointer_cast<ChannelCore>(handle);
  if (!channel) throw SerializationError("A channel in a message names a handle of another kind");
  return channel;
}

}  // namespace muster::detail
