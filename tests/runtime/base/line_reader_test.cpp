/// @file
/// Cutting bytes into lines.
#include "runtime/base/line_reader.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace muster::runtime {
namespace {

using Lines = std::vector<std::string>;

/// Feeds `text` in chunks of `step` bytes and ends the stream.
Lines read_lines(LineReader& reader, std::string_view text, std::size_t step) {
  Lines lines;
  const auto emit = [&](std::string_view line) { lines.emplace_back(line); };
  for (std::size_t at = 0; at < text.size(); at += step) reader.add(text.substr(at, step), emit);
  reader.end(emit);
  return lines;
}

Lines read_lines(std::string_view text, std::size_t step = 1 << 20, std::size_t longest = 64 * 1024) {
  LineReader reader(longest);
  return read_lines(reader, text, step);
}

TEST(LineReader, EmitsWholeLinesHoweverTheBytesArrive) {
  const Lines expected{"one", "", "three\r", "last"};
  for (std::size_t step = 1; step < 20; ++step) EXPECT_EQ(read_lines("one\n\nthree\r\nlast", step), expected) << step;
}

TEST(LineReader, EmitsNothingForNothing) { EXPECT_EQ(read_lines(""), Lines{}); }

TEST(LineReader, HoldsAnUnterminatedLineUntilTheEnd) {
  LineReader reader;
  Lines lines;
  const auto emit = [&](std::string_view line) { lines.emplace_back(line); };
  reader.add("half", emit);
  EXPECT_TRUE(lines.empty());
  reader.add(" a line", emit);
  EXPECT_TRUE(lines.empty());
  reader.end(emit);
  EXPECT_EQ(lines, Lines{"half a line"});
  reader.end(emit);
  EXPECT_EQ(lines.size(), 1u);
}

TEST(LineReader, ALineEndedByNewlineIsNotFollowedByAnEmptyOne) { EXPECT_EQ(read_lines("a\n"), Lines{"a"}); }

TEST(LineReader, KeepsZeroBytes) {
  EXPECT_EQ(read_lines(std::string_view("a\0b\n", 4)), Lines{std::string("a\0b", 3)});
}

TEST(LineReader, CutsOnlyLinesLongerThanTheLongest) {
  for (std::size_t step = 1; step < 20; ++step) {
    EXPECT_EQ(read_lines("abcd\nef\n", step, 4), (Lines{"abcd", "ef"})) << step;
    EXPECT_EQ(read_lines("abcde\nf", step, 4), (Lines{"abcd", "e", "f"})) << step;
    EXPECT_EQ(read_lines("abcdefgh\n", step, 4), (Lines{"abcd", "efgh"})) << step;
    EXPECT_EQ(read_lines("abcdefghi", step, 4), (Lines{"abcd", "efgh", "i"})) << step;
    EXPECT_EQ(read_lines("abcd", step, 4), (Lines{"abcd"})) << step;
    EXPECT_EQ(read_lines("ab\n", step, 1), (Lines{"a", "b"})) << step;
  }
}

TEST(LineReader, TheLongestLineIs64KiBUnlessTold) {
  const std::string text(64 * 1024, 'x');
  EXPECT_EQ(read_lines(text + "\n"), Lines{text});
  EXPECT_EQ(read_lines(text + "y\n"), (Lines{text, "y"}));
}

TEST(LineReader, AgreesWithASlowReferenceOnRandomStreams) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (auto length = random() % 40; length > 0; --length) text += "ab\n"[random() % 3];
    const std::size_t longest = 1 + random() % 6;
    Lines expected;
    std::string line;
    for (const char c : text) {
      if (c == '\n') {
        expected.push_back(std::exchange(line, {}));
      } else {
        if (line.size() == longest) expected.push_back(std::exchange(line, {}));
        line += c;
      }
    }
    if (!line.empty()) expected.push_back(line);
    const std::size_t step = 1 + random() % 8;
    EXPECT_EQ(read_lines(text, step, longest), expected) << "round " << round;
  }
}

}  // namespace
}  // namespace muster::runtime
