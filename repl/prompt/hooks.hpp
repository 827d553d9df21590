/// @file
/// What code that runs at the prompt calls: the functions that muster/prompt.hpp declares.
#pragma once

#include "repl/prompt/evaluator.hpp"

#include <string>
#include <vector>

namespace muster::repl {

/// Makes an evaluator the one that `muster::everywhere(source)` uses, as long as it lives. One at a time.
class Hooks {
 public:
  Hooks(Evaluator& evaluator, std::vector<std::string> arguments);
  ~Hooks();
  Hooks(const Hooks&) = delete;
  Hooks& operator=(const Hooks&) = delete;
};

/// What the script's main function returned; 0 where it has none.
int script_status();

}  // namespace muster::repl
