#include "runtime/session/program_fetch.hpp"

#include <muster/errors.hpp>

#include <algorithm>
#include <exception>

namespace muster::runtime {

namespace {

/// Parts under way at once, so that a long way costs little.
constexpr std::size_t parts_ahead = 8;
/// Of the connection, one after the other without an answer in between.
constexpr int most_losses = 3;

}  // namespace

ProgramFetch::ProgramFetch(Lane& lane, ProgramSource source) : lane_(lane), source_(std::move(source)) { dial(); }

void ProgramFetch::dial() {
  link_ = lane_.dial(source_.endpoint);
  for (const auto& [place, nonce] : std::exchange(asked_, {})) ask(place);
}

void ProgramFetch::ask(Place place) {
  ProgramRequest request{
      .ticket = source_.ticket, .file = place.first, .offset = place.second, .nonce = {}, .proof = {}};
  seal(request, source_.cookie);
  asked_[place] = request.nonce;
  lane_.send(link_, Header{.kind = MessageKind::program_request}, encode(request));
}

void ProgramFetch::lost(const std::string& reason) {
  if (!answered_ || ++losses_ >= most_losses)
    throw Error("the connection to the master at " + source_.endpoint + " does not come about: " + reason);
  dial();
}

bool ProgramFetch::take_answer(const LaneEvent& event, ProgramPart& part) {
  const ReceivedFrame& frame = event.frames.at(0);
  const FrameView view = read_frame({frame.data, frame.size}, longest_frame);
  if (view.header.kind == MessageKind::refuse) std::rethrow_exception(error_of(decode_refuse(view.inline_bytes)));
  if (view.header.kind != MessageKind::program) throw HandshakeError("The master answered with something else");
  part = decode_program_part(view.inline_bytes);
  const auto asked = asked_.find({part.file, part.offset});
  if (asked == asked_.end()) return false;  // asked again over a new connection
  verify(part, asked->second, source_.cookie);
  asked_.erase(asked);
  losses_ = 0;
  answered_ = true;
  return true;
}

ProgramPart ProgramFetch::next() {
  ProgramPart part;
  const auto deadline = Clock::now() + source_.patience;
  for (LaneEvent event; Clock::now() < deadline; lane_.wait(deadline)) {
    while (lane_.receive(event)) {
      if (event.link != link_) continue;
      if (event.kind == LaneEvent::Kind::lost)
        lost(event.reason);
      else if (take_answer(event, part))
        return part;
    }
  }
  throw TimeoutError("the master at " + source_.endpoint + " says nothing for " +
                     std::to_string(source_.patience.count() / 1000) + " s");
}

ProgramList ProgramFetch::list() {
  ask({list_of_files, 0});
  return decode_program_list(next().contents);
}

void ProgramFetch::file(std::uint32_t number, std::uint64_t size,
                        const std::function<void(std::uint64_t, std::span<const std::byte>)>& take) {
  std::uint64_t asked = 0;
  for (std::uint64_t taken = 0; taken < size;) {
    for (; asked < size && asked_.size() < parts_ahead; asked += program_part_size) ask({number, asked});
    const ProgramPart part = next();
    const std::uint64_t expected = std::min(program_part_size, size - part.offset);
    if (part.contents.size() != expected) throw HandshakeError("A part of the program has another size than was said");
    take(part.offset, part.contents);
    taken += expected;
  }
}

}  // namespace muster::runtime
