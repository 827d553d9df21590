#include "repl/prompt/display.hpp"

#include <muster/display.hpp>

#include <cstdio>
#include <iostream>

namespace muster::repl {

void TerminalDisplay::show(const MimeBundle& bundle) {
  const auto text = bundle.data.find("text/plain");
  if (text != bundle.data.end()) {
    std::cout << text->second << '\n';
  } else {
    for (const auto& [type, content] : bundle.data) std::cout << "<" << type << ", " << content.size() << " bytes>\n";
  }
  std::cout << std::flush;
}

void TerminalDisplay::failure(const Failure& failure) {
  const bool says_where = failure.place.empty() || failure.name == "CompileError";
  message(says_where ? failure.text : failure.place + ": " + failure.text);
}

void TerminalDisplay::message(const std::string& text) {
  std::cout << std::flush;
  (void)std::fflush(stdout);
  (void)std::fputs(text.c_str(), stderr);
  if (!text.ends_with('\n')) (void)std::fputs("\n", stderr);
  (void)std::fflush(stderr);
}

}  // namespace muster::repl
