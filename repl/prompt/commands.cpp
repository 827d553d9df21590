#include "repl/prompt/commands.hpp"

#include "repl/text/tokens.hpp"

#include <muster/cluster.hpp>
#include <muster/module.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace muster::repl {

namespace {

struct Command {
  std::string_view name, arguments, meaning;
};
constexpr std::array<Command, 9> all_commands{{
    {"%everywhere", "CODE",
     "run it on every process, now and on those that join later; { ... } may take several lines"},
    {"%workers", "", "the worker processes"},
    {"%time", "CODE", "run it, and say how long it took"},
    {"%lib", "FILE", "load a shared library; it travels like everything else (.L in cling)"},
    {"%load", "FILE", "run a C++ file, statement by statement (.x in cling)"},
    {"%undo", "", "forget what the last input that declared something declared"},
    {"%source", "[on|off]", "print what the compiler is given"},
    {"%help", "", "this list"},
    {"%quit", "", "leave; Ctrl-D does it too (.q in cling)"},
}};
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> cling_names{
    {{".q", "%quit"}, {".L", "%lib"}, {".x", "%load"}, {".help", "%help"}}};

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\n");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

/// The inside of `{ ... }`: at the outermost level, so that functions may be defined in it.
std::string without_braces(const std::string& text) {
  return text.starts_with('{') && text.ends_with('}') ? text.substr(1, text.size() - 2) : text;
}

void help() {
  std::string text =
      "C++20, line by line; the value of an expression without a semicolon is printed. All of muster is there:\n"
      "  addprocs(4)                                  start workers\n"
      "  int n = 4; fetch(spawn([=] { return n + 1; }))   run a lambda on one, with its values\n"
      "  pmap(f, std::vector{1, 2, 3})                   run a function of yours on all of them\n"
      "Commands:\n";
  for (const Command& command : all_commands) {
    std::string line = "  " + std::string(command.name) + " " + std::string(command.arguments);
    line.resize(std::max<std::size_t>(line.size() + 1, 22), ' ');
    text += line + std::string(command.meaning) + "\n";
  }
  (void)std::fputs(text.c_str(), stdout);
}

void show_workers() {
  std::string text;
  for (const Pid pid : other_workers()) text += (text.empty() ? "" : ", ") + std::to_string(pid);
  std::cout << (text.empty() ? "no workers: addprocs(4) starts some" : "workers " + text) << '\n' << std::flush;
}

}  // namespace

bool Commands::is_command(const std::string& text) {
  const std::string line = trimmed(text);
  if (line.starts_with('%')) return true;
  return std::any_of(cling_names.begin(), cling_names.end(), [&](const auto& pair) {
    return line == pair.first || line.starts_with(std::string(pair.first) + " ");
  });
}

std::vector<std::string> Commands::completions(const std::string& text) {
  std::vector<std::string> found;
  const std::string line = trimmed(text);
  for (const Command& command : all_commands)
    if (line.starts_with('%') && command.name.starts_with(line)) found.emplace_back(command.name);
  return found;
}

std::vector<Part> Commands::parts_of(const std::string& text) {
  std::vector<Part> parts;
  Part part;
  const auto finish = [&] {
    if (part.text.find_first_not_of(" \t\r\n;") != std::string::npos) parts.push_back(std::move(part));
    part = {};
  };
  std::istringstream stream(text);
  unsigned number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    const bool open = is_incomplete(part.text);
    if (!open && (part.command || is_command(line))) finish();
    if (part.text.empty()) {
      part.line = number;
      part.command = is_command(line);
    }
    part.text += line + "\n";
  }
  finish();
  return parts;
}

Commands::Result Commands::run(const std::string& text) {
  const std::string line = trimmed(text);
  const auto end = std::min(line.find_first_of(" \t\n{"), line.size());
  std::string name = line.substr(0, end);
  for (const auto& [cling, ours] : cling_names)
    if (name == cling) name = ours;
  try {
    return dispatch(name, trimmed(line.substr(end)));
  } catch (const std::exception& error) {
    evaluator_.display().failure(Failure::said(name + ": " + error.what()));
    return Result::failed;
  }
}

Commands::Result Commands::dispatch(const std::string& name, const std::string& rest) {
  const auto result = [](bool good) { return good ? Result::done : Result::failed; };
  if (name == "%quit" || name == "%exit") return Result::quit;
  if (name == "%help") {
    help();
  } else if (name == "%everywhere") {
    if (rest.empty()) throw std::invalid_argument("takes the code to run, as in %everywhere int counter = 0;");
    How how;
    how.everywhere = true;
    return result(evaluator_.run(without_braces(rest), how));
  } else if (name == "%workers") {
    show_workers();
  } else if (name == "%time") {
    return result(time(rest));
  } else if (name == "%lib") {
    if (rest.empty()) throw std::invalid_argument("takes a shared library, as in %lib ./libmodel.so");
    // It goes to other processes with the first call that needs it, before the cells that use it.
    (void)load_module(std::filesystem::exists(rest) ? std::filesystem::absolute(rest).string() : rest,
                      {.global = true});
  } else if (name == "%load") {
    if (rest.empty()) throw std::invalid_argument("takes a C++ file, as in %load model.cpp");
    return result(evaluator_.run_file(rest));
  } else if (name == "%undo") {
    evaluator_.undo();
  } else if (name == "%source") {
    evaluator_.set_verbose(rest != "off");
  } else {
    throw std::invalid_argument("no such command; %help lists them");
  }
  return Result::done;
}

bool Commands::time(const std::string& code) {
  if (code.empty()) throw std::invalid_argument("takes the code to run, as in %time pmap(f, xs)");
  const auto begin = std::chrono::steady_clock::now();
  How how;
  how.show = true;
  const bool good = evaluator_.run(code, how);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  std::printf("%.3f s, of which compiling %.3f s\n", taken.count(), evaluator_.last_compilation().count());
  return good;
}

}  // namespace muster::repl
