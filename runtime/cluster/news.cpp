#include "runtime/cluster/news.hpp"

#include "runtime/cluster/handshake_fields.hpp"

#include <optional>

namespace muster::runtime {

namespace {

/// What an entry is. Numbers are part of the protocol.
enum class Entry : std::uint8_t { added = 0, added_alike = 1, gone = 2 };

Entry get_entry(FieldReader& in) {
  const auto entry = in.u8();
  if (entry > static_cast<std::uint8_t>(Entry::gone)) throw SerializationError("News of members of an unknown kind");
  return static_cast<Entry>(entry);
}

bool alike(const Member& a, const Member& b) {
  return a.host == b.host && a.host_identity == b.host_identity && a.ident == b.ident &&
         a.connect_idents == b.connect_idents && a.threads == b.threads;
}

void put_optional(FieldWriter& out, const std::optional<int>& value) {
  out.u8(value ? 1 : 0);
  out.i32(value.value_or(0));
}

std::optional<int> get_optional(FieldReader& in) {
  const bool there = get_bool(in);
  const int value = in.i32();
  return there ? std::optional(value) : std::nullopt;
}

void put(FieldWriter& out, const WorkerExit& exit) {
  out.i32(exit.pid);
  out.text(exit.host);
  out.u8(exit.expected ? 1 : 0);
  put_optional(out, exit.exit_status);
  put_optional(out, exit.signal);
  out.text(exit.last_output);
  out.text(exit.cause);
}

WorkerExit get_exit(FieldReader& in) {
  WorkerExit exit;
  exit.pid = in.i32();
  exit.host = in.text();
  exit.expected = get_bool(in);
  exit.exit_status = get_optional(in);
  exit.signal = get_optional(in);
  exit.last_output = in.text();
  exit.cause = in.text();
  return exit;
}

}  // namespace

detail::Payload encode(std::span<const MemberNews> news) {
  detail::Payload payload;
  FieldWriter out(payload.bytes);
  const auto begin = [&out](Entry entry) { out.u8(static_cast<std::uint8_t>(entry)); };
  const Member* before = nullptr;
  for (const MemberNews& one : news) {
    if (const auto* const exit = std::get_if<WorkerExit>(&one)) {
      begin(Entry::gone);
      put(out, *exit);
      continue;
    }
    const auto& member = std::get<Member>(one);
    const bool as_before = before != nullptr && alike(*before, member);
    begin(as_before ? Entry::added_alike : Entry::added);
    out.i32(member.pid);
    out.text(member.endpoint);
    if (!as_before) put_kind(out, member);
    before = &member;
  }
  return payload;
}

std::vector<MemberNews> decode_news(std::span<const std::byte> bytes, std::uint32_t count) {
  if (count > most_members) throw SerializationError("News of too many members");
  FieldReader in(bytes);
  std::vector<MemberNews> news;  // its memory grows with what is there, not with what is said
  std::optional<Member> before;
  for (std::uint32_t i = 0; i < count; ++i) {
    const Entry entry = get_entry(in);
    if (entry == Entry::gone) {
      news.emplace_back(get_exit(in));
      continue;
    }
    if (entry == Entry::added_alike && !before)
      throw SerializationError("News of members whose first is as the one before");
    if (entry == Entry::added) before.emplace();
    before->pid = in.i32();
    before->endpoint = in.text();
    if (entry == Entry::added) get_kind(in, *before);
    news.emplace_back(*before);
  }
  in.finish();
  return news;
}

}  // namespace muster::runtime
