/// @file
/// The compiler's process, or rather a row of them.
///
/// Each input is looked at in a forked child that ends with it, since looking leaves traces. It is compiled in another
/// child, which then *is the session*; the process it came from sleeps, as the state before that input. It goes on
/// where the child ends: because the input was refused, the compiler crashed, or the input is taken back. So nothing
/// that a bad input does to the compiler reaches the session.
///
/// While nobody asks for anything, what most inputs need is compiled ahead, each part in a child that then is the
/// session too; it is the same state as the process that it came from, which ends as it ends.
#pragma once

#include "repl/clang/parser.hpp"
#include "repl/clang/transform.hpp"

#include <sys/types.h>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace muster::repl {

class Server {
 public:
  /// @param socket to the prompt
  Server(int socket, const FrontEndOptions& options);
  /// Answers requests until the prompt is gone. Then the process ends.
  [[noreturn]] void serve();

 private:
  void compile(const Input& input);
  std::optional<std::vector<std::string>> prepare(const Input& input, Transformer::Loops loops,
                                                  std::string& how_it_ended);
  std::string without_loop_checks(const Input& input, const std::string& message);
  void become(const Input& input, const std::vector<Piece>& pieces);
  void sleep_behind(pid_t child);
  bool asked() const;
  void warm_up();
  void stand_aside(pid_t child);
  void say_what_ends(const std::string& text, bool explain);
  void answer(const std::vector<std::string>& frame) const;
  std::optional<std::vector<std::string>> in_child(const std::function<std::vector<std::string>()>& work,
                                                   std::string& how_it_ended) const;

  int socket_;
  FrontEndOptions options_;
  Parser parser_;
  std::set<std::string> used_;        ///< names that were ever declared
  std::vector<std::string> sources_;  ///< what was accepted
  std::vector<pid_t> before_;         ///< processes that are, or were, the states before each input
  std::string last_warnings_;
  std::vector<Cell> warm_;      ///< made while nobody asked for anything; the next input's cells need them
  std::size_t warm_parts_ = 0;  ///< how many of them there are to be
  std::size_t warmed_ = 0;      ///< and are
  /// Shared by the row.
  struct Row {
    bool busy = false;       ///< a request is being worked on
    std::size_t oldest = 0;  ///< the state before_ has here is the oldest that is left
  };
  Row* row_;
};

}  // namespace muster::repl
