#include "repl/clang/completion.hpp"

#include <clang/Basic/Diagnostic.h>
#include <clang/Driver/CreateInvocationFromArgs.h>
#include <clang/Frontend/CompilerInstance.h>
#include <clang/Frontend/FrontendActions.h>
#include <clang/Lex/PreprocessorOptions.h>
#include <clang/Sema/CodeCompleteConsumer.h>
#include <clang/Sema/Sema.h>

#include <algorithm>
#include <cctype>

namespace muster::repl {

namespace {

constexpr const char* file_name = "completed.cpp";

/// A name that fits.
struct Candidate {
  std::string name, signature, comment;
};

/// `int square(int x)`
std::string signature_of(const clang::CodeCompletionString& text) {
  std::string result;
  for (const auto& chunk : text) {
    if (chunk.Kind == clang::CodeCompletionString::CK_Optional) {
      result += signature_of(*chunk.Optional);
    } else if (chunk.Text != nullptr) {
      result += chunk.Text;
      if (chunk.Kind == clang::CodeCompletionString::CK_ResultType) result += ' ';
    }
  }
  return result;
}

/// Collects what fits.
class Collector : public clang::CodeCompleteConsumer {
 public:
  Collector(const clang::CodeCompleteOptions& options, std::vector<Candidate>& found)
      : CodeCompleteConsumer(options),
        found_(found),
        allocator_(std::make_shared<clang::GlobalCodeCompletionAllocator>()),
        info_(allocator_) {}

  // NOLINTNEXTLINE(readability-identifier-naming): the base class's name
  void ProcessCodeCompleteResults(clang::Sema& sema, clang::CodeCompletionContext context,
                                  clang::CodeCompletionResult* results, unsigned count) override {
    for (unsigned i = 0; i < count; ++i) {
      const clang::CodeCompletionResult& result = results[i];
      if (result.Availability == CXAvailability_NotAccessible) continue;
      const clang::CodeCompletionString* text =
          results[i].CreateCodeCompletionString(sema, context, *allocator_, info_, includeBriefComments());
      const char* typed = text != nullptr ? text->getTypedText() : nullptr;
      if (typed == nullptr) continue;
      const std::string word = typed;
      const bool plain = std::all_of(word.begin(), word.end(),
                                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '~'; });
      if (plain && !word.starts_with("__") && !word.starts_with("muster_"))
        found_.push_back(
            {word, signature_of(*text), text->getBriefComment() != nullptr ? text->getBriefComment() : ""});
    }
  }
  // NOLINTNEXTLINE(readability-identifier-naming)
  clang::CodeCompletionAllocator& getAllocator() override { return *allocator_; }
  // NOLINTNEXTLINE(readability-identifier-naming)
  clang::CodeCompletionTUInfo& getCodeCompletionTUInfo() override { return info_; }

 private:
  std::vector<Candidate>& found_;
  std::shared_ptr<clang::GlobalCodeCompletionAllocator> allocator_;
  clang::CodeCompletionTUInfo info_;
};

/// Where the word begins that ends the text.
std::size_t last_word(const std::string& code) {
  std::size_t word = code.size();
  while (word > 0 && (std::isalnum(static_cast<unsigned char>(code[word - 1])) != 0 || code[word - 1] == '_')) --word;
  return word;
}

/// All that may stand where the last word begins.
std::vector<Candidate> candidates(const std::vector<std::string>& flags, const std::string& code) {
  std::vector<const char*> arguments{"clang++"};
  for (const std::string& flag : flags) arguments.push_back(flag.c_str());
  arguments.insert(arguments.end(), {"-fsyntax-only", "-x", "c++", file_name});
  clang::CreateInvocationOptions how;
  auto invocation = clang::createInvocation(arguments, std::move(how));
  if (invocation == nullptr) return {};
  const std::string text = code.substr(0, last_word(code));
  invocation->getPreprocessorOpts().addRemappedFile(
      file_name, llvm::MemoryBuffer::getMemBufferCopy(text + "\n", file_name).release());
  clang::FrontendOptions& options = invocation->getFrontendOpts();
  const std::size_t line_start = text.rfind('\n') + 1;
  options.CodeCompletionAt.FileName = file_name;
  options.CodeCompletionAt.Line = 1 + static_cast<unsigned>(std::count(text.begin(), text.end(), '\n'));
  options.CodeCompletionAt.Column = 1 + static_cast<unsigned>(text.size() - line_start);
  options.CodeCompleteOpts.IncludeMacros = 0;
  options.CodeCompleteOpts.IncludeCodePatterns = 0;
  options.CodeCompleteOpts.IncludeGlobals = 1;
  options.CodeCompleteOpts.IncludeBriefComments = 1;

  std::vector<Candidate> found;
  clang::CompilerInstance compiler(std::shared_ptr<clang::CompilerInvocation>(std::move(invocation)));
  compiler.createVirtualFileSystem();
  compiler.createDiagnostics(new clang::IgnoringDiagConsumer, true);
  compiler.setCodeCompletionConsumer(new Collector(options.CodeCompleteOpts, found));
  clang::SyntaxOnlyAction action;
  compiler.ExecuteAction(action);

  return found;
}

std::vector<std::string> sorted(std::vector<std::string> words) {
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  return words;
}

}  // namespace

std::vector<std::string> completions(const std::vector<std::string>& flags, const std::string& code) {
  const std::string prefix = code.substr(last_word(code));
  std::vector<std::string> found;
  for (const Candidate& candidate : candidates(flags, code))
    if (candidate.name.starts_with(prefix)) found.push_back(candidate.name);
  return sorted(std::move(found));
}

std::vector<std::string> explanations(const std::vector<std::string>& flags, const std::string& code) {
  const std::string name = code.substr(last_word(code));
  std::vector<std::string> found;
  for (const Candidate& candidate : candidates(flags, code))
    if (candidate.name == name)
      found.push_back(candidate.signature + (candidate.comment.empty() ? "" : "\n    " + candidate.comment));
  return sorted(std::move(found));
}

}  // namespace muster::repl
