/// @file
/// Whether what is loaded has changed.
#pragma once

#include <cstdint>
#include <string>

namespace muster::runtime {

/// How often the dynamic loader has loaded or unloaded something in this process; never 0. What somebody keeps about
/// modules and addresses is good as long as this number is. Costs about 20 ns and passes the loader's lock. Any thread.
std::uint64_t loader_changes();

/// The name under which the dynamic loader knows the module that is loaded there; empty where there is none. Any
/// thread.
std::string loader_name(std::uintptr_t base);

}  // namespace muster::runtime
