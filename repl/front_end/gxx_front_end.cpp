/// @file
/// The front end that calls the installed compiler for each input: slower, and it needs nothing but g++.
///
/// All that was accepted is kept as text, and compiled again with each input. What is declared is in a namespace; a
/// name that is declared again opens another one inside it, where it hides the older one, which those keep who were
/// written before. What may be captured is found by name, since nobody here knows types.
#include "repl/front_end/front_end.hpp"
#include "repl/text/tokens.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <utility>

namespace muster::repl {

namespace {

bool is_word(const Token& token) { return token.kind == Token::Kind::word; }

/// A variable's definition, taken apart: `type name init`.
struct Variable {
  std::string type, name, initialiser;  ///< the initialiser with its `=`, `(` or `{`
};

/// Sees whether a statement defines a variable: a type, a name, and then `=`, `{`, `(`, `[` or the end.
std::optional<Variable> as_variable(const std::string& text) {
  const auto all = tokens_of(text).all;
  int angles = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Token& token = all[i];
    if (token.is("<")) ++angles;
    if (token.is(">")) --angles;
    if (angles > 0 || token.is(">") || token.is("::") || token.is("*") || token.is("&")) continue;
    if (!is_word(token)) return std::nullopt;
    if (token.is("decltype") && i + 1 < all.size()) {
      i = closing(all, i + 1);
      continue;
    }
    const bool has_type = i > 0 && (is_word(all[i - 1]) || all[i - 1].is(">") || all[i - 1].is("*") ||
                                    all[i - 1].is("&") || all[i - 1].is(")"));
    const bool ends = i + 1 < all.size() && (all[i + 1].is("=") || all[i + 1].is("{") || all[i + 1].is("(") ||
                                             all[i + 1].is("[") || all[i + 1].is(";"));
    if (has_type && ends)
      return Variable{text.substr(0, token.offset), std::string(token.text), text.substr(token.end())};
  }
  return std::nullopt;
}

class GxxFrontEnd : public FrontEnd {
 public:
  GxxFrontEnd(std::string compiler, FrontEndOptions options)
      : compiler_(std::move(compiler)), options_(std::move(options)) {
    options_.flags.insert(options_.flags.begin(),
                          {"-std=c++20", "-O1", "-fPIC", "-w", "-fno-gnu-unique", "-fdiagnostics-color=never"});
    const std::string header = options_.folder + "/prelude.hpp";
    std::ofstream(header)
        << "#include <muster/prompt.hpp>\nusing namespace muster;\nusing namespace std::chrono_literals;\n";
    std::fprintf(stderr,
                 "muster: inputs are compiled with %s, which takes some seconds to prepare; clang 22 is quicker\n",
                 compiler_.c_str());
    const std::string messages = run(command({"-x", "c++-header", header, "-o", header + ".gch"}));
    if (!messages.empty()) throw std::runtime_error(messages);
  }

  Compiled compile(const Input& input) override {
    State next = state_;
    Compiled result;
    std::string own;
    int sub = 0;
    const auto items = items_of(input.text, false);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const std::string id = std::to_string(input.number) + "_" + std::to_string(sub++);
      const bool show = input.show && i + 1 == items.size();
      result.declares = add(next, own, items[i], id, input, show) || result.declares;
    }
    const std::string name = "muster_cell_" + std::to_string(input.number);
    result.source = next.text + own;
    result.cells.push_back({build(name, result.source), "start_" + name});
    before_.push_back(std::exchange(state_, std::move(next)));
    return result;
  }

  void forget() override {
    if (before_.empty()) throw CompileError("nothing is left to take back");
    state_ = std::move(before_.back());
    before_.pop_back();
    state_.path.push_back("after_" +
                          std::to_string(++forgotten_));  // its symbols are loaded, and must not be met again
  }

