/// @file
/// The kernel: carries out what notebooks ask for.
#pragma once

#include "repl/kernel/capture.hpp"
#include "repl/kernel/channels.hpp"
#include "repl/kernel/control.hpp"
#include "repl/prompt/commands.hpp"
#include "repl/prompt/display.hpp"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace muster::repl {

/// The answer to kernel_info_request.
Json about_kernel();

/// Results and failures as messages.
class NotebookDisplay : public Display {
 public:
  NotebookDisplay(Channels& channels, OutputCapture& capture) : channels_(channels), capture_(capture) {}

  void result(const MimeBundle& bundle) override;
  void show(const MimeBundle& bundle) override;
  void failure(const Failure& failure) override;
  void message(const std::string& text) override;

  /// A cell begins: its number, and whether it is to leave no trace.
  void begin(int count, bool silent);
  /// What an `error` message says of the cell's failure; nothing where there is none.
  const std::optional<Json>& error() const { return error_; }

 private:
  Channels& channels_;
  OutputCapture& capture_;
  int count_ = 0;
  bool silent_ = false;
  std::optional<Json> error_;
};

/// Serves the shell channel, on the thread that runs users' code.
class Kernel {
 public:
  Kernel(Channels& channels, OutputCapture& capture, NotebookDisplay& display, Evaluator& evaluator, Ending& ending)
      : channels_(channels),
        capture_(capture),
        display_(display),
        evaluator_(evaluator),
        commands_(evaluator),
        ending_(ending) {}

  /// Until the end is asked for.
  void run();

 private:
  void handle(const Message& request);
  void take_waiting();
  void reply(const Message& request, const std::string& type, Json content);
  Json execute(const Json& asked);
  void run_cell(const std::string& code, const std::string& name);
  Json complete(const Json& asked);
  Json inspect(const Json& asked);
  Json history(const Json& asked) const;

  Channels& channels_;
  OutputCapture& capture_;
  NotebookDisplay& display_;
  Evaluator& evaluator_;
  Commands commands_;
  Ending& ending_;
  int count_ = 0;
  bool quit_ = false;
  std::vector<Message> waiting_;  ///< asked for before it was known that a cell failed; its cells are not run
  bool refusing_ = false;         ///< it is those that are handled
  std::vector<std::pair<int, std::string>> history_;
};

}  // namespace muster::repl
