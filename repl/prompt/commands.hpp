/// @file
/// The commands of the prompt that begin with `%`.
#pragma once

#include "repl/prompt/evaluator.hpp"

#include <string>
#include <vector>

namespace muster::repl {

/// Part of a text that may hold several inputs: a command, or code between commands.
struct Part {
  std::string text = {};
  unsigned line = 1;  ///< of the whole text, where it begins
  bool command = false;
};

/// What an input that begins with % or with one of cling's dots does.
class Commands {
 public:
  explicit Commands(Evaluator& evaluator) : evaluator_(evaluator) {}

  enum class Result : unsigned char { done, failed, quit };
  /// Whether this is one.
  static bool is_command(const std::string& text);
  Result run(const std::string& text);
  /// Splits a text of many lines, such as a notebook's cell. Commands begin at lines of their own, outside of brackets.
  static std::vector<Part> parts_of(const std::string& text);
  /// Those that begin so.
  static std::vector<std::string> completions(const std::string& text);

 private:
  Result dispatch(const std::string& name, const std::string& rest);
  bool time(const std::string& code);

  Evaluator& evaluator_;
};

}  // namespace muster::repl
