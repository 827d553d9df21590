// Typing: editing, history, completion, Ctrl-C.
#include "terminal.hpp"

#include <gmock/gmock.h>

namespace {

using muster::testing::Terminal;
using namespace std::chrono_literals;
using ::testing::HasSubstr;

TEST(Editing, MovesAndDeletes) {
  Terminal prompt;
  prompt.write("1 + 3\033[D\033[D\033[D\033[D9");  // four to the left: 19 + 3
  EXPECT_THAT(prompt.ask(""), HasSubstr("22"));
}

TEST(Editing, TakesCharactersBeyondAscii) {
  Terminal prompt;
  prompt.write("std::string(\"gr\u00fc\u00dfe \u4f60x\u4f60\").size()");
  for (int i = 0; i < 10; ++i) prompt.write("\033[D");  // by characters, not by bytes
  prompt.write("\177");
  EXPECT_THAT(prompt.ask(""), HasSubstr("14"));
}

TEST(Editing, HistoryOutlivesTheSession) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("100 + 11"), "111");
  EXPECT_EQ(prompt.ask("2"), "2");
  prompt.write("\033[A\033[A");
  EXPECT_THAT(prompt.ask(""), HasSubstr("111"));
  EXPECT_EQ(prompt.finish(), 0);
  prompt.start({});
  prompt.write("\033[A");
  EXPECT_THAT(prompt.ask(""), HasSubstr("111"));
}

TEST(Editing, CompletesNamesMembersAndCommands) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("int remarkable_number = 42;"), "");
  prompt.write("remarkable_n\t");
  (void)prompt.expect("remarkable_number");
  EXPECT_THAT(prompt.ask(""), HasSubstr("42"));
  EXPECT_EQ(prompt.ask("std::vector<int> values{1, 2, 3};"), "");
  prompt.write("values.push_b\t");
  (void)prompt.expect("values.push_back");
  EXPECT_THAT(prompt.ask("(4); values.size()"), HasSubstr("4"));
  prompt.write("std::accumul\t");
  (void)prompt.expect("std::accumulate");
  EXPECT_THAT(prompt.ask("(values.begin(), values.end(), 0)"), HasSubstr("10"));
  prompt.write("%wor\t");
  (void)prompt.expect("%workers");
  EXPECT_THAT(prompt.ask(""), HasSubstr("no workers"));
}

TEST(Undo, GoesBackAsFarAsStatesAreKept) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("int early = 7;"), "");
  // The compiler has time to get ready for what is likely to come.
  EXPECT_EQ(prompt.ask("std::this_thread::sleep_for(4s);"), "");
  for (int i = 100; i < 125; ++i) ASSERT_EQ(prompt.ask(std::to_string(i) + " + 0"), std::to_string(i));
  EXPECT_EQ(prompt.ask("int late = 8;"), "");
  EXPECT_EQ(prompt.ask("late"), "8");
  EXPECT_EQ(prompt.ask("%undo"), "");
  EXPECT_THAT(prompt.ask("late"), HasSubstr("undeclared identifier"));
  EXPECT_THAT(prompt.ask("%undo"), HasSubstr("nothing is left to take back"));
  EXPECT_EQ(prompt.ask("early"), "7");
}

TEST(CtrlC, DropsTheLineThatIsTyped) {
  Terminal prompt;
  for (int i = 0; i < 50; ++i) {  // also while the editor is busy with the last key
    prompt.write("int half");
    (void)prompt.expect("half");
    prompt.write("\x03");
    (void)prompt.expect("muster> ", 10s);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_EQ(prompt.ask("7"), "7");
}

TEST(CtrlC, EndsARunningLoop) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("int turns = 0;"), "");
  prompt.write("std::cout << \"runs\" << std::endl; while (true) ++turns;\n");
  (void)prompt.expect("runs\n");
  prompt.write("\x03");
  EXPECT_THAT(prompt.expect("muster> "), HasSubstr("interrupted"));
  EXPECT_EQ(prompt.ask("turns > 0"), "true");
}

TEST(CtrlC, EndsAWaitAndLeavesTheWorkersUsable) {
  Terminal prompt({"-p", "2"});
  prompt.write(
      "auto f = spawnat(2, [] { this_task::sleep_for(1h); return 1; }); std::cout << \"waits\" << std::endl; "
      "f.fetch()\n");
  (void)prompt.expect("waits\n");
  prompt.write("\x03");
  EXPECT_THAT(prompt.expect("muster> "), HasSubstr("interrupted"));
  EXPECT_EQ(prompt.ask("fetchfrom(3, [] { return myid(); })"), "3");
  prompt.write("fetchfrom(2, [] { std::cout << \"there\" << std::endl; while (true) {} })\n");
  (void)prompt.expect("From worker 2:");
  prompt.write("\x03");
  EXPECT_THAT(prompt.expect("muster> "), HasSubstr("interrupted"));
  EXPECT_EQ(prompt.ask("fetchfrom(2, [] { return myid(); })"), "2");  // the loop there was ended too
  prompt.write(
      "auto g = spawnat(2, [] { std::cout << \"again\" << std::endl; while (true) {} return 1; }); g.fetch()\n");
  (void)prompt.expect("From worker 2:");
  prompt.write("\x03");
  EXPECT_THAT(prompt.expect("muster> "), HasSubstr("interrupt() stops what runs there"));
  EXPECT_EQ(prompt.ask("interrupt();"), "");
  EXPECT_EQ(prompt.ask("fetchfrom(2, [] { return myid(); })"), "2");
}

}  // namespace
