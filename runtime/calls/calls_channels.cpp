// Channels: asking their owner, and being it.

#include "runtime/base/failure.hpp"
#include "runtime/base/log.hpp"
#include "runtime/calls/calls.hpp"
#include "runtime/calls/message_contents.hpp"

#include <algorithm>

namespace muster::runtime {

using detail::ChannelCore;
using detail::ChannelPointer;
using detail::CorePointer;
using detail::FutureCore;
using detail::Payload;
using Reply = ChannelQueue::Reply;

namespace {

/// Who gives up waiting asks for the outcome, so that what it reports is what happened. That takes a round trip; an
/// owner that does not speak at all is waited for this long.
constexpr auto outcome_grace = std::chrono::milliseconds(250);
/// In the flags of a request.
constexpr std::uint8_t at_once_flag = 1;

bool waits(ChannelOperation operation) {
  return operation >= ChannelOperation::put && operation <= ChannelOperation::wait;
}

Payload number_payload(std::uint64_t number) {
  Payload payload;
  FieldWriter(payload.bytes).u64(number);
  return payload;
}

std::string name_of(const ChannelCore& channel) {
  return "channel " + std::to_string(channel.id().creator) + ":" + std::to_string(channel.id().number) +
         " of process " + std::to_string(channel.owner());
}

Error gone(Pid owner) {
  // NOLINTNEXTLINE(modernize-return-braced-init-list): the constructor is explicit
  return Error("Process " + std::to_string(owner) +
               " does not keep that channel any more: nobody holds a handle to it, as far as it knows");
}

std::vector<std::byte> encode_failure_of(const Reply& reply, Pid here) {
  return encode_failure(reply.failure, here, reply.users_failure ? FailureOrigin::task : FailureOrigin::runtime);
}

/// What a reply that came at once means to who asked.
std::optional<Payload> outcome(Reply&& reply, Pid here) {
  switch (reply.what) {
    case Reply::What::yes: return std::move(reply.item);
    case Reply::What::no: return std::nullopt;
    default: break;
  }
  if (reply.users_failure) std::rethrow_exception(decode_failure(encode_failure_of(reply, here)));
  std::rethrow_exception(reply.failure);
}

void operate(ChannelQueue& queue, Asker asker, ChannelOperation operation, bool at_once, Payload&& item,
             ChannelQueue::Replies& replies) {
  switch (operation) {
    case ChannelOperation::create: break;  // was seen to before
    case ChannelOperation::put: queue.put(asker, std::move(item), at_once, replies); break;
    case ChannelOperation::take: queue.take(asker, at_once, replies); break;
    case ChannelOperation::fetch: queue.fetch(asker, replies); break;
    case ChannelOperation::wait: queue.wait(asker, replies); break;
    case ChannelOperation::size:
      try {
        replies.push_back({.to = asker, .what = Reply::What::yes, .item = number_payload(queue.size())});
      } catch (...) {
        replies.push_back(
            {.to = asker, .what = Reply::What::failed, .failure = std::current_exception(), .users_failure = true});
      }
      break;
    case ChannelOperation::is_open:
      replies.push_back({.to = asker, .what = queue.is_open() ? Reply::What::yes : Reply::What::no});
      break;
    case ChannelOperation::close: queue.close(asker, replies); break;
  }
}

}  // namespace

// -- handles ----------------------------------------------------------------------------------------------------------

ChannelPointer Calls::new_channel(Pid owner, std::shared_ptr<OwnedChannel> owned) {
  auto channel = std::make_shared<ChannelCore>(anchor_, RemoteRefId{self_, next_number()}, owner, owned);
  if (owned) owned->id = channel->id();
  const std::lock_guard lock(references_mutex_);
  if (owned) store_.add_channel(channel->id(), std::move(owned));
  // Counted before its owner hears of it: should the answer not be waited for, the release follows the request on its
  // way.
  channel->counted = true;
  held_.created(channel->id(), owner);
  handles_[channel->id()] = channel;
  return channel;
}

ChannelPointer Calls::make_channel(std::size_t capacity, Pid where) {
  if (where == self_) return new_channel(where, std::make_shared<OwnedChannel>(capacity));
  auto channel = new_channel(where, nullptr);
  (void)ask_channel(channel, ChannelOperation::create, false, number_payload(capacity));
  return channel;
}

ChannelPointer Calls::make_channel(std::unique_ptr<detail::ItemStore> store) {
  return new_channel(self_, std::make_shared<OwnedChannel>(std::move(store)));
}

void Calls::announce_channel(const ChannelPointer& channel, Pid receiver) {
  const std::lock_guard lock(references_mutex_);
  held_.sending(channel->id(), receiver);
  notes_waiting_ = true;
}

void Calls::release(ChannelCore& channel) noexcept {
  try {
    // A message may have brought it again since the last handle went: that one has taken over the count.
    std::shared_ptr<detail::Handle> successor;  // destroyed without the lock
    const std::lock_guard lock(references_mutex_);
    if (const auto found = handles_.find(channel.id()); found != handles_.end()) {
      successor = found->second.lock();
      if (!successor) handles_.erase(found);
    }
    if (!channel.counted || successor) return;
    held_.dropped(channel.id());
    note_waiting();
  } catch (const std::exception& error) {
    log::error(std::string("Cannot release a channel: ") + error.what());
  }
}

void Calls::discard(ValueStore::Freed& freed) {
  for (auto& channel : std::exchange(freed.channels, {}))
    if (channel->users_store) stores_thread_.run([channel = std::move(channel)] {});
}

// -- asking -----------------------------------------------------------------------------------------------------------

std::optional<Payload> Calls::ask_channel(const ChannelPointer& channel, ChannelOperation operation, bool at_once,
                                          Payload&& item) {
  if (const TaskState* task = current_task()) task->check();
  const Pid owner = channel->owner();
  settle_puts(owner, Waits::heedful);
  if (owner != self_ && operation == ChannelOperation::put && put_unasked(channel, item)) return Payload{};
  const ChannelQuestion question{channel, operation, at_once, next_number()};
  if (owner == self_) return ask_channel_here(question, std::move(item));
  const auto before = unconfirmed_.mark(owner);
  auto answer = await_reply(question, ask_channel_there(question, std::move(item)));
  unconfirmed_.confirmed(before);  // it heard the question behind all that
  return answer;
}

CorePointer Calls::expect_answer(std::uint64_t number, Pid owner) {
  auto answer = std::allocate_shared<FutureCore>(core_memory_, anchor_, RemoteRefId{self_, number}, owner,
                                                 FutureCore::State::pending);
  const std::lock_guard lock(pending_mutex_);
  pending_.insert(answer);
  return answer;
}

std::optional<Payload> Calls::ask_channel_here(const ChannelQuestion& question, Payload&& item) {
  const auto& owned = question.channel->owned();
  if (!owned) throw gone(self_);
  item.own();
  if (auto done = operate_here(*owned, question.operation, item)) return done;
  const Asker asker{self_, question.number};
  std::optional<Reply> reply;
  CorePointer answer;
  ChannelQueue::Replies replies;
  {
    const std::lock_guard lock(owned->mutex);
    operate(owned->queue, asker, question.operation, question.at_once, std::move(item), replies);
    const auto mine =
        std::find_if(replies.begin(), replies.end(), [asker](const Reply& one) { return one.to == asker; });
    if (mine == replies.end()) {
      answer = expect_answer(question.number, self_);  // before anybody can answer
    } else {
      reply = std::move(*mine);
      replies.erase(mine);
      if (question.operation == ChannelOperation::take) owned->queue.received(asker, replies);
    }
  }
  if (!replies.empty()) send_replies(*owned, std::move(replies));
  return reply ? outcome(std::move(*reply), self_) : await_reply(question, answer);
}

/// Puts and takes that are over at once. @returns nothing for others
std::optional<Payload> Calls::operate_here(OwnedChannel& owned, ChannelOperation operation, Payload& item) {
  if (operation == ChannelOperation::take) {
    const std::lock_guard lock(owned.mutex);
    return owned.queue.take_here();
  }
  if (operation != ChannelOperation::put) return std::nullopt;
  const std::lock_guard lock(owned.mutex);
  return owned.queue.put_here(item) ? std::optional<Payload>(std::in_place) : std::nullopt;
}

CorePointer Calls::ask_channel_there(const ChannelQuestion& question, Payload&& item) {
  const Pid owner = question.channel->owner();
  auto answer = expect_answer(question.number, owner);
  const Header header{.kind = MessageKind::channel_request,
                      .flags = question.at_once ? at_once_flag : std::uint8_t{0},
                      .code = static_cast<std::uint32_t>(question.operation),
                      .number = question.number};
  try {
    append_reference(item, question.channel->id());
    transmit(owner, header, nullptr, std::move(item),
             question.operation == ChannelOperation::put ? Waits::heedful : Waits::no);
  } catch (...) {
    (void)take_pending(question.number);
    throw;
  }
  return answer;
}

Executor::Woken Calls::wait_for_reply(FutureCore& answer, std::optional<Clock::time_point> deadline,
                                      Executor::Stops stops) {
  FutureCore::Waiter waiter;
  Wakeup wakeup(executor_);
  waiter.wakeup = &wakeup;
  if (!answer.add_waiter(waiter)) return Executor::Woken::event;
  const auto woken = executor_.block(wakeup, deadline, stops);
  answer.remove_waiter(waiter);
  return answer.settled(false) ? Executor::Woken::event : woken;
}

std::optional<Payload> Calls::await_reply(const ChannelQuestion& question, const CorePointer& answer) {
  using Woken = Executor::Woken;
  // Who gives up says so at once, though its slot may be another's for long.
  std::optional<Executor::WithoutSlot> waiting(std::in_place, executor_);
  const auto woken = wait_for_reply(*answer, current_deadline(), Executor::Stops::heeded);
  const bool gave_up = woken == Woken::deadline || woken == Woken::stop;
  bool outcome_known = woken == Woken::event;
  if (gave_up && waits(question.operation)) {
    tell_channel(question.channel, ChannelWord::withdraw, question.number);
    outcome_known = wait_for_reply(*answer, Clock::now() + outcome_grace, Executor::Stops::ignored) == Woken::event;
  }
  // Nobody wants the item any more: also where it came to a task that must stop. Said now, so that it is back before
  // this process asks for the next.
  const bool takes = question.operation == ChannelOperation::take;
  std::atomic<bool> given_back{false};
  const auto give_back = [&] {
    if (!given_back.exchange(true)) tell_channel(question.channel, ChannelWord::returned, question.number);
  };
  if (takes && (!outcome_known || woken == Woken::stop)) give_back();
  {
    // The stop may come while it waits for its slot, with the item in hand.
    const StopAction stopping(takes ? current_task() : nullptr, give_back);
    waiting.reset();
  }
  switch (outcome_known ? answer->state() : FutureCore::State::pending) {
    case FutureCore::State::failed: answer->throw_failure();
    case FutureCore::State::here:
      if (takes) {
        if (given_back) current_task()->check();
        tell_channel(question.channel, ChannelWord::received, question.number);
      }
      return answer->take_payload();
    case FutureCore::State::remote:
      if (!gave_up) return std::nullopt;
      break;
    default:
      if (woken == Woken::ended) throw NoSession("The session ended while a channel was being waited for");
  }
  if (const TaskState* task = current_task()) task->check();
  throw TimeoutError("Waited in vain for " + name_of(*question.channel) + ": the deadline ended" +
                     (outcome_known || question.operation != ChannelOperation::put
                          ? ""
                          : ". Its process does not answer, so whether the item was put is not known"));
}

void Calls::tell_channel(const ChannelPointer& channel, ChannelWord word, std::uint64_t number) {
  if (channel->owner() == self_) {
    hear(channel->owned(), word, {self_, number});
    return;
  }
  Payload payload;
  append_reference(payload, channel->id());
  send_control(channel->owner(),
               Header{.kind = MessageKind::channel_word, .code = static_cast<std::uint32_t>(word), .number = number},
               std::move(payload));
}

// -- as owner ---------------------------------------------------------------------------------------------------------

/// Calls f(queue, replies), and sends the replies: here and now, but where that runs user code for others.
template <class F>
void Calls::at_channel(const std::shared_ptr<OwnedChannel>& channel, F&& f) {
  auto act = [this, channel, f = std::forward<F>(f)]() mutable {
    ChannelQueue::Replies replies;
    {
      const std::lock_guard lock(channel->mutex);
      f(channel->queue, replies);
    }
    send_replies(*channel, std::move(replies));
  };
  if (channel->users_store)
    stores_thread_.run(std::move(act));
  else
    act();
}

void Calls::on_channel_request(Incoming& message, Pid sender) {
  const auto ref = strip_reference(message.payload);
  const auto operation = static_cast<ChannelOperation>(message.header.code);
  if (operation < ChannelOperation::create || operation > ChannelOperation::close ||
      message.header.flags > put_in_place_flag)
    throw SerializationError("An unknown request about a channel");
  if (message.header.flags == put_in_place_flag) {
    if (operation != ChannelOperation::put || message.payload.has_references())
      throw SerializationError("An item for a place of its own that can't have one");
    put_in_place(ref, message, sender);
    return;
  }
  const Asker asker{sender, message.header.number};
  if (operation == ChannelOperation::create) {
    create_channel(ref, asker, message.payload);
    return;
  }
  const auto channel = owned_channel(ref);
  if (!channel) {
    send_reply(ref, {.to = asker, .what = Reply::What::failed, .failure = std::make_exception_ptr(gone(self_))});
    return;
  }
  message.payload.own();
  // Where what a process has sent may be lost with it, a put is one only once it is in.
  const bool may_offer = operation == ChannelOperation::put && transport_.handed_over(*message.link);
  at_channel(channel, [asker, operation, may_offer, at_once = message.header.flags == at_once_flag,
                       item = std::move(message.payload)](ChannelQueue& queue, ChannelQueue::Replies& replies) mutable {
    operate(queue, asker, operation, at_once, std::move(item), replies);
    if (may_offer) queue.offer_places(asker.pid, replies);
  });
}

std::shared_ptr<OwnedChannel> Calls::owned_channel(const RemoteRefId& ref) {
  const std::lock_guard lock(references_mutex_);
  return store_.channel(ref);
}

void Calls::create_channel(RemoteRefId ref, Asker creator, const Payload& capacity) {
  if (ref.creator != creator.pid) throw SerializationError("A channel is made under the name of another process");
  FieldReader in(capacity.bytes.bytes());
  auto channel = std::make_shared<OwnedChannel>(in.u64());
  channel->id = ref;
  in.finish();
  {
    const std::lock_guard lock(references_mutex_);
    if (store_.contains(ref)) throw SerializationError("A channel is made twice");
    store_.add_channel(ref, std::move(channel));
  }
  send_reply(ref, {.to = creator, .what = Reply::What::yes});
}

void Calls::on_channel_word(Incoming& message, Pid sender) {
  const auto ref = strip_reference(message.payload);
  const auto word = static_cast<ChannelWord>(message.header.code);
  if (word < ChannelWord::withdraw || word > ChannelWord::places_returned)
    throw SerializationError("An unknown word about a channel");
  hear(owned_channel(ref), word, {sender, message.header.number});
}

void Calls::hear(const std::shared_ptr<OwnedChannel>& channel, ChannelWord word, Asker asker) {
  if (!channel) return;  // freed meanwhile
  at_channel(channel, [word, asker](ChannelQueue& queue, ChannelQueue::Replies& replies) {
    switch (word) {
      case ChannelWord::withdraw: queue.withdraw(asker, replies); break;
      case ChannelWord::received: queue.received(asker, replies); break;
      case ChannelWord::returned: queue.returned(asker, replies); break;
      case ChannelWord::places_returned: queue.places_returned(asker.pid, replies); break;
    }
  });
}

void Calls::tell_of_death(const std::vector<std::shared_ptr<OwnedChannel>>& channels, Pid pid) {
  for (const auto& channel : channels)
    at_channel(channel,
               [pid](ChannelQueue& queue, ChannelQueue::Replies& replies) { queue.process_died(pid, replies); });
}

/// The link to a process is gone, which may live: places on either side went with it.
void Calls::places_lost(Pid pid) {
  std::vector<std::shared_ptr<detail::Handle>> handles;  // destroyed without the lock
  {
    const std::lock_guard lock(references_mutex_);
    for (const auto& [ref, known] : handles_) handles.push_back(known.lock());
  }
  for (const auto& handle : handles)
    if (auto* const channel = dynamic_cast<ChannelCore*>(handle.get()); channel != nullptr && channel->owner() == pid)
      (void)channel->places.give_back();
  unconfirmed_.forget(pid);
  nothing_more_from(pid);
}

void Calls::nothing_more_from(Pid pid) {
  std::vector<std::shared_ptr<OwnedChannel>> channels;
  {
    const std::lock_guard lock(references_mutex_);
    channels = store_.channels();
  }
  for (const auto& channel : channels)
    at_channel(channel,
               [pid](ChannelQueue& queue, ChannelQueue::Replies& replies) { queue.places_returned(pid, replies); });
}

void Calls::send_replies(OwnedChannel& channel, ChannelQueue::Replies&& replies) {
  for (std::size_t i = 0; i < replies.size(); ++i) {
    const Asker to = replies[i].to;
    try {
      send_reply(channel.id, std::move(replies[i]));
    } catch (const SerializationError&) {  // the item is too large to be sent: it stays, and who wanted it hears why
      {
        const std::lock_guard lock(channel.mutex);
        channel.queue.returned(to, replies);
      }
      send_reply(channel.id, {.to = to, .what = Reply::What::failed, .failure = std::current_exception()});
    }
  }
}

/// @throws SerializationError when its item is too large to be sent
void Calls::send_reply(const RemoteRefId& channel, Reply&& reply) {
  Header header{.kind = MessageKind::reply_value, .number = reply.to.number};
  const bool here = reply.to.pid == self_;
  switch (reply.what) {
    case Reply::What::yes:
      if (here) {
        on_value(header.number, self_, std::move(reply.item));
        return;
      }
      break;
    case Reply::What::no:
      if (here) {
        on_stored(header.number, self_);
        return;
      }
      header.kind = MessageKind::reply_stored;
      break;
    case Reply::What::failed: {
      auto encoded = encode_failure_of(reply, self_);
      if (here) {
        on_failure(header.number, self_, std::move(encoded));
        return;
      }
      header.kind = MessageKind::reply_failure;
      reply.item = failure_payload(encoded);
      break;
    }
    case Reply::What::places:
    case Reply::What::recall:
      header = {.kind = MessageKind::channel_notice,
                .code = static_cast<std::uint32_t>(reply.what == Reply::What::places ? ChannelNotice::places
                                                                                     : ChannelNotice::recall),
                .number = reply.places};
      append_reference(reply.item, channel);
      break;
  }
  send_control(reply.to.pid, header, std::move(reply.item));
}

}  // namespace muster::runtime
