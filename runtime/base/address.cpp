#include "runtime/base/address.hpp"

namespace muster::runtime {

std::string endpoint_of(const std::string& host, int port) {
  const bool bare_ipv6 = host.find(':') != std::string::npos && !host.starts_with('[');
  return (bare_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string_view host_in(std::string_view endpoint) { return endpoint.substr(0, endpoint.rfind(':')); }

bool is_loopback(std::string_view address) {
  return address.starts_with("127.") || address == "::1" || address == "[::1]";
}

}  // namespace muster::runtime
