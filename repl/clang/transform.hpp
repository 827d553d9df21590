/// @file
/// From what somebody typed to C++ that an incremental compiler handles well.
#pragma once

#include "repl/clang/parser.hpp"
#include "repl/text/tokens.hpp"

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace muster::repl {

/// A declaration that becomes invisible: its name, and its address, which is the same in a forked process.
using Hidden = std::pair<std::string, std::uintptr_t>;

/// One step of a compilation: these are hidden, then this is compiled.
struct Piece {
  std::string source = {};
  std::vector<Hidden> hide = {};
};

/// An input that was tried and found good.
struct Prepared {
  std::vector<Piece> pieces = {};
  std::vector<std::string> names = {};  ///< what it declares
};

/// Tries an input, in a process that is thrown away afterwards: parsing leaves traces.
class Transformer {
 public:
  /// Whether loops are given a check that ends them. As they were typed is for the sake of messages that show them.
  enum class Loops : std::uint8_t { checked, as_typed };
  /// @param used every name that was ever declared, also where it was taken back: code of it is loaded, and a symbol
  /// of the same spelling would be bound to it
  Transformer(Parser& parser, const Input& input, const std::set<std::string>& used, Loops loops)
      : parser_(parser), input_(input), used_(used), loops_(loops) {}

  /// @throws CompileError
  Prepared prepare();

 private:
  struct Statement;
  void declaration(const Item& item, bool last);
  void statements(const Item& item, bool show, bool last);
  clang::CompoundStmt* probe(const std::string& head, const std::string& text);
  std::string hoisted(clang::DeclStmt& declares, std::string text);
  void accept(Piece piece, bool last);
  std::vector<Hidden> to_hide(const std::string& name) const;
  std::vector<Hidden> to_hide_of_function(const Item& item);
  std::string with_explicit_captures(const std::string& text) const;
  std::string place_of(const Item& item) const;
  std::string with_loops(const std::string& text) const {
    return loops_ == Loops::checked ? with_loop_checks(text) : text;
  }
  std::string unique(const std::string& what);

  Parser& parser_;
  const Input& input_;
  const std::set<std::string>& used_;
  const Loops loops_;
  Prepared result_;
  std::vector<std::string> new_names_;  ///< of the statements that are looked at
  int last_ = 0;
};

/// The lambdas that stand in a statement, outermost ones, rewritten so that what they capture can be sent.
class LambdaRewriter {
 public:
  /// Where the text of what is rewritten stands.
  struct Place {
    clang::SourceManager& sources;
    const clang::LangOptions& language;
    std::size_t start;  ///< of the statement's text in its buffer
    std::size_t begin_of(clang::SourceLocation location) const;
    std::size_t end_of(clang::SourceLocation location) const;
  };
  /// @param at_top variables that are local where the statement was parsed, and will be at namespace scope
  LambdaRewriter(clang::ASTContext& context, const Place& place, const std::set<const clang::ValueDecl*>& at_top)
      : context_(context), place_(place), at_top_(at_top) {}

  /// Those of a statement, outermost only, in the order of the text.
  static std::vector<clang::LambdaExpr*> in(clang::Stmt* statement);
  /// What stands for this lambda. @param text its own
  std::string rewrite(clang::LambdaExpr* lambda, const std::string& text) const;

 private:
  struct Capture;
  std::vector<Capture> captures(clang::LambdaExpr* lambda, const std::string& text) const;

  clang::ASTContext& context_;
  const Place& place_;
  const std::set<const clang::ValueDecl*>& at_top_;
};

}  // namespace muster::repl
