// What every program understands: --muster-* flags and their environment variables; and sessions as such.

#include "child_program.hpp"

#include <muster/muster.hpp>

#include <gmock/gmock.h>

#include <fstream>
#include <thread>

namespace muster::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// Shows how many processes there are, and what is left of the arguments.
int shows(int& argc, char**& argv) {
  const Session session(argc, argv);
  std::printf("%d:", nprocs());
  for (int i = 1; i < argc; ++i) std::printf(" %s", argv[i]);
  std::printf(";%s\n", argv[argc] == nullptr ? "" : " no end");
  return 0;
}

/// What `shows` says; how it ended where it said nothing.
struct Shown {
  std::string out, error;
  int status;
};
Shown shown(std::vector<std::string> arguments, std::map<std::string, std::string> env = {}) {
  arguments.insert(arguments.begin(), "role:shows");
  ChildProgram program(std::move(arguments), {.env = std::move(env)});
  const int status = program.ends();
  EXPECT_TRUE(WIFEXITED(status));
  return {program.out(), program.error(), WEXITSTATUS(status)};
}

TEST(Flags, AreTakenOutAndTheRestStays) {
  EXPECT_EQ(shown({}).out, "1: role:shows;\n");
  EXPECT_EQ(shown({"a", "--b", "-c"}).out, "1: role:shows a --b -c;\n");
  EXPECT_EQ(shown({"a", "--muster-procs", "2", "b"}).out, "3: role:shows a b;\n");
  EXPECT_EQ(shown({"--muster-procs=1", "--b=2", ""}).out, "2: role:shows --b=2 ;\n");
  EXPECT_EQ(shown({"--muster-procs", "0"}).out, "1: role:shows;\n");
  EXPECT_EQ(shown({"--", "--muster-procs", "2"}).out, "1: role:shows -- --muster-procs 2;\n");
}

TEST(Flags, AutoIsOnePerHardwareThread) {
  const auto threads = std::max(1U, std::thread::hardware_concurrency());
  EXPECT_EQ(shown({"--muster-procs", "auto"}).out, std::to_string(1 + threads) + ": role:shows;\n");
}

TEST(Flags, AreEnvironmentVariablesTooAndWin) {
  EXPECT_EQ(shown({}, {{"MUSTER_PROCS", "2"}}).out, "3: role:shows;\n");
  EXPECT_EQ(shown({"--muster-procs=1"}, {{"MUSTER_PROCS", "2"}}).out, "2: role:shows;\n");
  const auto wrong = shown({}, {{"MUSTER_PROCS", "two"}});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_THAT(wrong.error, HasSubstr("two"));
}

TEST(Flags, HelpNamesThemAll) {
  const auto help = shown({"--muster-help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.out,
              AllOf(HasSubstr("--muster-procs"), HasSubstr("--muster-machine-file"), HasSubstr("--muster-log"),
                    HasSubstr("--muster-help"), HasSubstr("MUSTER_PROCS"), HasSubstr("MUSTER_LOG")));
  EXPECT_EQ(help.error, "");
}

TEST(Flags, BadValuesEndTheProgram) {
  const std::pair<std::vector<std::string>, std::string> wrong[] = {
      {{"--muster-procs", "-1"}, "-1"},
      {{"--muster-procs", "3x"}, "3x"},
      {{"--muster-procs="}, "--muster-procs"},
      {{"--muster-procs", "99999999999999999999"}, "99999999999999999999"},
      {{"--muster-procs"}, "--muster-procs"},
      {{"--muster-log", "loud"}, "loud"},
      {{"--muster-machine-file", "/no/such/file"}, "/no/such/file"},
      {{"--muster-porcs", "2"}, "--muster-porcs"},
      {{"--muster-help=1"}, "--muster-help"},
  };
  for (const auto& [arguments, named] : wrong) {
    const auto result = shown(arguments);
    EXPECT_EQ(result.status, 2) << arguments.front();
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.error, AllOf(::testing::StartsWith("muster: "), HasSubstr(named)));
  }
}

TEST(Flags, LogSetsTheLevelHereAndInWorkers) {
  const auto loud = shown({"--muster-log", "debug", "--muster-procs", "1"});
  EXPECT_THAT(loud.error, HasSubstr("debug"));
  const auto quiet = shown({"--muster-log=off", "--muster-procs", "1"});
  EXPECT_EQ(quiet.error, "");
}

