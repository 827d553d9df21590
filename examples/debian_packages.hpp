/// @file
/// The dependency graph of Debian's packages, as this machine knows it: some tens of thousands of nodes of real data.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace example {

/// Packages by number, and what each depends on.
struct PackageGraph {
  std::vector<std::string> names;
  std::vector<std::vector<std::size_t>> needs;  ///< needs[i]: the packages that package i depends on, each once
};

/// Returns the lines which a shell command writes to its standard output.
inline std::vector<std::string> lines_of(const char* command) {
  struct Close {
    void operator()(std::FILE* pipe) const { pclose(pipe); }
  };
  const std::unique_ptr<std::FILE, Close> pipe(popen(command, "r"));
  std::vector<std::string> lines(1);
  for (int character = 0; pipe && (character = std::getc(pipe.get())) != EOF;) {
    if (character == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += static_cast<char>(character);
    }
  }
  return lines;
}

/// Calls `use(name)` for each package named in a dependency list such as "a (>= 1.2) | b, c:any".
template <class Use>
void for_each_name(std::string_view list, Use use) {
  while (!list.empty()) {
    const std::string_view clause = list.substr(0, list.find_first_of(",|"));
    list.remove_prefix(std::min(clause.size() + 1, list.size()));
    const std::size_t first = clause.find_first_not_of(' ');
    if (first != std::string_view::npos) use(clause.substr(first, clause.find_first_of(" (:", first) - first));
  }
}

/// Reads the first `at_most` of the packages apt can install or, where apt has no lists, of those that are installed.
/// Every alternative of a dependency counts; names that are no package (virtual packages) do not.
inline PackageGraph read_package_graph(std::size_t at_most) {
  const std::vector<std::string> lines = lines_of(
      "{ apt-cache dumpavail || cat /var/lib/dpkg/status; } 2>/dev/null | grep -E '^(Package|Pre-Depends|Depends): '");
  PackageGraph graph;
  std::unordered_map<std::string_view, std::size_t> numbers;
  for (const std::string_view line : lines) {
    if (!line.starts_with("Package: ") || graph.names.size() == at_most) continue;
    const std::string_view name = line.substr(9);
    if (numbers.try_emplace(name, graph.names.size()).second) graph.names.emplace_back(name);
  }
  graph.needs.resize(graph.names.size());

  auto current = numbers.end();  // the package whose lines are being read
  for (const std::string_view line : lines) {
    if (line.starts_with("Package: ")) {
      current = numbers.find(line.substr(9));
    } else if (current != numbers.end() && !line.empty()) {
      for_each_name(line.substr(line.find(' ')), [&](std::string_view name) {
        const auto found = numbers.find(name);
        if (found != numbers.end()) graph.needs[current->second].push_back(found->second);
      });
    }
  }
  for (std::vector<std::size_t>& needs : graph.needs) {
    std::ranges::sort(needs);
    needs.erase(std::unique(needs.begin(), needs.end()), needs.end());
  }
  return graph;
}

}  // namespace example