  std::vector<std::string> complete(const std::string& text) override {
    std::size_t word = text.size();
    while (word > 0 && (std::isalnum(static_cast<unsigned char>(text[word - 1])) != 0 || text[word - 1] == '_')) --word;
    std::vector<std::string> found;
    for (const std::string& name : state_.names)
      if (name.starts_with(text.substr(word))) found.push_back(name);
    return found;
  }

  std::string describe() const override { return compiler_; }

 private:
  /// What was accepted.
  struct State {
    std::string text = {};                       ///< for the inputs to come
    std::vector<std::string> path = {"prompt"};  ///< namespaces, each in the one before
    std::set<std::string> names = {}, variables = {};
  };

  static std::string enclosed(const State& state, const std::string& text) {
    std::string open, close;
    for (const std::string& space : state.path) {
      open += "inline namespace " + space + " { ";
      close += " }";
    }
    // Not inline but the first: an inner name is to hide an outer one.
    for (std::size_t at = open.find("inline ", 1); at != std::string::npos; at = open.find("inline ", at))
      open.erase(at, 7);
    return open + "\n" + text + "\n" + close + "\n";
  }

  /// @returns whether the item declares something
  static bool add(State& state, std::string& own, const Item& item, const std::string& id, const Input& input,
                  bool show) {
    const std::string place = "#line " + std::to_string(input.line + item.line - 1) + " \"" + input.file + "\"\n";
    if (item.kind == Item::Kind::statement) return add_statement(state, own, item.text, id, place, show);
    std::string text = item.text;
    if (item.kind == Item::Kind::type && !text.ends_with(';')) text += ';';
    if (item.kind == Item::Kind::directive || item.kind == Item::Kind::space || item.qualified) {
      state.text += place + (item.qualified ? enclosed(state, text) : text) + "\n";
      return item.kind != Item::Kind::directive;
    }
    if (item.defines) declare(state, item.name, id);
    const auto tokens = tokens_of(text).all;
    const bool plain = item.kind == Item::Kind::function && !tokens.at(0).is("template") && !tokens[0].is("inline") &&
                       !tokens[0].is("constexpr");
    if (item.kind == Item::Kind::function) text = with_loop_checks(text);
    state.text += enclosed(state, place + (plain ? "inline " : "") + text);
    return true;
  }

  static void declare(State& state, const std::string& name, const std::string& id) {
    if (!name.empty() && !state.names.insert(name).second) state.path.push_back("version_" + id);
  }

  static bool add_statement(State& state, std::string& own, const std::string& text, const std::string& id,
                            const std::string& place, bool show) {
    std::string code = with_loop_checks(with_captures(text, state.variables));
    const std::optional<Variable> variable = as_variable(code);
    if (!variable) {
      const bool value = show && !code.ends_with(';') && !code.ends_with('}');
      code = place + code + "\n";  // as typed: errors show it
      if (value) code = "(\n" + code + "), ::muster::prompt::Shown{}";
      own += enclosed(state, "inline void run_" + id + "() {\n" + code + ";}\nbool run_" + id + "_done = (run_" + id +
                                 "(), true);");
      return false;
    }
    std::string initialiser = variable->initialiser, type = variable->type;
    const bool is_auto = type.find("auto") != std::string::npos;
    std::string value = initialiser.substr(std::min(initialiser.size(), initialiser.find_first_not_of(" =")));
    if (value.ends_with(';')) value.pop_back();
    const auto value_tokens = tokens_of(value).all;
    if (is_auto && value_tokens.size() > 1 && value_tokens[0].is("[") && value_tokens[1].is("]")) {
      // A closure without captures has no state, so that each cell may have its own.
      declare(state, variable->name, id);
      state.text += enclosed(state, "inline auto " + variable->name + " =\n" + place + value + "\n;");
    } else if (is_auto && tokens_of(type).all.back().is("auto") && !initialiser.empty()) {
      // The type of a lambda that a function returns is the same in each cell.
      state.text += enclosed(state, "inline auto make_" + id + "() { return\n" + place + value + "\n;}");
      declare(state, variable->name, id);
      state.text += enclosed(state, "extern std::decay_t<decltype(make_" + id + "())> " + variable->name + ";");
      own += enclosed(state, "std::decay_t<decltype(make_" + id + "())> " + variable->name + " = make_" + id + "();");
    } else if (is_auto || type.find('&') != std::string::npos) {
      throw CompileError(
          "error: with g++ as front end a reference or a structured binding can't be defined at the prompt; give the "
          "variable its type, or use clang 22");
    } else {
      if (const auto at = type.find("static"); at != std::string::npos) type.erase(at, 6);
      declare(state, variable->name, id);
      const bool array = initialiser.starts_with('[');
      const std::string bounds = array ? initialiser.substr(0, initialiser.find(']') + 1) : "";
      if (array && bounds == "[]") throw CompileError("error: with g++ as front end an array needs its size");
      if (type.find("constexpr") != std::string::npos) {
        state.text += enclosed(state, place + "inline " + type + variable->name + initialiser + ";");
      } else {
        state.text += enclosed(state, "extern " + type + variable->name + bounds + ";");
        own += enclosed(state, place + type + variable->name + initialiser + ";");
      }
    }
    state.variables.insert(variable->name);
    return true;
  }

