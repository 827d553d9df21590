/// @file
/// The compiler's process, or rather a row of them.
///
/// Each input is tried in a forked child that ends with it, so that neither a crash of the compiler nor what a refused
/// input left behind in it reaches the session. What passed is compiled in another child, which *becomes the session*;
/// the process it came from sleeps, as the state before that input. It goes on where the child ends: because the input
/// is taken back, or because the compiler crashed after all.
#pragma once

#include "repl/clang/parser.hpp"

#include <sys/types.h>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace muster::repl {

struct Piece;

class Server {
 public:
  /// @param socket to the prompt
  Server(int socket, const FrontEndOptions& options);
  /// Answers requests until the prompt is gone. Then the process ends.
  [[noreturn]] void serve();

 private:
  void compile(const Input& input);
  void become(const Input& input, const std::vector<Piece>& pieces);
  void sleep_behind(pid_t child);
  void complete(const std::string& text);
  void answer(const std::vector<std::string>& frame) const;
  std::optional<std::vector<std::string>> in_child(const std::function<std::vector<std::string>()>& work, std::string& how_it_ended) const;

  int socket_;
  FrontEndOptions options_;
  Parser parser_;
  std::set<std::string> used_;        ///< names that were ever declared
  std::vector<std::string> sources_;  ///< what was accepted
  std::vector<pid_t> before_;         ///< processes that are earlier states, the oldest first
  std::string last_warnings_;
  bool* busy_;                        ///< shared by the row: a request is being worked on
};

}  // namespace muster::repl
