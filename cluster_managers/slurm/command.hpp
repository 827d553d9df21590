/// @file
/// Asking SLURM's commands.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace muster::runtime::slurm {

/// How a command ended, and what it wrote.
struct CommandResult {
  int status = -1;  ///< of its exit; -1: a signal ended it, or it took too long
  std::string output, error;
};

/// Runs a command to its end.
/// @param input for its standard input
/// @param limit after which it is killed
/// @throws Error where it can't be started: it is not installed, mostly
CommandResult run(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment,
                  const std::string& input = {}, std::chrono::milliseconds limit = std::chrono::seconds(20));

/// That one of SLURM's commands can't be started, and what to do.
std::string cannot_start(const std::string& command, const std::string& why);

}  // namespace muster::runtime::slurm
