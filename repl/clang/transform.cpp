#include "repl/clang/transform.hpp"

#include <clang/AST/ASTContext.h>
#include <clang/AST/DeclTemplate.h>
#include <clang/AST/ExprCXX.h>
#include <clang/Lex/Lexer.h>
#include <clang/Sema/Sema.h>

#include <algorithm>
#include <cctype>

namespace muster::repl {

namespace {

constexpr std::string_view open_space = "inline namespace prompt {\n", close_space = "\n}\n";

std::string versioned(const std::string& version, const std::string& source) {
  return "inline namespace " + version + " {\n" + source + "\n}";
}

std::string in_space(const std::string& source) { return std::string(open_space) + source + std::string(close_space); }

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n;") == std::string_view::npos; }

std::string without_leading(const std::string& word, const std::string& text) {
  const auto tokens = tokens_of(text).all;
  return !tokens.empty() && tokens[0].is(word) ? text.substr(tokens[0].end()) : text;
}

/// The functions among declarations, also those that are templates.
clang::FunctionDecl* as_function(clang::NamedDecl* declaration) {
  if (auto* pattern = llvm::dyn_cast<clang::FunctionTemplateDecl>(declaration)) return pattern->getTemplatedDecl();
  return llvm::dyn_cast<clang::FunctionDecl>(declaration);
}

bool is_definition(clang::NamedDecl* declaration) {
  if (const auto* function = as_function(declaration)) return function->isDefined();
  if (const auto* pattern = llvm::dyn_cast<clang::ClassTemplateDecl>(declaration))
    return pattern->getTemplatedDecl()->hasDefinition();
  if (const auto* tag = llvm::dyn_cast<clang::TagDecl>(declaration)) return tag->getDefinition() != nullptr;
  return !llvm::isa<clang::NamespaceDecl>(declaration);
}

}  // namespace

/// A statement, by its place in the probed text.
struct Transformer::Statement {
  clang::Stmt* tree;
  std::size_t begin, end;
};

std::string Transformer::unique(const std::string& what) {
  return "muster_" + what + "_" + std::to_string(input_.number) + "_" + std::to_string(last_++);
}

std::string Transformer::place_of(const Item& item) const {
  return "#line " + std::to_string(input_.line + item.line - 1) + " \"" + input_.file + "\"\n";
}

Prepared Transformer::prepare() {
  const auto items = items_of(input_.text, true);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (items[i].kind == Item::Kind::statement)
      statements(items[i], input_.show && i + 1 == items.size(), i + 1 == items.size());
    else
      declaration(items[i], i + 1 == items.size());
  }
  return std::move(result_);
}

/// Notes the piece; parses it for those that come behind it, as it will be parsed when it is compiled.
void Transformer::accept(Piece piece, bool last) {
  if (last && loops_ == Loops::checked) {  // it is parsed when it is compiled
    result_.pieces.push_back(std::move(piece));
    return;
  }
  for (const auto& [name, address] : piece.hide) {
    for (clang::NamedDecl* one : parser_.find(name))
      if (reinterpret_cast<std::uintptr_t>(one) == address) parser_.hide(one);
  }
  const Parser::Parsed parsed = parser_.parse(piece.source);
  if (parsed.unit == nullptr) throw CompileError(parsed.messages);
  result_.pieces.push_back(std::move(piece));
}

std::vector<Hidden> Transformer::to_hide(const std::string& name) const {
  if (std::find(result_.names.begin(), result_.names.end(), name) != result_.names.end())
    throw CompileError(input_.file + ": error: '" + name + "' is defined twice in this input\n");
  std::vector<Hidden> hidden;
  for (clang::NamedDecl* one : parser_.find(name))
    if (!llvm::isa<clang::NamespaceDecl>(one)) hidden.emplace_back(name, reinterpret_cast<std::uintptr_t>(one));
  return hidden;
}

/// Overloads stay: only what has the same signature is replaced. What is not a function goes.
std::vector<Hidden> Transformer::to_hide_of_function(const Item& item) {
  const auto visible = parser_.find(item.name);
  std::vector<Hidden> hidden;
  if (visible.empty()) return hidden;
  const std::string version = unique("signature");
  const Parser::Parsed parsed = parser_.parse(in_space(versioned(version, item.text.substr(0, item.body) + ";")));
  clang::FunctionDecl* declared = nullptr;
  if (parsed.unit != nullptr) {
    for (clang::NamedDecl* one : parser_.find(item.name))
      if (std::find(visible.begin(), visible.end(), one) == visible.end()) declared = as_function(one);
  }
  for (clang::NamedDecl* one : visible) {
    clang::FunctionDecl* old = as_function(one);
    const bool same = old == nullptr || declared == nullptr || !parser_.sema().IsOverload(declared, old, false);
    if (same && is_definition(one)) hidden.emplace_back(item.name, reinterpret_cast<std::uintptr_t>(one));
  }
  for (clang::NamedDecl* one : parser_.find(item.name))
    if (as_function(one) == declared && declared != nullptr) parser_.hide(one);
  return hidden;
}

