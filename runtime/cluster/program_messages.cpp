#include "runtime/cluster/program_messages.hpp"

#include "runtime/base/random.hpp"
#include "runtime/cluster/handshake_fields.hpp"

#include <muster/errors.hpp>

#include <algorithm>
#include <fstream>
#include <limits>
#include <utility>

namespace muster::runtime {

namespace {

using detail::Payload;

constexpr std::uint32_t most_files = 1U << 12;
constexpr std::uint32_t most_texts = 1U << 16;

/// What is proved begins with what it is, so that no other message's proof is one of it.
std::array<std::byte, 32> proof_of(ProgramRequest request, const std::string& cookie) {
  request.proof = {};
  Payload message;
  FieldWriter(message.bytes).u8(static_cast<std::uint8_t>(MessageKind::program_request));
  const Payload encoded = encode(request);
  message.bytes.append(encoded.bytes.data(), encoded.bytes.size());
  return keyed_hash(cookie, message.bytes.bytes());
}

std::array<std::byte, 32> proof_of(const ProgramPart& part, const Nonce& nonce, const std::string& cookie) {
  Payload message;
  FieldWriter out(message.bytes);
  out.u8(static_cast<std::uint8_t>(MessageKind::program));
  out.u32(part.file);
  out.u64(part.offset);
  put_bytes(message, nonce);
  message.bytes.append(part.contents.data(), part.contents.size());
  return keyed_hash(cookie, message.bytes.bytes());
}

std::uint32_t count_of(FieldReader& in, std::uint32_t most) {
  const auto count = in.u32();
  if (count > most) throw SerializationError("A program's list is too long");
  return count;
}

}  // namespace

void seal(ProgramRequest& request, const std::string& cookie) {
  random_bytes(request.nonce);
  request.proof = proof_of(request, cookie);
}

void seal(ProgramPart& part, const Nonce& nonce, const std::string& cookie) {
  part.proof = proof_of(part, nonce, cookie);
}

void verify(const ProgramRequest& request, const std::string& cookie) {
  if (!same_proof(request.proof, proof_of(request, cookie)))
    throw AuthError("invalid connection credentials: who asked for the program does not know this cluster's cookie");
}

void verify(const ProgramPart& part, const Nonce& nonce, const std::string& cookie) {
  if (!same_proof(part.proof, proof_of(part, nonce, cookie)))
    throw AuthError("invalid connection credentials: who gave the program does not know this cluster's cookie");
}

Payload encode(const ProgramRequest& request) {
  Payload payload;
  FieldWriter out(payload.bytes);
  out.u32(protocol_version);
  put_bytes(payload, request.proof);
  put_bytes(payload, request.nonce);
  out.text(request.ticket);
  out.u32(request.file);
  out.u64(request.offset);
  return payload;
}

ProgramRequest decode_program_request(std::span<const std::byte> bytes) {
  FieldReader in(bytes);
  check_version(in);
  ProgramRequest request;
  request.proof = get_bytes<32>(in);
  request.nonce = get_bytes<32>(in);
  request.ticket = in.text();
  request.file = in.u32();
  request.offset = in.u64();
  in.finish();
  return request;
}

Payload encode(const ProgramPart& part) {
  Payload payload;
  FieldWriter out(payload.bytes);
  out.u32(protocol_version);
  put_bytes(payload, part.proof);
  out.u32(part.file);
  out.u64(part.offset);
  payload.bytes.append(part.contents.data(), part.contents.size());
  return payload;
}

ProgramPart decode_program_part(std::span<const std::byte> bytes) {
  FieldReader in(bytes);
  check_version(in);
  ProgramPart part;
  part.proof = get_bytes<32>(in);
  part.file = in.u32();
  part.offset = in.u64();
  const auto rest = in.rest();
  part.contents.assign(rest.begin(), rest.end());
  return part;
}

Payload encode(const ProgramList& list) {
  Payload payload;
  FieldWriter out(payload.bytes);
  out.text(list.system);
  out.u32(static_cast<std::uint32_t>(list.arguments.size()));
  for (const std::string& argument : list.arguments) out.text(argument);
  out.u32(static_cast<std::uint32_t>(list.environment.size()));
  for (const auto& [name, value] : list.environment) {
    out.text(name);
    out.text(value);
  }
  out.u32(static_cast<std::uint32_t>(list.files.size()));
  for (const auto& [file, contents] : list.files) {
    out.text(file.path);
    out.text(file.build_id);
    out.u8(file.of_system ? 1 : 0);
    out.u64(contents.size);
    put_bytes(payload, contents.digest);
  }
  return payload;
}

ProgramList decode_program_list(std::span<const std::byte> bytes) {
  FieldReader in(bytes);
  ProgramList list;
  list.system = in.text();
  for (auto left = count_of(in, most_texts); left > 0; --left) list.arguments.push_back(in.text());
  for (auto left = count_of(in, most_texts); left > 0; --left) {
    std::string name = in.text();
    list.environment[std::move(name)] = in.text();
  }
  for (auto left = count_of(in, most_files); left > 0; --left) {
    ListedFile& listed = list.files.emplace_back();
    listed.file.path = in.text();
    listed.file.build_id = in.text();
    listed.file.of_system = get_bool(in);
    listed.contents.size = in.u64();
    listed.contents.digest = get_bytes<32>(in);
    const std::string name = name_of_file(listed.file.path);
    if (!listed.file.path.starts_with('/') || name.empty() || name == "." || name == "..")
      throw SerializationError("A program's list names no file: " + listed.file.path);
  }
  in.finish();
  if (list.files.empty()) throw SerializationError("A program without files");
  return list;
}

std::vector<ListedFile> list_program_files(const std::string& program) {
  std::vector<ListedFile> listed;
  for (ProgramFile& file : files_of_program(program)) {
    const ContentHash contents = hash_of_file(file.source);
    listed.push_back({std::move(file), contents});
  }
  return listed;
}

std::vector<std::byte> read_program_part(const std::vector<ListedFile>& files, std::uint32_t file,
                                         std::uint64_t offset) {
  if (file >= files.size()) throw Error("the program has no file of that number");
  std::ifstream from(files[file].file.source, std::ios::binary);
  std::vector<std::byte> part(program_part_size);
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::streamoff>::max());
  from.seekg(static_cast<std::streamoff>(std::min(offset, most)));
  from.read(reinterpret_cast<char*>(part.data()), static_cast<std::streamsize>(part.size()));
  if (from.gcount() <= 0) throw Error("can't read " + files[file].file.path + " on the master's host from there on");
  part.resize(static_cast<std::size_t>(from.gcount()));
  return part;
}

}  // namespace muster::runtime
