#include "repl/clang/parser.hpp"

#include <clang/AST/ASTContext.h>
#include <clang/AST/DeclContextInternals.h>
#include <clang/Basic/DiagnosticSema.h>
#include <clang/Frontend/TextDiagnosticPrinter.h>
#include <clang/Sema/IdentifierResolver.h>
#include <clang/Sema/Scope.h>
#include <clang/Sema/Sema.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetOptions.h>

#include <algorithm>
#include <sstream>

namespace muster::repl {

namespace {

std::unique_ptr<llvm::TargetMachine> machine_for(clang::CompilerInstance& compiler) {
  const llvm::Triple triple = compiler.getTarget().getTriple();
  std::string error;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (target == nullptr) throw std::runtime_error("no code for this machine: " + error);
  llvm::TargetOptions options;
  options.EmulatedTLS = false;
  options.TrapUnreachable = true;  // what never ends well is not to go on in the next function
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(triple, compiler.getTargetOpts().CPU, "",
                                                                          options, llvm::Reloc::PIC_, std::nullopt,
                                                                          llvm::CodeGenOptLevel::Default));
}

template <class T>
T value_of(llvm::Expected<T> expected) {
  if (!expected) throw std::runtime_error(llvm::toString(expected.takeError()));
  return std::move(*expected);
}

/// A refusal of muster's own, out of the depths of its templates: where the type in question came from, and why it is
/// refused. @returns nothing where there is none
std::string own_refusal(const std::string& messages) {
  const std::string mark = "static assertion failed due to requirement 'never<";
  const std::size_t at = messages.find(mark);
  const std::size_t text = at == std::string::npos ? at : messages.find(">': ", at);
  if (text == std::string::npos) return {};
  std::string place;
  const std::string lambda = "(lambda at ";
  if (const std::size_t from = messages.find(lambda, at); from < text) {
    place = messages.substr(from + lambda.size(), messages.find(')', from) - from - lambda.size()) + ": ";
  } else {
    std::istringstream stream(messages.substr(text));  // the outermost note is the user's own line
    for (std::string line; std::getline(stream, line);)
      if (const std::size_t note = line.find(" note: in instantiation of"); note != std::string::npos && line[0] != '/')
        place = line.substr(0, note) + " ";
  }
  return place + "error: " + messages.substr(text + 4, messages.find('\n', text) - text - 4) + "\n";
}

/// Without the ways by which files were included, and without more than a screen of it.
std::string shortened(const std::string& messages) {
  if (std::string refusal = own_refusal(messages); !refusal.empty()) return refusal;
  constexpr int most = 40;
  std::string result;
  int lines = 0;
  std::istringstream stream(messages);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("In file included from") || line.ends_with("generated.")) continue;
    if (++lines > most) return result + "... and more\n";
    result += line + "\n";
  }
  return result;
}

/// Takes one declaration out of one context's table.
void remove_from(clang::DeclContext& context, clang::NamedDecl* declaration) {
  clang::StoredDeclsMap* table = context.getPrimaryContext()->getLookupPtr();
  if (table == nullptr) return;
  const auto found = table->find(declaration->getDeclName());
  if (found == table->end()) return;
  const auto all = found->second.getLookupResult();
  if (std::find(all.begin(), all.end(), declaration) == all.end()) return;
  if (all.isSingleResult())
    table->erase(found);
  else
    found->second.remove(declaration);
}

}  // namespace

