/// @file
/// Compiles inputs, loads what came of them, runs it, and says what went wrong.
#pragma once

#include "repl/front_end/front_end.hpp"
#include "repl/prompt/display.hpp"
#include "repl/prompt/interrupts.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace muster::repl {

/// How an input is run.
struct How {
  bool show = false;        ///< print the value of its last expression
  bool everywhere = false;  ///< on every process
  std::string file = {};    ///< how messages name it; empty: In[number]
  unsigned line = 1;
};

/// One session of the prompt. Of the main thread, as the code that it runs.
class Evaluator {
 public:
  Evaluator(std::unique_ptr<FrontEnd> front_end, Interrupts& interrupts, Display& display);

  /// Runs an input. What goes wrong is shown as a failure. @returns whether nothing did
  bool run(const std::string& text, const How& how);
  /// The same for code that runs at the prompt: what goes wrong is thrown. @throws CompileError, what the code throws
  void run_or_throw(const std::string& text, const How& how);
  /// Runs a file, item by item, up to the first error. @returns whether there was none
  bool run_file(const std::string& path);
  /// Takes back what the last input that declared something declared. @throws CompileError
  void undo();

  /// How long the compiler took for the last input.
  std::chrono::duration<double> last_compilation() const { return last_compilation_; }
  FrontEnd& front_end() { return *front_end_; }
  Display& display() { return display_; }
  /// What may stand in place of the word that ends this text; nothing where the compiler can't say.
  std::vector<std::string> complete(const std::string& before);
  /// What the name is that ends this text: one signature and comment for each meaning.
  std::vector<std::string> explain(const std::string& name);
  /// Prints what the compiler is given, from here on.
  void set_verbose(bool verbose) { verbose_ = verbose; }

 private:
  void start(const Compiled& compiled, bool everywhere);

  std::unique_ptr<FrontEnd> front_end_;
  Interrupts& interrupts_;
  Display& display_;
  int inputs_ = 0;
  bool verbose_ = false;
  std::chrono::duration<double> last_compilation_{};
  std::vector<bool> accepted_;  ///< inputs that can be taken back: whether they declared something
};

}  // namespace muster::repl
