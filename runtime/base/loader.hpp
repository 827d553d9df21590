/// @file
/// Whether what is loaded has changed.
#pragma once

#include <cstdint>

namespace muster::runtime {

/// How often the dynamic loader has loaded or unloaded something in this process; never 0. What somebody keeps about
/// modules and addresses is good as long as this number is. Costs about 20 ns and passes the loader's lock. Any thread.
std::uint64_t loader_changes();

}  // namespace muster::runtime
