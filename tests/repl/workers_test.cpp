// What is typed runs on workers.
#include "terminal.hpp"

#include <gmock/gmock.h>

#include <fstream>

namespace {

using muster::testing::Terminal;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Workers, RunWhatWasTyped) {
  Terminal prompt;
  EXPECT_EQ(prompt.ask("addprocs(2)"), "{2, 3}");
  EXPECT_EQ(prompt.ask("int square(int x) { return x * x; }"), "");
  EXPECT_EQ(prompt.ask("fetch(spawn(square, 12))"), "144");
  EXPECT_EQ(prompt.ask("int n = 4; std::vector<int> v{1, 2, 3}; std::string s = \"abc\";"), "");
  EXPECT_EQ(prompt.ask("auto f = spawn([=](int k) { int sum = 0; for (int x : v) sum += square(x) + n; return sum + k "
                       "+ int(s.size()); }, 100);"),
            "");
  EXPECT_EQ(prompt.ask("fetch(f)"), "129");
  EXPECT_THAT(prompt.ask("f"), HasSubstr("Future<int> on process"));
  EXPECT_THAT(prompt.ask("f"), HasSubstr("ready"));
  EXPECT_EQ(prompt.ask("fetch(spawn([n] { return n + 1; }))"), "5");
  EXPECT_EQ(prompt.ask("fetch(spawn([v] { return v; }))"), "{1, 2, 3}");
  EXPECT_EQ(prompt.ask("fetch(spawn([m = std::map<std::string, int>{{\"a\", n}}] { return m; }))"), "{\"a\": 4}");
  EXPECT_EQ(prompt.ask("n = 50;"), "");
  EXPECT_EQ(prompt.ask("fetch(spawn([=] { return n; }))"), "50");
  EXPECT_EQ(
      prompt.ask("for (int i = 0; i < 3; ++i) std::cout << fetchfrom(3, [=] { return 10 * i + myid(); }) << ' ';"),
      "3 13 23 ");
  EXPECT_EQ(prompt.ask("pmap([=](int x) { return x * n; }, std::vector{1, 2, 3})"), "{50, 100, 150}");
  EXPECT_EQ(prompt.ask("struct P { double x; std::string name; };"), "");
  EXPECT_EQ(prompt.ask("P p{1.5, \"p\"};"), "");
  EXPECT_EQ(prompt.ask("fetch(spawn([p] { P q = p; q.x *= 2; return q; }))"), "P{3.0, \"p\"}");
  EXPECT_EQ(prompt.ask("template <class T> T twice(T x) { return x + x; }"), "");
  EXPECT_EQ(prompt.ask("fetch(spawn([] { return twice(std::string(\"ab\")); }))"), "\"abab\"");
  EXPECT_EQ(prompt.ask("struct B { virtual ~B() = default; virtual int f() const { return 1; } }; struct D : B { int "
                       "f() const override { return 2; } };"),
            "");
  EXPECT_EQ(prompt.ask("fetch(spawn([] { std::unique_ptr<B> b = std::make_unique<D>(); return b->f() + "
                       "(dynamic_cast<D*>(b.get()) ? 10 : 0); }))"),
            "12");
}

TEST(Workers, ReferencesAreRefused) {
  Terminal prompt({"-p", "1"});
  EXPECT_EQ(prompt.ask("int n = 4;"), "");
  EXPECT_THAT(prompt.ask("spawn([&n] { return n; })"), HasSubstr("this closure captures by reference"));
  EXPECT_THAT(prompt.ask("spawn([&] { return n; })"), HasSubstr("this closure captures by reference"));
  EXPECT_EQ(prompt.ask("fetch(spawn([n] { return n; }))"), "4");
}

