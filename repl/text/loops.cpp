/// @file
/// Loops that can be stopped.
#include "repl/text/tokens.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace muster::repl {

namespace {

/// What is put where; at one place, the first comes first.
using Insertions = std::vector<std::pair<std::size_t, std::string>>;

class LoopChecks {
 public:
  explicit LoopChecks(const std::vector<Token>& all) : all_(all) {}

  Insertions find() {
    for (std::size_t i = 0; i < all_.size(); ++i) {
      if (i + 1 >= all_.size() || (i > 0 && (all_[i - 1].is(".") || all_[i - 1].is("->") || all_[i - 1].is("::"))))
        continue;
      if (all_[i].is("do") && all_[i + 1].is("{")) {
        add(all_[i + 1].end(), " " + std::string(loop_check) + ";");
        do_ends_.push_back(closing(all_, i + 1));
      } else if (all_[i].is("while") && all_[i + 1].is("(")) {
        look_at_while(i);
      } else if (all_[i].is("for") && all_[i + 1].is("(")) {
        look_at_for(i);
      }
    }
    return std::move(found_);
  }

 private:
  void add(std::size_t where, std::string what) { found_.emplace_back(where, std::move(what)); }

  /// `while (c)` becomes `for (; c; check())`, so that a `continue` passes by the check too.
  void look_at_while(std::size_t i) {
    for (const std::size_t end : do_ends_)
      if (i == end + 1) return;
    const std::size_t close = closing(all_, i + 1);
    // `do statement; while (...);`: no such statement stands alone with a semicolon behind it, but an empty loop does
    if (close >= all_.size() || has_do_before(i)) return;
    replaced_.push_back(i);
    add(all_[i].offset, "for");
    add(all_[i + 1].end(), ";");
    add(all_[close].offset, "; " + std::string(loop_check));
  }
  bool has_do_before(std::size_t i) const {
    for (std::size_t k = i; k-- > 0;) {
      if (all_[k].is("do")) return true;
      if (all_[k].is("{") || all_[k].is("}")) return false;
    }
    return false;
  }

  void look_at_for(std::size_t i) {
    const std::size_t close = closing(all_, i + 1);
    if (close + 1 >= all_.size()) return;
    std::vector<std::size_t> semicolons;
    for (std::size_t k = i + 2; k < close; ++k) {
      if (all_[k].opens()) k = closing(all_, k);
      if (k < close && all_[k].is(";")) semicolons.push_back(k);
    }
    if (semicolons.size() == 2) {
      const bool has_condition = semicolons[1] > semicolons[0] + 1, has_step = close > semicolons[1] + 1;
      if (has_condition && has_step && !calls_within(i + 2, close) && !calls_within(close + 1, end_of_body(close + 1)))
        return;
      add(all_[semicolons[1]].end(), " " + std::string(loop_check) + (has_step ? ", " : ""));
    } else if (all_[close + 1].is("{")) {  // over a range
      add(all_[close + 1].end(), " " + std::string(loop_check) + ";");
    }
  }
  std::size_t end_of_body(std::size_t first) const {
    if (all_[first].is("{")) return closing(all_, first);
    std::size_t k = first;
    while (k < all_.size() && !all_[k].is(";"))
      k = all_[k].opens() ? std::min(closing(all_, k), all_.size() - 1) + 1 : k + 1;
    return k;
  }
  bool calls_within(std::size_t first, std::size_t last) const {
    for (std::size_t k = first; k < last && k < all_.size(); ++k)
      if (all_[k].is("(") && k > 0 && (all_[k - 1].kind == Token::Kind::word || all_[k - 1].is(">"))) return true;
    return false;
  }

  const std::vector<Token>& all_;
  std::vector<std::size_t> do_ends_, replaced_;
  Insertions found_;

 public:
  /// Tokens that an insertion stands for.
  const std::vector<std::size_t>& replaced() const { return replaced_; }
};

}  // namespace

std::string with_loop_checks(const std::string& text) {
  const Tokens tokens = tokens_of(text);
  LoopChecks checks(tokens.all);
  const Insertions found = checks.find();
  const std::multimap<std::size_t, std::string> in_order(found.begin(), found.end());
  std::vector<std::pair<std::size_t, std::size_t>> dropped;
  for (const std::size_t i : checks.replaced()) dropped.emplace_back(tokens.all[i].offset, tokens.all[i].end());
  std::string result;
  std::size_t from = 0;
  auto drop = dropped.begin();
  for (const auto& [where, what] : in_order) {
    result.append(text, from, where - from);
    result += what;
    from = where;
    while (drop != dropped.end() && drop->first < where) ++drop;
    if (drop != dropped.end() && drop->first == where) from = drop->second;
  }
  return result.append(text, from);
}

}  // namespace muster::repl
