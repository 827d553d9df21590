#include "repl/prompt/line_editor.hpp"

#include <histedit.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cwchar>

namespace muster::repl {

namespace {

constexpr int kept_lines = 2000;

std::string history_path() {
  if (const char* path = std::getenv("MUSTER_HISTORY")) return path;
  const char* home = std::getenv("HOME");
  return home != nullptr && *home != '\0' ? std::string(home) + "/.muster_history" : std::string();
}

bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

std::string common_prefix(const std::vector<std::string>& words) {
  std::string prefix = words.front();
  for (const std::string& word : words) {
    const auto differ = std::mismatch(prefix.begin(), prefix.end(), word.begin(), word.end()).first;
    prefix.erase(differ, prefix.end());
  }
  return prefix;
}

void print_columns(const std::vector<std::string>& words) {
  constexpr std::size_t most = 200;
  std::size_t width = 1;
  for (const std::string& word : words) width = std::max(width, word.size() + 2);
  winsize size{};
  const std::size_t line = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  const std::size_t columns = std::max<std::size_t>(1, line / width);
  std::string text = "\n";
  for (std::size_t i = 0; i < words.size() && i < most; ++i) {
    text += words[i];
    const bool last = i + 1 == words.size() || i + 1 == most || (i + 1) % columns == 0;
    text += last ? "\n" : std::string(width - words[i].size(), ' ');
  }
  if (words.size() > most) text += "... and " + std::to_string(words.size() - most) + " more\n";
  (void)std::fputs(text.c_str(), stdout);
  (void)std::fflush(stdout);
}

/// While it lives, Ctrl-C reaches this thread in wait_for_input only: one that came while a key is worked on would be
/// forgotten.
class CtrlCHeldBack {
 public:
  CtrlCHeldBack() {
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    (void)::pthread_sigmask(SIG_BLOCK, &held, &before_);
  }
  ~CtrlCHeldBack() { (void)::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  CtrlCHeldBack(const CtrlCHeldBack&) = delete;
  CtrlCHeldBack& operator=(const CtrlCHeldBack&) = delete;

 private:
  sigset_t before_{};
};

/// @returns false, and EINTR in errno, after Ctrl-C
bool wait_for_input() {
  sigset_t open;
  (void)::pthread_sigmask(SIG_SETMASK, nullptr, &open);
  sigdelset(&open, SIGINT);
  pollfd input{STDIN_FILENO, POLLIN, 0};
  return ::ppoll(&input, 1, nullptr, &open) >= 0;
}

/// The editor's way to read a key: as its own does, but no Ctrl-C is lost. @returns 1; 0 at the end, -1 on an error
int read_character(::EditLine* /*editor*/, wchar_t* character) {
  std::mbstate_t state{};
  for (;;) {
    char byte = 0;
    if (!wait_for_input()) return -1;
    if (const auto got = ::read(STDIN_FILENO, &byte, 1); got <= 0) return static_cast<int>(got);
    const std::size_t used = std::mbrtowc(character, &byte, 1, &state);
    if (used == static_cast<std::size_t>(-2)) continue;  // more of it is to come
    if (used != static_cast<std::size_t>(-1)) return 1;
    state = {};  // no character at all: dropped
  }
}

}  // namespace

class LineEditor::Implementation {
 public:
  explicit Implementation(std::function<std::vector<std::string>(const std::string&)> complete)
      : complete_(std::move(complete)),
        editor_(::el_init("muster", stdin, stdout, stderr)),
        history_(::history_init()),
        path_(history_path()) {
    // C++ source is UTF-8, and the editor drops what the locale has no character for. A user's own locale goes first.
    (void)std::setlocale(LC_CTYPE, "");
    if (MB_CUR_MAX == 1) (void)std::setlocale(LC_CTYPE, "C.UTF-8");
    HistEvent event;
    ::history(history_, &event, H_SETSIZE, kept_lines);
    ::history(history_, &event, H_SETUNIQUE, 1);
    if (!path_.empty()) ::history(history_, &event, H_LOAD, path_.c_str());
    ::el_set(editor_, EL_CLIENTDATA, this);
    ::el_set(editor_, EL_PROMPT, &Implementation::prompt);
    ::el_set(editor_, EL_GETCFN, &read_character);
    ::el_set(editor_, EL_EDITOR, "emacs");
    ::el_set(editor_, EL_HIST, ::history, history_);
    ::el_set(editor_, EL_ADDFN, "muster-complete", "Complete the word", &Implementation::complete);
    ::el_set(editor_, EL_BIND, "^I", "muster-complete", nullptr);
    ::el_set(editor_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    ::el_set(editor_, EL_BIND, "\033[1;5C", "em-next-word", nullptr);
    ::el_set(editor_, EL_BIND, "\033[1;5D", "ed-prev-word", nullptr);
    ::el_set(editor_, EL_BIND, "\033[3~", "ed-delete-next-char", nullptr);
    ::el_source(editor_, nullptr);
  }
  ~Implementation() {
    ::history_end(history_);
    ::el_end(editor_);
  }
  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;

  Result read(const std::string& prompt, std::string& line) {
    const CtrlCHeldBack ctrl_c;
    prompt_ = prompt;
    int count = 0;
    errno = 0;
    const char* text = ::el_gets(editor_, &count);
    if (text == nullptr || count <= 0) {
      if (count < 0 && errno == EINTR) {
        ::el_reset(editor_);
        return Result::interrupted;
      }
      return Result::end;
    }
    line.assign(text, static_cast<std::size_t>(count));
    while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
    if (line.find_first_not_of(" \t") != std::string::npos) remember(line);
    return Result::line;
  }

 private:
  void remember(const std::string& line) {
    HistEvent event;
    ::history(history_, &event, H_ENTER, line.c_str());
    if (!path_.empty()) ::history(history_, &event, H_SAVE, path_.c_str());
  }

  static Implementation& of(::EditLine* editor) {
    void* self = nullptr;
    ::el_get(editor, EL_CLIENTDATA, &self);
    return *static_cast<Implementation*>(self);
  }
  static char* prompt(::EditLine* editor) { return of(editor).prompt_.data(); }

  static unsigned char complete(::EditLine* editor, int /*key*/) {
    const ::LineInfo* info = ::el_line(editor);
    const std::string before(info->buffer, info->cursor);
    if (before.find_first_not_of(" \t") == std::string::npos) {  // an indentation
      ::el_insertstr(editor, "  ");
      return CC_REFRESH;
    }
    const auto words = of(editor).complete_(before);
    if (words.empty()) return CC_ERROR;
    std::size_t word = before.size();
    while (word > 0 && in_word(before[word - 1])) --word;
    if (word > 0 && before[word - 1] == '%') --word;
    const std::string typed = before.substr(word), prefix = common_prefix(words);
    if (prefix.size() > typed.size()) {
      ::el_insertstr(editor, prefix.substr(typed.size()).c_str());
      return CC_REFRESH;
    }
    if (words.size() == 1) return CC_REFRESH;
    print_columns(words);
    return CC_REDISPLAY;
  }

  std::function<std::vector<std::string>(const std::string&)> complete_;
  ::EditLine* editor_;
  ::History* history_;
  std::string path_, prompt_;
};

LineEditor::LineEditor(std::function<std::vector<std::string>(const std::string&)> complete)
    : implementation_(std::make_unique<Implementation>(std::move(complete))) {}
LineEditor::~LineEditor() = default;

LineEditor::Result LineEditor::read(const std::string& prompt, std::string& line) {
  return implementation_->read(prompt, line);
}

}  // namespace muster::repl
