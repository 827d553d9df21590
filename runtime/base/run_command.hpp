/// @file
/// Commands that are run to their end.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace muster::runtime {

/// How a command ended, and what it wrote.
struct CommandOutcome {
  int status = -1;  ///< of its exit; -1: a signal ended it, or it took too long
  std::string output, errors;
  /// What it said, its errors first, trimmed: for people.
  std::string said() const;
};

/// Runs a command to its end.
/// @param input for its standard input
/// @param limit after which it is killed
/// @param environment the whole of its own; none: this process's
/// @throws Error where it can't be started
CommandOutcome run_command(const std::vector<std::string>& arguments, const std::string& input,
                           std::chrono::milliseconds limit,
                           const std::optional<std::map<std::string, std::string>>& environment = std::nullopt);

/// A text as one word of a POSIX shell's.
std::string shell_word(const std::string& text);
/// All of them, as a command.
std::string shell_words(const std::vector<std::string>& words);

}  // namespace muster::runtime
