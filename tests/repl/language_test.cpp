// What may be typed at the prompt, and what comes of it. Each of the failures of a stock incremental compiler has its
// test here.
#include "terminal.hpp"

#include <gmock/gmock.h>

namespace {

using muster::testing::Terminal;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Values, PrintThemselves) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("1 + 1"), "2");
  EXPECT_EQ(prompt.ask("2.0"), "2.0");
  EXPECT_EQ(prompt.ask("std::string(\"a\\\"b\")"), "\"a\\\"b\"");
  EXPECT_EQ(prompt.ask("std::map<std::string, std::vector<int>>{{\"x\", {1, 2}}}"), "{\"x\": {1, 2}}");
  EXPECT_EQ(prompt.ask("std::tuple(1, 'c', true, std::optional<int>())"), "(1, 'c', true, nullopt)");
  EXPECT_EQ(prompt.ask("struct Point { double x, y; };"), "");
  EXPECT_EQ(prompt.ask("std::vector{Point{1, 2}}"), "{Point{1.0, 2.0}}");
  EXPECT_EQ(prompt.ask("struct Own { int x; };"), "");
  EXPECT_EQ(prompt.ask("std::ostream& operator<<(std::ostream& o, const Own& p) { return o << '<' << p.x << '>'; }"),
            "");
  EXPECT_EQ(prompt.ask("Own{3}"), "<3>");
  EXPECT_EQ(prompt.ask("250ms"), "250ms");
  EXPECT_EQ(prompt.ask("1;"), "");
  EXPECT_EQ(prompt.ask("std::cout << \"no value\\n\""), "no value");
  EXPECT_EQ(prompt.ask("(void)0"), "");
}

TEST(Values, EigenMatrices) {
  Terminal prompt({"-I", MUSTER_EIGEN});
  EXPECT_EQ(prompt.ask("#include <Eigen/Dense>"), "");
  EXPECT_EQ(prompt.ask("Eigen::Matrix2d m; m << 1, 2, 3, 4;"), "");
  EXPECT_EQ(prompt.ask("m"), "1 2\n3 4");
}

TEST(Input, SeveralLines) {
  Terminal prompt;
  prompt.write("int fib(int n) {\n");
  (void)prompt.expect("    ... ");
  prompt.write("return n < 2 ? n : fib(n - 1) + fib(n - 2);\n");
  (void)prompt.expect("    ... ");
  EXPECT_EQ(prompt.ask("}"), "");
  EXPECT_EQ(prompt.ask("fib(20)"), "6765");
  EXPECT_EQ(prompt.ask("int a = 1, b = 2; a += 5; a * b"), "12");
  EXPECT_EQ(prompt.ask("if (a > 3) { std::cout << \"large\\n\"; } else std::cout << \"small\\n\";"), "large");
  EXPECT_EQ(prompt.ask("auto [q, r] = std::pair<int, double>{1, 2.5};"), "");
  EXPECT_EQ(prompt.ask("q + r"), "3.5");
  EXPECT_EQ(prompt.ask("#define SQUARE(x) ((x) * (x))"), "");
  EXPECT_EQ(prompt.ask("SQUARE(4)"), "16");
  EXPECT_EQ(prompt.ask("namespace geo { double twice(double x) { return 2 * x; } }"), "");
  EXPECT_EQ(prompt.ask("geo::twice(4)"), "8.0");
}

TEST(Input, TheLastSemicolonMayBeForgotten) {
  Terminal prompt;
  for (const char* declaration :
       {"int a = 1; std::vector<int> v{1, 2}  // both", "auto f = [] { return 5; }", "auto [x, y] = std::pair(7, 8)",
        "const int c = 9", "struct S { int m; }", "template <class T> struct B { T m; }", "using I = int",
        "template <class T> concept small = requires { requires sizeof(T) == 1; }", "using namespace std",
        "enum class E { one }", "typedef double D"})
    EXPECT_EQ(prompt.ask(declaration), "") << declaration;
  EXPECT_EQ(prompt.ask("a + v[1] + f() + x + y + c + S{10}.m + B<I>{20}.m + small<char>"), "63");
}

TEST(Input, NamesThatLibrariesHaveToo) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("using namespace std;"), "");
  EXPECT_EQ(prompt.ask("int count = 3; double time = 2.5; auto data = vector{1, 2}; int y1 = 7;"), "");
  EXPECT_EQ(prompt.ask("count + data.size() + y1"), "12");
  EXPECT_EQ(prompt.ask("time"), "2.5");
  EXPECT_EQ(prompt.ask("auto workers = nprocs();"), "");
  EXPECT_EQ(prompt.ask("workers"), "1");
}

