#include "runtime/cluster/handshake.hpp"

#include "runtime/base/random.hpp"
#include "runtime/cluster/handshake_fields.hpp"
#include "runtime/code/code.hpp"

#include <bit>
#include <limits>

namespace muster::runtime {

namespace {

using detail::Payload;

constexpr std::uint32_t most_facts = 1U << 10;

void put(FieldWriter& out, const std::vector<std::string>& texts) {
  out.u32(static_cast<std::uint32_t>(texts.size()));
  for (const auto& text : texts) out.text(text);
}

std::vector<std::string> get_texts(FieldReader& in) {
  const auto count = in.u32();
  if (count > most_members) throw SerializationError("A handshake with too many names");
  std::vector<std::string> texts;  // its memory grows with what is there, not with what is said
  // NOLINTNEXTLINE(performance-inefficient-vector-operation)
  for (std::uint32_t i = 0; i < count; ++i) texts.push_back(in.text());
  return texts;
}

void put(FieldWriter& out, const Member& member) {
  out.i32(member.pid);
  out.text(member.endpoint);
  put_kind(out, member);
}

Member get_member(FieldReader& in) {
  Member member;
  member.pid = in.i32();
  member.endpoint = in.text();
  get_kind(in, member);
  return member;
}

void put(FieldWriter& out, const ClusterFacts& facts) {
  out.text(facts.ident);
  put(out, facts.connect_idents);
  out.u8(static_cast<std::uint8_t>(facts.topology));
  out.u8(facts.lazy ? 1 : 0);
  out.i32(facts.threads);
  out.i64(facts.heartbeat_interval.count());
  out.i64(facts.heartbeat_timeout.count());
  out.u32(static_cast<std::uint32_t>(facts.members.size()));
  for (const auto& member : facts.members) put(out, member);
}

ClusterFacts get_facts(FieldReader& in) {
  ClusterFacts facts;
  facts.ident = in.text();
  facts.connect_idents = get_texts(in);
  const auto topology = in.u8();
  if (topology > static_cast<std::uint8_t>(Topology::custom)) throw SerializationError("An unknown topology");
  facts.topology = static_cast<Topology>(topology);
  facts.lazy = get_bool(in);
  facts.threads = in.i32();
  facts.heartbeat_interval = std::chrono::nanoseconds(in.i64());
  facts.heartbeat_timeout = std::chrono::nanoseconds(in.i64());
  if (facts.threads < 1 || facts.heartbeat_interval.count() <= 0 || facts.heartbeat_timeout.count() <= 0)
    throw SerializationError("A handshake with impossible settings");
  const auto count = in.u32();
  if (count > most_members) throw SerializationError("A handshake with too many members");
  for (std::uint32_t i = 0; i < count; ++i) facts.members.push_back(get_member(in));
  return facts;
}

/// Of everything it says but the proof itself.
std::array<std::byte, 32> proof_of(Hello hello, const std::string& cookie) {
  hello.proof = {};
  return keyed_hash(cookie, encode(hello).bytes.bytes());
}

/// Of everything it says but the proof itself, and of the nonce it answers.
std::array<std::byte, 32> proof_of(Welcome welcome, const Nonce& nonce, const std::string& cookie) {
  welcome.proof = {};
  Payload message = encode(welcome);
  put_bytes(message, nonce);
  return keyed_hash(cookie, message.bytes.bytes());
}

std::array<std::byte, 32> proof_of(Knock knock, const std::string& cookie) {
  knock.proof = {};
  return keyed_hash(cookie, encode(knock).bytes.bytes());
}

void compare_builds(const std::string& build_id, const std::string& layout) {
  if (build_id != program_build_id()) {
    throw CodeMismatch(
        "Two different builds of the program met: this process runs build " + program_build_id() + " (" +
        program_path() + "), the other " + build_id +
        ". Start workers from the same file as the master, and start them again after building it anew.");
  }
  if (layout != type_layout())
    throw CodeMismatch("Two machines met that lay types out differently: " + type_layout() + " here, " + layout +
                       " there");
}

}  // namespace

void check_version(FieldReader& in) {
  if (const auto version = in.u32(); version != protocol_version) {
    throw VersionMismatch("This process speaks version " + std::to_string(protocol_version) +
                          " of muster's protocol, the other " + std::to_string(version) +
                          ". Build both with the same version of muster.");
  }
}

void put_kind(FieldWriter& out, const Member& member) {
  out.text(member.host);
  out.text(member.host_identity);
  out.text(member.ident);
  put(out, member.connect_idents);
  out.i32(member.threads);
}

void get_kind(FieldReader& in, Member& member) {
  member.host = in.text();
  member.host_identity = in.text();
  member.ident = in.text();
  member.connect_idents = get_texts(in);
  member.threads = in.i32();
}

bool get_bool(FieldReader& in) {
  const auto byte = in.u8();
  if (byte > 1) throw SerializationError("A handshake with a truth that is neither");
  return byte == 1;
}

bool same_proof(const std::array<std::byte, 32>& a, const std::array<std::byte, 32>& b) {
  const auto as_text = [](const std::array<std::byte, 32>& bytes) {
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  return equal_in_constant_time(as_text(a), as_text(b));
}

std::string type_layout() {
  return "endian " + std::string(std::endian::native == std::endian::little ? "little" : "big") + ", pointer " +
         std::to_string(sizeof(void*)) + ", long " + std::to_string(sizeof(long)) + ", wchar_t " +
         std::to_string(sizeof(wchar_t)) + ", long double " + std::to_string(std::numeric_limits<long double>::digits);
}

void seal(Hello& hello, const std::string& cookie) {
  random_bytes(hello.nonce);
  hello.build_id = program_build_id();
  hello.layout = type_layout();
  hello.proof = proof_of(hello, cookie);
}

void seal(Welcome& welcome, const Nonce& nonce, const std::string& cookie) {
  welcome.build_id = program_build_id();
  welcome.layout = type_layout();
  welcome.proof = proof_of(welcome, nonce, cookie);
}

void seal(Knock& knock, const std::string& cookie) { knock.proof = proof_of(knock, cookie); }

Payload encode(const Hello& hello) {
  Payload payload;
  FieldWriter out(payload.bytes);
  out.u32(protocol_version);
  out.u8(hello.joins ? 1 : 0);
  out.i32(hello.to);
  put_bytes(payload, hello.nonce);
  put_bytes(payload, hello.proof);
  out.text(hello.build_id);
  out.text(hello.layout);
  put(out, hello.from);
  if (hello.joins) put(out, hello.facts);
  return payload;
}

Hello decode_hello(std::span<const std::byte> bytes) {
  FieldReader in(bytes);
  check_version(in);
  Hello hello;
  hello.joins = get_bool(in);
  hello.to = in.i32();
  hello.nonce = get_bytes<32>(in);
  hello.proof = get_bytes<32>(in);
  hello.build_id = in.text();
  hello.layout = in.text();
  hello.from = get_member(in);
  if (hello.joins) hello.facts = get_facts(in);
  in.finish();
  return hello;
}

Payload encode(const Welcome& welcome) {
  Payload payload;
  FieldWriter out(payload.bytes);
  out.u32(protocol_version);
  out.i64(welcome.os_pid);
  put_bytes(payload, welcome.proof);
  out.text(welcome.build_id);
  out.text(welcome.layout);
  put(out, welcome.self);
  return payload;
}

Welcome decode_welcome(std::span<const std::byte> bytes) {
  FieldReader in(bytes);
  check_version(in);
  Welcome welcome;
  welcome.os_pid = in.i64();
  welcome.proof = get_bytes<32>(in);
  welcome.build_id = in.text();
  welcome.layout = in.text();
  welcome.self = get_member(in);
  in.finish();
  return welcome;
}

Payload encode(const Knock& knock) {
  Payload payload;
  FieldWriter out(payload.bytes);
  out.u32(protocol_version);
  put_bytes(payload, knock.proof);
  out.text(knock.ticket);
  out.text(knock.caller.host);
  out.i64(knock.caller.os_pid);
  out.u32(static_cast<std::uint32_t>(knock.caller.facts.size()));
  for (const auto& [name, value] : knock.caller.facts) {
    out.text(name);
    out.text(value);
  }
  return payload;
}

Knock decode_knock(std::span<const std::byte> bytes) {
  FieldReader in(bytes);
  check_version(in);
  Knock knock;
  knock.proof = get_bytes<32>(in);
  knock.ticket = in.text();
  knock.caller.host = in.text();
  knock.caller.os_pid = in.i64();
  const auto count = in.u32();
  if (count > most_facts) throw SerializationError("A handshake with too many facts");
  for (std::uint32_t i = 0; i < count; ++i) {
    std::string name = in.text();
    knock.caller.facts[std::move(name)] = in.text();
  }
  in.finish();
  return knock;
}

Payload encode(const Refuse& refuse) {
  Payload payload;
  FieldWriter out(payload.bytes);
  out.u8(static_cast<std::uint8_t>(refuse.why));
  out.text(refuse.text);
  return payload;
}

Refuse decode_refuse(std::span<const std::byte> bytes) {
  FieldReader in(bytes);
  Refuse refuse;
  const auto why = in.u8();
  if (why > static_cast<std::uint8_t>(Refuse::Why::version)) throw SerializationError("An unknown refusal");
  refuse.why = static_cast<Refuse::Why>(why);
  refuse.text = in.text();
  in.finish();
  return refuse;
}

void verify(const Hello& hello, const std::string& cookie) {
  if (!same_proof(hello.proof, proof_of(hello, cookie)))
    throw AuthError("invalid connection credentials: the peer does not know this cluster's cookie");
  compare_builds(hello.build_id, hello.layout);
}

void verify(const Welcome& welcome, const Nonce& nonce, const std::string& cookie) {
  if (!same_proof(welcome.proof, proof_of(welcome, nonce, cookie)))
    throw AuthError("invalid connection credentials: the worker does not know this cluster's cookie");
  compare_builds(welcome.build_id, welcome.layout);
}

void verify(const Knock& knock, const std::string& cookie) {
  if (!same_proof(knock.proof, proof_of(knock, cookie)))
    throw AuthError("invalid connection credentials: who knocked does not know this cluster's cookie");
}

Refuse refusal_of(const std::exception& error) {
  Refuse refuse{Refuse::Why::other, error.what()};
  if (dynamic_cast<const AuthError*>(&error) != nullptr) refuse.why = Refuse::Why::cookie;
  if (dynamic_cast<const CodeMismatch*>(&error) != nullptr) refuse.why = Refuse::Why::build;
  if (dynamic_cast<const VersionMismatch*>(&error) != nullptr) refuse.why = Refuse::Why::version;
  return refuse;
}

std::exception_ptr error_of(const Refuse& refuse) {
  switch (refuse.why) {
    case Refuse::Why::cookie: return std::make_exception_ptr(AuthError(refuse.text));
    case Refuse::Why::build: return std::make_exception_ptr(CodeMismatch(refuse.text));
    case Refuse::Why::version: return std::make_exception_ptr(VersionMismatch(refuse.text));
    case Refuse::Why::other: break;
  }
  return std::make_exception_ptr(HandshakeError(refuse.text));
}

}  // namespace muster::runtime
