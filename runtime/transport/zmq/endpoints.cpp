#include "runtime/transport/zmq/endpoints.hpp"

#include "runtime/base/address.hpp"
#include "runtime/base/interfaces.hpp"

#include <muster/errors.hpp>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <charconv>
#include <memory>

namespace muster::runtime {

std::string numeric_endpoint(const std::string& endpoint, int flags) {
  const int port = port_in(endpoint);
  if (port < 1 || port > 65535) throw Error("it names no port");
  std::string host = endpoint.substr(0, endpoint.rfind(':'));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_flags = flags;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0)
    throw Error(gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
  const addrinfo* chosen = found;
  while (chosen != nullptr && chosen->ai_family != AF_INET) chosen = chosen->ai_next;
  if (chosen == nullptr) chosen = found;
  char numbers[NI_MAXHOST] = {};
  if (const int error =
          getnameinfo(chosen->ai_addr, chosen->ai_addrlen, numbers, sizeof numbers, nullptr, 0, NI_NUMERICHOST);
      error != 0)
    throw Error(gai_strerror(error));
  return endpoint_of(numbers, port);
}

std::string told_address(const std::string& address) {
  if (address != "0.0.0.0" && address != "::") return address;
  const auto ours = addresses_of_this_host();
  return ours.empty() ? address : ours.front();
}

int port_in(const std::string& endpoint) {
  int port = 0;
  const auto colon = endpoint.rfind(':');
  if (colon != std::string::npos) std::from_chars(endpoint.data() + colon + 1, endpoint.data() + endpoint.size(), port);
  return port;
}

}  // namespace muster::runtime
