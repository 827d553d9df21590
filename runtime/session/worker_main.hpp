/// @file
/// What a process does that was started as a worker.
#pragma once

#include <optional>
#include <string>

namespace muster::runtime {

/// Reads the start record, listens, announces itself, serves, and ends the process.
/// @param bind `ADDRESS[:PORT]` to listen on; none: as the start record says
[[noreturn]] void worker_main(const std::optional<std::string>& bind);

}  // namespace muster::runtime
