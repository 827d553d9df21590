#include "repl/prompt/hooks.hpp"

#include <muster/display.hpp>
#include <muster/errors.hpp>

#include <stdexcept>

// Only declared here: the header brings in all of muster.
namespace muster {
void everywhere(const char* source);
void everywhere(std::string source);
namespace prompt {
const std::vector<std::string>& arguments();
void end_script(int status);
void show_result(const MimeBundle& bundle);
}  // namespace prompt
}  // namespace muster

namespace muster::repl {

namespace {

/// The one place of the process that its cells, which are shared objects, can find.
struct Shared {
  Evaluator* evaluator = nullptr;
  std::vector<std::string> arguments;
  int status = 0;
};

Shared& shared() {
  static Shared one;
  return one;
}

}  // namespace

Hooks::Hooks(Evaluator& evaluator, std::vector<std::string> arguments) {
  shared().evaluator = &evaluator;
  shared().arguments = std::move(arguments);
}
Hooks::~Hooks() { shared().evaluator = nullptr; }

int script_status() { return shared().status; }

}  // namespace muster::repl

namespace muster {

void everywhere(std::string source) {
  repl::Evaluator* evaluator = repl::shared().evaluator;
  if (evaluator == nullptr)
    throw std::logic_error("everywhere with source text: only the process of the prompt has a compiler; call it there");
  repl::How how;
  how.everywhere = true;
  try {
    evaluator->run_or_throw(source, how);
  } catch (const repl::CompileError& error) {
    throw Error(std::string("everywhere: this does not compile:\n") + error.what());
  }
}

void everywhere(const char* source) { everywhere(std::string(source)); }

namespace prompt {

const std::vector<std::string>& arguments() { return repl::shared().arguments; }

void end_script(int status) { repl::shared().status = status; }

void show_result(const MimeBundle& bundle) {
  if (repl::Evaluator* evaluator = repl::shared().evaluator) evaluator->display().result(bundle);
}

}  // namespace prompt

void display(const MimeBundle& bundle) {
  repl::Evaluator* evaluator = repl::shared().evaluator;
  evaluator != nullptr ? evaluator->display().show(bundle) : repl::TerminalDisplay().show(bundle);
}

}  // namespace muster
