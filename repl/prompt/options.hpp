/// @file
/// The command line of `muster`.
#pragma once

#include <string>
#include <vector>

namespace muster::repl {

struct Options {
  std::vector<std::string> expressions = {};  ///< of -e
  std::string script = {};
  std::vector<std::string> arguments = {};  ///< the script's name, and what stands behind it
  std::vector<std::string> flags = {};      ///< -I, -D, -O: for the compiler
  std::string front_end = {};               ///< "clang" or "g++"; empty: the first that is there
  bool interactive = false;                 ///< -i: a prompt after the script or the expressions
  bool quiet = false;
  bool help = false;
  bool version = false;
};

/// Reads it; `-p` and `--machine-file` become the session's own flags.
/// @throws std::invalid_argument
Options read_options(std::vector<std::string>& words);

/// What --help prints.
std::string usage();

}  // namespace muster::repl
