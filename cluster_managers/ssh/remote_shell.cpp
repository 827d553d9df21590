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

// Substitution drops newlines at the end, so something must follow it at first. It takes the shell another process, so
// it is there only where it is asked for.
std::string script_of(const std::string& commands) {
  if (commands.find("$muster_newline") == std::string::npos) return commands;
  return R"(muster_newline=$(printf '\nx'); muster_newline=${muster_newline%x}; )" + commands;
}

}  // namespace muster::runtime::ssh
