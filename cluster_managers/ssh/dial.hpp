/// @file
/// A TCP connection that is made within a time, or not at all.
#pragma once

#include "runtime/base/unique_fd.hpp"

#include <chrono>
#include <stop_token>
#include <string>

namespace muster::runtime::ssh {

/// Connects to the first of the host's addresses that answers. The socket does not block.
/// @throws Error saying which host and port, and why
UniqueFd dial(const std::string& host, int port, std::chrono::steady_clock::time_point deadline,
              const std::stop_token& stop);

}  // namespace muster::runtime::ssh
