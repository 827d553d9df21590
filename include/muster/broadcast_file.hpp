/// @file
/// Files that all hosts of the cluster need.
#pragma once

#include <muster/cluster.hpp>

#include <string>
#include <vector>

namespace muster {

/// Options of broadcast_file.
struct BroadcastFileOptions {
  std::string target = {};  ///< path there, relative to the directory that a process works in; empty: as here, absolute
};

/// Copies a file of this process's host to the hosts of those processes: to each host once, through one of them. It has
/// the same contents and permissions there; whoever opens it sees what was there before, or all of it, since it is put
/// in place by a rename. Nothing is sent to a host that has it already, by its size and BLAKE2b hash. Any process.
///
/// Costs two readings of the file here, and one there; parts of 4 MiB are under way to all hosts at once. Links between
/// hosts encrypt as they do for every call.
/// @param path of a regular file; relative to the current directory
/// @param pids where it is to be; whoever is on this host needs nothing, unless there is another target
/// @throws Error when it can't be read, std::invalid_argument for an unknown pid; CompositeException of what failed on
/// each host, when the other ones have it: no directory there, no permission, a full disk (found before anything is
/// sent), or a file that was changed meanwhile. What was there before is left as it was then.
void broadcast_file(const std::string& path, const std::vector<Pid>& pids = procs(), BroadcastFileOptions options = {});

}  // namespace muster
