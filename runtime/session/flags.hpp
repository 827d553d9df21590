/// @file
/// The `--muster-*` flags and their environment variables.
#pragma once

#include <optional>
#include <string>

namespace muster::runtime {

struct Flags {
  bool worker = false;  ///< started as a worker
  bool help = false;
  std::optional<std::string> procs;  ///< a number or "auto"
  std::optional<std::string> machine_file;
  std::optional<std::string> log;
  std::optional<std::string> mpi;   ///< started by mpirun: a file that all ranks see, or "auto"
  std::optional<std::string> bind;  ///< of a worker: where it listens, in place of what its start record says
};

/// Takes the flags out of argv, and reads the environment for those not given.
/// @throws std::invalid_argument for an unknown `--muster-*` flag, or one without its value.
Flags take_flags(int& argc, char** argv);

/// What --muster-help prints.
std::string flags_help();

}  // namespace muster::runtime
