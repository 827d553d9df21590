// What another process of this user writes into a shared ring: any positions, any records, any blocks. Reading must
// end, with messages or an Error, and never leave the memory that was passed (the sanitizer sees the heap, the
// mapping's end is the memory's).

#include "runtime/transport/shm/ring.hpp"
#include "runtime/transport/shm/shared_memory.hpp"
#include "runtime/transport/shm/shm_peer.hpp"

#include <muster/errors.hpp>

#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <span>
#include <string>

namespace {

using namespace muster::runtime;

constexpr std::size_t controls_size = 4096, segment_size = std::size_t{64} << 10;

/// The rest of the input, taken from its front; zeros behind its end.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : left_(reinterpret_cast<const std::byte*>(data), size) {}
  std::span<const std::byte> take(std::size_t most) {
    const auto taken = left_.first(std::min(most, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  template <class T>
  T number() {
    T value{};
    const auto bytes = take(sizeof value);
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  bool empty() const { return left_.empty(); }

 private:
  std::span<const std::byte> left_;
};

/// docs/protocol.md, "Shared memory".
std::array<std::byte, 32> word(std::uint32_t kind, std::uint32_t number, std::uint64_t size) {
  std::array<std::byte, 32> bytes{};
  const std::uint32_t version = 3;
  std::memcpy(bytes.data(), "mustersm", 8);
  std::memcpy(bytes.data() + 8, &version, 4);
  std::memcpy(bytes.data() + 12, &kind, 4);
  std::memcpy(bytes.data() + 16, &number, 4);
  std::memcpy(bytes.data() + 24, &size, 8);
  return bytes;
}

/// The process that dialed, and what it wrote.
class Stranger {
 public:
  Stranger() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
    socket_ = UniqueFd(ends[0]);
    peer_ = std::make_shared<ShmPeer>(1, own_, unheard_, 0, UniqueFd(ends[1]), "");
    UniqueFd rings, segment, porch, bell(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    rings_ = SharedMemory::create(controls_size + 2 * ring_capacity, rings);
    segment_ = SharedMemory::create(segment_size, segment);
    porch_ = SharedMemory::create(porch_size, porch);
    const std::array descriptors{rings.get(), porch.get(), bell.get()};
    if (!send_packet(socket_, word(1, 0, ring_capacity), descriptors)) std::abort();
    const std::array passed{segment.get()};
    if (!send_packet(socket_, word(3, 0, segment_size), passed)) std::abort();
    if (!peer_->take_packets() || !peer_->is_open()) std::abort();
  }
  ShmPeer& peer() { return *peer_; }
  /// Nothing more is written: who waits for it hears so.
  void leave() { socket_.reset(); }

  /// Any image of the ring.
  void write_image(Input& input) {
    const auto image = input.take(ring_capacity);
    std::copy(image.begin(), image.end(), ring());
  }
  /// Any records, each of its size.
  void write_records(Input& input) {
    const auto block = input.take(input.number<std::uint16_t>());
    std::copy(block.begin(), block.end(), segment_.data());
    RingWriter writer(controls(), ring());
    while (!input.empty()) {
      const auto kind = static_cast<RecordKind>(input.number<std::uint8_t>() % 8U);
      const auto contents = input.take(input.number<std::uint16_t>());
      std::byte* const room = writer.reserve(contents.size());
      if (room == nullptr) return;
      std::copy(contents.begin(), contents.end(), room);
      writer.publish(kind);
    }
  }

 private:
  RingControl* controls() { return reinterpret_cast<RingControl*>(rings_.data()); }
  std::byte* ring() { return rings_.data() + controls_size; }

  Door own_;
  Unheard unheard_;
  UniqueFd socket_;
  SharedMemory rings_, segment_, porch_;
  std::shared_ptr<ShmPeer> peer_;
};

/// Reads all that can be read of a message.
void look_at(const LaneEvent& event) {
  static volatile unsigned sum;
  for (const ReceivedFrame& frame : event.frames) {
    if (frame.arriving != nullptr) (void)frame.arriving->await(frame.data + frame.size);
    for (const std::byte each : std::span(frame.data, frame.size)) sum = sum + std::to_integer<unsigned>(each);
  }
  if (event.frames.empty()) std::abort();
  (void)read_frame({event.frames[0].data, event.frames[0].size}, ~std::uint64_t{0});
}

}  // namespace

/// The first byte says whether the rest is a ring's image or a row of records.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  Stranger stranger;
  if (input.number<std::uint8_t>() % 2 == 0)
    stranger.write_image(input);
  else
    stranger.write_records(input);
  stranger.leave();
  LaneEvent event;
  std::vector<std::byte> first_frame;
  try {
    // Each message takes 64 bytes of the ring, and nobody writes more.
    for (std::size_t count = 0; stranger.peer().read(event, first_frame); ++count) {
      if (count > ring_capacity / record_alignment) std::abort();
      try {
        look_at(event);
      } catch (const muster::Error&) {
      }
    }
  } catch (const std::exception&) {  // the connection would be closed
  }
  stranger.peer().close();
  return 0;
}
