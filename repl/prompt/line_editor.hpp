/// @file
/// Lines from a person: editing, history, completion.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace muster::repl {

/// Reads lines from the terminal.
class LineEditor {
 public:
  /// @param complete what may stand for the word that ends the text before the cursor
  explicit LineEditor(std::function<std::vector<std::string>(const std::string&)> complete);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  enum class Result : unsigned char { line, interrupted, end };
  /// Reads one line, without its end. @returns end after Ctrl-D, interrupted after Ctrl-C
  Result read(const std::string& prompt, std::string& line);

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace muster::repl
