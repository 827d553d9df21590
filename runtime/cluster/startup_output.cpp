/// @file
/// Finding the address line in what a starting process prints.
#include "runtime/cluster/startup_output.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace muster::runtime {

namespace {

constexpr std::string_view tag = "muster_worker:";

/// A host as a worker names it: an address or a name, so one word.
std::optional<std::string> parse_host(std::string_view text) {
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  const auto is_part_of_host = [](char c) { return c > ' ' && c != 0x7f && c != '[' && c != ']' && c != '#'; };
  if (text.empty() || !std::all_of(text.begin(), text.end(), is_part_of_host)) return std::nullopt;
  return std::string(text);
}

/// The address in a line, if it is the address line.
std::optional<WorkerAddress> parse_address_line(std::string_view text) {
  if (!text.starts_with(tag)) return std::nullopt;
  text.remove_prefix(tag.size());
  while (!text.empty() && (text.back() == '\r' || text.back() == ' ')) text.remove_suffix(1);  // a terminal's doing
  WorkerAddress address;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), address.port);
  if (error != std::errc() || address.port < 1 || address.port > 65535) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  if (!text.starts_with('#')) return std::nullopt;
  const std::optional<std::string> host = parse_host(text.substr(1));
  if (!host) return std::nullopt;
  address.host = *host;
  return address;
}

}  // namespace

bool StartupOutput::line(std::string_view text) {
  if (outcome_ == Outcome::too_much_output) return false;
  if (outcome_ != Outcome::waiting) return true;
  if (const auto address = parse_address_line(text)) {
    outcome_ = Outcome::address_found;
    address_ = *address;
    return false;
  }
  if (other_lines_ == most_other_lines) {
    outcome_ = Outcome::too_much_output;
    return false;
  }
  ++other_lines_;
  return true;
}

void StartupOutput::end() {
  if (outcome_ == Outcome::waiting) outcome_ = Outcome::exited;
}

}  // namespace muster::runtime
