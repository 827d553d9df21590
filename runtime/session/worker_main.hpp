/// @file
/// What a process does that was started as a worker.
#pragma once

namespace muster::runtime {

/// Reads the start record, listens, announces itself, serves, and ends the process.
[[noreturn]] void worker_main();

}  // namespace muster::runtime
