// The other front end: g++, called for each input.
#include "terminal.hpp"

#include <gmock/gmock.h>

namespace {

using muster::testing::Outcome;
using muster::testing::run;
using ::testing::HasSubstr;

TEST(Gxx, ValuesFunctionsAndRedefinition) {
  const Outcome outcome = run({"--front-end", "g++"},
                              "1 + 1\n"
                              "int n = 4; std::vector<int> v{1, 2, 3};\n"
                              "int twice(int x) { return 2 * x; }\n"
                              "twice(n)\n"
                              "auto l = [=] { return n + v.size(); };\n"
                              "n = 7;\n"
                              "l()\n"
                              "std::string n = \"text\";\n"
                              "n\n"
                              "int fails() { throw std::runtime_error(\"no value\"); }\n"
                              "int m = fails();\n"
                              "int m = 3;\n"
                              "m\n");
  EXPECT_EQ(outcome.out, "2\n8\n7\n\"text\"\n3\n") << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("std::runtime_error: no value"));
}

TEST(Gxx, ErrorsNameTheInput) {
  const Outcome outcome = run({"--front-end", "g++", "-e", "nothing + 1"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.error, HasSubstr("In[1]:1:"));
  EXPECT_THAT(outcome.error, HasSubstr("was not declared in this scope"));
}

TEST(Gxx, WorkersRunWhatWasTyped) {
  const Outcome outcome = run({"--front-end", "g++", "-p", "2"},
                              "int square(int x) { return x * x; }\n"
                              "std::vector<int> v{1, 2, 3};\n"
                              "fetchfrom(2, [=](int k) { return square(k) + int(v.size()); }, 5)\n"
                              "%everywhere int counter = 10;\n"
                              "fetchfrom(3, [] { return ++counter; })\n");
  EXPECT_EQ(outcome.out, "28\n11\n") << outcome.error;
}

TEST(Gxx, ClosuresCaptureWhatTheyName) {
  const Outcome outcome = run({"--front-end", "g++", "-p", "1"},
                              "int n = 5; int m = 7;\n"
                              "auto twice = [](int x) { return 2 * x; };\n"
                              "pmap(twice, std::vector<int>{1, 2})\n"
                              "n = 100;\n"
                              "fetchfrom(2, [n] { return n; })\n"
                              "[&n, m] { n = 1; return n + m; }()\n"
                              "n\n"
                              "fetchfrom(2, [&n] { return n; })\n");
  EXPECT_EQ(outcome.out, "{2, 4}\n100\n8\n1\n") << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("this closure captures by reference"));
}

}  // namespace
