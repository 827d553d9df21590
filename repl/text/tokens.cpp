#include "repl/text/tokens.hpp"

#include <algorithm>
#include <cctype>

namespace muster::repl {

namespace {

bool starts_word(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

/// One pass over a text.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Tokens run() {
    while (at_ < text_.size()) step();
    return std::move(result_);
  }

 private:
  char here(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void add(Token::Kind kind, std::size_t end) {
    end = std::min(end, text_.size());
    result_.all.push_back({kind, at_, text_.substr(at_, end - at_)});
    at_ = end;
  }

  void step() {
    const char c = here();
    if (std::isspace(static_cast<unsigned char>(c)) != 0 || (c == '\\' && here(1) == '\n')) {
      ++at_;
    } else if (c == '/' && here(1) == '/') {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (c == '/' && here(1) == '*') {
      const std::size_t end = text_.find("*/", at_ + 2);
      result_.cut_off = end == std::string_view::npos;
      at_ = result_.cut_off ? text_.size() : end + 2;
    } else if (starts_word(c)) {
      word();
    } else if (std::isdigit(static_cast<unsigned char>(c)) != 0 ||
               (c == '.' && std::isdigit(static_cast<unsigned char>(here(1))) != 0)) {
      number();
    } else if (c == '"' || c == '\'') {
      literal(at_, c);
    } else {
      const bool two = (c == ':' && here(1) == ':') || (c == '-' && here(1) == '>');
      add(Token::Kind::punctuator, at_ + (two ? 2 : 1));
    }
  }

  void word() {
    std::size_t end = at_;
    while (end < text_.size() && in_word(text_[end])) ++end;
    const char next = end < text_.size() ? text_[end] : '\0';
    const std::string_view word = text_.substr(at_, end - at_);
    const bool prefix = word == "u8" || word == "u" || word == "U" || word == "L";
    if (next == '"' &&
        (word.ends_with('R') && (word == "R" || word == "u8R" || word == "uR" || word == "UR" || word == "LR"))) {
      raw_string(end);
    } else if ((next == '"' || next == '\'') && prefix) {
      literal(end, next);
    } else {
      add(Token::Kind::word, end);
    }
  }

  void number() {
    std::size_t end = at_;
    while (end < text_.size()) {
      const char c = text_[end];
      const bool sign =
          (c == '+' || c == '-') && std::string_view("eEpP").find(text_[end - 1]) != std::string_view::npos;
      const bool separator = c == '\'' && end + 1 < text_.size() && in_word(text_[end + 1]);
      if (!in_word(c) && c != '.' && !sign && !separator) break;
      ++end;
    }
    add(Token::Kind::number, end);
  }

  void literal(std::size_t quote_at, char quote) {
    std::size_t end = quote_at + 1;
    while (end < text_.size() && text_[end] != quote && text_[end] != '\n') end += text_[end] == '\\' ? 2U : 1U;
    add(Token::Kind::text, end + 1);
  }

  void raw_string(std::size_t quote_at) {
    const std::size_t open = text_.find('(', quote_at);
    std::size_t end = std::string_view::npos;
    if (open != std::string_view::npos) {
      const std::string close = ")" + std::string(text_.substr(quote_at + 1, open - quote_at - 1)) + "\"";
      end = text_.find(close, open);
      if (end != std::string_view::npos) end += close.size();
    }
    result_.cut_off = end == std::string_view::npos;
    add(Token::Kind::text, std::min(end, text_.size()));
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Tokens result_;
};

}  // namespace

Tokens tokens_of(std::string_view text) { return Lexer(text).run(); }

bool is_incomplete(std::string_view text) {
  if (text.ends_with('\\')) return true;
  const Tokens tokens = tokens_of(text);
  int depth = 0;
  for (const Token& token : tokens.all) depth += token.opens() ? 1 : token.closes() ? -1 : 0;
  return tokens.cut_off || depth > 0;
}

std::size_t closing(const std::vector<Token>& all, std::size_t open) {
  int depth = 0;
  for (std::size_t i = open; i < all.size(); ++i) {
    if (all[i].opens()) ++depth;
    if (all[i].closes() && --depth == 0) return i;
  }
  return all.size();
}

}  // namespace muster::repl
