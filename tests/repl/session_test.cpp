// The session that docs/prompt.md shows, typed again.
#include "terminal.hpp"

#include <fstream>
#include <iterator>
#include <sstream>

namespace {

using muster::testing::Terminal;

struct Exchange {
  std::string input, answer;
};

/// The block behind the mark: inputs behind the prompt, and the lines below each.
std::vector<Exchange> recorded() {
  std::ifstream file(MUSTER_PROMPT_DOCUMENT);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const std::string mark = "<!-- recorded session -->\n```\n", prompt = "muster> ";
  const std::size_t begin = text.find(mark);
  std::vector<Exchange> found;
  if (begin == std::string::npos) return found;
  std::istringstream lines(
      text.substr(begin + mark.size(), text.find("```", begin + mark.size()) - begin - mark.size()));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(prompt))
      found.push_back({line.substr(prompt.size()), {}});
    else if (!found.empty())
      found.back().answer += (found.back().answer.empty() ? "" : "\n") + line;
  }
  return found;
}

TEST(Documentation, SessionIsAsRecorded) {
  const auto session = recorded();
  ASSERT_GT(session.size(), 15U) << "docs/prompt.md has lost its session";
  Terminal terminal;
  for (const Exchange& exchange : session) EXPECT_EQ(terminal.ask(exchange.input), exchange.answer) << exchange.input;
}

}  // namespace
