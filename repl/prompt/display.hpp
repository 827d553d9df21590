/// @file
/// Where results and failures of a session go: a terminal, or a notebook.
#pragma once

#include <string>

namespace muster {
struct MimeBundle;
}

namespace muster::repl {

/// What went wrong with an input.
struct Failure {
  std::string name = {};     ///< of the exception's type
  std::string message = {};  ///< what it says
  std::string text = {};     ///< all that is known, for people: also where, and the backtrace
  std::string place = {};    ///< FILE:LINE of a script's statement

  /// One that is no exception's.
  static Failure said(const std::string& text) { return {"Error", text, text, {}}; }
};

/// The interface. Called on the thread that runs inputs.
class Display {
 public:
  Display() = default;
  virtual ~Display() = default;
  Display(const Display&) = delete;
  Display& operator=(const Display&) = delete;

  /// What an input was worth.
  virtual void result(const MimeBundle& bundle) = 0;
  /// What code asked to show.
  virtual void show(const MimeBundle& bundle) = 0;
  virtual void failure(const Failure& failure) = 0;
  /// Warnings and the like.
  virtual void message(const std::string& text) = 0;
};

/// Text on stdout, messages and failures on stderr.
class TerminalDisplay : public Display {
 public:
  void result(const MimeBundle& bundle) override { show(bundle); }
  void show(const MimeBundle& bundle) override;
  void failure(const Failure& failure) override;
  void message(const std::string& text) override;
};

}  // namespace muster::repl
