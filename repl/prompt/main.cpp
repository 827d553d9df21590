/// @file
/// `muster`: C++ at a prompt. It holds no compiler; as a worker it is this same program.
#include "repl/prompt/commands.hpp"
#include "repl/prompt/display.hpp"
#include "repl/prompt/evaluator.hpp"
#include "repl/prompt/front_ends.hpp"
#include "repl/prompt/hooks.hpp"
#include "repl/prompt/interrupts.hpp"
#include "repl/prompt/line_editor.hpp"
#include "repl/prompt/options.hpp"
#include "repl/text/tokens.hpp"

#include <muster/session.hpp>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <stdexcept>

namespace muster::repl {

namespace {

/// Asks for lines until they make an input, and runs it.
class Reader {
 public:
  Reader(Evaluator& evaluator, Interrupts& interrupts, bool terminal)
      : evaluator_(evaluator), interrupts_(interrupts), commands_(evaluator) {
    if (terminal) editor_.emplace([this](const std::string& before) { return complete(before); });
  }

  /// @returns whether all went well
  bool run() {
    bool good = true;
    std::string input, line;
    for (;;) {
      const LineEditor::Result result = read(input.empty() ? "muster> " : "    ... ", line);
      if (result == LineEditor::Result::end) break;
      if (result == LineEditor::Result::interrupted) {
        (void)interrupts_.take_pressed();
        (void)std::fputs("^C\n", stdout);
        input.clear();
        continue;
      }
      input += line;
      if (is_incomplete(input)) {
        if (input.ends_with('\\')) input.pop_back();
        input += '\n';
        continue;
      }
      const std::string whole = std::exchange(input, {});
      if (whole.find_first_not_of(" \t\n;") == std::string::npos) continue;
      if (Commands::is_command(whole)) {
        const Commands::Result done = commands_.run(whole);
        if (done == Commands::Result::quit) return good;
        good = done == Commands::Result::done && good;
      } else {
        How how;
        how.show = true;
        good = evaluator_.run(whole, how) && good;
      }
    }
    if (!input.empty()) {
      (void)std::fputs("muster: the last input is not complete: a bracket, comment or raw string is open\n", stderr);
      return false;
    }
    return good;
  }

 private:
  LineEditor::Result read(const std::string& prompt, std::string& line) {
    if (editor_) {
      const LineEditor::Result result = editor_->read(prompt, line);
      if (result == LineEditor::Result::end) (void)std::fputs("\n", stdout);
      return result;
    }
    return std::getline(std::cin, line) ? LineEditor::Result::line : LineEditor::Result::end;
  }

  std::vector<std::string> complete(const std::string& before) {
    if (Commands::is_command(before) && before.find(' ') == std::string::npos) return Commands::completions(before);
    return evaluator_.complete(before);
  }

  Evaluator& evaluator_;
  Interrupts& interrupts_;
  Commands commands_;
  std::optional<LineEditor> editor_;
};

int run(const Options& options, Evaluator& evaluator, Interrupts& interrupts) {
  bool good = true;
  How how;
  how.show = true;
  for (const std::string& expression : options.expressions) good = good && evaluator.run(expression, how);
  if (!options.script.empty() && good) good = evaluator.run_file(options.script);
  const bool asked = !options.expressions.empty() || !options.script.empty();
  if (asked && !options.interactive) return good ? script_status() : 1;
  const bool terminal = ::isatty(STDIN_FILENO) != 0;
  if (terminal && !options.quiet)
    std::printf("muster %s: C++20 at a prompt; %%help tells more, Ctrl-D leaves\n", MUSTER_VERSION);
  (void)std::fflush(stdout);
  const bool all_good = Reader(evaluator, interrupts, terminal).run();
  return terminal || all_good ? 0 : 1;
}

int run(int argc, char** argv) {
  std::vector<std::string> words(argv, argv + argc);
  bool worker = false;
  for (const std::string& word : words) worker = worker || word == "--muster-worker";
  const Options options = worker ? Options{} : read_options(words);
  if (options.help || options.version) {
    (void)std::fputs(options.help ? usage().c_str() : "muster " MUSTER_VERSION "\n", stdout);
    return 0;
  }
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  char** values = arguments.data();
  if (worker) const Session session(count, values);  // does not return
  const CellFolder folder;
  const bool waits_for_input = options.script.empty() && options.expressions.empty() && ::isatty(STDIN_FILENO) != 0;
  std::unique_ptr<FrontEnd> front_end =
      make_front_end(options, folder.path(), waits_for_input);  // starts while the workers do
  const Session session(count, values);
  Interrupts interrupts;
  TerminalDisplay display;
  Evaluator evaluator(std::move(front_end), interrupts, display);
  const Hooks hooks(evaluator, options.arguments);
  return run(options, evaluator, interrupts);
}

}  // namespace

}  // namespace muster::repl

int main(int argc, char** argv) {
  try {
    return muster::repl::run(argc, argv);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "muster: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "muster: %s\n", error.what());
    return 1;
  }
}
