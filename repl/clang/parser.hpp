/// @file
/// clang's incremental parser, with messages collected and names that can be hidden.
#pragma once

#include "repl/clang/emitter.hpp"

#include <clang/AST/Decl.h>
#include <clang/Frontend/CompilerInstance.h>
#include <clang/Interpreter/Interpreter.h>

#include <memory>
#include <string>
#include <vector>

namespace muster::repl {

/// All that is declared at the prompt is in this namespace, which is inline: it hides what `using namespace` brings in
/// and what C headers declare, and its symbols meet none of C's.
inline constexpr const char* prompt_space = "prompt";

/// Owns the interpreter. What it is asked to parse it keeps: callers fork before they try.
class Parser {
 public:
  explicit Parser(const FrontEndOptions& options);

  struct Parsed {
    clang::PartialTranslationUnit* unit = nullptr;  ///< null: refused
    std::string messages = {};                      ///< errors, or warnings
  };
  Parsed parse(const std::string& code);
  /// Parses and emits. @throws CompileError
  std::string compile(const std::string& code);

  /// Opens the prompt's namespace, after all that is not in it. @throws CompileError
  void begin(const std::string& preamble);

  /// What this name means at the prompt, of what was declared there.
  std::vector<clang::NamedDecl*> find(const std::string& name) const;
  /// Whether a namespace of that name was there before the prompt.
  bool is_foreign_namespace(const std::string& name) const;
  /// Lookups no longer find it. Code that uses it goes on to.
  void hide(clang::NamedDecl* declaration);

  Emitter& emitter() { return *emitter_; }
  clang::ASTContext& context() const { return interpreter_->getCompilerInstance()->getASTContext(); }
  clang::SourceManager& sources() const { return context().getSourceManager(); }
  clang::Sema& sema() const { return interpreter_->getCompilerInstance()->getSema(); }

 private:
  std::vector<std::string> flags_;
  std::unique_ptr<clang::Interpreter> interpreter_;
  Emitter* emitter_ = nullptr;             ///< the interpreter's
  clang::NamespaceDecl* space_ = nullptr;  ///< the prompt's namespace, once it is opened
};

}  // namespace muster::repl
