/// @file
/// Which parts of an input are declarations of their own, and which run.
#include "repl/text/tokens.hpp"

#include <algorithm>
#include <array>

namespace muster::repl {

namespace {

template <std::size_t N>
bool is_one_of(const Token& token, const std::array<std::string_view, N>& words) {
  return token.kind == Token::Kind::word && std::find(words.begin(), words.end(), token.text) != words.end();
}

constexpr std::array<std::string_view, 12> starts_declaration{"namespace", "template", "using",  "typedef",
                                                              "concept",   "friend",   "extern", "static_assert",
                                                              "export",    "import",   "module", "asm"};
constexpr std::array<std::string_view, 4> starts_type{"class", "struct", "union", "enum"};
constexpr std::array<std::string_view, 16> starts_statement{
    "if",   "for",     "while", "do",       "switch", "try",    "return", "goto",
    "case", "default", "break", "continue", "throw",  "delete", "new",    "co_return"};

constexpr std::array<std::string_view, 4> before_no_parameters{"decltype", "alignas", "requires", "operator"};
constexpr std::array<std::string_view, 7> after_parameters{"const", "volatile", "noexcept", "override",
                                                           "final", "requires", "try"};

/// Finds the items one after another.
class Splitter {
 public:
  Splitter(std::string_view text, bool group)
      : text_(text), group_(group), tokens_(tokens_of(text)), all_(tokens_.all) {}

  std::vector<Item> run() {
    while (at_ < all_.size()) {
      if (is_directive())
        directive();
      else
        item();
    }
    return std::move(items_);
  }

 private:
  bool is_directive() const {
    if (!all_[at_].is("#")) return false;
    const std::size_t before = text_.find_last_not_of(" \t", all_[at_].offset == 0 ? 0 : all_[at_].offset - 1);
    return all_[at_].offset == 0 || before == std::string_view::npos || text_[before] == '\n';
  }

  void push(Item item, std::size_t first, std::size_t last) {
    item.offset = first;
    item.line =
        1 + static_cast<unsigned>(std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(first), '\n'));
    item.text = text_.substr(first, last - first);
    if (group_ && item.kind == Item::Kind::statement && !items_.empty() && items_.back().kind == Item::Kind::statement)
      items_.back().text = text_.substr(items_.back().offset, last - items_.back().offset);
    else
      items_.push_back(std::move(item));
  }

  void directive() {
    const std::size_t first = all_[at_].offset;
    std::size_t end = text_.find('\n', first);
    while (end != std::string_view::npos && end > 0 && text_[end - 1] == '\\') end = text_.find('\n', end + 1);
    end = std::min(end, text_.size());
    while (at_ < all_.size() && all_[at_].offset < end) ++at_;
    Item item;
    item.kind = Item::Kind::directive;
    push(std::move(item), first, end);
  }

  /// After template<...>, requires clauses of it aside.
  std::size_t after_template_head(std::size_t i) const {
    while (i + 1 < all_.size() && all_[i].is("template") && all_[i + 1].is("<")) {
      int depth = 0;
      for (++i; i < all_.size(); ++i) {
        if (all_[i].opens()) i = std::min(closing(all_, i), all_.size() - 1);
        if (all_[i].is("<")) ++depth;
        if (all_[i].is(">") && --depth == 0) break;
      }
      ++i;
    }
    return i;
  }

