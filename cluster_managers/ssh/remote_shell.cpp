#include "cluster_managers/ssh/remote_shell.hpp"

namespace muster::runtime::ssh {

std::string quoted(const std::string& text) {
  std::string word = "'";
  for (const char c : text) {
    if (c == '\'')
      word += R"('\'')";
    else if (c == '\n')
      word += R"('"$muster_newline"')";
    else
      word += c;
  }
  return word + "'";
}

// Substitution drops newlines at the end, so something must follow it at first.
std::string script_prologue() { return R"(muster_newline=$(printf '\nx'); muster_newline=${muster_newline%x}; )"; }

}  // namespace muster::runtime::ssh
