// The ways to run it that need no terminal.
#include "terminal.hpp"

#include <gmock/gmock.h>

namespace {

using muster::testing::Outcome;
using muster::testing::run;
using muster::testing::TextFile;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Run, ExpressionPrintsItsValue) {
  const Outcome outcome = run({"-e", "1+1"});
  EXPECT_EQ(outcome.out, "2\n");
  EXPECT_EQ(outcome.status, 0) << outcome.error;
}

TEST(Run, ExpressionsShareASession) {
  const Outcome outcome = run({"-e", "int n = 20;", "-e", "n + 1"});
  EXPECT_EQ(outcome.out, "21\n") << outcome.error;
}

TEST(Run, AnErrorEndsWithStatus1) {
  const Outcome outcome = run({"-e", "nothing_of_that_name", "-e", "1"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.error, HasSubstr("In[1]:1:1: error: use of undeclared identifier 'nothing_of_that_name'"));
  EXPECT_EQ(outcome.out, "");
}

TEST(Run, ScriptWithArguments) {
  const TextFile script(
      "#include <numeric>\n"
      "int twice(int x) {\n  return 2 * x;\n}\n"
      "std::vector<int> v{1, 2, 3};\n"
      "for (int x : v) std::cout << twice(x) << ' ';\n"
      "std::cout << muster::prompt::arguments().at(2) << '\\n';\n");
  const Outcome outcome = run({script.path(), "first", "second"});
  EXPECT_EQ(outcome.out, "2 4 6 second\n") << outcome.error;
  EXPECT_EQ(outcome.status, 0);
}

TEST(Run, ScriptStopsAtTheFirstErrorWithFileAndLine) {
  const TextFile script(
      "std::cout << \"one\\n\";\n"
      "std::cout << \"two\\n\";\n"
      "std::cout << three;\n"
      "std::cout << \"four\\n\";\n");
  const Outcome outcome = run({script.path()});
  EXPECT_EQ(outcome.out, "one\ntwo\n");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.error, HasSubstr(script.path() + ":3:14: error: use of undeclared identifier 'three'"));
}

TEST(Run, ScriptStopsAtAnExceptionWithFileAndLine) {
  const TextFile script("int n = 1;\n\nthrow std::runtime_error(\"no more\");\nstd::cout << n;\n");
  const Outcome outcome = run({script.path()});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.error, HasSubstr(script.path() + ":3: std::runtime_error: no more"));
  EXPECT_EQ(outcome.out, "");
}

TEST(Run, ScriptWithMain) {
  const TextFile script("int main(int argc, char** argv) { std::cout << argc << argv[1] << '\\n'; return 7; }\n");
  const Outcome outcome = run({script.path(), "x"});
  EXPECT_EQ(outcome.out, "2x\n") << outcome.error;
  EXPECT_EQ(outcome.status, 7);
}

/// Prompts make their folders here as long as it lives.
class TemporaryPlace {
 public:
  TemporaryPlace() {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("no folder");
    ::setenv("TMPDIR", path_.c_str(), 1);
  }
  ~TemporaryPlace() {
    ::unsetenv("TMPDIR");
    std::filesystem::remove_all(path_);
  }
  TemporaryPlace(const TemporaryPlace&) = delete;
  TemporaryPlace& operator=(const TemporaryPlace&) = delete;

  std::vector<std::string> prompts() const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      if (entry.path().filename().string().starts_with("muster-prompt-")) found.push_back(entry.path().string());
    return found;
  }

 private:
  std::string path_ = "/tmp/muster-place-XXXXXX";
};

TEST(Run, AKilledPromptsFolderGoesWithTheNextOne) {
  const TemporaryPlace place;
  muster::testing::Terminal killed;
  ASSERT_EQ(killed.ask("1 + 1"), "2");
  ASSERT_EQ(place.prompts().size(), 1U);
  ::kill(killed.process(), SIGKILL);
  EXPECT_EQ(killed.finish(), -1);
  EXPECT_EQ(place.prompts().size(), 1U) << "nobody could remove it";
  EXPECT_EQ(run({"-e", "1"}).out, "1\n");
  EXPECT_TRUE(place.prompts().empty());
}

TEST(Run, ALivingPromptsFolderStays) {
  const TemporaryPlace place;
  muster::testing::Terminal living;
  ASSERT_EQ(living.ask("1 + 1"), "2");
  EXPECT_EQ(run({"-e", "1"}).out, "1\n");
  EXPECT_EQ(place.prompts().size(), 1U);
  EXPECT_EQ(living.ask("2 + 2"), "4");
  EXPECT_EQ(living.finish(), 0);
  EXPECT_TRUE(place.prompts().empty());
}

TEST(Run, PipedInput) {
  const Outcome outcome = run({}, "int n = 3;\nn *\n2;\nn + 1\nstd::vector<int>{\n1,\n2}\n%workers\n");
  EXPECT_THAT(outcome.out, HasSubstr("4\n{1, 2}\nno workers"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("muster>")));
}

TEST(Run, PipedInputGoesOnAfterAnErrorAndSaysSo) {
  const Outcome outcome = run({}, "int x = nope;\nint x = 5;\nx\n");
  EXPECT_EQ(outcome.out, "5\n") << outcome.error;
  EXPECT_EQ(outcome.status, 1);
}

TEST(Run, OpenBracketAtTheEnd) {
  const Outcome outcome = run({}, "int f() {\n");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.error, HasSubstr("not complete"));
}

TEST(Run, BadOption) {
  const Outcome outcome = run({"--nonsense"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.error, HasSubstr("there is no option --nonsense"));
}

TEST(Run, WorkersFromTheCommandLine) {
  const Outcome outcome =
      run({"-p", "2", "-e", "workers()", "-e", "int n = 4;", "-e", "fetchfrom(3, [=] { return 10 * n + myid(); })"});
  EXPECT_EQ(outcome.out, "{2, 3}\n43\n") << outcome.error;
}

}  // namespace