  /// The item that begins here: its end is a `;` or the brace that closes a body.
  void item() {
    const std::size_t start = at_, head = after_template_head(start);
    const bool is_template = head != start;
    const bool space = is_namespace(start);
    const bool declares = is_one_of(all_[start], starts_declaration) || space;
    const bool control = is_one_of(all_[start], starts_statement) || all_[start].is("{");
    const bool lambda = all_[start].is("[") && !(start + 1 < all_.size() && all_[start + 1].is("["));
    std::size_t type_at = all_.size(), equals = all_.size(), parenthesis = all_.size(), body = all_.size(), i = head;
    for (; i < all_.size(); ++i) {
      const Token& token = all_[i];
      if (is_one_of(token, starts_type) && parenthesis == all_.size() && equals == all_.size())
        type_at = std::min(type_at, i);
      if (token.is("=") && equals == all_.size() && !(i > start && all_[i - 1].is("operator")) && !is_comparison(i))
        equals = i;
      if (token.is(";")) {
        if (!control || !goes_on(start, i)) break;
        continue;
      }
      if (!token.opens()) continue;
      if (token.is("(") && parenthesis == all_.size() && !(i > start && is_one_of(all_[i - 1], before_no_parameters)))
        parenthesis = i;
      const bool opens_body = token.is("{") && equals == all_.size() && !control && !lambda &&
                              (parenthesis == all_.size() || is_function_body(parenthesis, i));
      if (opens_body && (space || parenthesis != all_.size() || type_at != all_.size())) body = std::min(body, i);
      i = closing(all_, i);
      if (i >= all_.size()) break;
      if (!all_[i].is("}")) continue;
      if (space && body != all_.size()) break;
      if (opens_body && body != all_.size() && type_at == all_.size() && !goes_on(start, i)) break;
      if (opens_body && body != all_.size() && type_at != all_.size() && parenthesis != all_.size() &&
          parenthesis < body)
        break;
      if (control && !goes_on(start, i)) break;
    }
    const std::size_t last = i < all_.size() ? i : all_.size() - 1;
    Item result = classify(start, head, last, {type_at, equals, parenthesis, body}, declares, control, space);
    if (is_template && result.kind == Item::Kind::statement) result.kind = Item::Kind::declaration;
    at_ = last + 1;
    push(std::move(result), all_[start].offset, all_[last].end());
  }

  /// Whether what ends at `i` is followed by a part of the same statement.
  bool goes_on(std::size_t start, std::size_t i) const {
    if (i + 1 >= all_.size()) return false;
    const Token& next = all_[i + 1];
    return next.is("else") || next.is("catch") || (next.is("while") && all_[start].is("do"));
  }
  /// Whether the brace at `i` opens the body of the function whose parameters begin at `parenthesis`.
  bool is_function_body(std::size_t parenthesis, std::size_t i) const {
    if (parenthesis == 0 || parenthesis > i) return false;
    const std::size_t after = closing(all_, parenthesis) + 1;
    if (after == i) return true;
    if (after > i) return false;
    if (all_[after].is(":")) return all_[i - 1].is(")") || all_[i - 1].is("}");  // a constructor's initializers
    return is_one_of(all_[after], after_parameters) || all_[after].is("->") || all_[after].is("&") ||
           all_[after].is("[");
  }

  struct Marks {
    std::size_t type, equals, parenthesis, body;
  };

  Item classify(std::size_t start, std::size_t head, std::size_t last, Marks marks, bool declares, bool control,
                bool space) const {
    Item item;
    const std::size_t none = all_.size();
    if (control) return item;
    if (space || (all_[start].is("using") && start + 1 < none && all_[start + 1].is("namespace"))) {
      item.kind = Item::Kind::space;
      if (space && start + 1 < none)
        item.name = all_[all_[start].is("inline") ? std::min(start + 2, last) : start + 1].text;
    } else if (marks.body != none && marks.parenthesis < marks.body && marks.equals > marks.body &&
               !is_local_class(marks)) {
      item.kind = Item::Kind::function;
      item.body = all_[marks.body].offset - all_[start].offset;
      item.defines = true;
      name_function(item, marks.parenthesis);
    } else if (marks.type != none && marks.equals == none && marks.parenthesis == none && is_only_type(marks, last)) {
      item.kind = Item::Kind::type;
      item.defines = marks.body != none;
      name_type(item, marks.type, last);
    } else if (declares || head != start) {
      item.kind = Item::Kind::declaration;
      item.defines = marks.equals != none;
      name_declaration(item, head, marks);
    }
    return item;
  }