/// Functions, types and the like go to namespace scope as they are.
void Transformer::declaration(const Item& item, bool last) {
  Piece piece;
  std::string text = item.text;
  const auto tokens = tokens_of(text).all;
  const bool body_ends_it =
      item.kind == Item::Kind::function || (item.kind == Item::Kind::space && !tokens[0].is("using"));
  if (item.kind != Item::Kind::directive && !body_ends_it && !tokens.back().is(";")) text += "\n;";  // forgotten
  if (item.kind == Item::Kind::function || item.kind == Item::Kind::declaration) text = without_leading("static", text);
  if (item.kind == Item::Kind::function) text = with_loops(text);
  const bool foreign =
      item.kind == Item::Kind::space && (tokens[0].is("using") || parser_.is_foreign_namespace(item.name));
  const bool specialises = item.qualified && tokens.size() > 2 && tokens[0].is("template") && tokens[2].is(">");
  if (item.kind == Item::Kind::directive || foreign || specialises) {
    piece.source = place_of(item) + text + "\n";
  } else if (item.defines && !item.qualified && !item.name.empty()) {
    const bool function = item.kind == Item::Kind::function;
    const auto visible = parser_.find(item.name);
    const bool replaces = used_.contains(item.name) || std::any_of(visible.begin(), visible.end(), is_definition);
    if (replaces) piece.hide = function ? to_hide_of_function(item) : to_hide(item.name);
    const std::string source = place_of(item) + text;
    piece.source = in_space(replaces ? versioned(unique("version"), source) : source);
    result_.names.push_back(item.name);
  } else {
    piece.source = in_space(place_of(item) + text);
    if (!item.name.empty() && item.kind != Item::Kind::space) result_.names.push_back(item.name);
  }
  accept(std::move(piece), last);
}

/// Parses statements as the body of a template, which is not instantiated: the tree tells, without guessing, which of
/// them declare. @throws CompileError
clang::CompoundStmt* Transformer::probe(const std::string& head, const std::string& text) {
  const std::string name = head.substr(head.find("muster_probe"), head.find('(') - head.find("muster_probe"));
  const Parser::Parsed parsed = parser_.parse(head + text + "\n;}\n}\n");
  if (parsed.unit == nullptr) throw CompileError(parsed.messages);
  for (clang::NamedDecl* one : parser_.find(name))
    if (const auto* function = as_function(one)) return llvm::cast<clang::CompoundStmt>(function->getBody());
  throw CompileError(input_.file + ": error: this is neither a statement nor a declaration\n");
}

