// Where inputs end, what their items are, and loops that can be stopped.
#include "repl/text/tokens.hpp"

#include <gtest/gtest.h>

#include <string>

namespace {

using muster::repl::is_incomplete;
using muster::repl::Item;
using muster::repl::items_of;
using muster::repl::with_loop_checks;

Item only_item(const std::string& text) {
  const auto items = items_of(text, false);
  EXPECT_EQ(items.size(), 1U) << text;
  return items.empty() ? Item{} : items.front();
}

TEST(Tokens, OpenInputs) {
  for (const char* open : {"f(", "int f() {", "/* so", "R\"(x", "R\"a(x)\"", "1 + \\", "v[2"})
    EXPECT_TRUE(is_incomplete(open)) << open;
  for (const char* closed : {"f()", "\"(\"", "'('", "// (", "/* ( */", "R\"(()\"", "1'000'000", "x)"})
    EXPECT_FALSE(is_incomplete(closed)) << closed;
}

TEST(Items, Kinds) {
  using Kind = Item::Kind;
  const auto kind = [](const std::string& text) { return only_item(text).kind; };
  EXPECT_EQ(kind("int f(int x) { return x; }"), Kind::function);
  EXPECT_EQ(kind("auto f(int x) -> int { return x; }"), Kind::function);
  EXPECT_EQ(kind("template <class T> requires(sizeof(T) > 1) T f(T x) noexcept { return x; }"), Kind::function);
  EXPECT_EQ(kind("struct S f() { return {}; }"), Kind::function);
  EXPECT_EQ(kind("S::S() : a(1), b{2} {}"), Kind::function);
  EXPECT_EQ(kind("struct S : B { int a; };"), Kind::type);
  EXPECT_EQ(kind("enum class C : int { a, b };"), Kind::type);
  EXPECT_EQ(kind("using A = int;"), Kind::declaration);
  EXPECT_EQ(kind("using namespace std;"), Kind::space);
  EXPECT_EQ(kind("namespace a { int f(); }"), Kind::space);
  EXPECT_EQ(kind("#include <vector>"), Kind::directive);
  for (const char* statement :
       {"int x = 3;", "x + 1", "std::vector<int> v{1, 2};", "Foo a(3), b{4};", "std::cout << f(3) << S{4};",
        "[](int x) { return x; }(3);", "if (a) b; else c;", "for (;;) { f(); }", "do { f(); } while (x);",
        "try { f(); } catch (...) { g(); }", "struct P { int x; } p{1};", "auto l = [k = f()] { return k; };"})
    EXPECT_EQ(kind(statement), Kind::statement) << statement;
}

TEST(Items, Names) {
  EXPECT_EQ(only_item("template <class T> T twice(T x) { return x + x; }").name, "twice");
  EXPECT_EQ(only_item("struct Derived : Base { int x; };").name, "Derived");
  EXPECT_EQ(only_item("bool operator==(S a, S b) { return true; }").name, "");
  EXPECT_TRUE(only_item("int S::get() const { return 1; }").qualified);
  EXPECT_TRUE(only_item("template <> struct std::hash<P> { int x; };").qualified);
}

TEST(Items, LinesAndGroups) {
  const auto single = items_of("int a = 1;\nint f() { return 1; }\nf();\na\n", false);
  ASSERT_EQ(single.size(), 4U);
  EXPECT_EQ(single[3].line, 4U);
  const auto grouped = items_of("int f() { return 1; }\nf();\na\n", true);
  ASSERT_EQ(grouped.size(), 2U);
  EXPECT_EQ(grouped[1].text, "f();\na");
}

TEST(Loops, AreChecked) {
  const std::string check = "::muster::this_task::check()";
  EXPECT_EQ(with_loop_checks("while (true) f();"), "for (;true; " + check + ") f();");
  EXPECT_EQ(with_loop_checks("do { f(); } while (x);"), "do { " + check + "; f(); } while (x);");
  EXPECT_EQ(with_loop_checks("for (;;) {}"), "for (;; " + check + ") {}");
  EXPECT_EQ(with_loop_checks("for (auto& x : v) { f(x); }"), "for (auto& x : v) { " + check + "; f(x); }");
  const std::string counts = "for (int i = 0; i < n; ++i) sum += v[i];";
  EXPECT_EQ(with_loop_checks(counts), counts);
}

}  // namespace
