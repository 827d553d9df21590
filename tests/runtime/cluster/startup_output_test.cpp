/// @file
/// Finding the address line, whatever a starting process prints.
#include "runtime/cluster/startup_output.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace muster::runtime {
namespace {

using Outcome = StartupOutput::Outcome;

/// The address in a line, `none` where it has none.
WorkerAddress address_in(std::string_view line) {
  StartupOutput startup;
  const bool shown = startup.line(line);
  if (startup.outcome() == Outcome::address_found) {
    EXPECT_FALSE(shown) << "the address line is not to be shown: " << line;
    return startup.address();
  }
  EXPECT_EQ(startup.outcome(), Outcome::waiting);
  EXPECT_TRUE(shown) << "any other line is to be shown: " << line;
  EXPECT_EQ(startup.address(), WorkerAddress{});
  return {"none", 0};
}

TEST(StartupOutput, WaitsAtFirst) {
  const StartupOutput startup;
  EXPECT_EQ(startup.outcome(), Outcome::waiting);
  EXPECT_EQ(startup.address(), WorkerAddress{});
}

TEST(StartupOutput, FindsAddresses) {
  EXPECT_EQ(address_in("muster_worker:9009#127.0.0.1"), (WorkerAddress{"127.0.0.1", 9009}));
  EXPECT_EQ(address_in("muster_worker:1#node17.cluster"), (WorkerAddress{"node17.cluster", 1}));
  EXPECT_EQ(address_in("muster_worker:65535#2001:db8::1"), (WorkerAddress{"2001:db8::1", 65535}));
  EXPECT_EQ(address_in("muster_worker:80#[2001:db8::1]"), (WorkerAddress{"2001:db8::1", 80}));
  EXPECT_EQ(address_in("muster_worker:80#fe80::1%eth0"), (WorkerAddress{"fe80::1%eth0", 80}));
}

TEST(StartupOutput, ForgivesWhatATerminalAddsToALine) {
  EXPECT_EQ(address_in("muster_worker:80#host\r"), (WorkerAddress{"host", 80}));
  EXPECT_EQ(address_in("muster_worker:80#host \r"), (WorkerAddress{"host", 80}));
}

TEST(StartupOutput, TakesOtherLinesForWhatTheyAre) {
  const WorkerAddress none{"none", 0};
  for (const char* line : {"",
                           "Welcome!",
                           "muster_worker",
                           "muster_worker:",
                           "muster_worker:#",
                           "muster_worker:80",
                           "muster_worker:80#",
                           "muster_worker:#host",
                           "muster_worker:0#host",
                           "muster_worker:65536#host",
                           "muster_worker:-1#host",
                           "muster_worker:99999999999999999999#host",
                           "muster_worker:+80#host",
                           "muster_worker: 80#host",
                           "muster_worker:80 #host",
                           "muster_worker:80#two words",
                           "muster_worker:80#a\tb",
                           "muster_worker:80#a#b",
                           "muster_worker:80#[]",
                           "muster_worker:80#[::1",
                           "muster_worker:80#\r",
                           "muster_worker:80x#host",
                           " muster_worker:80#host",
                           "Muster_worker:80#host",
                           "julia_worker:80#host",
                           "$ muster_worker:80#host"}) {
    EXPECT_EQ(address_in(line), none) << line;
  }
  EXPECT_EQ(address_in(std::string_view("muster_worker:80#a\0b", 20)), none);
}

TEST(StartupOutput, TheFirstAddressIsFinal) {
  StartupOutput startup;
  EXPECT_TRUE(startup.line("banner"));
  EXPECT_FALSE(startup.line("muster_worker:80#first"));
  EXPECT_TRUE(startup.line("muster_worker:81#second")) << "a worker may print what it likes once it has started";
  for (int i = 0; i < 2 * StartupOutput::most_other_lines; ++i) EXPECT_TRUE(startup.line("text"));
  startup.end();
  EXPECT_EQ(startup.outcome(), Outcome::address_found);
  EXPECT_EQ(startup.address(), (WorkerAddress{"first", 80}));
}

TEST(StartupOutput, AnEndBeforeTheAddressIsAnExit) {
  for (const int lines : {0, 1, StartupOutput::most_other_lines}) {
    StartupOutput startup;
    for (int i = 0; i < lines; ++i) EXPECT_TRUE(startup.line("error: no such library"));
    startup.end();
    EXPECT_EQ(startup.outcome(), Outcome::exited);
    EXPECT_TRUE(startup.line("muster_worker:80#late"));
    EXPECT_EQ(startup.outcome(), Outcome::exited) << "final";
  }
}

TEST(StartupOutput, AThousandOtherLinesMayComeBeforeTheAddress) {
  StartupOutput startup;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(startup.line("banner"));
  EXPECT_EQ(startup.outcome(), Outcome::waiting);
  EXPECT_FALSE(startup.line("muster_worker:80#host"));
  EXPECT_EQ(startup.outcome(), Outcome::address_found);
}

TEST(StartupOutput, OneMoreIsTooMuch) {
  StartupOutput startup;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(startup.line("y"));
  EXPECT_FALSE(startup.line("y"));
  EXPECT_EQ(startup.outcome(), Outcome::too_much_output);
  EXPECT_FALSE(startup.line("y"));
  EXPECT_FALSE(startup.line("muster_worker:80#host"));
  startup.end();
  EXPECT_EQ(startup.outcome(), Outcome::too_much_output) << "final";
}

TEST(StartupOutput, EverySequenceOfEventsAgreesWithASimpleModel) {
  // 0: another line, 1: the address line, 2: the end; all sequences of 7, after 996 other lines.
  for (int code = 0; code < 2187; ++code) {
    StartupOutput startup;
    int others = 996;
    for (int i = 0; i < others; ++i) startup.line("banner");
    Outcome expected = Outcome::waiting;
    int rest = code;
    for (int step = 0; step < 7; ++step, rest /= 3) {
      const int event = rest % 3;
      bool shown = true;
      if (event == 2) {
        startup.end();
      } else {
        shown = startup.line(event == 1 ? "muster_worker:7#h" : "other");
      }
      bool expect_shown = expected != Outcome::too_much_output;
      if (expected == Outcome::waiting && event == 0 && ++others > 1000) expected = Outcome::too_much_output;
      if (expected == Outcome::waiting && event == 1) {
        expected = Outcome::address_found;
        expect_shown = false;
      }
      if (expected == Outcome::too_much_output) expect_shown = false;
      if (expected == Outcome::waiting && event == 2) expected = Outcome::exited;
      ASSERT_EQ(startup.outcome(), expected) << "sequence " << code << " step " << step;
      if (event != 2) {
        ASSERT_EQ(shown, expect_shown) << "sequence " << code << " step " << step;
      }
    }
  }
}

TEST(StartupOutput, SurvivesAnyBytes) {
  std::mt19937 random(11);
  const std::string valid = "muster_worker:80#host";
  for (int round = 0; round < 20000; ++round) {
    std::string text = valid.substr(0, random() % (valid.size() + 1));
    for (auto more = random() % 8; more > 0; --more) text += static_cast<char>(random() % 256);
    StartupOutput startup;
    startup.line(text);
    if (startup.outcome() == Outcome::address_found) {
      EXPECT_GE(startup.address().port, 1);
      EXPECT_LE(startup.address().port, 65535);
      EXPECT_FALSE(startup.address().host.empty());
    }
  }
}

}  // namespace
}  // namespace muster::runtime
