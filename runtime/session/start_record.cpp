#include "runtime/session/start_record.hpp"

#include "runtime/base/log.hpp"

#include <muster/errors.hpp>

#include <nlohmann/json.hpp>

#include <poll.h>
#include <unistd.h>

#include <algorithm>

namespace muster::runtime {

namespace {

constexpr int record_version = 1;
constexpr std::size_t longest_record = 1U << 20;
/// Longer waits would overflow clocks.
constexpr std::chrono::milliseconds longest_timeout = std::chrono::hours(24 * 365);

constexpr std::pair<Encryption, const char*> encryption_names[] = {
    {Encryption::Auto, "auto"}, {Encryption::On, "on"}, {Encryption::Off, "off"}};

const char* name_of(Encryption encryption) {
  for (const auto& [each, name] : encryption_names)
    if (each == encryption) return name;
  return "";
}

/// @throws std::invalid_argument
Encryption encryption_named(const std::string& text) {
  for (const auto& [each, name] : encryption_names)
    if (text == name) return each;
  throw std::invalid_argument("encryption");
}

}  // namespace

std::string write_record(const StartRecord& record) {
  nlohmann::json json{{"muster", record_version},
                      {"cookie", record.cookie},
                      {"bind", record.bind_address},
                      {"timeout_ms", record.timeout.count()},
                      {"max_message", record.max_message},
                      {"encryption", name_of(record.encryption)},
                      {"link_secret", record.link_secret},
                      {"log", record.log_level},
                      {"master_os_pid", record.master_os_pid},
                      {"master_host", record.master_host}};
  if (const CallBack& call = record.call_back; !call.endpoints.empty()) {
    json["call"] = {{"endpoints", call.endpoints},
                    {"own", call.own_endpoint},
                    {"ticket", call.ticket},
                    {"asked", call.asked},
                    {"leaves_on_sigterm", call.leaves_on_sigterm}};
  }
  return json.dump();
}

namespace {

/// The library casts fractions and numbers of any size as they are, which is undefined where they don't fit.
template <class Number>
Number whole_number(const nlohmann::json& json, const char* name) {
  const auto& value = json.at(name);
  if (!value.is_number_integer()) throw std::invalid_argument(name);
  return value.get<Number>();
}

}  // namespace

StartRecord read_record(const std::string& line) {
  try {
    const auto json = nlohmann::json::parse(line);
    if (whole_number<int>(json, "muster") != record_version)
      throw VersionMismatch(
          "The start record is of another version of muster. Build master and workers with the same one.");
    StartRecord record;
    record.cookie = json.at("cookie").get<std::string>();
    record.bind_address = json.at("bind").get<std::string>();
    record.timeout = std::clamp(std::chrono::milliseconds(whole_number<std::int64_t>(json, "timeout_ms")),
                                std::chrono::milliseconds(1), longest_timeout);
    record.max_message = whole_number<std::uint64_t>(json, "max_message");
    record.encryption = encryption_named(json.at("encryption").get<std::string>());
    record.link_secret = json.at("link_secret").get<std::string>();
    record.log_level = json.at("log").get<std::string>();
    record.master_os_pid = whole_number<long>(json, "master_os_pid");
    record.master_host = json.at("master_host").get<std::string>();
    if (json.contains("call")) {
      const auto& call = json.at("call");
      call.at("endpoints").get_to(record.call_back.endpoints);
      call.at("own").get_to(record.call_back.own_endpoint);
      call.at("ticket").get_to(record.call_back.ticket);
      call.at("asked").get_to(record.call_back.asked);
      call.at("leaves_on_sigterm").get_to(record.call_back.leaves_on_sigterm);
    }
    (void)log::level_named(record.log_level);
    return record;
  } catch (const nlohmann::json::exception&) {  // NOLINT(bugprone-empty-catch): told below
  } catch (const std::invalid_argument&) {      // NOLINT(bugprone-empty-catch)
  }
  // Not the parser's words: they may quote the record, which is secret.
  throw Error(
      "A worker could not read its start record on standard input. --muster-worker is for cluster managers, which "
      "write "
      "LaunchContext::start_record() and a newline there.");
}

std::string read_line_of_stdin(std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::string line;
  for (char c = 0; line.size() < longest_record;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (left <= 0 || poll(&input, 1, static_cast<int>(std::min<std::int64_t>(left, 1'000'000))) == 0)
      throw Error("A worker waited in vain for its start record on standard input");
    const auto got = ::read(STDIN_FILENO, &c, 1);  // bytewise: what follows the line is not ours
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || c == '\n') return line;
    line += c;
  }
  throw Error("A worker's start record is too long");
}

}  // namespace muster::runtime
