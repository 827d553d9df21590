/// @file
/// This program and its shared libraries, copied to a host that does not have them.
#pragma once

#include "cluster_managers/ssh/ssh_connection.hpp"
#include "runtime/base/program_files.hpp"

#include <muster/cluster.hpp>

#include <string>
#include <vector>

namespace muster::runtime::ssh {

/// A place on the host that a worker is started from.
struct ShippedProgram {
  std::string program;    ///< its path there
  std::string libraries;  ///< the directory of those that came with it; empty: none had to
};

/// Commands that ask which of them the host has.
std::string ship_question(const std::vector<ProgramFile>& files);

/// Sees to it that the host can run this program.
/// @param files its own first
/// @param system what `uname -sm` says there
/// @param answer what the question's script printed
/// @throws Error where it can't be run there, or not be copied
ShippedProgram ship(SshConnection& connection, const std::vector<ProgramFile>& files, Ship policy,
                    const std::string& system, const std::string& answer, Clock::time_point deadline);

}  // namespace muster::runtime::ssh
