#include "repl/kernel/kernel.hpp"

#include "repl/text/tokens.hpp"

#include <muster/cluster.hpp>

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <iostream>
#include <utility>

namespace muster::repl {

namespace {

using namespace std::chrono_literals;

/// What workers print travels beside their results: a cell is done when none of it came for so long.
constexpr auto late_output = 30ms;

bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }

/// Clients count characters, we bytes.
std::size_t bytes_of(const std::string& text, std::size_t characters) {
  std::size_t at = 0;
  for (; at < text.size(); ++at)
    if (begins_character(text[at]) && characters-- == 0) break;
  return at;
}
std::size_t characters_of(const std::string& text, std::size_t bytes) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(bytes), begins_character));
}

/// The input that the cursor stands in, up to there.
std::string input_before(const std::string& text) {
  const auto parts = Commands::parts_of(text);
  std::string last = parts.empty() ? std::string() : parts.back().text;
  if (!last.empty()) last.pop_back();  // the line's end, which parts_of adds
  return last;
}

/// The code in an input, which may follow a command's name.
std::string code_in(const std::string& input) {
  if (!Commands::is_command(input)) return input;
  const std::size_t space = input.find_first_of(" \t\n{");
  return space == std::string::npos ? std::string() : input.substr(space + (input[space] == '{' ? 0 : 1));
}

std::string text_at(const Json& content, const char* name) {
  const auto found = content.find(name);
  return found != content.end() && found->is_string() ? found->get<std::string>() : std::string();
}
template <class T>
T number_at(const Json& content, const char* name, T otherwise) {
  const auto found = content.find(name);
  return found != content.end() && (found->is_number_integer() || found->is_boolean()) ? found->get<T>() : otherwise;
}

}  // namespace

Json about_kernel() {
  return {{"status", "ok"},
          {"protocol_version", protocol_version},
          {"implementation", "muster"},
          {"implementation_version", MUSTER_VERSION},
          {"language_info",
           {{"name", "c++"},
            {"version", "20"},
            {"mimetype", "text/x-c++src"},
            {"file_extension", ".cpp"},
            {"codemirror_mode", "text/x-c++src"},
            {"pygments_lexer", "cpp"}}},
          {"banner", "muster " MUSTER_VERSION ": C++20, whose functions run on every worker; %help tells more"},
          {"help_links", Json::array()}};
}

void Kernel::run() {
  channels_.publish(Json::object(), "status", {{"execution_state", "starting"}});
  while (!ending_.requested()) {
    std::array<zmq::pollitem_t, 2> items{
        {{channels_.shell().handle(), 0, ZMQ_POLLIN, 0}, {nullptr, ending_.fd(), ZMQ_POLLIN, 0}}};
    if (::zmq_poll(items.data(), 2, -1) <= 0) continue;  // a signal
    if (items[0].revents == 0 || ending_.requested()) continue;
    if (const auto request = channels_.receive(channels_.shell(), "shell")) handle(*request);
    refusing_ = true;
    for (const Message& request : std::exchange(waiting_, {})) handle(request);
    refusing_ = false;
  }
}

/// Takes what was asked for before the client can know that a cell failed.
void Kernel::take_waiting() {
  zmq::pollitem_t item{channels_.shell().handle(), 0, ZMQ_POLLIN, 0};
  while (::zmq_poll(&item, 1, 0) > 0)
    if (auto request = channels_.receive(channels_.shell(), "shell")) waiting_.push_back(std::move(*request));
}

void Kernel::reply(const Message& request, const std::string& type, Json content) {
  channels_.reply(channels_.shell(), request, type, std::move(content));
}

void Kernel::handle(const Message& request) {
  const std::string type = request.type();
  channels_.set_parent(request.header);
  channels_.publish("status", {{"execution_state", "busy"}});
  try {
    if (type == "execute_request") {
      reply(request, "execute_reply", execute(request.content));
    } else if (type == "kernel_info_request") {
      reply(request, "kernel_info_reply", about_kernel());
    } else if (type == "complete_request") {
      reply(request, "complete_reply", complete(request.content));
    } else if (type == "inspect_request") {
      reply(request, "inspect_reply", inspect(request.content));
    } else if (type == "is_complete_request") {
      const bool open = is_incomplete(text_at(request.content, "code"));
      reply(request, "is_complete_reply",
            open ? Json{{"status", "incomplete"}, {"indent", "  "}} : Json{{"status", "complete"}});
    } else if (type == "history_request") {
      reply(request, "history_reply", history(request.content));
    } else if (type == "comm_info_request") {
      reply(request, "comm_info_reply", {{"status", "ok"}, {"comms", Json::object()}});
    } else if (type == "shutdown_request") {
      reply(request, "shutdown_reply", {{"status", "ok"}, {"restart", request.content.value("restart", Json(false))}});
      ending_.request();
    } else if (!type.starts_with("comm_")) {  // widgets talk to kernels that have none
      channels_.log("does not know " + type + " on the shell channel");
    }
  } catch (const std::exception& error) {  // contents that are not as the protocol says
    channels_.log(type + ": " + error.what());
  }
  channels_.publish("status", {{"execution_state", "idle"}});
  if (quit_) ending_.request();
}

