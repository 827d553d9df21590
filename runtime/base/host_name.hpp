/// @file
/// What this host calls itself.
#pragma once

#include <string>

namespace muster::runtime {

/// This host's name; `localhost` where it has none.
std::string host_name();

}  // namespace muster::runtime
