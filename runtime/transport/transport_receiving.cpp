// What arrives: from frames to messages.

#include "runtime/base/log.hpp"
#include "runtime/transport/message_sizes.hpp"

#include <muster/errors.hpp>

namespace muster::runtime {

using detail::Part;

namespace {

/// A message. As only one thread counts, it needs no atomic addition.
void count_received(Link& link, std::uint64_t bytes) {
  const auto count = [](std::atomic<std::uint64_t>& counter, std::uint64_t more) {
    counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
  };
  count(link.messages_received, 1);
  count(link.bytes_received, bytes);
}

/// Memory for a part that is about to arrive.
Part fresh_part(std::uint64_t size) {
  auto memory = detail::fresh_memory(size);
  const std::byte* data = memory.get();
  return {data, size, std::move(memory)};
}

}  // namespace

bool Transport::receive_some(int most) {
  int count = 0;
  for (; count < most && (count == 0 || lane_->anything()) && lane_->receive(event_); ++count) take(event_);
  // What was not taken over is not kept until the next message.
  if (event_.frames.size() != 1 || event_.frames.front().owner) event_.frames.clear();
  return count != 0;
}

/// Null where there is none; else valid until it is called again.
const std::shared_ptr<Link>* Transport::known_link(LinkId id) {
  if (recent_ && recent_->id == id) return &recent_;
  const std::shared_lock lock(mutex_);
  const auto found = links_.find(id);
  if (found == links_.end()) return nullptr;
  recent_ = found->second;
  return &recent_;
}

const std::shared_ptr<Link>& Transport::link_of(LinkId id) {
  if (const auto* known = known_link(id)) return *known;
  auto made = std::make_shared<Link>(id, false, lane_->way_out(id));
  made->last_heard = Clock::now().time_since_epoch().count();
  const std::unique_lock lock(mutex_);
  recent_ = links_.try_emplace(id, std::move(made)).first->second;
  return recent_;
}

void Transport::take(LaneEvent& event) {
  if (event.kind == LaneEvent::Kind::lost) {
    if (const auto* known = known_link(event.link)) lost(*known, event.reason);
    return;
  }
  const auto& link = link_of(event.link);
  if (link->gone) return;
  try {
    if (!take_plain(link, event)) take_message(link, event);
  } catch (const std::exception& error) {
    log::warning("A peer is closed (" +
                 (link->peer == 0 ? std::string("not admitted") : "process " + std::to_string(link->peer)) +
                 "): " + error.what());
    lane_->close(link->id);
    lost(link, std::string("it sent something invalid: ") + error.what());
  }
}

/// The short way of most messages. @returns false where it is not that of this one, of which nothing was done
bool Transport::take_plain(const std::shared_ptr<Link>& link, const LaneEvent& event) {
  if (event.frames.size() != 1 || link->peer.load(std::memory_order_relaxed) == 0 || link->ending) return false;
  const std::span frame(event.frames[0].data, event.frames[0].size);
  if (frame.size() > most_plain || frame.size() > options_.max_message) return false;
  Header header;
  std::span<const std::byte> contents;
  if (!read_plain_frame(frame, header, contents) || !sink_.takes_plain(header.kind)) return false;
  count_received(*link, frame.size());
  PlainMessage message(*this, link, header, contents);
  sink_.on_plain(message);
  if (!message.kept()) consumed(*link, message.charged());
  return true;
}

void Transport::take_message(const std::shared_ptr<Link>& link, LaneEvent& event) {
  if (event.frames.empty()) throw SerializationError("A message without a frame");
  FrameView view = read_frame({event.frames[0].data, event.frames[0].size}, options_.max_message);
  if (view.part_sizes.size() + 1 != event.frames.size())
    throw SerializationError("A message has another number of frames than it names parts");
  // Who is admitted there before it is here may have nothing else to say yet. It does not count as heard of: a stranger
  // is not to stay by that.
  if (link->peer == 0 && view.header.kind == MessageKind::heartbeat) return;
  std::size_t arrived = 0;
  for (std::size_t i = 0; i < event.frames.size(); ++i) {
    if (event.frames[i].size > longest_frame_on(*link) || (i != 0 && event.frames[i].size != view.part_sizes[i - 1]))
      throw SerializationError("A message's part does not have the size it names");
    arrived += event.frames[i].size;
  }
  count_received(*link, arrived);

  const MessageKind kind = view.header.kind;
  if (link->peer == 0 && !is_handshake(kind)) throw SerializationError("It sent a message before it was admitted");
  if (kind == MessageKind::heartbeat) return;
  if (kind == MessageKind::credit) {
    take_credit(*link, view.header.number);
    return;
  }
  if (kind == MessageKind::piece) {
    take_piece(*link, view, event);
    consumed(*link, static_cast<std::int64_t>(event.frames.back().size));
    return;
  }

  Incoming message{
      .link = link, .header = view.header, .payload = {}, .handles = std::move(view.handles), .receipt = {}};
  std::vector<Part> pieces;
  if (view.header.stream != 0) {
    pieces = take_assembled(*link, view.header.stream, arrived);
    if (link->gone) return;
  }
  const bool may_follow = reads_as_it_comes(view.header);
  auto next_piece = pieces.begin();
  message.payload.bytes.append(view.inline_bytes.data(), view.inline_bytes.size());
  if ((view.header.flags & inline_in_pieces) != 0) {
    if (next_piece == pieces.end()) throw SerializationError("A message's small part never came");
    message.payload.bytes.append(next_piece->data, next_piece->size);
    ++next_piece;
  }
  message.header.flags &= static_cast<std::uint8_t>(~(inline_in_pieces | read_as_it_comes));
  for (std::size_t i = 1; i < event.frames.size(); ++i) {
    auto& part = event.frames[i];
    if (part.size != 0) {
      if (part.arriving != nullptr && !may_follow)
        throw SerializationError("A message was sent before it was whole, which its reader does not expect");
      message.payload.parts.push_back({part.data, part.size, std::move(part.owner), part.arriving});
    } else {
      if (next_piece == pieces.end()) throw SerializationError("A message has a part of no bytes");
      message.payload.parts.push_back(std::move(*next_piece++));
    }
  }
  if (next_piece != pieces.end()) throw SerializationError("A message has parts that it does not name");

  const bool inline_by_pieces = (view.header.flags & inline_in_pieces) != 0;
  const std::int64_t charged =
      charge_of(inline_by_pieces ? 0 : message.payload.bytes.size(), message.payload.parts, message.handles.size());
  message.header.stream = 0;
  if (!is_handshake(kind)) message.receipt = Receipt(*this, link, charged);
  sink_.on_message(std::move(message));
}

void Transport::take_credit(Link& link, std::uint64_t bytes) {
  if (bytes > static_cast<std::uint64_t>(link.outstanding.load(std::memory_order_relaxed)))
    throw SerializationError("It acknowledged more than it was sent");
  link.outstanding.fetch_sub(static_cast<std::int64_t>(bytes), std::memory_order_relaxed);
  flush_held(link);
  tell_waiting(link);
}

void Transport::take_piece(Link& link, const FrameView& view, const LaneEvent& event) {
  if (view.header.stream == 0 || event.frames.size() != 2 || event.frames[1].size == 0 || !view.inline_bytes.empty() ||
      !view.handles.empty())
    throw SerializationError("A piece without its bytes");
  const auto& piece = event.frames[1];
  const std::lock_guard lock(link.assemblies_mutex);
  if (link.gone) return;
  if (link.assemblies.size() >= options_.most_assemblies && !link.assemblies.contains(view.header.stream))
    throw SerializationError("More than " + std::to_string(options_.most_assemblies) +
                             " messages have only some of their pieces here");
  auto& assembly = link.assemblies[view.header.stream];
  if ((view.header.flags & 1) != 0) {
    if (!assembly.parts.empty() && assembly.filled != assembly.parts.back().size)
      throw SerializationError("A piece of another part came before the last one's end");
    if (!by_pieces(link, view.header.number)) throw SerializationError("A small part came in pieces");
    if (view.header.number > options_.max_message - assembly.total)
      throw SerializationError("A message of more than " + std::to_string(options_.max_message) +
                               " bytes, the limit set by SessionOptions::max_message");
    assembly.parts.push_back(fresh_part(view.header.number));
    assembly.total += view.header.number;
    assembly.filled = 0;
  }
  if (assembly.parts.empty() || piece.size > assembly.parts.back().size - assembly.filled)
    throw SerializationError("More pieces than their part has room for");
  std::memcpy(const_cast<std::byte*>(assembly.parts.back().data) + assembly.filled, piece.data, piece.size);
  assembly.filled += piece.size;
}

std::vector<Part> Transport::take_assembled(Link& link, std::uint32_t stream, std::size_t arrived) const {
  const std::lock_guard lock(link.assemblies_mutex);
  if (link.gone) return {};
  const auto found = link.assemblies.find(stream);
  if (found == link.assemblies.end()) throw SerializationError("A message names pieces that never came");
  Link::Assembly& assembly = found->second;
  if (assembly.parts.empty() || assembly.filled != assembly.parts.back().size)
    throw SerializationError("A message came before the last of its pieces");
  if (arrived > options_.max_message - assembly.total)
    throw SerializationError("A message of more than " + std::to_string(options_.max_message) +
                             " bytes, the limit set by SessionOptions::max_message");
  std::vector<Part> parts = std::move(assembly.parts);
  link.assemblies.erase(found);
  return parts;
}

}  // namespace muster::runtime
