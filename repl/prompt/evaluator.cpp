#include "repl/prompt/evaluator.hpp"

#include "repl/text/tokens.hpp"

#include <muster/cluster.hpp>
#include <muster/debug.hpp>
#include <muster/errors.hpp>
#include <muster/module.hpp>
#include <muster/spawn.hpp>

#include <cxxabi.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <typeinfo>

namespace muster::repl {

namespace {

using Start = void (*)();

/// Runs the start of a cell in this process, unless that was done: processes that join late catch up.
void start_once(Start start) {
  static std::set<Start> started;
  static std::mutex mutex;  // guards it
  {
    const std::lock_guard lock(mutex);
    if (!started.insert(start).second) return;
  }
  start();
}

std::string type_of_current_exception() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  if (type == nullptr) return "unknown exception";
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(type->name(), nullptr, nullptr, &status),
                                                    std::free);
  std::string text = name ? name.get() : type->name();
  constexpr std::string_view space = "prompt::";
  if (text.starts_with(space)) text = text.substr(text.rfind("::") + 2);
  return text;
}

/// A wait that was interrupted may have been for something that goes on, and keeps its worker from other work.
std::string interrupted() {
  std::size_t calls = 0;
  try {
    calls = debug::calls_in_flight(myid());
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): there is no session, or it ends
  }
  if (calls == 0) return "interrupted";
  return "interrupted; " + (calls == 1 ? "a call to a worker is" : std::to_string(calls) + " calls to workers are") +
         " not over (interrupt() stops what runs there)";
}

/// The exception that is being handled.
Failure current_failure() {
  try {
    throw;
  } catch (const InterruptedError&) {
    const std::string text = interrupted();
    return {"muster::InterruptedError", text, text};
  } catch (const RemoteException& error) {
    return {error.type_name(), error.message(), error.what()};
  } catch (const CompileError& error) {
    return {"CompileError", error.what(), error.what()};
  } catch (const std::exception& error) {
    const std::string type = type_of_current_exception();
    return {type, error.what(), type + ": " + error.what()};
  } catch (const char* text) {
    return {"const char*", text, std::string("const char*: ") + text};
  } catch (...) {
    const std::string type = type_of_current_exception();
    return {type, "", type};
  }
}

}  // namespace

Evaluator::Evaluator(std::unique_ptr<FrontEnd> front_end, Interrupts& interrupts, Display& display)
    : front_end_(std::move(front_end)), interrupts_(interrupts), display_(display) {}

void Evaluator::run_or_throw(const std::string& text, const How& how) {
  Input input{text, ++inputs_, how.show, how.file, how.line};
  if (input.file.empty()) input.file = "In[" + std::to_string(input.number) + "]";
  const auto begin = std::chrono::steady_clock::now();
  const Compiled compiled = front_end_->compile(input);
  last_compilation_ = std::chrono::steady_clock::now() - begin;
  const std::size_t before = accepted_.size();
  accepted_.push_back(compiled.declares);
  if (verbose_) display_.message(compiled.source);
  if (!compiled.warnings.empty()) display_.message(compiled.warnings);
  try {
    start(compiled, how.everywhere);
  } catch (...) {
    // Its names would stand for values that were never made; so would those of what it compiled meanwhile.
    while (compiled.declares && accepted_.size() > before) {
      accepted_.pop_back();
      front_end_->forget();
    }
    throw;
  }
}

void Evaluator::start(const Compiled& compiled, bool everywhere) {
  for (const Cell& cell : compiled.cells) {
    Start start_cell = nullptr;
    try {
      // Its symbols serve later cells, and it is on the way wherever one of those goes.
      start_cell = load_module(cell.path, {.global = true}).function<void()>(cell.start);
    } catch (const Error& error) {
      throw CompileError("error: this can't be loaded: " + std::string(error.what()) +
                         "\n(Is a function declared and not defined, or in a library that %lib should load?)");
    }
    if (!everywhere) {
      start_cell();
      continue;
    }
    muster::everywhere(start_once, start_cell);
    muster::everywhere_always(start_once, start_cell);  // for those that join later; where it threw there is none
  }
}

bool Evaluator::run(const std::string& text, const How& how) {
  try {
    const Interrupts::Running running(interrupts_);
    run_or_throw(text, how);
    std::cout << std::flush;
    (void)std::fflush(stdout);
    return true;
  } catch (...) {
    Failure failure = current_failure();
    if (!how.file.empty()) failure.place = how.file + ":" + std::to_string(how.line);
    display_.failure(failure);
  }
  return false;
}

bool Evaluator::run_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    display_.failure(Failure::said("muster: can't read " + path));
    return false;
  }
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (text.starts_with("#!")) text.insert(0, "//");  // a script that names its interpreter
  if (is_incomplete(text)) {
    display_.failure(Failure::said(path + ": error: a bracket, comment or raw string is open at the end of the file"));
    return false;
  }
  const auto items = items_of(text, false);
  bool has_main = false;
  for (std::size_t i = 0; i < items.size();) {
    // Declarations run nothing, so those that follow each other are compiled together.
    std::size_t end = i + 1;
    const auto declares = [&](std::size_t k) { return items[k].kind != Item::Kind::statement; };
    while (end < items.size() && declares(i) && declares(end)) ++end;
    for (std::size_t k = i; k < end; ++k)
      has_main = has_main || (items[k].kind == Item::Kind::function && items[k].name == "main");
    const std::size_t last = items[end - 1].offset + items[end - 1].text.size();
    How how;
    how.file = path;
    how.line = items[i].line;
    if (!run(text.substr(items[i].offset, last - items[i].offset), how)) return false;
    i = end;
  }
  return !has_main || run("muster::prompt::run_main(main);", {});
}

std::vector<std::string> Evaluator::complete(const std::string& before) {
  try {
    return front_end_->complete(before);
  } catch (const CompileError&) {
    return {};
  }
}

std::vector<std::string> Evaluator::explain(const std::string& name) {
  try {
    return front_end_->explain(name);
  } catch (const CompileError&) {
    return {};
  }
}

void Evaluator::undo() {
  while (!accepted_.empty()) {
    const bool declared = accepted_.back();
    front_end_->forget();
    accepted_.pop_back();
    if (declared) return;
  }
  throw CompileError("nothing is left to take back");
}

}  // namespace muster::repl