Json Kernel::execute(const Json& asked) {
  const std::string code = text_at(asked, "code");
  const bool silent = number_at(asked, "silent", false);
  if (refusing_) return {{"status", "aborted"}, {"execution_count", count_}};
  if (!silent) {
    ++count_;
    if (number_at(asked, "store_history", true)) history_.emplace_back(count_, code);
    channels_.publish("execute_input", {{"code", code}, {"execution_count", count_}});
  }
  display_.begin(count_, silent);
  run_cell(code, "In[" + std::to_string(count_) + "]");
  std::cout << std::flush;
  (void)std::fflush(stdout);
  if (other_workers().empty())
    capture_.drain();
  else
    capture_.settle(late_output);
  Json result{{"execution_count", count_}, {"user_expressions", Json::object()}, {"payload", Json::array()}};
  if (quit_) result["payload"].push_back({{"source", "ask_exit"}, {"keepkernel", false}});
  result["status"] = display_.error() ? "error" : "ok";
  if (display_.error()) {
    result.update(*display_.error());
    if (number_at(asked, "stop_on_error", true)) take_waiting();
  }
  return result;
}

void Kernel::run_cell(const std::string& code, const std::string& name) {
  const auto parts = Commands::parts_of(code);
  for (std::size_t i = 0; i < parts.size() && !display_.error() && !quit_; ++i) {
    if (parts[i].command) {
      quit_ = commands_.run(parts[i].text) == Commands::Result::quit;
      continue;
    }
    How how;
    how.show = i + 1 == parts.size();
    how.file = name;
    how.line = parts[i].line;
    (void)evaluator_.run(parts[i].text, how);
  }
}

Json Kernel::complete(const Json& asked) {
  const std::string code = text_at(asked, "code");
  const std::size_t cursor = bytes_of(code, number_at<std::size_t>(asked, "cursor_pos", code.size()));
  const std::string input = input_before(code.substr(0, cursor));
  std::size_t word = cursor;
  while (word > 0 && in_word(code[word - 1])) --word;
  std::vector<std::string> matches;
  if (Commands::is_command(input) && code_in(input).empty()) {
    if (word > 0 && code[word - 1] == '%') --word;
    matches = Commands::completions(input);
  } else {
    matches = evaluator_.complete(code_in(input));
  }
  return {{"status", "ok"},
          {"matches", matches},
          {"cursor_start", characters_of(code, word)},
          {"cursor_end", characters_of(code, cursor)},
          {"metadata", Json::object()}};
}

Json Kernel::inspect(const Json& asked) {
  const std::string code = text_at(asked, "code");
  std::size_t end = bytes_of(code, number_at<std::size_t>(asked, "cursor_pos", code.size()));
  while (end > 0 && !in_word(code[end - 1])) --end;  // in front of a name's parenthesis it is asked for, too
  while (end < code.size() && in_word(code[end])) ++end;
  std::string text;
  for (const std::string& line : evaluator_.explain(code_in(input_before(code.substr(0, end))))) text += line + "\n";
  Json data = Json::object();
  if (!text.empty()) data["text/plain"] = text;
  return {{"status", "ok"}, {"found", !text.empty()}, {"data", data}, {"metadata", Json::object()}};
}

Json Kernel::history(const Json& asked) const {
  const std::string how = text_at(asked, "hist_access_type"), pattern = text_at(asked, "pattern");
  const bool with_output = number_at(asked, "output", false);
  const int start = number_at(asked, "start", 0), stop = number_at(asked, "stop", count_ + 1);
  const auto wanted = [&](int number, const std::string& input) {
    if (how == "range") return number_at(asked, "session", 0) == 0 && number >= start && number < stop;
    return how != "search" || ::fnmatch(pattern.c_str(), input.c_str(), 0) == 0;
  };
  std::vector<Json> found;
  for (const auto& [number, input] : history_)
    if (wanted(number, input))
      found.push_back(with_output ? Json{0, number, {input, nullptr}} : Json{0, number, input});
  const auto most = number_at<std::size_t>(asked, "n", found.size());
  if (how != "range" && found.size() > most)
    found.erase(found.begin(), found.end() - static_cast<std::ptrdiff_t>(most));
  return {{"status", "ok"}, {"history", found}};
}

}  // namespace muster::repl