TEST(Flags, MalformedMachinesAreBadValues) {
  const auto file = std::filesystem::temp_directory_path() / ("flags_test." + std::to_string(::getpid()));
  std::ofstream(file) << "# comment\n\n  host:99999\n";
  EXPECT_EQ(shown({"--muster-machine-file", file}).status, 2);
  std::ofstream(file) << "# nothing but comments\n\n";
  EXPECT_EQ(shown({"--muster-machine-file", file}).out, "1: role:shows;\n");
  std::filesystem::remove(file);
}

// -- sessions ---------------------------------------------------------------------------------------------------------

int has_none(int& /*argc*/, char**& /*argv*/) {
  const auto expect_none = [](auto f) {
    try {
      f();
      std::puts("nothing was thrown");
    } catch (const NoSession& error) {
      std::printf("NoSession: %s\n", error.what());
    }
  };
  expect_none([] { (void)nprocs(); });
  expect_none([] { (void)addprocs(1); });
  expect_none([] { (void)spawn([] { return 1; }); });
  expect_none([] { (void)Future<int>(); });
  return 0;
}

TEST(Sessions, WithoutOneCallsSayWhatToWrite) {
  ChildProgram program({"role:none"});
  EXPECT_EQ(program.ends(), 0);
  EXPECT_THAT(program.out(), AllOf(HasSubstr("muster::Session session(argc, argv);"), HasSubstr("main")));
  EXPECT_THAT(program.out(), ::testing::Not(HasSubstr("nothing was thrown")));
}

int has_two(int& argc, char**& argv) {
  const Session session(argc, argv);
  try {
    const Session second(argc, argv);
    return 1;
  } catch (const std::logic_error&) {
  }
  return fetchfrom(addprocs(1).front(), [] { return myid(); }) == 2 ? 0 : 1;
}

TEST(Sessions, OneAtATime) {
  ChildProgram program({"role:two"});
  EXPECT_EQ(program.ends(), 0) << program.error();
}

int has_one_after_the_other(int& argc, char**& argv) {
  std::optional<Future<int>> kept, unfetched;
  for (int round = 0; round < 4; ++round) {
    const Session session(argc, argv);
    if (addprocs(2) != std::vector<Pid>{2, 3}) return 1;
    kept = spawnat(2, [](int x) { return x * x; }, round);
    if (kept->fetch() != round * round) return 2;
    unfetched =
        spawnat(3, [] { return std::vector<char>(100'000); }).then([](auto v) { return static_cast<int>(v.size()); });
  }
  if (kept->fetch() != 9) return 3;  // cached
  try {
    (void)spawn([] { return 1; });
    return 4;
  } catch (const NoSession&) {
  }
  return 0;
}

TEST(Sessions, OneAfterTheOther) {
  ChildProgram program({"role:sequence"});
  EXPECT_EQ(program.ends(), 0) << program.error();
}

int has_bad_options(int& argc, char**& argv) {
  const auto refused = [&](SessionOptions options) {
    try {
      const Session session(argc, argv, std::move(options));
    } catch (const std::exception& error) {
      std::puts(error.what());
    }
  };
  refused({.cookie = "caf\xc3\xa9"});
  refused({.heartbeat_interval = 2s, .heartbeat_timeout = 1s});
  refused({.bind_address = "192.0.2.1"});
  const Session session(argc, argv);  // the refused ones left nothing behind
  return nprocs() == 1 ? 0 : 1;
}

// catalogue: 18
TEST(Sessions, OptionsAreChecked) {
  ChildProgram program({"role:bad_options"});
  EXPECT_EQ(program.ends(), 0) << program.error();
  EXPECT_THAT(program.out(), AllOf(HasSubstr("cookie"), HasSubstr("heartbeat_interval"), HasSubstr("192.0.2.1")));
}

}  // namespace
}  // namespace muster::testing

int main(int argc, char** argv) {
  using namespace muster::testing;
  return main_with_roles(argc, argv,
                         {{"shows", shows},
                          {"none", has_none},
                          {"two", has_two},
                          {"sequence", has_one_after_the_other},
                          {"bad_options", has_bad_options}});
}