  bool is_comparison(std::size_t i) const {
    const auto touches = [&](std::size_t a, std::size_t b) { return all_[a].end() == all_[b].offset; };
    if (i > 0 && touches(i - 1, i) && std::string_view("=!<>").find(all_[i - 1].text[0]) != std::string_view::npos)
      return true;
    return i + 1 < all_.size() && touches(i, i + 1) && all_[i + 1].is("=");
  }
  bool is_namespace(std::size_t i) const {
    if (all_[i].is("namespace")) return i + 2 >= all_.size() || !all_[i + 2].is("=");
    if (all_[i].is("inline") && i + 1 < all_.size() && all_[i + 1].is("namespace")) return true;
    return all_[i].is("extern") && i + 2 < all_.size() && all_[i + 1].kind == Token::Kind::text && all_[i + 2].is("{");
  }
  /// `struct S f() {`: a function after all, unless the type has its body before the parenthesis.
  static bool is_local_class(Marks marks) { return marks.type < marks.body && marks.body < marks.parenthesis; }
  /// `struct S {...};` and `struct S;`, not `struct S {...} s;` or `struct S s;`.
  bool is_only_type(Marks marks, std::size_t last) const {
    if (marks.body != all_.size()) {
      const std::size_t close = closing(all_, marks.body);
      return close + 1 >= last;
    }
    return last == marks.type + 2 || (last == marks.type + 3 && all_[marks.type].is("enum"));
  }

  void name_function(Item& item, std::size_t parenthesis) const {
    if (parenthesis == 0) return;
    const Token& name = all_[parenthesis - 1];
    item.qualified = parenthesis >= 2 && all_[parenthesis - 2].is("::");
    for (std::size_t i = parenthesis; i-- > 0 && !all_[i].is(";") && !all_[i].is("}");) {
      if (all_[i].is("operator")) {  // operators have no plain name
        item.qualified = i >= 1 && all_[i - 1].is("::");
        return;
      }
      if (parenthesis - i > 4) break;
    }
    if (name.kind == Token::Kind::word) item.name = name.text;
  }
  void name_type(Item& item, std::size_t type, std::size_t last) const {
    for (std::size_t i = type + 1; i < last; ++i) {
      if (is_one_of(all_[i], starts_type)) continue;
      if (all_[i].is("[")) {  // attributes
        i = closing(all_, i);
      } else if (all_[i].is("alignas")) {
        i = closing(all_, i + 1);
      } else if (all_[i].kind == Token::Kind::word) {
        item.name = all_[i].text;
        item.qualified = all_[i + 1].is("::");
        if (all_[i + 1].is("<")) item.qualified = true;  // a specialisation declares nothing new
        return;
      } else {
        return;
      }
    }
  }
  void name_declaration(Item& item, std::size_t head, Marks marks) const {
    const std::size_t none = all_.size();
    if (head + 1 < none && (all_[head].is("using") || all_[head].is("concept")) && marks.equals != none)
      item.name = all_[head + 1].text;
    else if (marks.parenthesis != none && !all_[head].is("static_assert"))
      name_function(item, marks.parenthesis);
    else if (all_[head].is("typedef") || (marks.equals != none && marks.equals > 0))
      for (std::size_t i = marks.equals != none ? marks.equals : none; i-- > head;)
        if (all_[i].kind == Token::Kind::word) {
          item.name = all_[i].text;
          break;
        }
    if (head + 1 < none && is_one_of(all_[head], starts_type)) name_type(item, head, all_.size() - 1);
  }

  std::string_view text_;
  bool group_;
  Tokens tokens_;
  const std::vector<Token>& all_;
  std::size_t at_ = 0;
  std::vector<Item> items_;
};

}  // namespace

std::vector<Item> items_of(std::string_view text, bool group) { return Splitter(text, group).run(); }

}  // namespace muster::repl
