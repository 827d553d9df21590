/// @file
/// What a process does that was started as a worker.
#pragma once

#include <optional>
#include <string>

namespace muster::runtime {

/// Reads the start record, listens, announces itself, serves, and ends the process.
/// @param bind `ADDRESS[:PORT]` to listen on; none: as the start record says
/// @param start_record none: read from standard input
[[noreturn]] void worker_main(const std::optional<std::string>& bind,
                              const std::optional<std::string>& start_record = std::nullopt);

}  // namespace muster::runtime