TEST(Workers, Everywhere) {
  Terminal prompt({"-p", "2"});
  EXPECT_EQ(prompt.ask("%everywhere int counter = 10; std::map<std::string, int> table{{\"a\", 1}};"), "");
  EXPECT_EQ(prompt.ask("fetchfrom(2, [] { return ++counter; })"), "11");
  EXPECT_EQ(prompt.ask("fetchfrom(2, [] { return ++counter; })"), "12");
  EXPECT_EQ(prompt.ask("counter"), "10");
  EXPECT_EQ(prompt.ask("fetchfrom(3, [] { return table; })"), "{\"a\": 1}");
  EXPECT_EQ(prompt.ask("everywhere(R\"(int cube(int x) { return x * x * x; } int origin = cube(myid());)\");"), "");
  EXPECT_EQ(prompt.ask("fetchfrom(3, [] { return origin; })"), "27");
  EXPECT_EQ(prompt.ask("addprocs(1)"), "{4}");
  EXPECT_EQ(prompt.ask("fetchfrom(4, [] { return origin + counter; })"), "74");
  EXPECT_THAT(prompt.ask("everywhere(\"int broken = ;\");"), HasSubstr("does not compile"));
  EXPECT_THAT(prompt.ask("%everywhere if (myid() == 2) throw std::runtime_error(\"not here\");"),
              HasSubstr("not here"));
  EXPECT_EQ(prompt.ask("addprocs(1)"), "{5}");
  prompt.write("%everywhere {\n");
  (void)prompt.expect("    ... ");
  prompt.write("int of_block() { return 5; }\n");
  (void)prompt.expect("    ... ");
  EXPECT_EQ(prompt.ask("}"), "");
  EXPECT_EQ(prompt.ask("fetchfrom(5, of_block)"), "5");
}

TEST(Workers, FailuresLeaveTheSession) {
  Terminal prompt({"-p", "2"});
  EXPECT_THAT(prompt.ask("fetchfrom(2, []() -> int { throw std::out_of_range(\"too far\"); })"),
              HasSubstr("On worker 2: std::out_of_range: too far"));
  EXPECT_EQ(prompt.ask("try { fetchfrom(2, [] { throw std::logic_error(\"x\"); }); } catch (const RemoteException& e) "
                       "{ std::cout << e.type_name() << '\\n'; }"),
            "std::logic_error");
  EXPECT_THAT(prompt.ask("fetchfrom(2, [] { int* nowhere = nullptr; *nowhere = 1; return 1; })"), HasSubstr("SIGSEGV"));
  EXPECT_EQ(prompt.ask("workers()"), "{3}");
  EXPECT_EQ(prompt.ask("fetch(spawn([] { return myid(); }))"), "3");
}

TEST(Workers, ShareALibrary) {
  const muster::testing::TextFile source("extern \"C\" int tripled(int x) { return 3 * x; }\n");
  const muster::testing::TextFile library("", ".so");
  ASSERT_EQ(std::system(("g++ -shared -fPIC -o " + library.path() + " " + source.path()).c_str()), 0);
  Terminal prompt({"-p", "2"});
  EXPECT_EQ(prompt.ask("%lib " + library.path()), "");
  EXPECT_EQ(prompt.ask("extern \"C\" int tripled(int);"), "");
  EXPECT_EQ(prompt.ask("tripled(4)"), "12");
  EXPECT_EQ(prompt.ask("fetchfrom(2, tripled, 5)"), "15");
  EXPECT_EQ(prompt.ask("fetchfrom(3, [](int x) { return tripled(x) + 1; }, 5)"), "16");
  EXPECT_THAT(prompt.ask("%lib /nowhere/libnone.so"), HasSubstr("libnone.so"));
  EXPECT_EQ(prompt.ask("tripled(2)"), "6");
}

TEST(Workers, HoldNoCompiler) {
  Terminal prompt({"-p", "1"});
  const std::string pid = prompt.ask("fetchfrom(2, [] { return int(getpid()); })");
  std::ifstream maps("/proc/" + pid + "/maps");
  const std::string text(std::istreambuf_iterator<char>(maps), {});
  EXPECT_THAT(text, HasSubstr("libmuster"));
  EXPECT_THAT(text, Not(HasSubstr("LLVM")));
  EXPECT_THAT(text, Not(HasSubstr("clang")));
}

}  // namespace
