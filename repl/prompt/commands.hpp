/// @file
/// The commands of the prompt that begin with `%`.
#pragma once

#include "repl/prompt/evaluator.hpp"

#include <string>
#include <vector>

namespace muster::repl {

/// What an input that begins with % or with one of cling's dots does.
class Commands {
 public:
  explicit Commands(Evaluator& evaluator) : evaluator_(evaluator) {}

  enum class Result : unsigned char { done, failed, quit };
  /// Whether this is one.
  static bool is_command(const std::string& text);
  Result run(const std::string& text);
  /// Those that begin so.
  static std::vector<std::string> completions(const std::string& text);

 private:
  Result dispatch(const std::string& name, const std::string& rest);
  bool time(const std::string& code);

  Evaluator& evaluator_;
};

}  // namespace muster::repl
