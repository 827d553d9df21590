#include "runtime/transport/shm/shm_peer.hpp"

#include "runtime/base/log.hpp"

#include <muster/errors.hpp>

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace muster::runtime {

namespace {

/// Larger bodies go through blocks, which spares the copy out of the ring.
constexpr std::size_t block_from = std::size_t{16} << 10;

/// Messages that may lie in a sleeping reader's ring before it is woken for them. Each that is not woken for saves both
/// sides some 20 µs; more than these make a window longer than it is worth.
constexpr int most_unheard = 3;
static_assert(block_from <= longest_record);

/// How much of a block is written between two words of it: what lies in a core's own cache moves to another fastest.
constexpr std::size_t least_step = std::size_t{16} << 10, most_step = std::size_t{128} << 10;

constexpr std::uint32_t layout_version = 3;
constexpr std::array<char, 8> magic{'m', 'u', 's', 't', 'e', 'r', 's', 'm'};

enum class WordKind : std::uint32_t { hello = 1, welcome = 2, segment = 3 };

/// What is said over the socket.
struct Word {
  std::array<char, 8> magic{};
  std::uint32_t version = layout_version;
  WordKind kind{};
  std::uint32_t number = 0;  ///< of the link at the sender's door, or of a segment
  std::uint32_t reserved = 0;
  std::uint64_t size = 0;  ///< of a ring, or of a segment
};

Word word(WordKind kind, std::uint32_t number, std::uint64_t size) {
  return {.magic = magic, .kind = kind, .number = number, .size = size};
}

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

/// @throws SerializationError when there are not that many bytes
template <class T>
T value_in(std::span<const std::byte> bytes) {
  T value;
  if (bytes.size() != sizeof value) throw SerializationError("A record of a ring does not have its size");
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

constexpr std::size_t controls_size = 4096;
constexpr std::size_t rings_size = controls_size + 2 * ring_capacity;
static_assert(2 * sizeof(RingControl) <= controls_size);

}  // namespace

/// A block that is read here; its writer hears when nobody does any more.
struct ShmPeer::Lease final : detail::Arriving {
  Lease(std::weak_ptr<ShmPeer> lender, const BlockPlace& where, const BlockViews& views)
      : peer(std::move(lender)), place(where), block(views.view(where, memory)) {}
  ~Lease() override {
    if (const auto lender = peer.lock()) lender->release(place);
  }

  const std::byte* await(const std::byte* end) override {
    const auto needed = static_cast<std::uint64_t>(end - block.body.data());
    std::uint64_t written = block.head->written.load(std::memory_order_acquire);
    if (written < needed) {
      if (const auto writer = peer.lock()) written = writer->await_written(*block.head, needed);
    }
    if (written < needed)
      throw detail::SenderLost(
          "A message ends too early: the process that was sending it has ended, or its connection");
    return block.body.data() + std::min(written, place.size);
  }
  bool is_whole() const { return block.head->written.load(std::memory_order_acquire) >= place.size; }

  const std::weak_ptr<ShmPeer> peer;
  const BlockPlace place;
  std::shared_ptr<const void> memory;
  const BlockViews::View block;
};

ShmPeer::ShmPeer(LinkId id, const Door& own, Unheard& left_unheard, std::uint32_t slot, UniqueFd socket,
                 std::string endpoint)
    : id_(id),
      own_(own),
      left_unheard_(left_unheard),
      slot_(slot),
      socket_(std::move(socket)),
      endpoint_(std::move(endpoint)),
      pool_([this](std::uint32_t segment, std::uint64_t size, const UniqueFd& memory) {
        return pass_segment(segment, size, memory);
      }) {}

// -- opening ----------------------------------------------------------------------------------------------------------

void ShmPeer::greet() {
  UniqueFd memory;
  rings_ = SharedMemory::create(rings_size, memory);
  const Word hello = word(WordKind::hello, slot_, ring_capacity);
  const std::array descriptors{memory.get(), own_.memory_fd(), own_.bell_fd()};
  if (!send_packet(socket_, bytes_of(hello), descriptors))
    throw std::system_error(errno, std::generic_category(), "its greeting can't be sent");
}

void ShmPeer::open_rings(SharedMemory memory, bool dialer) {
  rings_ = std::move(memory);
  auto* const controls = reinterpret_cast<RingControl*>(rings_.data());
  std::byte* const data = rings_.data() + controls_size;
  const std::size_t out = dialer ? 0 : 1;
  writer_ = RingWriter(controls + out, data + out * ring_capacity);
  reader_ = RingReader(controls + 1 - out, data + (1 - out) * ring_capacity);
  readers_asleep_ = &controls[out].sleepers;
  sleepers_here_ = &controls[1 - out].sleepers;
  open_ = true;
}

bool ShmPeer::take_packets() {
  Packet packet;
  for (;;) {
    switch (receive_packet(socket_, packet)) {
      case Arrival::packet: take_packet(packet); break;
      case Arrival::nothing: return true;
      case Arrival::end: return false;
    }
  }
}

void ShmPeer::take_packet(Packet& packet) {
  const auto said = value_in<Word>(packet.bytes);
  if (said.magic != magic || said.version != layout_version)
    throw std::runtime_error("it speaks another version of the shared-memory lane");
  const auto expect = [&](bool now, std::size_t descriptors) {
    if (!now || packet.descriptors.size() != descriptors) throw std::runtime_error("it said something out of turn");
  };
  const bool dialer = !endpoint_.empty();
  switch (said.kind) {
    case WordKind::hello:
      expect(!dialer && !is_open() && said.size == ring_capacity, 3);
      take_hello(packet, said.number);
      break;
    case WordKind::welcome:
      expect(dialer && !is_open(), 2);
      take_welcome(packet, said.number);
      break;
    case WordKind::segment:
      expect(is_open(), 1);
      views_.add(said.number, said.size, packet.descriptors[0]);
      break;
    default: throw std::runtime_error("it said something unknown");
  }
}

void ShmPeer::take_hello(Packet& packet, std::uint32_t slot) {
  auto memory = SharedMemory::map(packet.descriptors[0], rings_size, SharedMemory::Access::write);
  const std::lock_guard lock(mutex_);
  door_ = PeerDoor(packet.descriptors[1], std::move(packet.descriptors[2]), slot);
  open_rings(std::move(memory), false);
  const std::array descriptors{own_.memory_fd(), own_.bell_fd()};
  if (!send_packet(socket_, bytes_of(word(WordKind::welcome, slot_, 0)), descriptors))
    throw std::system_error(errno, std::generic_category(), "its greeting can't be answered");
}

void ShmPeer::take_welcome(Packet& packet, std::uint32_t slot) {
  std::deque<UnsentMessage> unsent;  // destroyed without the lock
  {
    const std::lock_guard lock(mutex_);
    door_ = PeerDoor(packet.descriptors[0], std::move(packet.descriptors[1]), slot);
    open_rings(std::move(rings_), true);
    unsent.swap(unsent_);
    for (const auto& message : unsent) put_or_keep(MessageBody(message.header, message.payload));
  }
  door_.knock(PeerDoor::News::other);
}

bool ShmPeer::is_open() const {
  const std::lock_guard lock(mutex_);
  return open_;
}

std::deque<UnsentMessage> ShmPeer::give_up() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  return std::move(unsent_);
}

// -- writing ----------------------------------------------------------------------------------------------------------

bool ShmPeer::pass_segment(std::uint32_t segment, std::uint64_t size, const UniqueFd& memory) {
  const std::array descriptors{memory.get()};
  return send_packet(socket_, bytes_of(word(WordKind::segment, segment, size)), descriptors);
}

/// Does something to the ring, under the lock, and tells the reader where f says that there is news for it.
/// @returns false where it is closed
template <class F>
bool ShmPeer::writing(F f, Wake wake) {
  try {
    {
      const std::lock_guard lock(mutex_);
      if (is_closed()) return false;
      if (!f()) return true;
    }
    const bool left_asleep = wake == Wake::later && unheard_.fetch_add(1, std::memory_order_relaxed) < most_unheard;
    if (wake == Wake::now || (wake == Wake::later && !left_asleep)) unheard_.store(0, std::memory_order_relaxed);
    door_.knock(PeerDoor::News::record, wake != Wake::never && !left_asleep);
  } catch (const SerializationError& error) {
    log::warning(std::string("A connection of this host is closed: ") + error.what());
    (void)::shutdown(socket_.get(), SHUT_RDWR);  // the receiving thread hears of it
  }
  return true;
}

/// A message of nothing else, as most are.
bool ShmPeer::put_frame(const Header& header, const detail::Payload& payload, std::size_t size) {
  if (any_waiting_.load(std::memory_order_relaxed)) return false;
  std::byte* const room = writer_.reserve(size);
  if (room == nullptr) return false;
  write_frame(room, header, payload);
  writer_.publish(RecordKind::frame);
  return true;
}

bool ShmPeer::put_now(const MessageBody& body) {
  if (!waiting_.empty() || body.size() > longest_record) return false;
  std::byte* const room = writer_.reserve(body.size());
  if (room == nullptr) return false;
  body.write(room);
  writer_.publish(RecordKind::message);
  return true;
}

void ShmPeer::put(RecordKind kind, std::span<const std::byte> contents) {
  waiting_.push_back({kind, {contents.begin(), contents.end()}});
  write_waiting();
}

void ShmPeer::put_or_keep(const MessageBody& body) {
  if (put_now(body)) return;
  std::vector<std::byte> bytes(body.size());
  body.write(bytes.data());
  waiting_.push_back({RecordKind::message, std::move(bytes)});
  write_waiting();
}

/// A message too large for a record goes in fragments: there was no block for it.
void ShmPeer::write_waiting() {
  any_waiting_ = !waiting_.empty();
  while (!waiting_.empty()) {
    Waiting& next = waiting_.front();
    const bool fragments = next.bytes.size() > longest_record;
    const std::uint64_t total = next.bytes.size();
    const std::size_t head = fragments && next.done == 0 ? sizeof total : 0;
    const std::size_t bytes = std::min(next.bytes.size() - next.done, longest_record - head);
    std::byte* const room = writer_.reserve(head + bytes);
    if (room == nullptr) {
      if (writer_.ask_for_room(head + bytes)) continue;
      return;
    }
    std::memcpy(room, &total, head);
    std::memcpy(room + head, next.bytes.data() + next.done, bytes);
    writer_.publish(fragments ? RecordKind::fragment : next.kind);
    next.done += bytes;
    if (next.done == next.bytes.size()) waiting_.pop_front();
  }
  any_waiting_ = false;
}

std::optional<BlockPool::Block> ShmPeer::take_block_for(std::size_t size) {
  std::optional<BlockPool::SegmentSize> wanted;
  {
    const std::lock_guard lock(mutex_);
    if (!open_ || is_closed()) return std::nullopt;
    if (const auto block = pool_.take(size)) return block;
    wanted = pool_.next_segment(size);
  }
  auto made = wanted ? BlockPool::make(*wanted) : std::nullopt;
  if (!made) return std::nullopt;
  const std::lock_guard lock(mutex_);
  if (is_closed()) return std::nullopt;
  return pool_.take_from(std::move(*made), size);
}

bool ShmPeer::send(const Header& header, const detail::Payload& payload, Urgency urgency) {
  const std::size_t frame = frame_size(payload);
  const bool single = payload.parts.empty() && frame <= block_from;
  const Wake wake = urgency == Urgency::now ? Wake::now : Wake::later;
  bool taken = false;
  if (single) {
    taken = writing(
        [&] {
          if (!open_) return keep_unsent(header, payload);
          if (!put_frame(header, payload, frame)) put_or_keep(MessageBody(header, payload));
          return true;
        },
        wake);
  } else {
    const MessageBody body(header, payload);
    const auto block = body.size() > block_from ? take_block_for(body.size()) : std::nullopt;
    if (block) {
      taken = send_block(*block, body, reads_as_it_comes(header), wake);
    } else {
      taken = writing(
          [&] {
            if (!open_) return keep_unsent(header, payload);
            put_or_keep(body);
            return true;
          },
          wake);
    }
  }
  if (urgency == Urgency::soon) left_unheard_.note();
  return taken;
}

/// @param follow its reader may read what is written while the rest is being written
bool ShmPeer::send_block(const BlockPool::Block& block, const MessageBody& body, bool follow, Wake wake) {
  const auto hand_over = [&] {
    put(RecordKind::block, bytes_of(block.place));
    return true;
  };
  const std::size_t front = body.write_front(block.data);
  bool taken = false;
  if (follow) {
    tell_written(*block.head, front, *readers_asleep_);
    taken = writing(hand_over, wake);
  }
  const std::size_t step = follow ? std::clamp(body.size() / 4, least_step, most_step) : body.size();
  body.write_parts(block.data, step, [&](std::size_t bytes) {
    if (follow) tell_written(*block.head, bytes, *readers_asleep_);
  });
  tell_written(*block.head, body.size(), *readers_asleep_);
  if (!follow) taken = writing(hand_over, wake);
  const std::lock_guard lock(mutex_);
  pool_.written(block.place);
  return taken;
}

/// It may have to go over another lane. @returns false: there is no news in the ring
bool ShmPeer::keep_unsent(const Header& header, const detail::Payload& payload) {
  UnsentMessage message{header, payload};
  message.payload.own();
  unsent_.push_back(std::move(message));
  return false;
}

void ShmPeer::wake() {
  if (unheard_.exchange(0) > 0) door_.knock(PeerDoor::News::record);
}

bool ShmPeer::flush_now() {
  bool done = true;
  (void)writing([&] {
    if (!open_ || waiting_.empty()) return false;
    write_waiting();
    done = waiting_.empty();
    return true;
  });
  return done;
}

bool ShmPeer::all_written() const {
  const std::lock_guard lock(mutex_);
  return open_ && waiting_.empty();
}

void ShmPeer::trim(Clock::time_point since) {
  (void)writing(
      [&] {
        if (!open_) return false;
        for (const std::uint32_t segment : pool_.trim(since)) put(RecordKind::forget, bytes_of(segment));
        return true;
      },
      Wake::never);
}

void ShmPeer::release(const BlockPlace& place) noexcept {
  try {
    const auto put_release = [&] {
      put(RecordKind::release, bytes_of(place));
      return true;
    };
    (void)writing(put_release, Wake::never);
  } catch (const std::exception& error) {
    log::error(std::string("A shared block can't be given back: ") + error.what());
  }
}

void ShmPeer::close() {
  const std::lock_guard lock(mutex_);
  if (closed_.exchange(true)) return;
  waiting_.clear();
  any_waiting_ = false;
  (void)::shutdown(socket_.get(), SHUT_RDWR);
}

// -- reading ----------------------------------------------------------------------------------------------------------

bool ShmPeer::read(LaneEvent& event, std::vector<std::byte>& first_frame) {
  if (!reader_) return false;  // it has not opened yet
  RingReader::Record record;
  while (!is_closed() && reader_.front(record)) {
    const bool message = take_record(record, event, first_frame);
    reader_.pop();
    if (!message) continue;
    event.kind = LaneEvent::Kind::message;
    event.link = id_;
    return true;
  }
  if (reader_.take_writer_waits()) door_.knock(PeerDoor::News::other);
  return false;
}

bool ShmPeer::take_record(const RingReader::Record& record, LaneEvent& event, std::vector<std::byte>& first_frame) {
  const auto contents = record.contents;
  switch (record.kind) {
    case RecordKind::frame:
      first_frame.assign(contents.begin(), contents.end());
      if (event.frames.size() != 1) event.frames.resize(1);
      event.frames.front() = {first_frame.data(), first_frame.size(), nullptr};
      return true;
    case RecordKind::message: {
      if (parts_in(contents) == 0) {
        read_body(contents, {}, first_frame, event);
      } else {
        const auto copy = std::make_shared<std::vector<std::byte>>(contents.begin(), contents.end());
        read_body(*copy, {copy}, first_frame, event);
      }
      return true;
    }
    case RecordKind::block: take_block(value_in<BlockPlace>(contents), event, first_frame); return true;
    case RecordKind::fragment: return take_fragment(contents, event, first_frame);
    case RecordKind::release: {
      const auto place = value_in<BlockPlace>(contents);
      const std::lock_guard lock(mutex_);
      pool_.give_back(place);
      return false;
    }
    case RecordKind::forget: views_.forget(value_in<std::uint32_t>(contents)); return false;
    default: throw SerializationError("A record of a ring has an unknown kind");
  }
}

void ShmPeer::take_block(const BlockPlace& place, LaneEvent& event, std::vector<std::byte>& first_frame) {
  if (!views_.knows(place.segment)) (void)take_packets();  // it was passed before the record was written
  const auto lease = std::make_shared<Lease>(weak_from_this(), place, views_);
  read_body(lease->block.body, {lease, lease->is_whole() ? nullptr : lease.get()}, first_frame, event);
}

/// @returns how far it is written; less than that: by nobody any more
std::uint64_t ShmPeer::await_written(const BlockHead& head, std::uint64_t bytes) const {
  return runtime::await_written(head, bytes, *sleepers_here_, [this] {
    pollfd hang_up{.fd = socket_.get(), .events = POLLRDHUP, .revents = 0};
    return is_closed() || (::poll(&hang_up, 1, 0) == 1 && hang_up.revents != 0);
  });
}

bool ShmPeer::take_fragment(std::span<const std::byte> bytes, LaneEvent& event, std::vector<std::byte>& first_frame) {
  if (!assembly_.bytes) {
    if (bytes.size() < sizeof assembly_.size) throw SerializationError("A message in fragments does not say its size");
    std::memcpy(&assembly_.size, bytes.data(), sizeof assembly_.size);
    bytes = bytes.subspan(sizeof assembly_.size);
    assembly_.bytes = std::make_shared<std::vector<std::byte>>();
  }
  auto& whole = *assembly_.bytes;
  if (bytes.empty() || bytes.size() > assembly_.size - whole.size())
    throw SerializationError("A message in fragments has another size than it said");
  whole.insert(whole.end(), bytes.begin(), bytes.end());
  if (whole.size() < assembly_.size) return false;
  const auto body = std::move(assembly_.bytes);
  read_body(*body, {body}, first_frame, event);
  return true;
}

}  // namespace muster::runtime
