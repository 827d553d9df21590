/// @file
/// C++ text as tokens: enough of the language to see where an input ends and what its items are.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace muster::repl {

/// One token. Comments are none.
struct Token {
  enum class Kind : unsigned char { word, number, text, punctuator };  ///< text: string and character literals
  Kind kind = Kind::punctuator;
  std::size_t offset = 0;
  std::string_view text = {};

  std::size_t end() const { return offset + text.size(); }
  bool is(std::string_view what) const { return kind != Kind::text && text == what; }
  bool opens() const { return is("(") || is("{") || is("["); }
  bool closes() const { return is(")") || is("}") || is("]"); }
};

/// The tokens of a text; they look into it. Punctuators are one character each, but for `::` and `->`.
struct Tokens {
  std::vector<Token> all;
  bool cut_off = false;  ///< ends inside a comment or a raw string
};
Tokens tokens_of(std::string_view text);

/// Whether more lines must follow: an open bracket, comment or raw string, or a backslash at the end.
bool is_incomplete(std::string_view text);

/// Index of the bracket that closes the one at `open`; all.size() where there is none.
std::size_t closing(const std::vector<Token>& all, std::size_t open);

/// One item of an input.
struct Item {
  enum class Kind : unsigned char {
    directive,    ///< a line that begins with #
    function,     ///< a definition with a body
    type,         ///< class, struct, union or enum
    space,        ///< namespace, extern "C" block, using namespace
    declaration,  ///< using, typedef, concept, static_assert, function prototypes and templates of any kind without
                  ///< body
    statement     ///< everything else: statements, expressions, variables
  };
  Kind kind = Kind::statement;
  std::size_t offset = 0;  ///< in the input
  unsigned line = 1;       ///< of the input, from 1
  std::string text = {};
  std::string name = {};   ///< what a function, type or declaration declares, where that is a plain name
  std::size_t body = 0;    ///< of a function: where its `{` is in text
  bool defines = false;    ///< has a body, or an `=`
  bool qualified = false;  ///< its name is one of another scope: a member, a specialisation in another namespace
};

/// Splits an input into its items. What belongs to a function stays together when `group` is set: statements in a row
/// are one item.
std::vector<Item> items_of(std::string_view text, bool group);

/// Ends a loop that is to be stopped.
inline constexpr std::string_view loop_check = "::muster::this_task::check()";
/// The text with a loop_check in each turn of its loops, so that an endless one can be
/// stopped. Left alone are counting loops that call nothing: they end, and stay as fast as they are.
std::string with_loop_checks(const std::string& text);

}  // namespace muster::repl
