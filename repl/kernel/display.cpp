/// @file
/// Results and failures as messages.
#include "repl/kernel/kernel.hpp"

#include <muster/display.hpp>

#include <cstdio>
#include <iostream>
#include <sstream>

namespace muster::repl {

namespace {

constexpr std::string_view red = "\x1b[1;31m", plain = "\x1b[0m";

/// The lines that people see: the one that says what is wrong stands out.
Json traceback_of(const Failure& failure) {
  Json lines = Json::array();
  std::istringstream stream(failure.text);
  const bool compile = failure.name == "CompileError";
  for (std::string line; std::getline(stream, line);) {
    const std::size_t at = compile ? line.find("error:") : line.find(failure.name);
    const std::size_t length = compile ? 6 : failure.name.size();
    if (at != std::string::npos && (compile || lines.empty())) {
      line.insert(at + length, plain);
      line.insert(at, red);
    }
    lines.push_back(line);
  }
  return lines;
}

void flush() {
  std::cout << std::flush;
  std::cerr << std::flush;
  (void)std::fflush(stdout);
}

}  // namespace

void NotebookDisplay::begin(int count, bool silent) {
  count_ = count;
  silent_ = silent;
  error_.reset();
}

void NotebookDisplay::result(const MimeBundle& bundle) {
  flush();
  capture_.drain();
  if (silent_) return;
  channels_.publish("execute_result",
                    {{"execution_count", count_}, {"data", as_json(bundle)}, {"metadata", Json::object()}});
}

void NotebookDisplay::show(const MimeBundle& bundle) {
  flush();
  capture_.drain();
  channels_.publish("display_data",
                    {{"data", as_json(bundle)}, {"metadata", Json::object()}, {"transient", Json::object()}});
}

void NotebookDisplay::failure(const Failure& failure) {
  if (error_) return;
  const std::string first = failure.message.substr(0, failure.message.find('\n'));
  error_ = {{"ename", failure.name}, {"evalue", first}, {"traceback", traceback_of(failure)}};
  flush();
  capture_.drain();
  if (!silent_) channels_.publish("error", *error_);
}

void NotebookDisplay::message(const std::string& text) {
  flush();
  (void)std::fputs(text.c_str(), stderr);
  if (!text.ends_with('\n')) (void)std::fputs("\n", stderr);
}

}  // namespace muster::repl
