// Frames of any bytes: read, read field by field, and sent to a transport as messages of a peer it knows and of one it
// does not. The outcome must be a message, or a closed peer.

#include "runtime/base/log.hpp"
#include "runtime/transport/memory/memory_lane.hpp"
#include "runtime/transport/transport.hpp"

#include <muster/errors.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace {

using namespace muster::runtime;
using Bytes = std::span<const std::byte>;
using Frames = std::vector<std::vector<std::byte>>;

constexpr std::uint64_t max_message = std::uint64_t{4} << 20U;

/// Looks at every byte, so that the sanitizer sees when one lies elsewhere.
std::size_t sum(Bytes bytes) {
  std::size_t all = 0;
  for (const std::byte byte : bytes) all += std::to_integer<std::size_t>(byte);
  return all;
}

class Looker final : public TransportSink {
 public:
  void on_message(Incoming message) override {
    seen_ += sum(message.payload.bytes.bytes());
    for (const auto& part : message.payload.parts) {
      if (part.size == 0) std::abort();
      seen_ += sum({part.data, part.size});
    }
    link = message.link;
  }
  void on_lost(const std::shared_ptr<Link>& lost, const std::string& /*reason*/) override {
    if (!lost->gone || !lost->assemblies.empty()) std::abort();
  }
  std::shared_ptr<Link> link;

 private:
  std::size_t seen_ = 0;
};

/// The first byte of what is left chooses what is read, so that the input is the script too.
void read_fields(Bytes bytes) {
  try {
    FieldReader script(bytes), in(bytes);
    for (;;) {
      switch (script.u8() % 8) {
        case 0: (void)in.u8(); break;
        case 1: (void)in.u32(); break;
        case 2: (void)in.u64(); break;
        case 3: (void)in.i32(); break;
        case 4: (void)in.i64(); break;
        case 5: (void)in.text(); break;
        case 6: (void)in.reference(); break;
        default: in.finish(); return;
      }
    }
  } catch (const muster::SerializationError&) {
  }
}

void read(Bytes bytes) {
  try {
    const FrameView view = read_frame(bytes, max_message);
    if (header_size + view.inline_bytes.size() + view.handles.size() * handle_record_size +
            view.part_sizes.size() * 8 !=
        bytes.size())
      std::abort();
    (void)sum(view.inline_bytes);
    read_fields(view.inline_bytes);
  } catch (const muster::SerializationError&) {
  }
  read_fields(bytes);
}

/// The parts that a first frame names, or something near it.
Frames with_parts(Bytes first, std::uint8_t how) {
  Frames frames{{first.begin(), first.end()}};
  try {
    for (const std::uint64_t size : read_frame(first, max_message).part_sizes) frames.emplace_back(size);
  } catch (const muster::SerializationError&) {
  }
  switch (how % 8) {
    case 5: frames.pop_back(); break;
    case 6: frames.emplace_back(how); break;
    case 7: frames.back().resize(frames.back().size() + 1); break;
    default: break;
  }
  return frames;
}

/// Sends messages to a transport: the whole input as one, then what it holds as a row of `{how, length, first frame}`.
void attack(Bytes input, bool admitted) {
  MemoryHub hub;
  MemoryLane attacker(hub);
  Looker looker;
  TransportOptions options;
  options.max_message = max_message;
  options.most_assemblies = 4;
  Transport victim(std::make_unique<MemoryLane>(hub), looker, options);
  LinkId link = 0;
  const auto send = [&](Frames frames) {
    attacker.send_raw(link, std::move(frames));
    while (victim.receive_some(16)) {
    }
  };
  const auto meet = [&] {
    link = attacker.dial(victim.lane().endpoint());
    attacker.send(link, Header{.kind = MessageKind::hello}, {});
    while (victim.receive_some(16)) {
    }
    if (admitted) victim.admit(*looker.link, 2);
  };
  meet();
  send(with_parts(input, 0));
  meet();
  for (int messages = 0; input.size() >= 3 && messages < 64; ++messages) {
    const auto how = std::to_integer<std::uint8_t>(input[0]);
    const std::size_t length = std::to_integer<std::size_t>(input[1]) | std::to_integer<std::size_t>(input[2]) << 8U;
    input = input.subspan(3);
    const Bytes first = input.first(std::min(length, input.size()));
    input = input.subspan(first.size());
    send(with_parts(first, how));
  }
  attacker.close(link);
  while (victim.receive_some(16)) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = (log::set_level(log::level_named("off")), true);
  (void)quiet;
  const Bytes input = std::as_bytes(std::span(data, size));
  read(input);
  attack(input, false);
  attack(input, true);
  return 0;
}
