/// @file
/// Taking the --muster-* flags out of a command line.
#include "runtime/session/flags.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <stdexcept>
#include <vector>

namespace muster::runtime {
namespace {

using ::testing::ElementsAre;

/// A command line, as main gets it.
class CommandLine {
 public:
  CommandLine(std::initializer_list<const char*> words) : words_(words.begin(), words.end()) {
    for (auto& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
    count_ = static_cast<int>(words_.size());
  }
  Flags take() { return take_flags(count_, pointers_.data()); }
  std::vector<std::string> rest() const {
    EXPECT_EQ(pointers_[static_cast<std::size_t>(count_)], nullptr);
    return {pointers_.begin(), pointers_.begin() + count_};
  }

 private:
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
  int count_ = 0;
};

TEST(TakeFlags, BothForms) {
  CommandLine line{"program", "--muster-procs=4", "x", "--muster-log", "debug", "-y"};
  const Flags flags = line.take();
  EXPECT_EQ(flags.procs, "4");
  EXPECT_EQ(flags.log, "debug");
  EXPECT_FALSE(flags.worker);
  EXPECT_FALSE(flags.help);
  EXPECT_EQ(flags.machine_file, std::nullopt);
  EXPECT_THAT(line.rest(), ElementsAre("program", "x", "-y"));
}

TEST(TakeFlags, AWorkerIsToldWhereToListenByAFlagOnly) {
  ::setenv("MUSTER_BIND", "10.0.0.1", 1);
  EXPECT_EQ(CommandLine({"p", "--muster-worker", "--muster-bind=10.0.0.2:80"}).take().bind, "10.0.0.2:80");
  EXPECT_EQ(CommandLine({"p"}).take().bind, std::nullopt);
  ::unsetenv("MUSTER_BIND");
}

TEST(TakeFlags, WhatFollowsTwoDashesIsTheProgramsOwn) {
  CommandLine line{"program", "--", "--muster-procs", "4"};
  EXPECT_EQ(line.take().procs, std::nullopt);
  EXPECT_THAT(line.rest(), ElementsAre("program", "--", "--muster-procs", "4"));
}

TEST(TakeFlags, TheLastOneWins) {
  EXPECT_EQ((CommandLine{"p", "--muster-procs=4", "--muster-procs=5"}.take().procs), "5");
}

TEST(TakeFlags, AnEmptyValueIsOne) { EXPECT_EQ(CommandLine({"p", "--muster-procs="}).take().procs, ""); }

TEST(TakeFlags, UnknownOnesAndMissingValuesAreErrors) {
  EXPECT_THROW(CommandLine({"p", "--muster-"}).take(), std::invalid_argument);
  EXPECT_THROW(CommandLine({"p", "--muster-nothing"}).take(), std::invalid_argument);
  EXPECT_THROW(CommandLine({"p", "--muster-procs"}).take(), std::invalid_argument);
  EXPECT_THROW(CommandLine({"p", "--muster-help=yes"}).take(), std::invalid_argument);
}

TEST(TakeFlags, TheEnvironmentSpeaksWhereNoFlagDoesAndNotToWorkers) {
  ::setenv("MUSTER_PROCS", "6", 1);
  EXPECT_EQ(CommandLine({"p"}).take().procs, "6");
  EXPECT_EQ(CommandLine({"p", "--muster-procs=2"}).take().procs, "2");
  EXPECT_EQ(CommandLine({"p", "--muster-worker"}).take().procs, std::nullopt);
  ::unsetenv("MUSTER_PROCS");
  EXPECT_EQ(CommandLine({"p"}).take().procs, std::nullopt);
}

TEST(TakeFlags, NoArgumentsAtAll) {
  CommandLine line{};
  EXPECT_FALSE(line.take().worker);
  EXPECT_TRUE(line.rest().empty());
}

TEST(FlagsHelp, EndsWithANewline) { EXPECT_EQ(flags_help().back(), '\n'); }

}  // namespace
}  // namespace muster::runtime
