/// @file
/// Machines from text: `[count*][user@]host[:port] [bind_addr[:port]]`.
#include "runtime/cluster/machine.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace muster {

namespace {

constexpr std::string_view blanks = " \t\r\n";

/// What is said of every malformed text, with the reason put in.
class Malformed {
 public:
  explicit Malformed(const std::string& text) : text_(text) {}
  [[noreturn]] void operator()(const std::string& why) const {
    throw std::invalid_argument("malformed machine \"" + text_ + "\": " + why +
                                " (expected \"[count*][user@]host[:port] [bind_addr[:port]]\")");
  }

 private:
  const std::string& text_;
};

/// A number made of digits only; one too large for int is the largest int.
std::optional<int> parse_number(std::string_view text) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.empty() || !std::all_of(text.begin(), text.end(), is_digit)) return std::nullopt;
  int number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  return result.ec == std::errc() ? number : std::numeric_limits<int>::max();
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

int parse_port(std::string_view text, const Malformed& malformed) {
  const std::optional<int> port = parse_number(text);
  if (!port || *port < 1 || *port > 65535) malformed("port " + quoted(text) + " is no number from 1 to 65535");
  return *port;
}

/// Checks an IPv6 address, which may name its interface after a percent sign.
bool is_ipv6(std::string_view text) {
  const std::string address(text.substr(0, text.find('%')));
  if (text.find('%') != std::string_view::npos && text.find('%') + 1 == text.size()) return false;
  std::array<unsigned char, sizeof(in6_addr)> binary{};
  return ::inet_pton(AF_INET6, address.c_str(), binary.data()) == 1;
}

/// Host names go to resolvers and into command lines: only what a name or an IPv4 address is made of, not like an
/// option.
bool is_host_name(std::string_view text) {
  const auto is_allowed = [](char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter || c == '.' || c == '-' || c == '_' || static_cast<unsigned char>(c) >= 0x80;
  };
  return !text.empty() && text.front() != '-' && std::all_of(text.begin(), text.end(), is_allowed);
}

struct Endpoint {
  std::string host;
  int port = 0;
};

/// `[IPv6]` or `[IPv6]:port`.
Endpoint parse_bracketed(std::string_view text, const Malformed& malformed) {
  const std::size_t close = text.find(']');
  if (close == std::string_view::npos) malformed("the bracket before the IPv6 address is not closed");
  const std::string_view address = text.substr(1, close - 1);
  if (!is_ipv6(address)) malformed(quoted(address) + " in brackets is no IPv6 address");
  const std::string_view rest = text.substr(close + 1);
  if (rest.empty()) return {std::string(address), 0};
  if (rest.front() != ':') malformed(quoted(rest) + " after the closing bracket is no port");
  return {std::string(address), parse_port(rest.substr(1), malformed)};
}

/// `host`, `host:port` and the bracketed forms.
/// @param what is parsed, for messages
Endpoint parse_endpoint(std::string_view text, const std::string& what, const Malformed& malformed) {
  if (text.starts_with('[')) return parse_bracketed(text, malformed);
  const std::size_t colon = text.find(':');
  const std::string_view host = text.substr(0, colon);
  if (host.empty()) malformed("the " + what + " is missing");
  if (is_ipv6(text)) malformed("an IPv6 address must stand in brackets, as in \"[" + std::string(text) + "]\"");
  if (!is_host_name(host)) malformed(quoted(host) + " is no " + what);
  if (colon == std::string_view::npos) return {std::string(host), 0};
  return {std::string(host), parse_port(text.substr(colon + 1), malformed)};
}

/// The bind port may stand in brackets, as in Julia's `host 127.0.0.1:[8000]`.
Endpoint parse_bind(std::string_view text, const Malformed& malformed) {
  const std::size_t open = text.rfind(":[");
  if (open == std::string_view::npos || open == 0 || !text.ends_with(']')) {
    return parse_endpoint(text, "bind address", malformed);
  }
  Endpoint endpoint = parse_endpoint(text.substr(0, open), "bind address", malformed);
  if (endpoint.port != 0) malformed("the bind address has two ports");
  endpoint.port = parse_port(text.substr(open + 2, text.size() - open - 3), malformed);
  return endpoint;
}

Count parse_count(std::string_view text, const Malformed& malformed) {
  if (text == "auto" || text == "Auto") return Auto;
  const std::optional<int> count = parse_number(text);
  if (!count || *count < 1) malformed("the count " + quoted(text) + " is neither \"auto\" nor a number of 1 or more");
  return *count;
}

/// Whatever is common to Machine's constructors.
/// @return whether the text had a count
bool parse(const std::string& text, Machine& machine, Count& count) {
  const Malformed malformed(text);
  std::string_view rest = trimmed(text);
  if (rest.empty()) malformed("it is empty");
  const std::size_t star = rest.find('*');
  const bool counted = star != std::string_view::npos;
  if (counted) {
    count = parse_count(trimmed(rest.substr(0, star)), malformed);
    rest = trimmed(rest.substr(star + 1));
  }
  const std::size_t blank = rest.find_first_of(blanks);
  std::string_view target = rest.substr(0, blank);
  if (const std::size_t at = target.rfind('@'); at != std::string_view::npos) {  // user names may hold one, hosts not
    if (at == 0) malformed("there is no user before the \"@\"");
    if (target.front() == '-') malformed("a user can't begin with \"-\"");
    machine.user = target.substr(0, at);
    target.remove_prefix(at + 1);
  }
  Endpoint host = parse_endpoint(target, "host", malformed);
  machine.host = std::move(host.host);
  machine.port = host.port;
  if (blank != std::string_view::npos) {
    const std::string_view bind = trimmed(rest.substr(blank));
    if (bind.find_first_of(blanks) != std::string_view::npos) malformed("there is something after the bind address");
    Endpoint endpoint = parse_bind(bind, malformed);
    machine.bind_address = std::move(endpoint.host);
    machine.bind_port = endpoint.port;
  }
  return counted;
}

}  // namespace

Machine::Machine(const char* text)
    : Machine(text != nullptr ? std::string(text) : throw std::invalid_argument("a machine can't be a null pointer")) {}

// NOLINTNEXTLINE(performance-unnecessary-value-param): the interface says so
Machine::Machine(std::string text) { parse(text, *this, count); }

// NOLINTNEXTLINE(performance-unnecessary-value-param)
Machine::Machine(std::string text, Count how_many) : count(how_many) {
  Count in_text = 1;
  const Malformed malformed(text);
  if (parse(text, *this, in_text)) malformed("it has a count of its own, beside the one given with it");
  if (!count.automatic() && count.value() < 1) {
    malformed("its count is " + std::to_string(count.value()) + ", but must be 1 or more, or Auto");
  }
}

namespace runtime {

std::vector<Machine> merged_machines(std::vector<Machine> machines) {
  std::vector<Machine> merged;
  for (Machine& machine : machines) {
    const auto same = std::find_if(merged.begin(), merged.end(), [&](const Machine& other) {
      return machine.user == other.user && machine.host == other.host && machine.port == other.port &&
             machine.bind_address == other.bind_address && machine.bind_port == other.bind_port;
    });
    if (same == merged.end()) {
      merged.push_back(std::move(machine));
    } else if (same->count.automatic() || machine.count.automatic()) {
      same->count = Auto;
    } else {
      const int room = std::numeric_limits<int>::max() - same->count.value();
      same->count = same->count.value() + std::min(machine.count.value(), room);
    }
  }
  return merged;
}

}  // namespace runtime

}  // namespace muster
