#include "runtime/base/progress.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using muster::runtime::ProgressOutput;
using muster::runtime::ProgressReport;
using namespace std::chrono_literals;

struct Screen {
  ProgressOutput output(bool terminal, std::size_t columns = 80) {
    ProgressOutput output;
    output.write = [this](std::string_view text) { written.emplace_back(text); };
    output.terminal = terminal;
    output.columns = columns;
    output.now = [this] { return std::chrono::steady_clock::time_point(now); };
    return output;
  }
  std::vector<std::string> written;
  std::chrono::nanoseconds now = 5s;
};

TEST(ProgressReport, DrawsABarOnATerminal) {
  Screen screen;
  ProgressReport progress("files", 200, screen.output(true));
  screen.now += 2s;
  progress.advance(50);
  ASSERT_EQ(screen.written.size(), 1u);
  EXPECT_EQ(screen.written[0], "\rfiles  25% [==========                              ] 50/200 25/s 0:06 left\x1b[K");
  screen.now += 6s;
  progress.advance(150);
  progress.finish();
  EXPECT_EQ(screen.written.back(),
            "\rfiles 100% [========================================] 200/200 25/s in 0:08\x1b[K\n");
}

TEST(ProgressReport, RedrawsAtMostTenTimesASecond) {
  Screen screen;
  ProgressReport progress("", 10000, screen.output(true));
  for (int i = 0; i < 10000; ++i) {
    screen.now += 100us;
    progress.advance();
  }
  EXPECT_EQ(screen.written.size(), 10u);
}

TEST(ProgressReport, CountsBytesInTheirUnits) {
  Screen screen;
  ProgressReport progress("copy", std::size_t{64} << 20, screen.output(false), muster::runtime::ProgressUnit::bytes);
  screen.now += 10s;
  progress.advance(std::size_t{16} << 20);
  screen.now += 10s;
  progress.advance((std::size_t{1} << 20) / 2);
  progress.finish();
  ASSERT_EQ(screen.written.size(), 3u);
  EXPECT_EQ(screen.written[0], "copy: 16 MiB of 64 MiB (25%), 1.6 MiB/s, 0:30 left\n");
  Screen terminal;
  ProgressReport bar("copy", 2048, terminal.output(true, 100), muster::runtime::ProgressUnit::bytes);
  terminal.now += 1s;
  bar.advance(512);
  EXPECT_EQ(terminal.written.at(0),
            "\rcopy  25% [==========                              ] 512 B of 2.0 KiB 512 B/s 0:03 left\x1b[K");
}

TEST(ProgressReport, FitsANarrowTerminal) {
  Screen screen;
  ProgressReport progress("a rather long label", 200, screen.output(true, 30));
  screen.now += 1s;
  progress.advance(100);
  EXPECT_EQ(screen.written.at(0), "\ra rather long label  50% 100/\x1b[K");
}

TEST(ProgressReport, WithoutATotalCounts) {
  Screen screen;
  ProgressReport progress("", std::nullopt, screen.output(true));
  screen.now += 4s;
  progress.advance(1000);
  EXPECT_EQ(screen.written.at(0), "\r1000 250/s 0:04 so far\x1b[K");
}

TEST(ProgressReport, WritesALineEveryTenSecondsElsewhere) {
  Screen screen;
  ProgressReport progress("pmap", 4000, screen.output(false));
  for (int second = 1; second <= 25; ++second) {
    screen.now += 1s;
    progress.advance(100);
  }
  ASSERT_EQ(screen.written.size(), 2u);
  EXPECT_EQ(screen.written[0], "pmap: 1000/4000 (25%), 100/s, 0:30 left\n");
  EXPECT_EQ(screen.written[1], "pmap: 2000/4000 (50%), 100/s, 0:20 left\n");
  progress.finish();
  ASSERT_EQ(screen.written.size(), 3u);
  EXPECT_EQ(screen.written[2], "pmap: 2500/4000 (62%), 100/s, in 0:25\n");
}

TEST(ProgressReport, SaysNothingOfShortCallsElsewhere) {
  Screen screen;
  {
    ProgressReport progress("pmap", 40, screen.output(false));
    screen.now += 9s;
    progress.advance(40);
  }
  EXPECT_TRUE(screen.written.empty());
}

TEST(ProgressReport, FinishesOnce) {
  Screen screen;
  {
    ProgressReport progress("", 0, screen.output(true));
    progress.finish();
    progress.advance();
    progress.finish();
  }
  EXPECT_EQ(screen.written.size(), 1u);
}

TEST(ProgressReport, CountsFromManyThreads) {
  Screen screen;
  ProgressReport progress("", 4000, screen.output(true));
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&progress] {
      for (int n = 0; n < 1000; ++n) progress.advance();
    });
  }
  threads.clear();
  progress.finish();
  EXPECT_NE(screen.written.back().find("4000/4000"), std::string::npos);
}

}  // namespace