TEST(Redefinition, OfVariablesTypesAndTemplates) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("int n = 1;"), "");
  EXPECT_EQ(prompt.ask("int old() { return n; }"), "");
  EXPECT_EQ(prompt.ask("std::string n = \"text\";"), "");
  EXPECT_EQ(prompt.ask("n"), "\"text\"");
  EXPECT_EQ(prompt.ask("old()"), "1");
  EXPECT_EQ(prompt.ask("double n = 2.5;"), "");
  EXPECT_EQ(prompt.ask("n"), "2.5");
  EXPECT_EQ(prompt.ask("struct S { int a = 1; };"), "");
  EXPECT_EQ(prompt.ask("S s;"), "");
  EXPECT_EQ(prompt.ask("struct S { int a = 2; std::string b = \"new\"; };"), "");
  EXPECT_EQ(prompt.ask("S s;"), "");
  EXPECT_EQ(prompt.ask("s"), "S{2, \"new\"}");
  EXPECT_EQ(prompt.ask("template <class T> T twice(T x) { return x + x; }"), "");
  EXPECT_EQ(prompt.ask("twice(2)"), "4");
  EXPECT_EQ(prompt.ask("template <class T> T twice(T x) { return 20 * x; }"), "");
  EXPECT_EQ(prompt.ask("twice(2)"), "40");
  EXPECT_EQ(prompt.ask("auto l = [](int x) { return x; };"), "");
  EXPECT_EQ(prompt.ask("auto l = [](std::string x) { return x + \"!\"; };"), "");
  EXPECT_EQ(prompt.ask("l(\"hey\")"), "\"hey!\"");
  EXPECT_EQ(prompt.ask("enum Color { red, green };"), "");
  EXPECT_EQ(prompt.ask("enum Color { blue, red };"), "");
  EXPECT_EQ(prompt.ask("red + 0"), "1");
}

TEST(Redefinition, OfOneOverload) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("int f(int x) { return x + 1; }"), "");
  EXPECT_EQ(prompt.ask("double f(double x) { return x / 2; }"), "");
  EXPECT_EQ(prompt.ask("int g(int x) { return 10 * f(x); }"), "");
  EXPECT_EQ(prompt.ask("int f(int x) { return x + 100; }"), "");
  EXPECT_EQ(prompt.ask("f(1)"), "101");
  EXPECT_EQ(prompt.ask("f(3.0)"), "1.5");
  EXPECT_EQ(prompt.ask("g(1)"), "20");  // who was compiled before keeps what there was
  EXPECT_EQ(prompt.ask("int f(int x) { return x > 3 ? x : f(x + 1); }"), "");
  EXPECT_EQ(prompt.ask("f(1)"), "4");
}

TEST(Stock, LambdaAsATemplateArgument) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("template <class F> int call(F f) { return f(); }"), "");
  EXPECT_EQ(prompt.ask("call([] { return 7; });"), "");
  EXPECT_EQ(prompt.ask("call([] { return 7; })"), "7");
}

TEST(Stock, AFailedTemplateUseDoesNotPoison) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("template <class T> T same(T x) { return x; }"), "");
  EXPECT_THAT(prompt.ask("int y = same(3) + nope;"), HasSubstr("use of undeclared identifier 'nope'"));
  EXPECT_EQ(prompt.ask("same(3)"), "3");
  EXPECT_THAT(prompt.ask("std::list<int> l{2, 1}; std::sort(l.begin(), l.end());"), HasSubstr("error:"));
  EXPECT_EQ(prompt.ask("std::vector<int> v{3, 1, 2}; std::sort(v.begin(), v.end()); v"), "{1, 2, 3}");
  EXPECT_THAT(prompt.ask("template <class T> void no() { static_assert(sizeof(T) == 0, \"not this\"); }"),
              Not(HasSubstr("error")));
  EXPECT_THAT(prompt.ask("no<int>();"), HasSubstr("not this"));
  EXPECT_EQ(prompt.ask("1 + 2"), "3");
}

TEST(Stock, StaticVariablesAndConstants) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("static int s = 3;"), "");
  EXPECT_EQ(prompt.ask("s = 5;"), "");
  EXPECT_EQ(prompt.ask("s"), "5");
  EXPECT_EQ(prompt.ask("const auto t = std::chrono::steady_clock::now();"), "");
  EXPECT_EQ(prompt.ask("auto d = t;"), "");
  EXPECT_EQ(prompt.ask("d == t"), "true");
  EXPECT_EQ(prompt.ask("constexpr int k = 12;"), "");
  EXPECT_EQ(prompt.ask("std::array<int, k>{}.size()"), "12");
  EXPECT_EQ(prompt.ask("thread_local int tl = 1;"), "");
  EXPECT_EQ(prompt.ask("tl = 7;"), "");
  EXPECT_EQ(prompt.ask("std::thread([] { tl = 99; }).join();"), "");
  EXPECT_EQ(prompt.ask("tl"), "7");
  EXPECT_EQ(prompt.ask("inline int& counter() { static int c = 0; return c; }"), "");
  EXPECT_EQ(prompt.ask("counter()++; counter()++;"), "");
  EXPECT_EQ(prompt.ask("counter()"), "2");
}

TEST(Stock, InitCapturesRunOnce) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("int c = 0;"), "");
  EXPECT_EQ(prompt.ask("auto l = [k = ++c] { return k; };"), "");
  EXPECT_EQ(prompt.ask("int a = l(); int b = l();"), "");
  EXPECT_EQ(prompt.ask("std::tuple(a, b, c)"), "(1, 1, 1)");
}

