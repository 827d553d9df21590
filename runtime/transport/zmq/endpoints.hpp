/// @file
/// Where ZeroMQ listens and dials, as text.
#pragma once

#include <string>

namespace muster::runtime {

/// `host:port` with the address in numbers, as libzmq and its monitor write it after `tcp://`.
/// @param flags getaddrinfo's; without AI_NUMERICHOST it may wait for a name server
/// @throws Error saying what is wrong with it, without naming it
std::string numeric_endpoint(const std::string& endpoint, int flags);

/// What others are told to dial where this is listened on: `0.0.0.0` and `::` are no place, but this host's first
/// address that leads elsewhere is, where it has one.
std::string told_address(const std::string& address);

/// The port that it ends with; 0 where it does not.
int port_in(const std::string& endpoint);

}  // namespace muster::runtime
