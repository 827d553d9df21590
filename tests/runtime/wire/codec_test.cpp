// Frames as bytes. golden/ holds one frame of each kind, written down by hand from docs/protocol.md: a change that
// breaks one changes the protocol, and takes a new protocol_version.

#include "runtime/wire/codec.hpp"

#include "runtime/base/failure.hpp"
#include "runtime/cluster/handshake.hpp"
#include "runtime/cluster/news.hpp"
#include "runtime/cluster/program_messages.hpp"
#include "runtime/wire/module_message.hpp"

#include <muster/errors.hpp>

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>

namespace muster::runtime {
namespace {

using detail::HandleKind;
using detail::Payload;

constexpr std::uint64_t no_limit = ~std::uint64_t{0};
using Bytes = std::vector<std::byte>;

class PlainHandle final : public detail::Handle {
 public:
  using Handle::Handle;
};

struct Sample {
  std::string name;
  Header header;
  Payload payload;
};

Payload with(const std::function<void(FieldWriter&)>& write) {
  Payload payload;
  FieldWriter out(payload.bytes);
  write(out);
  return payload;
}

/// Parts of that many bytes.
void add_parts(Payload& payload, std::initializer_list<std::size_t> sizes) {
  for (const std::size_t size : sizes) {
    auto memory = std::make_shared<Bytes>(size);
    const std::byte* data = memory->data();
    payload.parts.push_back({data, size, std::move(memory)});
  }
}

template <std::size_t N>
void count_up(std::array<std::byte, N>& bytes, int from) {
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(from++);
}

Member beta() { return {3, "10.0.0.2:6000", "beta", "boot-2", "west", {"east"}, 4}; }

/// Two that differ in their pids and endpoints only, and the end of the first.
Payload news_of_three() {
  Member alike = beta();
  alike.pid = 4;
  alike.endpoint = "10.0.0.2:6001";
  WorkerExit exit;
  exit.pid = 3;
  exit.host = "beta";
  exit.signal = 9;
  exit.last_output = "last words";
  exit.cause = "old age";
  return encode(std::vector<MemberNews>{beta(), alike, exit});
}

Payload hello() {
  Hello hello;
  hello.joins = true;
  hello.from = {1, "10.0.0.1:5000", "alpha", "boot-1", "", {}, 2};
  hello.to = 3;
  count_up(hello.nonce, 0);
  count_up(hello.proof, 32);
  hello.build_id = "b1d";
  hello.layout = "endian little";
  hello.facts.ident = "west";
  hello.facts.connect_idents = {"east"};
  hello.facts.members = {hello.from};
  hello.facts.threads = 4;
  hello.facts.heartbeat_interval = std::chrono::seconds(1);
  hello.facts.heartbeat_timeout = std::chrono::seconds(10);
  return encode(hello);
}

Payload welcome() {
  Welcome welcome;
  welcome.self = beta();
  welcome.os_pid = 4711;
  count_up(welcome.proof, 32);
  welcome.build_id = "b1d";
  welcome.layout = "endian little";
  return encode(welcome);
}

Payload knock() {
  Knock knock;
  knock.ticket = "t1c";
  knock.caller.host = "beta";
  knock.caller.os_pid = 4711;
  knock.caller.facts = {{"RANK", "3"}};
  count_up(knock.proof, 32);
  return encode(knock);
}

Payload program_request() {
  ProgramRequest request;
  request.ticket = "t1c";
  request.file = 2;
  request.offset = program_part_size;
  count_up(request.nonce, 1);
  count_up(request.proof, 32);
  return encode(request);
}

Payload program_part() {
  ProgramPart part;
  part.file = 2;
  part.offset = program_part_size;
  part.contents = {std::byte{'e'}, std::byte{'n'}, std::byte{'d'}};
  count_up(part.proof, 32);
  return encode(part);
}

void put_long(FieldWriter& out, const std::string& text) {
  out.u64(text.size());
  for (const char c : text) out.u8(static_cast<std::uint8_t>(c));
}

Payload failure() {
  return with([](FieldWriter& out) {
    out.u8(0);
    out.i32(3);
    for (const char* text : {"std::runtime_error", "broken", "  f()"}) put_long(out, text);
    out.u64(2);
    for (const char* text : {"St13runtime_error", "St9exception"}) put_long(out, text);
    out.u64(0);
  });
}

Payload call() {
  Payload payload;
  payload.bytes.append("\1\2\3", 3);
  payload.handles.push_back(std::make_shared<PlainHandle>(HandleKind::future, RemoteRefId{1, 17}, 2));
  add_parts(payload, {4096, 8192});
  return payload;
}

Payload answer(bool with_reference) {
  return with([&](FieldWriter& out) {
    out.i32(42);
    if (with_reference) out.reference({2, 42});
  });
}

Payload module_of_4_kib() {
  auto memory = std::make_shared<Bytes>(4096);
  ModuleImage image;
  image.name = "lib.so";
  image.global = true;
  image.needs = {0x0102030405060708};
  image.bytes = *memory;
  image.owner = std::move(memory);
  return encode(image);
}

Payload notes() {
  return with([](FieldWriter& out) {
    const auto note = [&](std::uint8_t kind, RemoteRefId ref, Pid holder, Pid sender, std::uint32_t count) {
      out.u8(kind);
      out.reference(ref);
      out.i32(holder);
      out.i32(sender);
      out.u32(count);
    };
    note(0, {1, 17}, 3, 2, 1);
    note(1, {1, 17}, 2, 1, 2);
    note(2, {0, 0}, 2, 4, 1);
  });
}

Payload piece() {
  Payload payload;
  add_parts(payload, {piece_size});
  return payload;
}

/// One message of each kind.
std::vector<Sample> samples() {
  using enum MessageKind;
  const auto pid = [](Pid value) { return with([value](FieldWriter& out) { out.i32(value); }); };
  const auto reference = [] { return with([](FieldWriter& out) { out.reference({1, 17}); }); };
  std::vector<Sample> all;
  const auto add = [&](const char* name, const Header& header, Payload payload = {}) {
    all.push_back({name, header, std::move(payload)});
  };
  add("hello", {.kind = hello}, runtime::hello());
  add("welcome", {.kind = welcome}, runtime::welcome());
  add("refuse", {.kind = refuse}, encode(Refuse{Refuse::Why::cookie, "no"}));
  add("dial", {.kind = dial}, pid(2));
  add("exit", {.kind = exit});
  add("goodbye", {.kind = goodbye});
  add("news", {.kind = news, .code = 3}, news_of_three());
  add("knock", {.kind = MessageKind::knock}, runtime::knock());
  add("program_request", {.kind = MessageKind::program_request}, runtime::program_request());
  add("program", {.kind = program}, program_part());
  add("heartbeat", {.kind = heartbeat});
  add("credit", {.kind = credit, .number = 8U << 20U});
  add("piece", {.kind = piece, .flags = 1, .number = 3U << 20U, .stream = 7}, runtime::piece());
  add("define_code", {.kind = define_code}, with([](FieldWriter& out) {
        out.u64(0x1122334455667788);
        out.u64(0x4010);
      }));
  add("call", {.kind = call, .flags = 1, .number = 42, .deadline = 5'000'000'000}, runtime::call());
  add("reply_value", {.kind = reply_value, .number = 42}, answer(false));
  add("reply_stored", {.kind = reply_stored, .number = 42});
  add("reply_failure", {.kind = reply_failure, .number = 42}, failure());
  add("cancel", {.kind = cancel, .number = 42});
  add("interrupt", {.kind = interrupt});
  add("module_request", {.kind = module_request, .number = 0x1122334455667788});
  add("module", {.kind = module, .number = 0x1122334455667788}, module_of_4_kib());
  add("reference_request", {.kind = reference_request, .code = 1, .number = 43}, reference());
  add("reference_notes", {.kind = reference_notes, .code = 3}, notes());
  add("retain", {.kind = retain, .number = 42}, pid(3));
  add("retained", {.kind = retained, .flags = 1, .number = 42});
  add("fill", {.kind = fill}, answer(true));
  add("reference_question", {.kind = reference_question}, pid(4));
  add("channel_request", {.kind = channel_request, .flags = 1, .code = 2, .number = 43}, with([](FieldWriter& out) {
        out.i32(42);
        out.reference({1, 17});
      }));
  add("channel_notice", {.kind = channel_notice, .code = 1, .number = 64}, reference());
  add("channel_word", {.kind = channel_word, .code = 2, .number = 43}, reference());
  return all;
}

Bytes frame_of(const Header& header, const Payload& payload) {
  Bytes frame(frame_size(payload));
  write_frame(frame.data(), header, payload);
  return frame;
}

Bytes golden(const std::filesystem::path& file) {
  std::ifstream in(file);
  EXPECT_TRUE(in) << file;
  Bytes bytes;
  for (std::string line; std::getline(in, line);) {
    std::istringstream pairs(line.substr(0, line.find('#')));
    for (std::string pair; pairs >> pair;) bytes.push_back(static_cast<std::byte>(std::stoi(pair, nullptr, 16)));
  }
  return bytes;
}

std::filesystem::path golden_folder() { return MUSTER_GOLDEN_FRAMES; }

/// Every byte of a frame's contents, so that a sanitizer sees when one of them lies elsewhere.
std::size_t look_at(const FrameView& view) {
  std::size_t sum = view.handles.size() + view.part_sizes.size();
  for (const std::byte byte : view.inline_bytes) sum += std::to_integer<std::size_t>(byte);
  return sum;
}

/// Reads bytes that lie in memory of just their size. @returns whether they are a frame
bool is_frame(std::span<const std::byte> bytes, std::uint64_t limit = no_limit) {
  const auto exact = std::make_unique<std::byte[]>(bytes.size());
  if (!bytes.empty()) std::memcpy(exact.get(), bytes.data(), bytes.size());
  try {
    const FrameView view = read_frame({exact.get(), bytes.size()}, limit);
    (void)look_at(view);
    EXPECT_EQ(
        header_size + view.inline_bytes.size() + view.handles.size() * handle_record_size + view.part_sizes.size() * 8,
        bytes.size());
    return true;
  } catch (const SerializationError&) {
    return false;
  }
}

TEST(Codec, FramesAreAsWrittenDown) {
  const auto all = samples();
  for (const Sample& sample : all)
    EXPECT_EQ(frame_of(sample.header, sample.payload), golden(golden_folder() / (sample.name + ".hex"))) << sample.name;
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(golden_folder()))
    files += entry.path().extension() == ".hex";
  EXPECT_EQ(files, all.size()) << "a kind was added or left out";
}

TEST(Codec, RoundTrips) {
  for (const Sample& sample : samples()) {
    SCOPED_TRACE(sample.name);
    const Bytes frame = frame_of(sample.header, sample.payload);
    const FrameView view = read_frame(frame, no_limit);
    EXPECT_EQ(view.header.kind, sample.header.kind);
    EXPECT_EQ(view.header.flags, sample.header.flags);
    EXPECT_EQ(view.header.code, sample.header.code);
    EXPECT_EQ(view.header.number, sample.header.number);
    EXPECT_EQ(view.header.deadline, sample.header.deadline);
    EXPECT_EQ(view.header.stream, sample.header.stream);
    const auto bytes = sample.payload.bytes.bytes();
    EXPECT_EQ(Bytes(view.inline_bytes.begin(), view.inline_bytes.end()), Bytes(bytes.begin(), bytes.end()));
    ASSERT_EQ(view.handles.size(), sample.payload.handles.size());
    for (std::size_t i = 0; i < view.handles.size(); ++i) {
      EXPECT_EQ(view.handles[i].kind, sample.payload.handles[i]->kind());
      EXPECT_EQ(view.handles[i].owner, sample.payload.handles[i]->owner());
      EXPECT_EQ(view.handles[i].id, sample.payload.handles[i]->id());
    }
    ASSERT_EQ(view.part_sizes.size(), sample.payload.parts.size());
    for (std::size_t i = 0; i < view.part_sizes.size(); ++i)
      EXPECT_EQ(view.part_sizes[i], sample.payload.parts[i].size);
  }
}

TEST(Codec, ExtremesOfTheHeaderSurvive) {
  const Header header{
      .kind = MessageKind::call, .flags = 255, .code = ~0U, .number = no_limit, .deadline = -1, .stream = ~0U};
  const FrameView view = read_frame(frame_of(header, {}), no_limit);
  EXPECT_EQ(view.header.flags, 255);
  EXPECT_EQ(view.header.code, ~0U);
  EXPECT_EQ(view.header.number, no_limit);
  EXPECT_EQ(view.header.deadline, -1);
  EXPECT_EQ(view.header.stream, ~0U);
}

TEST(Codec, ContentsOfTheHandshakeAreRead) {
  std::map<std::string, Payload> contents;
  for (Sample& sample : samples()) contents[sample.name] = std::move(sample.payload);
  const auto bytes = [&](const char* name) { return contents[name].bytes.bytes(); };
  EXPECT_EQ(decode_hello(bytes("hello")).facts.members.at(0).host, "alpha");
  EXPECT_EQ(decode_welcome(bytes("welcome")).self.connect_idents.at(0), "east");
  EXPECT_EQ(decode_refuse(bytes("refuse")).why, Refuse::Why::cookie);
  const auto news = decode_news(bytes("news"), 3);
  EXPECT_EQ(std::get<Member>(news.at(0)).endpoint, "10.0.0.2:6000");
  EXPECT_EQ(std::get<Member>(news.at(1)).pid, 4);
  EXPECT_EQ(std::get<WorkerExit>(news.at(2)).signal, 9);
  EXPECT_EQ(decode_knock(bytes("knock")).caller.facts.at("RANK"), "3");
  EXPECT_EQ(decode_program_request(bytes("program_request")).ticket, "t1c");
  EXPECT_EQ(decode_program_part(bytes("program")).contents.size(), 3U);
  EXPECT_THROW(std::rethrow_exception(decode_failure(bytes("reply_failure"))), RemoteException);
}

// catalogue: 169
TEST(Codec, EveryTruncationIsRefused) {
  for (const Sample& sample : samples()) {
    const Bytes frame = frame_of(sample.header, sample.payload);
    EXPECT_TRUE(is_frame(frame));
    for (std::size_t size = 0; size < frame.size(); ++size)
      EXPECT_FALSE(is_frame(std::span(frame).first(size))) << sample.name << " cut to " << size;
    Bytes longer = frame;
    longer.push_back({});
    EXPECT_FALSE(is_frame(longer)) << sample.name;
  }
}

// catalogue: 169
TEST(Codec, EveryWrongByteIsRefusedOrRead) {
  for (const Sample& sample : samples()) {
    const Bytes frame = frame_of(sample.header, sample.payload);
    for (std::size_t at = 0; at < frame.size(); ++at) {
      const bool is_size = at >= 24 && at < 36;
      for (unsigned wrong = 1; wrong < 256; ++wrong) {
        Bytes damaged = frame;
        damaged[at] ^= static_cast<std::byte>(wrong);
        const bool accepted = is_frame(damaged);
        EXPECT_FALSE(is_size && accepted) << sample.name << ", byte " << at << " xor " << wrong;
      }
    }
  }
}

TEST(Codec, EveryWrongByteInControlMessagesIsRefusedOrRead) {
  const auto read = [](const std::string& name, std::span<const std::byte> bytes) {
    if (name == "hello") (void)decode_hello(bytes);
    if (name == "welcome") (void)decode_welcome(bytes);
    if (name == "refuse") (void)decode_refuse(bytes);
    if (name == "news") (void)decode_news(bytes, 3);
    if (name == "knock") (void)decode_knock(bytes);
    if (name == "program_request") (void)decode_program_request(bytes);
    if (name == "program") (void)decode_program_part(bytes);
    if (name == "reply_failure") (void)decode_failure(bytes);
  };
  for (const Sample& sample : samples()) {
    const auto bytes = sample.payload.bytes.bytes();
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      for (const unsigned wrong : {1U, 0x7fU, 0x80U, 0xffU}) {
        Bytes damaged(bytes.begin(), bytes.end());
        damaged[at] ^= static_cast<std::byte>(wrong);
        try {
          read(sample.name, damaged);
        } catch (const Error&) {
        }
      }
      const auto cut = std::make_unique<std::byte[]>(at);
      std::memcpy(cut.get(), bytes.data(), at);
      try {
        read(sample.name, {cut.get(), at});
      } catch (const Error&) {
      }
    }
  }
}

TEST(Codec, SizesThatOverflowAreRefused) {
  Bytes frame = frame_of({.kind = MessageKind::call}, {});
  for (const std::size_t field : {24U, 28U, 32U}) {
    Bytes damaged = frame;
    std::memset(damaged.data() + field, 0xff, 4);
    EXPECT_FALSE(is_frame(damaged)) << field;
  }
  std::memset(frame.data() + 24, 0xff, 12);
  EXPECT_FALSE(is_frame(frame));

  Payload payload;
  add_parts(payload, {1, 1});
  Bytes two = frame_of({.kind = MessageKind::call}, payload);
  for (const std::size_t field : {header_size, header_size + 8}) std::memset(two.data() + field, 0xff, 8);
  EXPECT_FALSE(is_frame(two));
  std::memset(two.data() + header_size, 0, 16);
  two[header_size + 7] = two[header_size + 15] = std::byte{0x80};  // whose sum is 0 in 64 bits
  EXPECT_FALSE(is_frame(two));
}

// catalogue: 169
TEST(Codec, UnknownNumbersAreRefused) {
  const auto known = [](unsigned kind) {
    for (const Sample& sample : samples())
      if (static_cast<unsigned>(sample.header.kind) == kind) return true;
    return false;
  };
  Bytes frame = frame_of({.kind = MessageKind::heartbeat}, {});
  for (unsigned kind = 0; kind < 256; ++kind) {
    frame[0] = static_cast<std::byte>(kind);
    EXPECT_EQ(is_frame(frame), known(kind)) << kind;
  }
  frame = frame_of({.kind = MessageKind::heartbeat}, {});
  frame[2] = std::byte{1};
  EXPECT_FALSE(is_frame(frame)) << "a reserved field";
  frame = frame_of({.kind = MessageKind::call}, call());
  frame[header_size + 3] = std::byte{4};
  EXPECT_FALSE(is_frame(frame)) << "a kind of handle";
}

TEST(Codec, TheLimitCountsTheFrameAndItsParts) {
  Payload payload = call();
  const Bytes frame = frame_of({.kind = MessageKind::call}, payload);
  const std::uint64_t whole = frame.size() + 4096 + 8192;
  EXPECT_TRUE(is_frame(frame, whole));
  EXPECT_FALSE(is_frame(frame, whole - 1));
  const Bytes small = frame_of({.kind = MessageKind::heartbeat}, {});
  EXPECT_TRUE(is_frame(small, header_size));
  EXPECT_FALSE(is_frame(small, header_size - 1));
  try {
    (void)read_frame(frame, 1000);
    FAIL();
  } catch (const SerializationError& error) {
    EXPECT_NE(std::string(error.what()).find("SessionOptions::max_message"), std::string::npos) << error.what();
  }
}

TEST(Fields, RoundTrip) {
  detail::ByteBuffer buffer;
  FieldWriter out(buffer);
  out.u8(200);
  out.u32(~0U);
  out.u64(no_limit);
  out.i32(-7);
  out.i64(std::numeric_limits<std::int64_t>::min());
  out.text({});
  out.text(std::string("a\0b", 3));
  out.reference({-1, 99});
  out.u8(1);
  FieldReader in(buffer.bytes());
  EXPECT_EQ(in.u8(), 200);
  EXPECT_EQ(in.u32(), ~0U);
  EXPECT_EQ(in.u64(), no_limit);
  EXPECT_EQ(in.i32(), -7);
  EXPECT_EQ(in.i64(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(in.text(), "");
  EXPECT_EQ(in.text(), std::string("a\0b", 3));
  EXPECT_EQ(in.reference(), (RemoteRefId{-1, 99}));
  EXPECT_THROW(in.finish(), SerializationError);
  EXPECT_EQ(in.rest().size(), 1u);
  EXPECT_NO_THROW(in.finish());
  EXPECT_TRUE(in.rest().empty());
}

TEST(Fields, NothingIsReadPastTheEnd) {
  const Bytes seven(7);
  const auto fresh = [&] { return FieldReader(seven); };
  EXPECT_THROW((void)fresh().u64(), SerializationError);
  EXPECT_THROW((void)fresh().i64(), SerializationError);
  EXPECT_THROW((void)fresh().reference(), SerializationError);
  EXPECT_THROW((void)FieldReader({}).u8(), SerializationError);
  auto in = fresh();
  (void)in.i32();
  EXPECT_THROW((void)in.u32(), SerializationError);
  Bytes text(4 + 3);
  text[0] = std::byte{4};
  EXPECT_THROW((void)FieldReader(text).text(), SerializationError);
  std::memset(text.data(), 0xff, 4);
  EXPECT_THROW((void)FieldReader(text).text(), SerializationError);
}

}  // namespace
}  // namespace muster::runtime