TEST(Stock, AnInitialiserThatThrowsLeavesNoName) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("int fails() { throw std::runtime_error(\"no value\"); }"), "");
  EXPECT_EQ(prompt.ask("int n = 1;"), "");
  EXPECT_EQ(prompt.ask("int m = fails();"), "std::runtime_error: no value");
  EXPECT_THAT(prompt.ask("m"), HasSubstr("undeclared identifier 'm'"));
  EXPECT_EQ(prompt.ask("int n = fails();"), "std::runtime_error: no value");
  EXPECT_EQ(prompt.ask("n"), "1");  // the older one is seen again
  EXPECT_EQ(prompt.ask("std::string m = \"now\";"), "");
  EXPECT_EQ(prompt.ask("m"), "\"now\"");
}

TEST(Errors, ShowLoopsAsTheyWereTyped) {
  Terminal prompt;
  const std::string call = "for (int i = 0; i < 4; ++i) nothing(i);";
  EXPECT_THAT(prompt.ask(call), AllOf(HasSubstr(call), HasSubstr(":1:29: error"), Not(HasSubstr("check"))));
  const std::string function = "int f(int n) { while (n > 0) n = nothing(n); return n; }";
  EXPECT_THAT(prompt.ask(function), AllOf(HasSubstr(function), HasSubstr(":1:34: error"), Not(HasSubstr("check"))));
  EXPECT_EQ(prompt.ask("1"), "1");
}

TEST(Errors, NeverEndTheSession) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("int n = 41;"), "");
  EXPECT_THAT(prompt.ask("int bad = \"text\";"), HasSubstr("error: cannot initialize a variable of type 'int'"));
  EXPECT_EQ(prompt.ask("throw std::out_of_range(\"too far\");"), "std::out_of_range: too far");
  EXPECT_EQ(prompt.ask("throw 42;"), "int");
  EXPECT_THAT(prompt.ask("int missing(int); missing(2)"), HasSubstr("can't be loaded"));
  EXPECT_EQ(prompt.ask("int missing(int x) { return x; }"), "");
  EXPECT_EQ(prompt.ask("missing(2)"), "2");
  EXPECT_THAT(prompt.ask("#pragma clang __debug crash"), HasSubstr("the compiler crashed on this input"));
  EXPECT_THAT(prompt.ask("#pragma clang __debug llvm_fatal_error"), HasSubstr("the compiler crashed on this input"));
  EXPECT_EQ(prompt.ask("n + 1"), "42");
}

TEST(Lambdas, CapturePromptVariables) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("int n = 4; std::vector<int> v{1, 2, 3}; std::string s = \"x\";"), "");
  EXPECT_EQ(prompt.ask("auto f = [=](int k) { return n + v.size() + s.size() + k; };"), "");
  EXPECT_EQ(prompt.ask("n = 100;"), "");
  EXPECT_EQ(prompt.ask("f(10)"), "18");
  EXPECT_EQ(prompt.ask("f"), "function object");
  EXPECT_EQ(prompt.ask("[] { return 1; }"), "function object");  // and not what it converts to
  EXPECT_EQ(prompt.ask("[n] { return n + 1; }()"), "101");
  EXPECT_EQ(prompt.ask("[v] { return v.size(); }()"), "3");
  EXPECT_EQ(prompt.ask("[&] { n = 5; }();"), "");
  EXPECT_EQ(prompt.ask("n"), "5");
  EXPECT_EQ(prompt.ask("int sum = 0; std::for_each(v.begin(), v.end(), [&sum](int x) { sum += x; }); sum"), "6");
}

TEST(Commands, UndoHelpAndTime) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("int n = 1;"), "");
  EXPECT_EQ(prompt.ask("int n = 2;"), "");
  EXPECT_EQ(prompt.ask("n"), "2");
  EXPECT_EQ(prompt.ask("%undo"), "");
  EXPECT_EQ(prompt.ask("n"), "1");
  EXPECT_EQ(prompt.ask("int n = 3;"), "");
  EXPECT_EQ(prompt.ask("n"), "3");
  EXPECT_THAT(prompt.ask("%help"), HasSubstr("%everywhere"));
  EXPECT_THAT(prompt.ask("%time n + 1"), HasSubstr("4\n"));
  EXPECT_THAT(prompt.ask("%nonsense"), HasSubstr("no such command"));
  EXPECT_THAT(prompt.ask("%workers"), HasSubstr("no workers"));
}

TEST(Commands, LoadRunsAFile) {
  const muster::testing::TextFile file("int loaded = 3;\nint twice(int x) { return 2 * x; }\n");
  Terminal prompt;
  EXPECT_EQ(prompt.ask("%load " + file.path()), "");
  EXPECT_EQ(prompt.ask("twice(loaded)"), "6");
  EXPECT_THAT(prompt.ask("%load /nowhere.cpp"), HasSubstr("can't read"));
}

}  // namespace
