// Puts into places that a channel's owner has given in advance: they are sent without a question.

#include "runtime/calls/calls.hpp"
#include "runtime/calls/message_contents.hpp"

namespace muster::runtime {

using detail::ChannelCore;
using detail::ChannelPointer;
using detail::CorePointer;
using detail::Payload;

namespace {

/// What is larger is asked for: it may not fit the peer's memory at once. In bytes.
constexpr std::size_t largest_unasked = 4096;
/// Who must not be kept from going on (a task's answer, a process that ends) waits no longer for an owner: it may have
/// left, or stand still. Then somebody else may hear of a put a little before the owner has it.
constexpr auto owners_time = std::chrono::seconds(1);
/// An owner that gives more at once breaks the rules.
constexpr std::uint64_t most_places_at_once = std::uint64_t{1} << 20;

}  // namespace

/// Puts an item into a place that the owner has set aside for this process. It is in when it has left: nothing but the
/// owner's end can keep it from getting there, not even this process's.
/// @returns false where there is none, or the item is none for it: nothing was done
bool Calls::put_unasked(const ChannelPointer& channel, Payload& item) {
  if (!item.handles.empty() || !item.parts.empty() || item.bytes.size() > largest_unasked) return false;
  if (Executor::receiving_here() || !channel->places.take()) return false;
  std::shared_ptr<Link> link;
  try {
    link = wait_for_link(channel->owner(), Waits::heedful);
    if (link->gone) {  // it would swallow the item: who asks hears why
      if (channel->places.not_sent()) give_places_back(channel->owner(), channel->id());
      return false;
    }
    append_reference(item, channel->id());
    if (notes_waiting()) flush_notes();
    transmit_over(*link,
                  Header{.kind = MessageKind::channel_request,
                         .flags = put_in_place_flag,
                         .code = static_cast<std::uint32_t>(ChannelOperation::put)},
                  item, Waits::heedful, Transport::Urgency::now);
  } catch (...) {
    if (channel->places.not_sent()) give_places_back(channel->owner(), channel->id());
    throw;
  }
  unconfirmed_.sent(channel->owner(), channel->id());
  if (channel->places.sent()) give_places_back(channel->owner(), channel->id());
  if (!transport_.handed_over(*link)) confirm_puts({unconfirmed_.mark(channel->owner())}, Waits::stubborn);
  return true;
}

void Calls::give_places_back(Pid owner, const RemoteRefId& channel) {
  Payload payload;
  append_reference(payload, channel);
  send_control(
      owner,
      Header{.kind = MessageKind::channel_word, .code = static_cast<std::uint32_t>(ChannelWord::places_returned)},
      std::move(payload));
}

void Calls::settle_puts_now(Pid receiver, Waits waits) {
  if (!Executor::receiving_here()) confirm_puts(unconfirmed_.marks_elsewhere(receiver), waits);
}

/// Any question is answered behind what was sent before it.
void Calls::confirm_puts(const std::vector<UnconfirmedPuts::Mark>& marks, Waits waits) {
  std::vector<CorePointer> answers;
  for (const auto& mark : marks) {
    const auto number = next_number();
    answers.push_back(expect_answer(number, mark.owner));
    Payload payload;
    append_reference(payload, mark.channel);
    try {
      transmit(mark.owner,
               Header{.kind = MessageKind::channel_request,
                      .code = static_cast<std::uint32_t>(ChannelOperation::is_open),
                      .number = number},
               nullptr, std::move(payload), Waits::no);
    } catch (const std::exception&) {  // it is gone, and with it what was put there
      (void)take_pending(number);
      unconfirmed_.forget(mark.owner);
      answers.back() = nullptr;
    }
  }
  const bool heedful = waits == Waits::heedful;
  const std::optional<Clock::time_point> until = Clock::now() + owners_time;
  for (std::size_t i = 0; i < marks.size(); ++i) {
    if (!answers[i]) continue;
    const auto woken = wait_for_reply(*answers[i], heedful ? current_deadline() : until,
                                      heedful ? Executor::Stops::heeded : Executor::Stops::ignored);
    if (woken == Executor::Woken::event) {
      unconfirmed_.confirmed(marks[i]);
    } else if (heedful) {
      check_waited(woken, "process " + std::to_string(marks[i].owner) + " had not confirmed what was put there before");
    } else {
      (void)take_pending(answers[i]->id().number);
      unconfirmed_.forget(marks[i].owner);  // nobody else is to wait for it again
    }
  }
}

void Calls::on_channel_notice(Incoming& message, Pid sender) {
  const auto ref = strip_reference(message.payload);
  const auto notice = static_cast<ChannelNotice>(message.header.code);
  const bool recall = notice == ChannelNotice::recall;
  if (!recall && (notice != ChannelNotice::places || message.header.number > most_places_at_once))
    throw SerializationError("An unknown notice about a channel");
  std::shared_ptr<detail::Handle> handle;
  {
    const std::lock_guard lock(references_mutex_);
    if (const auto found = handles_.find(ref); found != handles_.end()) handle = found->second.lock();
  }
  auto* const channel = dynamic_cast<ChannelCore*>(handle.get());
  if (channel != nullptr && channel->owner() != sender)
    throw SerializationError("A notice about a channel of another process");
  if (!recall) {  // without a handle there is nobody to use them: they wait until they are called back
    if (channel != nullptr) channel->places.add(static_cast<std::uint32_t>(message.header.number));
  } else if (channel == nullptr || channel->places.give_back()) {
    give_places_back(sender, ref);
  }
}

// -- as owner ---------------------------------------------------------------------------------------------------------

void Calls::put_in_place(const RemoteRefId& ref, Incoming& message, Pid sender) {
  const auto channel = owned_channel(ref);
  if (!channel || channel->users_store) return;  // freed: nobody can take it
  message.payload.own();
  ChannelQueue::Replies replies;
  {
    const std::lock_guard lock(channel->mutex);
    channel->queue.put_in_place(sender, std::move(message.payload), replies);
    channel->queue.offer_places(sender, replies);
  }
  send_replies(*channel, std::move(replies));
  item_came_ = true;
}

}  // namespace muster::runtime