Parser::Parser(const FrontEndOptions& options) : flags_(options.flags) {
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  llvm::InitializeNativeTargetAsmParser();
  std::vector<const char*> arguments;
  arguments.reserve(flags_.size());
  for (const std::string& flag : flags_) arguments.push_back(flag.c_str());
  clang::IncrementalCompilerBuilder builder;
  builder.SetCompilerArgs(arguments);
  auto compiler = value_of(builder.CreateCpp());
  compiler->getCodeGenOpts().DisableLLVMPasses = true;  // the emitter's business, once it has left out what is known
  auto emitter = std::make_unique<Emitter>(machine_for(*compiler), options.folder);
  emitter_ = emitter.get();
  auto executor = std::make_unique<clang::IncrementalExecutorBuilder>();
  executor->IE = std::move(emitter);
  interpreter_ = value_of(clang::Interpreter::create(std::move(compiler), std::move(executor)));
  clang::DiagnosticsEngine& messages = interpreter_->getCompilerInstance()->getDiagnostics();
  for (const unsigned harmless :
       {static_cast<unsigned>(clang::diag::warn_unused_expr), static_cast<unsigned>(clang::diag::warn_extern_init)})
    messages.setSeverity(harmless, clang::diag::Severity::Ignored, {});
}

Parser::Parsed Parser::parse(const std::string& code) {
  Parsed result;
  clang::CompilerInstance& compiler = *interpreter_->getCompilerInstance();
  clang::DiagnosticsEngine& engine = compiler.getDiagnostics();
  llvm::raw_string_ostream stream(result.messages);
  clang::DiagnosticOptions options;
  options.ShowColors = 0;
  options.ShowPresumedLoc = 1;  // the input's name and line
  clang::TextDiagnosticPrinter printer(stream, options);
  printer.BeginSourceFile(compiler.getLangOpts(), &compiler.getPreprocessor());
  auto before = engine.takeClient();
  engine.setClient(&printer, false);
  auto unit = interpreter_->Parse(code);
  printer.EndSourceFile();
  if (before) engine.setClient(before.release(), true);
  result.messages = shortened(result.messages);
  if (unit)
    result.unit = &*unit;
  else
    llvm::consumeError(unit.takeError());
  return result;
}

void Parser::begin(const std::string& preamble) {
  (void)compile(preamble + "\ninline namespace " + prompt_space + " {}\n");
  for (clang::NamedDecl* one : context().getTranslationUnitDecl()->lookup(&context().Idents.get(prompt_space)))
    if (auto* space = llvm::dyn_cast<clang::NamespaceDecl>(one)) space_ = space->getFirstDecl();
  if (space_ == nullptr) throw CompileError("error: the compiler does not find the prompt's namespace");
}

std::string Parser::compile(const std::string& code) {
  Parsed parsed = parse(code);
  if (parsed.unit == nullptr) throw CompileError(parsed.messages);
  if (parsed.unit->TheModule) {
    if (llvm::Error error = interpreter_->Execute(*parsed.unit)) throw CompileError(llvm::toString(std::move(error)));
  }
  return parsed.messages;
}

std::vector<clang::NamedDecl*> Parser::find(const std::string& name) const {
  std::vector<clang::NamedDecl*> found;
  for (clang::NamedDecl* one : space_->getPrimaryContext()->lookup(&context().Idents.get(name))) found.push_back(one);
  return found;
}

bool Parser::is_foreign_namespace(const std::string& name) const {
  clang::ASTContext& ast = context();
  for (clang::NamedDecl* one : ast.getTranslationUnitDecl()->lookup(&ast.Idents.get(name))) {
    if (llvm::isa<clang::NamespaceDecl>(one) && one->getDeclContext()->getRedeclContext()->isTranslationUnit())
      return true;
  }
  return false;
}

void Parser::hide(clang::NamedDecl* declaration) {
  if (auto* plain_enum = llvm::dyn_cast<clang::EnumDecl>(declaration); plain_enum != nullptr && !plain_enum->isScoped())
    for (clang::EnumConstantDecl* enumerator : plain_enum->enumerators()) hide(enumerator);
  for (clang::DeclContext* context = declaration->getDeclContext(); context != nullptr; context = context->getParent())
    if (context->isFileContext()) remove_from(*context, declaration);
  clang::Sema& all = sema();
  for (auto i = all.IdResolver.begin(declaration->getDeclName()); i != all.IdResolver.end(); ++i) {
    if (*i != declaration) continue;
    all.IdResolver.RemoveDecl(declaration);
    break;
  }
  if (all.TUScope != nullptr) all.TUScope->RemoveDecl(declaration);
}

}  // namespace muster::repl
