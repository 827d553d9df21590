/// @file
/// This program and its shared libraries, copied to a host that does not have them.
#pragma once

#include "cluster_managers/ssh/ssh_connection.hpp"

#include <muster/cluster.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::runtime::ssh {

/// A file that a worker is made of.
struct ProgramFile {
  std::string path;
  std::string source;    ///< where its contents are: the file at its path may have been built anew
  std::string build_id;  ///< hexadecimal; empty where it has none
  bool of_system;        ///< a library that came with the system: a host's own one serves as well
};

/// The build-id in the beginning of an ELF file (its GNU note), in hexadecimal; empty where there is none.
std::string build_id_in(std::string_view beginning);

/// The program, and the libraries that this process has loaded, but for those of the C library itself.
std::vector<ProgramFile> files_of_program(const std::string& program);

/// A place on the host that a worker is started from.
struct ShippedProgram {
  std::string program;    ///< its path there
  std::string libraries;  ///< the directory of those that came with it; empty: none had to
};

/// A script that asks which of them the host has.
std::string ship_question(const std::vector<ProgramFile>& files);

/// Sees to it that the host can run this program.
/// @param files its own first
/// @param system what `uname -sm` says there
/// @param answer what the question's script printed
/// @throws Error where it can't be run there, or not be copied
ShippedProgram ship(SshConnection& connection, const std::vector<ProgramFile>& files, Ship policy,
                    const std::string& system, const std::string& answer, Clock::time_point deadline);

}  // namespace muster::runtime::ssh
