/// @file
/// This host's addresses.
#pragma once

#include <string>
#include <vector>

namespace muster::runtime {

/// Addresses in numbers, without brackets, of the interfaces that are up and lead elsewhere: IPv4 first, then IPv6 that
/// are not link-local. Empty on a host that has only its loopback.
std::vector<std::string> addresses_of_this_host();

/// The address in numbers that packets to that one leave from, as the routes are now; nothing is sent. Empty where no
/// route leads there.
/// @param address in numbers, with or without brackets
std::string address_towards(const std::string& address);

}  // namespace muster::runtime
