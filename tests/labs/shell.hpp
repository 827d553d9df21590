/// @file
/// Commands, as labs' tests run them.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <string>

namespace muster::test {

/// What a command printed, and how it ended.
struct ShellResult {
  int status = -1;
  std::string output;
};

inline ShellResult shell(const std::string& command) {
  ShellResult result;
  FILE* const pipe = ::popen((command + " 2>&1").c_str(), "re");
  if (pipe == nullptr) return result;
  char part[4096];
  while (const std::size_t got = std::fread(part, 1, sizeof part, pipe)) result.output.append(part, got);
  const int status = ::pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

}  // namespace muster::test
