/// @file
/// Asking SLURM's commands.
#pragma once

#include "runtime/base/run_command.hpp"

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace muster::runtime::slurm {

/// run_command. @throws Error where it can't be started, which says what to do: it is not installed, mostly
CommandOutcome run(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment,
                   const std::string& input = {}, std::chrono::milliseconds limit = std::chrono::seconds(20));

/// That one of SLURM's commands can't be started, and what to do.
/// @param why in words that name the command
std::string cannot_start(const std::string& why);

}  // namespace muster::runtime::slurm