void Transformer::statements(const Item& item, bool show, bool last) {
  std::string text = with_loops(with_explicit_captures(item.text));
  text.resize(text.find_last_not_of(" \t\r\n") + 1);
  if (is_blank(text)) return;
  const std::string place = place_of(item);
  const std::string head = std::string(open_space) + "template <class> void " + unique("probe") + "() {\n" + place;
  const clang::CompoundStmt* body = probe(head, text);
  LambdaRewriter::Place where{parser_.sources(), parser_.context().getLangOpts(), head.size()};
  std::vector<Statement> found;
  for (clang::Stmt* tree : body->body())
    if (!llvm::isa<clang::NullStmt>(tree)) found.push_back({tree, where.begin_of(tree->getBeginLoc()), 0});
  for (std::size_t i = 0; i < found.size(); ++i) found[i].end = i + 1 < found.size() ? found[i + 1].begin : text.size();

  const auto line_of = [&](std::size_t offset) {
    return "#line " +
           std::to_string(input_.line + item.line - 1 +
                          std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n')) +
           " \"" + input_.file + "\"\n";
  };
  std::set<const clang::ValueDecl*> at_top;  // will be at namespace scope
  for (const Statement& statement : found) {
    auto* declares = llvm::dyn_cast<clang::DeclStmt>(statement.tree);
    if (declares == nullptr) continue;
    for (const clang::Decl* one : declares->decls()) {
      if (const auto* value = llvm::dyn_cast<clang::ValueDecl>(one)) at_top.insert(value);
      if (const auto* several = llvm::dyn_cast<clang::DecompositionDecl>(one))
        at_top.insert(several->bindings().begin(), several->bindings().end());
    }
  }
  Piece piece;
  std::string declared, running;
  const auto flush = [&] {
    if (!is_blank(running)) {
      const std::string run = unique("run");
      declared += "inline void " + run + "() {\n" + running + "\n;}\n[[maybe_unused]] bool " + run + "_done = (" + run +
                  "(), true);\n";
    }
    running.clear();
  };
  const std::string version = unique("version");
  for (std::size_t i = 0; i < found.size(); ++i) {
    const Statement& statement = found[i];
    std::string own = text.substr(statement.begin, statement.end - statement.begin);
    auto* declares = llvm::dyn_cast<clang::DeclStmt>(statement.tree);
    const auto lambdas = LambdaRewriter::in(statement.tree);
    const LambdaRewriter rewriter(parser_.context(), where, at_top);
    std::string before;
    for (auto lambda = lambdas.rbegin(); lambda != lambdas.rend(); ++lambda) {  // from the right: places stay good
      const std::size_t first = where.begin_of((*lambda)->getBeginLoc()),
                        size = where.end_of((*lambda)->getEndLoc()) - first;
      std::string replacement = rewriter.rewrite(*lambda, text.substr(first, size));
      if (declares != nullptr) {
        // At namespace scope the type of a lambda has no name that another cell could use, and its variable would be
        // made again in each: inside an inline function it has one.
        const std::string maker = unique("lambda");
        before.insert(0, "inline auto " + maker + "() { return\n" + line_of(first) + replacement + "\n;}\n");
        replacement = maker + "()";
      }
      own.replace(first - statement.begin, size, replacement);
    }
    if (declares != nullptr) {
      flush();
      if (i + 1 == found.size()) own += "\n;";  // which may have been forgotten
      declared += before + line_of(statement.begin) + hoisted(*declares, own) + "\n";
    } else {
      const bool value = show && i + 1 == found.size() && llvm::isa<clang::Expr>(statement.tree) && own.back() != ';';
      const std::string as_typed = line_of(statement.begin) + own + "\n";  // errors show it
      running += value ? "(\n" + as_typed + "), ::muster::prompt::Shown{};" : as_typed;
    }
  }
  flush();
  if (declared.empty()) return;
  // the names are hidden before anything of this piece is parsed
  for (const std::string& name : new_names_) {
    for (Hidden& one : to_hide(name)) piece.hide.push_back(std::move(one));
  }
  result_.names.insert(result_.names.end(), new_names_.begin(), new_names_.end());
  new_names_.clear();
  piece.source = in_space(versioned(version, declared));
  accept(std::move(piece), last);
}

/// A variable's definition for namespace scope, with external linkage: without, clang would make it again in each cell.
std::string Transformer::hoisted(clang::DeclStmt& declares, std::string text) {
  for (clang::Decl* one : declares.decls()) {
    if (auto* several = llvm::dyn_cast<clang::DecompositionDecl>(one)) {
      for (clang::BindingDecl* binding : several->bindings()) new_names_.push_back(binding->getNameAsString());
    } else if (auto* named = llvm::dyn_cast<clang::NamedDecl>(one)) {
      if (!named->getNameAsString().empty()) new_names_.push_back(named->getNameAsString());
    }
  }
  const auto* variable = declares.isSingleDecl() ? llvm::dyn_cast<clang::VarDecl>(declares.getSingleDecl()) : nullptr;
  text = without_leading("static", text);
  if (variable == nullptr || !variable->hasInit()) return text;
  if (llvm::isa<clang::DecompositionDecl>(variable)) return without_leading("const", text);
  if (variable->isConstexpr()) return "inline " + text;
  const auto tokens = tokens_of(text).all;
  const bool is_extern = !tokens.empty() && tokens[0].is("extern");
  if (variable->getType().isConstQualified() && !is_extern) return "extern " + text;
  return text;
}

/// `[n]` of a variable of the prompt's is no C++, since that is at namespace scope: it becomes `[n = n]`, and `[&n]`
/// becomes `[&n = n]`.
std::string Transformer::with_explicit_captures(const std::string& text) const {
  const auto all = tokens_of(text).all;
  const auto is_variable = [&](std::string_view name) {
    const auto found = parser_.find(std::string(name));
    return std::any_of(found.begin(), found.end(),
                       [](clang::NamedDecl* one) { return llvm::isa<clang::VarDecl, clang::BindingDecl>(one); });
  };
  std::string result;
  std::size_t from = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].is("[")) continue;
    const bool index = i > 0 && (all[i - 1].is(")") || all[i - 1].is("]") || all[i - 1].is("[") ||
                                 all[i - 1].kind == Token::Kind::text ||
                                 (all[i - 1].kind == Token::Kind::word && !all[i - 1].is("return")));
    if (index) continue;
    const std::size_t close = closing(all, i);
    for (std::size_t k = i + 1; k < close; ++k) {
      const bool first = k == i + 1 || all[k - 1].is(",");
      const std::size_t name = all[k].is("&") ? k + 1 : k;
      if (all[k].opens()) k = closing(all, k);
      if (!first || name >= close || all[name].kind != Token::Kind::word) continue;
      if (!(all[name + 1].is(",") || name + 1 == close) || !is_variable(all[name].text)) continue;
      result.append(text, from, all[name].end() - from);
      result += " = " + std::string(all[name].text);
      from = all[name].end();
    }
  }
  return result.append(text, from);
}

}  // namespace muster::repl
