/// @file
/// What may stand at the end of a text.
#pragma once

#include <string>
#include <vector>

namespace muster::repl {

/// Completes the last word of `code`, a translation unit that breaks off there.
/// @param flags of the compiler
/// @returns full words, sorted
std::vector<std::string> completions(const std::vector<std::string>& flags, const std::string& code);

/// What the last word of `code` is, each meaning of it with its signature and what its comment says.
std::vector<std::string> explanations(const std::vector<std::string>& flags, const std::string& code);

}  // namespace muster::repl
