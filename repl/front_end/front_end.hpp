/// @file
/// What turns an input into code: the seam between the prompt and a C++ compiler. `clang/` is one implementation, in a
/// process of its own; `GxxFrontEnd` calls the installed compiler; cling would be a third.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace muster::repl {

/// One input of the prompt, or one item of a script.
struct Input {
  std::string text = {};
  int number = 0;         ///< never used twice in a session
  bool show = false;      ///< print the value of its last expression, where it has no semicolon
  std::string file = {};  ///< how messages name it
  unsigned line = 1;      ///< of the file, where the text begins
};

/// A shared object that was made of an input, or of a part of it. Loading it runs nothing: its `start` does.
struct Cell {
  std::string path = {};   ///< of its file, which lives as long as the session
  std::string start = {};  ///< name of the function `extern "C" void start()` that runs its statements and initialisers
};

/// What became of an input.
struct Compiled {
  std::vector<Cell> cells = {};  ///< to be loaded and started in this order
  std::string warnings = {};
  std::string source = {};  ///< what the compiler was given; for those who look into it
  bool declares = false;    ///< it has names that forget() would take back
};

/// The input was refused; what() holds the compiler's messages. The session is as it was before.
class CompileError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// How a front end is set up.
struct FrontEndOptions {
  std::string folder = {};              ///< where cells go; private to the session
  std::vector<std::string> flags = {};  ///< for the compiler: -I, -D, -O and the like
  bool warm = false;                    ///< inputs come from a person: get ready for the first while it is typed
};

/// The interface. One thread at a time.
class FrontEnd {
 public:
  FrontEnd() = default;
  virtual ~FrontEnd() = default;
  FrontEnd(const FrontEnd&) = delete;
  FrontEnd& operator=(const FrontEnd&) = delete;

  /// @throws CompileError
  virtual Compiled compile(const Input& input) = 0;
  /// Takes back the names that the last accepted input declared, so that older ones of theirs are seen again. What it
  /// did stays done. May be repeated. @throws CompileError where nothing is left to take back
  virtual void forget() = 0;
  /// What may stand in place of the word that ends this text, which is the line up to the cursor.
  virtual std::vector<std::string> complete(const std::string& text) = 0;
  /// What the name is that ends this text: for each meaning its signature, and what its comment says.
  virtual std::vector<std::string> explain(const std::string& /*text*/) { return {}; }
  /// Which compiler this is, for people.
  virtual std::string describe() const = 0;
};

/// Clang, in the process `program`. @throws std::runtime_error when it does not start
std::unique_ptr<FrontEnd> make_clang_front_end(const std::string& program, const FrontEndOptions& options);

/// The installed compiler, called for each input.
std::unique_ptr<FrontEnd> make_gxx_front_end(const std::string& compiler, const FrontEndOptions& options);

}  // namespace muster::repl
