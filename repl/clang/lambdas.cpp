/// @file
/// Lambdas of the prompt, and what they capture.
///
/// A variable of the prompt's lives at namespace scope, where C++ captures nothing: `[=]` would refer to the worker's
/// own variable of that name. So captures are made explicit. Those that are not plain bytes become parameters of a
/// lambda without captures, bound by muster::bind_front, which can be taken apart and sent.
#include "repl/clang/transform.hpp"

#include <clang/AST/ASTContext.h>
#include <clang/AST/ExprCXX.h>
#include <clang/AST/RecursiveASTVisitor.h>
#include <clang/Lex/Lexer.h>

#include <algorithm>
#include <set>

namespace muster::repl {

namespace {

class Lambdas : public clang::RecursiveASTVisitor<Lambdas> {
 public:
  // NOLINTNEXTLINE(readability-identifier-naming): the base class's name
  bool TraverseLambdaExpr(clang::LambdaExpr* lambda) {
    found.push_back(lambda);  // what is inside it is not looked at
    return true;
  }
  std::vector<clang::LambdaExpr*> found;
};

/// Variables that a body mentions and does not declare itself.
class Mentioned : public clang::RecursiveASTVisitor<Mentioned> {
 public:
  // NOLINTNEXTLINE(readability-identifier-naming)
  bool VisitVarDecl(clang::VarDecl* variable) {
    own.insert(variable);
    return true;
  }
  // NOLINTNEXTLINE(readability-identifier-naming)
  bool VisitBindingDecl(clang::BindingDecl* binding) {
    own.insert(binding);
    return true;
  }
  // NOLINTNEXTLINE(readability-identifier-naming)
  bool VisitDeclRefExpr(clang::DeclRefExpr* mention) {
    clang::ValueDecl* what = mention->getDecl();
    if (llvm::isa<clang::VarDecl, clang::BindingDecl>(what) && seen.insert(what).second) mentioned.push_back(what);
    return true;
  }
  std::vector<clang::ValueDecl*> mentioned;
  std::set<clang::ValueDecl*> seen, own;
};

/// Of the prompt's namespace, or a local variable of the probe.
bool is_of_prompt(const clang::ValueDecl* what) {
  if (const auto* variable = llvm::dyn_cast<clang::VarDecl>(what);
      variable != nullptr && (variable->isConstexpr() || variable->isStaticDataMember()))
    return false;
  for (const clang::DeclContext* context = what->getDeclContext(); context != nullptr; context = context->getParent()) {
    const auto* space = llvm::dyn_cast<clang::NamespaceDecl>(context);
    if (space != nullptr && !space->isInline()) return false;  // a namespace that somebody typed
    if (space != nullptr && space->getName() == prompt_space) return true;
    if (context->isTranslationUnit()) return false;
  }
  return false;
}

bool is_global(const clang::ValueDecl* what) { return what->getDeclContext()->getRedeclContext()->isFileContext(); }

}  // namespace

struct LambdaRewriter::Capture {
  std::string name, value;
  bool plain_bytes;
  bool explicit_one;  ///< written down, not by default
  bool global;        ///< a variable at namespace scope
};

std::size_t LambdaRewriter::Place::begin_of(clang::SourceLocation location) const {
  return sources.getFileOffset(sources.getExpansionLoc(location)) - start;
}

std::size_t LambdaRewriter::Place::end_of(clang::SourceLocation location) const {
  const clang::SourceLocation last = sources.getExpansionRange(location).getEnd();
  return sources.getFileOffset(last) - start + clang::Lexer::MeasureTokenLength(last, sources, language);
}

std::vector<clang::LambdaExpr*> LambdaRewriter::in(clang::Stmt* statement) {
  Lambdas visitor;
  visitor.TraverseStmt(statement);
  std::vector<clang::LambdaExpr*> found = std::move(visitor.found);
  std::sort(found.begin(), found.end(), [](auto* a, auto* b) { return a->getBeginLoc() < b->getBeginLoc(); });
  return found;
}

std::vector<LambdaRewriter::Capture> LambdaRewriter::captures(clang::LambdaExpr* lambda,
                                                              const std::string& text) const {
  const std::size_t own_start = place_.begin_of(lambda->getBeginLoc());
  const auto plain = [&](clang::QualType type) {
    return !type->isDependentType() && !type->isUndeducedType() &&
           type.getNonReferenceType().isTriviallyCopyableType(context_);
  };
  std::vector<Capture> found;
  std::set<std::string> names;
  for (const clang::LambdaCapture& capture : lambda->captures()) {
    if (!capture.isExplicit() || !capture.capturesVariable()) continue;
    const clang::ValueDecl* what = capture.getCapturedVar();
    const auto* variable = llvm::dyn_cast<clang::VarDecl>(what);
    std::string value = what->getNameAsString();
    if (variable != nullptr && variable->isInitCapture()) {
      const clang::SourceRange range = variable->getInit()->getSourceRange();
      const std::size_t first = place_.begin_of(range.getBegin()), last = place_.end_of(range.getEnd());
      value = text.substr(first - own_start, last - first);
    }
    names.insert(what->getNameAsString());
    found.push_back({what->getNameAsString(), value, plain(what->getType()), true, false});
  }
  if (lambda->getCaptureDefault() == clang::LCD_None) return found;
  Mentioned visitor;
  visitor.TraverseStmt(lambda->getBody());
  for (clang::ValueDecl* what : visitor.mentioned) {
    if (visitor.own.contains(what) || !is_of_prompt(what) || names.contains(what->getNameAsString())) continue;
    if (std::find(lambda->getCallOperator()->param_begin(), lambda->getCallOperator()->param_end(), what) !=
        lambda->getCallOperator()->param_end())
      continue;
    names.insert(what->getNameAsString());
    found.push_back({what->getNameAsString(), what->getNameAsString(), plain(what->getType()), false,
                     is_global(what) || at_top_.contains(what)});
  }
  return found;
}

std::string LambdaRewriter::rewrite(clang::LambdaExpr* lambda, const std::string& text) const {
  const auto all = captures(lambda, text);
  if (all.empty()) return text;
  const std::size_t own_start = place_.begin_of(lambda->getBeginLoc());
  const std::size_t introducer_end = place_.end_of(lambda->getIntroducerRange().getEnd()) - own_start;
  const bool by_reference =
      lambda->getCaptureDefault() == clang::LCD_ByRef ||
      std::any_of(lambda->captures().begin(), lambda->captures().end(), [](const clang::LambdaCapture& capture) {
        return capture.isExplicit() && (!capture.capturesVariable() || capture.getCaptureKind() == clang::LCK_ByRef);
      });
  const bool all_plain = std::all_of(all.begin(), all.end(), [](const Capture& one) { return one.plain_bytes; });
  if (by_reference || all_plain || lambda->isMutable()) {
    // captures by default do not reach what lives at namespace scope
    const std::string reference = lambda->getCaptureDefault() == clang::LCD_ByRef ? "&" : "";
    std::string added;
    for (const Capture& one : all)
      if (!one.explicit_one && one.global) added += ", " + reference + one.name + " = " + one.value;
    std::string introducer = text.substr(0, introducer_end);
    for (const clang::LambdaCapture& capture : llvm::reverse(lambda->captures())) {
      if (!capture.isExplicit() || !capture.capturesVariable() || !at_top_.contains(capture.getCapturedVar())) continue;
      introducer.insert(place_.end_of(capture.getLocation()) - own_start,
                        " = " + capture.getCapturedVar()->getNameAsString());
    }
    if (!added.empty()) introducer.insert(introducer.find_first_of("=&") + 1, added);
    return introducer + text.substr(introducer_end);
  }
  std::string parameters, values;
  for (const Capture& one : all) {
    parameters += (parameters.empty() ? "" : ", ");
    parameters += "const std::decay_t<decltype(" + one.value + ")>& " + one.name;
    values += ", " + one.value;
  }
  std::string rest = text.substr(introducer_end);
  const auto tokens = tokens_of(rest).all;
  std::size_t at = 0;  // behind explicit template parameters
  if (!tokens.empty() && tokens[0].is("<")) {
    int depth = 0;
    for (; at < tokens.size(); ++at) {
      if (tokens[at].is("<")) ++depth;
      if (tokens[at].is(">") && --depth == 0) break;
    }
    ++at;
  }
  if (at < tokens.size() && tokens[at].is("(")) {
    const bool none = at + 1 < tokens.size() && tokens[at + 1].is(")");
    rest.insert(tokens[at].end(), parameters + (none ? "" : ", "));
  } else {
    rest.insert(at < tokens.size() ? tokens[at].offset : 0, "(" + parameters + ") ");
  }
  return "::muster::bind_front([]" + rest + values + ")";
}

}  // namespace muster::repl
