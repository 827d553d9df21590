#include "runtime/transport/transport.hpp"

#include "runtime/base/log.hpp"

#include <muster/errors.hpp>

#include <algorithm>
#include <ctime>

namespace muster::runtime {

namespace {

using detail::Part;
using detail::Payload;

/// Set where the message's small part came as the first of its pieces.
constexpr std::uint8_t inline_in_pieces = 0x80;

/// No small part of up to that many bytes travels in pieces, over any lane.
constexpr std::size_t most_plain = std::size_t{16} << 10;
static_assert(most_plain <= piece_size);

bool by_pieces(const Link& link, std::size_t size) { return size > link.largest_part.load(std::memory_order_relaxed); }

/// No frame of that link is longer.
std::size_t longest_frame_on(const Link& link) {
  return link.largest_part.load(std::memory_order_relaxed) + (longest_frame - piece_size);
}

/// What of a payload travels in pieces, in order: the small part where it is not small, then the large parts.
Part piece_source(const Link& link, const Payload& payload, std::size_t index) {
  const bool inline_first = by_pieces(link, payload.bytes.size());
  if (inline_first && index == 0) return {payload.bytes.data(), payload.bytes.size(), nullptr};
  std::size_t skip = inline_first ? index - 1 : index;
  for (const Part& part : payload.parts)
    if (by_pieces(link, part.size) && skip-- == 0) return part;
  return {};
}

/// What a message takes out of the window: both sides must come to the same number.
std::int64_t charge_of(std::size_t inline_bytes, const std::vector<Part>& parts, std::size_t handles) {
  std::size_t sum = header_size + inline_bytes + handles * handle_record_size + parts.size() * sizeof(std::uint64_t);
  for (const Part& part : parts) sum += part.size;
  return static_cast<std::int64_t>(sum);
}

/// Credit could be given back only to who was admitted already.
bool is_handshake(MessageKind kind) {
  return kind <= MessageKind::refuse || (kind >= MessageKind::knock && kind <= MessageKind::program);
}

std::int64_t charge_of(const Link& link, const Payload& payload) {
  const std::size_t inline_bytes = by_pieces(link, payload.bytes.size()) ? 0 : payload.bytes.size();
  return charge_of(inline_bytes, payload.parts, payload.handles.size());
}

/// As Clock::now(), some milliseconds late: it is a tenth of the work.
Clock::rep now() {
  timespec time{};
  (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  return (std::chrono::seconds(time.tv_sec) + Clock::duration(time.tv_nsec)).count();
}

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

void Receipt::give_now() noexcept {
  try {
    std::exchange(transport_, nullptr)->consumed(*link_, bytes_);
  } catch (const std::exception& error) {
    log::error(std::string("Cannot acknowledge a message: ") + error.what());
  }
}

Transport::Transport(std::unique_ptr<Lane> lane, TransportSink& sink, TransportOptions options)
    : options_(options), sink_(sink), lane_(std::move(lane)) {}

Transport::~Transport() = default;

std::shared_ptr<Link> Transport::dial(const std::string& endpoint) {
  const std::string resolved = lane_->resolve(endpoint);
  const std::unique_lock lock(mutex_);  // held over dial, so that the link is known before its first event is
  const LinkId id = lane_->dial(resolved);
  auto link = std::make_shared<Link>(id, true, lane_->way_out(id));
  link->last_heard = now();
  links_[link->id] = link;
  return link;
}

void Transport::admit(Link& link, Pid peer) {
  link.last_heard = now();
  link.largest_part = lane_->largest_part(link.id);
  link.peer = peer;
}

void Transport::close(const std::shared_ptr<Link>& link) {
  lane_->close(link->id);
  lost(link, {});
}

void Transport::finish(const std::shared_ptr<Link>& link, std::function<void()> f) {
  link->ending = true;
  {
    const std::lock_guard lock(link->mutex);
    if (!link->gone) link->at_end = std::exchange(f, nullptr);
  }
  if (f)
    f();
  else if (!lane_->finish(link->id))
    close(link);
}

void Transport::check_size(const Link& link, const Header& header, const Payload& payload) const {
  const std::size_t first = frame_size(payload);
  const std::size_t size = payload.total_size() - payload.bytes.size() + first;
  if (size > options_.max_message)
    throw SerializationError("A message of " + std::to_string(size) + " bytes exceeds the limit of " +
                             std::to_string(options_.max_message) +
                             " bytes. Send less at once, or raise SessionOptions::max_message.");
  const bool whole = is_handshake(header.kind) || !by_pieces(link, payload.bytes.size());
  if (first - (whole ? 0 : payload.bytes.size()) > longest_frame_on(link))
    throw SerializationError("A message holds " + std::to_string(payload.handles.size()) + " handles and " +
                             std::to_string(payload.parts.size()) + " large arrays: too many. Send fewer at once.");
}

/// What try_send does, for a message that can only be small.
bool Transport::try_send_plain(Link& link, const Header& header, const Payload& payload, Urgency urgency) {
  const std::size_t size = header_size + payload.bytes.size();
  if (size > options_.max_message) check_size(link, header, payload);  // says so
  tell_news(link, header.kind);
  if (window_used(link) || link.any_held.load(std::memory_order_relaxed)) return false;
  count_sent(link, static_cast<std::int64_t>(size), size);
  hand_over(link, header, payload, urgency);
  return true;
}

bool Transport::try_send(Link& link, const Header& header, const Payload& payload, Progress& progress,
                         Urgency urgency) {
  if (link.gone) return true;
  const bool plain = payload.parts.empty() && payload.handles.empty() && payload.bytes.size() <= most_plain;
  if (plain && !is_handshake(header.kind)) return try_send_plain(link, header, payload, urgency);
  if (!progress.started) {
    check_size(link, header, payload);
    tell_news(link, header.kind);
    if (window_used(link)) return false;
    if (link.any_held) return false;
    progress.started = true;
  }
  if (!send_pieces(link, payload, progress, true)) return false;
  send_main(link, header, payload, progress, urgency);
  return true;
}

void Transport::send(Link& link, const Header& header, Payload&& payload) {
  if (link.gone) return;
  check_size(link, header, payload);
  tell_news(link, header.kind);
  {
    const std::lock_guard lock(link.mutex);
    if (window_used(link) || !link.held.empty()) {
      payload.own();
      link.held.push_back({header, std::move(payload)});
      link.any_held = true;
      return;
    }
  }
  Progress progress;
  // Pieces are for who was admitted: a hello to a large cluster travels whole.
  if (!is_handshake(header.kind)) (void)send_pieces(link, payload, progress, false);
  send_main(link, header, payload, progress, Urgency::now);
}

void Transport::tell_news_now(Link& link, MessageKind kind) {
  if (link.peer != 0 && !is_handshake(kind) && kind != MessageKind::news) sink_.on_behind(link);
}

bool Transport::send_pieces(Link& link, const Payload& payload, Progress& progress, bool may_stop) {
  for (;; ++progress.part, progress.offset = 0) {
    const Part source = piece_source(link, payload, progress.part);
    if (source.size == 0) return true;
    while (progress.stream == 0) progress.stream = ++last_stream_;
    while (progress.offset < source.size) {
      if (link.gone) return true;
      if (may_stop && window_used(link)) return false;
      const std::size_t size = std::min(piece_size, source.size - progress.offset);
      Header header{.kind = MessageKind::piece, .number = source.size, .stream = progress.stream};
      header.flags = progress.offset == 0 ? 1 : 0;
      Payload piece;
      piece.parts.push_back({source.data + progress.offset, size, source.owner});
      transmit(link, header, piece, static_cast<std::int64_t>(size));
      progress.offset += size;
    }
  }
}

void Transport::send_main(Link& link, Header header, const Payload& payload, const Progress& progress,
                          Urgency urgency) {
  header.stream = progress.stream;
  if (progress.stream == 0) {
    transmit(link, header, payload, is_handshake(header.kind) ? 0 : charge_of(link, payload), urgency);
    return;
  }
  Payload rest;
  rest.handles = payload.handles;
  if (by_pieces(link, payload.bytes.size()))
    header.flags |= inline_in_pieces;
  else
    rest.bytes = payload.bytes;
  // A part of no bytes marks the place of one that came in pieces.
  for (const Part& part : payload.parts) rest.parts.push_back(by_pieces(link, part.size) ? Part{} : part);
  transmit(link, header, rest, charge_of(link, payload), urgency);
}

void Transport::transmit(Link& link, const Header& header, const Payload& payload, std::int64_t charged,
                         Urgency urgency) {
  count_sent(link, charged, static_cast<std::uint64_t>(charge_of(link, payload)));
  hand_over(link, header, payload, urgency);
}

void Transport::count_sent(Link& link, std::int64_t charged, std::uint64_t bytes) {
  link.outstanding.fetch_add(charged, std::memory_order_relaxed);
  link.messages_sent.fetch_add(1, std::memory_order_relaxed);
  link.bytes_sent.fetch_add(bytes, std::memory_order_relaxed);
}

void Transport::hand_over(Link& link, const Header& header, const Payload& payload, Urgency urgency) {
  if (link.port && link.port->send(header, payload, urgency)) return;
  if (urgency == Urgency::now)
    lane_->send(link.id, header, payload);
  else
    lane_->send_soon(link.id, header, payload);
}

void Transport::on_credit(Link& link, std::function<void()> f) {
  {
    const std::lock_guard lock(link.mutex);
    if (!link.gone && (window_used(link) || !link.held.empty())) {
      link.waiting.push_back(std::move(f));
      return;
    }
  }
  f();
}

void Transport::tell_waiting(Link& link) {
  std::vector<std::function<void()>> waiting;
  {
    const std::lock_guard lock(link.mutex);
    if (!link.gone && (window_used(link) || !link.held.empty())) return;
    waiting.swap(link.waiting);
  }
  for (const auto& tell : waiting) tell();
}

void Transport::flush_held(Link& link) {
  for (;;) {
    Link::Held next;
    {
      const std::lock_guard lock(link.mutex);
      if (link.held.empty() || window_used(link)) return;
      next = std::move(link.held.front());
    }
    Progress progress;
    (void)send_pieces(link, next.payload, progress, false);
    send_main(link, next.header, next.payload, progress, Urgency::now);
    const std::lock_guard lock(link.mutex);
    if (!link.held.empty()) link.held.pop_front();
    link.any_held = !link.held.empty();
  }
}

void Transport::consumed(Link& link, std::int64_t bytes) {
  if (link.gone) return;
  const std::int64_t total = link.consumed.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (total < options_.credit_window / 8) return;
  const std::int64_t told = link.consumed.exchange(0, std::memory_order_relaxed);
  if (told == 0) return;
  const Header header{.kind = MessageKind::credit, .number = static_cast<std::uint64_t>(told)};
  link.messages_sent.fetch_add(1, std::memory_order_relaxed);
  lane_->send(link.id, header, {});
}

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
  made->last_heard = now();
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
  auto next_piece = pieces.begin();
  message.payload.bytes.append(view.inline_bytes.data(), view.inline_bytes.size());
  if ((view.header.flags & inline_in_pieces) != 0) {
    if (next_piece == pieces.end()) throw SerializationError("A message's small part never came");
    message.payload.bytes.append(next_piece->data, next_piece->size);
    ++next_piece;
    message.header.flags &= static_cast<std::uint8_t>(~inline_in_pieces);
  }
  for (std::size_t i = 1; i < event.frames.size(); ++i) {
    auto& part = event.frames[i];
    if (part.size != 0) {
      message.payload.parts.push_back({part.data, part.size, std::move(part.owner)});
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

void Transport::lost(const std::shared_ptr<Link>& link, const std::string& reason) {
  if (link->gone.exchange(true)) return;
  {
    const std::unique_lock lock(mutex_);
    links_.erase(link->id);
  }
  std::function<void()> at_end;
  {
    const std::lock_guard lock(link->mutex);
    link->held.clear();
    link->any_held = false;
    at_end = std::move(link->at_end);
  }
  {
    const std::lock_guard lock(link->assemblies_mutex);
    link->assemblies.clear();
  }
  tell_waiting(*link);
  if (at_end)
    at_end();
  else if (!reason.empty())
    sink_.on_lost(link, reason);
}

void Transport::keep_alive(std::chrono::nanoseconds interval, std::chrono::nanoseconds timeout) {
  const Clock::rep time = now();
  const Clock::rep before = last_check_.exchange(time);
  // Having been stopped or starved ourselves, we cannot blame the peers for silence.
  const bool late = before != 0 && time - before > 3 * interval.count();
  for (const auto& link : links()) {
    // To look at a clock for each message would cost more than to count it.
    const auto sent = link->messages_sent.load(std::memory_order_relaxed);
    if (std::exchange(link->sent_before, sent) != sent) link->last_sent.store(time, std::memory_order_relaxed);
    const auto received = link->messages_received.load(std::memory_order_relaxed);
    if (late || std::exchange(link->received_before, received) != received)
      link->last_heard.store(time, std::memory_order_relaxed);
    const Clock::rep silence = time - link->last_heard.load(std::memory_order_relaxed);
    if (link->peer == 0) {
      if (link->dialed || silence <= options_.hello_timeout.count()) continue;
      lane_->close(link->id);
      lost(link, "it was not admitted");
      continue;
    }
    if (silence > timeout.count()) {
      lane_->close(link->id);
      lost(link, "nothing was heard from it for " + std::to_string(timeout.count() / 1'000'000) +
                     " ms (SessionOptions::heartbeat_timeout)");
      continue;
    }
    if (time - link->last_sent.load(std::memory_order_relaxed) < interval.count()) continue;
    link->last_sent.store(time, std::memory_order_relaxed);
    lane_->send(link->id, Header{.kind = MessageKind::heartbeat}, {});
  }
  if (!late) lane_->upkeep(Clock::now() - options_.hello_timeout);
}

std::vector<std::shared_ptr<Link>> Transport::links() const {
  const std::shared_lock lock(mutex_);
  std::vector<std::shared_ptr<Link>> all;
  all.reserve(links_.size());
  for (const auto& [id, link] : links_) all.push_back(link);
  return all;
}

}  // namespace muster::runtime
