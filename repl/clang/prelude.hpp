/// @file
/// Headers that every session includes, compiled once for each user.
#pragma once

#include <string>
#include <vector>

namespace muster::repl {

/// Adds the flag that uses a precompiled `muster/prompt.hpp`, which is made where the user's cache has none that fits:
/// its name depends on compiler, flags and headers. Does nothing where none can be made: the headers are then read as
/// they are, which takes seconds at each start.
void use_prelude(std::vector<std::string>& flags);

}  // namespace muster::repl
