#include "runtime/transport/transport.hpp"

#include "runtime/base/log.hpp"
#include "runtime/transport/message_sizes.hpp"

#include <muster/errors.hpp>

#include <algorithm>

namespace muster::runtime {

namespace {

using detail::Part;
using detail::Payload;

/// What of a payload travels in pieces, in order: the small part where it is not small, then the large parts.
Part piece_source(const Link& link, const Payload& payload, std::size_t index) {
  const bool inline_first = by_pieces(link, payload.bytes.size());
  if (inline_first && index == 0) return {payload.bytes.data(), payload.bytes.size(), nullptr};
  std::size_t skip = inline_first ? index - 1 : index;
  for (const Part& part : payload.parts)
    if (by_pieces(link, part.size) && skip-- == 0) return part;
  return {};
}

std::int64_t charge_of(const Link& link, const Payload& payload) {
  const std::size_t inline_bytes = by_pieces(link, payload.bytes.size()) ? 0 : payload.bytes.size();
  return runtime::charge_of(inline_bytes, payload.parts, payload.handles.size());
}

Clock::rep now() { return Clock::now().time_since_epoch().count(); }

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
