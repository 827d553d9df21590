#include "runtime/base/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace log = muster::runtime::log;
using testing::MatchesRegex;

/// Puts a datagram socket in the place of stderr: each write arrives as one datagram, so a line in two writes would
/// show.
class Log : public testing::Test {
 protected:
  Log() {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends.data()) != 0) throw std::runtime_error("socketpair");
    before_ = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    reader_ = ends[0];
    log::set_level(log::Level::info);
    log::set_process(1);
  }
  ~Log() override {
    dup2(before_, STDERR_FILENO);
    close(before_);
    close(reader_);
  }
  /// The next write, or nothing where there was none.
  std::string next() const {
    std::string text(65536, '\0');
    const ssize_t size = recv(reader_, text.data(), text.size(), MSG_DONTWAIT);
    text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return text;
  }

 private:
  int before_ = -1;
  int reader_ = -1;
};

TEST_F(Log, WritesOneWholeLineAtOnce) {
  log::warning("the text {} %v with marks");
  EXPECT_THAT(
      next(),
      MatchesRegex("muster\\[1\\] [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3} warning: the text \\{\\} %v with marks\n"));
  EXPECT_EQ(next(), "");
}

TEST_F(Log, SaysWhichProcessAndLevel) {
  log::set_process(7);
  log::error("a");
  EXPECT_THAT(next(), MatchesRegex("muster\\[7\\] [^ ]+ error: a\n"));
  log::info("b");
  EXPECT_THAT(next(), MatchesRegex("muster\\[7\\] [^ ]+ info: b\n"));
  log::set_process(0);
  log::info("c");
  EXPECT_THAT(next(), MatchesRegex("muster [^ ]+ info: c\n"));
}

TEST_F(Log, DropsWhatIsBelowTheLevel) {
  log::debug("not this");
  EXPECT_EQ(next(), "");
  EXPECT_FALSE(log::enabled(log::Level::debug));
  log::set_level(log::Level::trace);
  EXPECT_TRUE(log::enabled(log::Level::trace));
  log::debug("but this");
  EXPECT_NE(next().find("debug: but this"), std::string::npos);
  log::write(log::Level::trace, "and this");
  EXPECT_NE(next().find("trace: and this"), std::string::npos);
  log::set_level(log::Level::off);
  log::error("nothing");
  EXPECT_FALSE(log::enabled(log::Level::error));
  EXPECT_FALSE(log::enabled(log::Level::off));
  EXPECT_EQ(next(), "");
}

TEST_F(Log, SetsFurtherLinesOff) {
  log::info("first\nsecond\n");
  const std::string text = next();
  EXPECT_TRUE(text.ends_with("info: first\n    second\n")) << text;
}

TEST_F(Log, LinesOfSeveralThreadsDoNotMix) {
  constexpr int lines_each = 50;
  const std::string text(200, 'x');
  std::jthread reader([&] {
    for (int seen = 0; seen < 4 * lines_each;) {
      const std::string line = next();
      if (line.empty()) {
        std::this_thread::yield();
        continue;
      }
      ++seen;
      EXPECT_TRUE(line.starts_with("muster[") && line.ends_with(text + "\n")) << line;
    }
  });
  std::vector<std::jthread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&] {
      for (int line = 0; line < lines_each; ++line) {
        log::warning(text);
        log::set_process(1 + line % 3);
      }
    });
  }
}

TEST(LogLevel, IsKnownByName) {
  EXPECT_EQ(log::level_named("trace"), log::Level::trace);
  EXPECT_EQ(log::level_named("debug"), log::Level::debug);
  EXPECT_EQ(log::level_named("info"), log::Level::info);
  EXPECT_EQ(log::level_named("warning"), log::Level::warning);
  EXPECT_EQ(log::level_named("error"), log::Level::error);
  EXPECT_EQ(log::level_named("off"), log::Level::off);
  try {
    log::level_named("loud");
    FAIL();
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("\"loud\""), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("warning"), std::string::npos);
  }
}

}  // namespace
