/// @file
/// Which processes share a host.
#include "runtime/cluster/host_identity.hpp"

#include "runtime/base/host_name.hpp"

#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <optional>
#include <system_error>

namespace muster::runtime {

namespace {

/// The namespace this process is in. Its inode is unique on a host, but the first one's is the same on every host.
std::optional<std::string> namespace_identity(const std::string& kind) {
  struct stat found{};
  if (::stat(("/proc/self/ns/" + kind).c_str(), &found) != 0) return std::nullopt;
  return std::to_string(found.st_dev) + ":" + std::to_string(found.st_ino);
}

std::optional<std::string> boot_identity() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string text;
  if (!(file >> text)) return std::nullopt;
  return text;
}

std::string unique_text() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw std::system_error(errno, std::generic_category(), "the kernel gives no random bytes");
  }
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text = "unknown-host-";
  for (const unsigned char byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

}  // namespace

std::string host_identity() {
  const auto boot = boot_identity();
  const auto processes = namespace_identity("pid");
  const auto network = namespace_identity("net");
  if (!boot || !processes || !network) return unique_text();
  return *boot + "/" + host_name() + "/pid-" + *processes + "/net-" + *network;
}

std::string network_identity(const std::string& host_identity) {
  const auto network = host_identity.rfind("/net-");
  if (network == std::string::npos) return {};
  return host_identity.substr(0, host_identity.find('/')) + host_identity.substr(network);
}

}  // namespace muster::runtime
