/// @file
/// `muster-worker`: a worker of whatever program its master runs.
#pragma once

#include "runtime/session/start_record.hpp"

#include <optional>
#include <string>
#include <vector>

namespace muster::runtime {

/// What its command line says.
struct GenericWorkerOptions {
  std::optional<std::string> connect = {};   ///< `HOST:PORT` of the master; none: where the key says
  std::optional<std::string> key_file = {};  ///< none: standard input
  std::optional<std::string> bind = {};      ///< `ADDRESS[:PORT]` to listen at
  bool help = false, version = false;
};

/// @throws std::invalid_argument naming what is wrong
GenericWorkerOptions read_generic_worker_options(const std::vector<std::string>& arguments);

/// A line of the file, or of standard input. The file must belong to this user, or to root, and nobody else may read
/// it. @throws Error
std::string read_key(const std::optional<std::string>& file);

/// The endpoints to be tried, from the record and what --connect says. @throws Error
std::vector<std::string> endpoints_of(StartRecord& record, const std::optional<std::string>& connect);

/// Where a copy of a program can be run from.
struct ReadyProgram {
  std::string program;
  std::string libraries = {};  ///< their directory; empty: none were copied
};

class ProgramFetch;
struct ProgramList;
/// Sees to it that the program is here: where the master has it, in the cache, or fetched into the cache now. Nothing
/// is returned whose contents are not what the list says.
/// @throws Error saying what to do
ReadyProgram make_ready(ProgramFetch& master, const ProgramList& list);

/// Becomes a worker. @throws Error where that can't be
[[noreturn]] void become_worker(const GenericWorkerOptions& options);

}  // namespace muster::runtime