  /// A list of captures up to its `]`, as it is meant where its names are variables of the prompt: those are at
  /// namespace scope, and by themselves would not be captured at all.
  static std::string with_initialisers(const std::string& text, const std::vector<Token>& all, std::size_t open,
                                       std::size_t close, const std::set<std::string>& variables) {
    std::string captures;
    std::size_t from = all[open].offset;
    for (std::size_t k = open + 1; k < close; ++k) {
      const std::size_t before = all[k - 1].is("&") ? k - 2 : k - 1;
      const std::string name(all[k].text);
      const bool alone = (before == open || all[before].is(",")) && (k + 1 == close || all[k + 1].is(","));
      if (!alone || !variables.contains(name)) continue;
      captures += text.substr(from, all[k].end() - from) + " = " + name;
      from = all[k].end();
    }
    return captures + text.substr(from, all[close].offset - from);
  }

  /// Lambdas that capture variables of the prompt by value get them as bound parameters; those by reference by name.
  static std::string with_captures(const std::string& text, const std::set<std::string>& variables) {
    const auto all = tokens_of(text).all;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!all[i].is("[") ||
          (i > 0 && (is_word(all[i - 1]) || all[i - 1].is("]") || all[i - 1].is(")") || all[i - 1].is("[")) &&
           !all[i - 1].is("return")))
        continue;
      const std::size_t close = closing(all, i);
      std::size_t body = close + 1;
      while (body < all.size() && !all[body].is("{")) body = all[body].is("(") ? closing(all, body) + 1 : body + 1;
      if (body >= all.size()) break;
      const std::size_t end = closing(all, body);
      if (end >= all.size()) break;
      std::vector<std::string> names;
      bool by_value = close > i + 1;
      for (std::size_t k = i + 1; k < close; ++k) {
        if (all[k].is("&") || (is_word(all[k]) && !variables.contains(std::string(all[k].text)))) by_value = false;
        if (is_word(all[k])) names.emplace_back(all[k].text);
      }
      if (!by_value && !(close == i + 2 && all[i + 1].is("&"))) {
        const std::string captures = with_initialisers(text, all, i, close, variables);
        return text.substr(0, all[i].offset) + captures + with_captures(text.substr(all[close].offset), variables);
      }
      const bool everything = close == i + 2 && (all[i + 1].is("=") || all[i + 1].is("&"));
      for (std::size_t k = body; everything && k < end; ++k) {
        const std::string name(all[k].text);
        if (is_word(all[k]) && variables.contains(name) && std::find(names.begin(), names.end(), name) == names.end())
          names.push_back(name);
      }
      if (names.empty()) continue;
      if (all[i + 1].is("&")) {
        std::string captures = "&";
        for (const std::string& name : names) captures += ", &" + name + " = " + name;
        return text.substr(0, all[i].end()) + captures + with_captures(text.substr(all[close].offset), variables);
      }
      std::string parameters, values;
      for (const std::string& name : names) {
        parameters += (parameters.empty() ? "" : ", ") + ("const std::decay_t<decltype(" + name + ")>& " + name);
        values += ", " + name;
      }
      const bool has_list = all[close + 1].is("(");
      const bool empty_list = has_list && all[close + 2].is(")");
      const std::size_t from = has_list ? all[close + 1].end() : all[close].end();
      const std::string head = has_list ? "[](" + parameters + (empty_list ? "" : ", ") : "[](" + parameters + ") ";
      return text.substr(0, all[i].offset) + "::muster::bind_front(" + head + text.substr(from, all[end].end() - from) +
             values + ")" + with_captures(text.substr(all[end].end()), variables);
    }
    return text;
  }

  std::vector<std::string> command(const std::vector<std::string>& more) const {
    std::vector<std::string> words{compiler_};
    words.insert(words.end(), options_.flags.begin(), options_.flags.end());
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  /// Initialisers go into a section of their own, which a function runs: loading a cell runs nothing.
  std::string build(const std::string& name, const std::string& source) const {
    const std::string base = options_.folder + "/" + name, object = base + ".o", result = base + ".so";
    std::ofstream(base + ".cpp")
        << source << "\nextern \"C\" {\n[[gnu::visibility(\"hidden\")]] extern void (*__start_muster_start[])();\n"
        << "[[gnu::visibility(\"hidden\")]] extern void (*__stop_muster_start[])();\n"
        << "static void muster_nothing() {}\n"
        << "[[gnu::section(\"muster_start\"), gnu::used]] static void (*muster_first)() = muster_nothing;\n"
        << "void start_" << name
        << "() { for (auto* one = __start_muster_start; one != __stop_muster_start; ++one) (*one)(); }\n}\n";
    for (const auto& step :
         {command({"-include", options_.folder + "/prelude.hpp", "-c", base + ".cpp", "-o", object}),
          std::vector<std::string>{"objcopy", "--rename-section", ".init_array=muster_start", object},
          std::vector<std::string>{compiler_, "-shared", "-Wl,--build-id=sha1", "-o", result, object}}) {
      const std::string messages = run(step);
      if (!messages.empty()) throw CompileError(messages);
    }
    std::filesystem::remove(object);
    return result;
  }

  /// @returns what it said where it failed; nothing where it did not
  static std::string run(const std::vector<std::string>& words) {
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    int pipe[2];
    if (::pipe2(pipe, O_CLOEXEC) != 0) return "error: no pipe for the compiler";
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe[1], STDERR_FILENO);
    pid_t child = -1;
    const int error = ::posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(pipe[1]);
    std::string messages;
    char buffer[4096];
    for (ssize_t count = 0;
         error == 0 && ((count = ::read(pipe[0], buffer, sizeof buffer)) > 0 || (count < 0 && errno == EINTR));)
      if (count > 0) messages.append(buffer, static_cast<std::size_t>(count));
    ::close(pipe[0]);
    if (error != 0) return "error: can't start " + words[0] + "; install it (g++ and binutils), or clang 22";
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (status == 0) return {};
    return messages.empty() ? "error: " + words[0] + " failed on this input" : messages;
  }

  std::string compiler_;
  FrontEndOptions options_;
  State state_;
  std::vector<State> before_;
  int forgotten_ = 0;
};

}  // namespace

std::unique_ptr<FrontEnd> make_gxx_front_end(const std::string& compiler, const FrontEndOptions& options) {
  return std::make_unique<GxxFrontEnd>(compiler, options);
}

}  // namespace muster::repl
