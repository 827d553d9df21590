/// @file
/// Addresses of processes, as text.
#pragma once

#include <string>
#include <string_view>

namespace muster::runtime {

/// `host:port`, with an IPv6 address in brackets.
std::string endpoint_of(const std::string& host, int port);

/// The host of `host:port`, with its brackets if it has any.
std::string_view host_in(std::string_view endpoint);

/// Whether an address in numbers can be reached from its own host only: `127.x.y.z` or `::1`, also in brackets.
bool is_loopback(std::string_view address);

}  // namespace muster::runtime
