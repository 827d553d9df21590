// What workers print appears on the master's standard output and error.

#include "child_program.hpp"

#include <muster/muster.hpp>

#include <gmock/gmock.h>

#include <cstdio>
#include <iostream>
#include <sstream>

namespace muster::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

int prints_two_lines(int& argc, char**& argv) {
  const Session session(argc, argv);
  const Pid pid = addprocs(1).front();
  fetchfrom(pid, [] {
    std::puts("to standard output");
    std::cout << "by stream" << std::endl;
    std::fputs("to standard error\n", stderr);
  });
  return 0;
}

// catalogue: 305
TEST(Output, LinesAreMarkedAndKeepTheirStream) {
  ChildProgram program({"role:two_lines"});
  EXPECT_EQ(program.ends(), 0);
  EXPECT_EQ(program.out(), "      From worker 2:\tto standard output\n      From worker 2:\tby stream\n");
  EXPECT_EQ(program.error(), "      From worker 2:\tto standard error\n");
}

int prints_without_newline(int& argc, char**& argv) {
  const Session session(argc, argv);
  const Pid pid = addprocs(1).front();
  fetchfrom(pid, [] {
    std::printf("one line ");
    std::fflush(stdout);
    std::printf("in pieces\nan unfinished one");
  });
  rmprocs(pid);
  return 0;
}

// catalogue: 306
TEST(Output, OnlyWholeLinesAppear) {
  ChildProgram program({"role:pieces"});
  EXPECT_EQ(program.ends(), 0);
  EXPECT_EQ(program.out(), "      From worker 2:\tone line in pieces\n      From worker 2:\tan unfinished one\n");
}

constexpr int lines_each = 2000;

int prints_at_once(int& argc, char**& argv) {
  const Session session(argc, argv);
  (void)addprocs(3);
  everywhere(workers(), [] {
    for (int i = 0; i < lines_each; ++i)
      std::printf("line %d of process %d, long enough to be cut in two\n", i, myid());
  });
  return 0;
}

// catalogue: 21, 305, 310
TEST(Output, LinesOfSeveralWorkersNeverMixAndNoneIsLost) {
  ChildProgram program({"role:at_once"});
  EXPECT_EQ(program.ends(60s), 0);
  const auto lines = lines_of(program.out());
  EXPECT_EQ(lines.size(), 3U * lines_each);
  std::map<int, int> next;
  for (const auto& line : lines) {
    int worker = 0, number = 0, process = 0;
    ASSERT_EQ(std::sscanf(line.c_str(), "      From worker %d:\tline %d of process %d, long enough to be cut in two",
                          &worker, &number, &process),
              3)
        << line;
    EXPECT_EQ(worker, process);
    EXPECT_EQ(number, next[worker]++);
  }
}

int prints_through_hook(int& argc, char**& argv) {
  SessionOptions options;
  options.worker_output = [](Pid pid, std::string_view line) {
    if (line == "hide me") return std::string();
    if (line == "throw") throw std::runtime_error("the hook failed");
    return "<" + std::to_string(pid) + "> " + std::string(line);
  };
  const Session session(argc, argv, options);
  fetchfrom(addprocs(1).front(), [] { std::puts("hide me\nshow me\nthrow"); });
  return 0;
}

// catalogue: 305, 308
TEST(Output, TheHookComposesLines) {
  ChildProgram program({"role:hook"});
  EXPECT_EQ(program.ends(), 0);
  EXPECT_EQ(program.out(), "<2> show me\n      From worker 2:\tthrow\n");
  EXPECT_THAT(program.error(), HasSubstr("the hook failed"));
}

int says_it_crashed(int& argc, char**& argv) {
  const Session session(argc, argv);
  const Pid pid = addprocs(1).front();
  try {
    fetchfrom(pid, [] {
      std::puts("last words");
      std::abort();
    });
  } catch (const ProcessExitedException& error) {
    std::printf("caught: %s\n", error.what());
  }
  return 0;
}

// catalogue: 310
TEST(Output, LastWordsAreShownAndToldBeforeTheFailure) {
  ChildProgram program({"role:crash"});
  EXPECT_EQ(program.ends(), 0);
  EXPECT_THAT(program.out(), ::testing::StartsWith("      From worker 2:\tlast words\n"));
  EXPECT_THAT(program.out(), AllOf(HasSubstr("caught: "), HasSubstr("SIGABRT"), HasSubstr("output: last words")));
}

int prints_where_it_is_full(int& argc, char**& argv) {
  const Session session(argc, argv);
  const Pid pid = addprocs(1).front();
  int sum = 0;
  for (int i = 0; i < 100; ++i)
    sum += fetchfrom(pid, [] {
      std::puts("nobody will read this");
      return 1;
    });
  std::fprintf(stderr, "sum %d\n", sum);
  return 0;
}

TEST(Output, AFullDiskStopsNobody) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  ChildProgram program({"role:full"}, {.output_fd = full});
  EXPECT_EQ(program.ends(), 0);
  EXPECT_THAT(program.error(), HasSubstr("sum 100\n"));
  ::close(full);
}

TEST(Output, AReaderThatWaitsDelaysNoCall) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  ASSERT_GT(::fcntl(ends[1], F_SETPIPE_SZ, 4096), 0);
  ChildProgram program({"role:stuck"}, {.output_fd = ends[1]});
  // 5000 lines go nowhere, and the program goes on all the same.
  EXPECT_TRUE(eventually([&] {
    (void)program.prints("never", 1ms);
    return program.error().find("went on") != std::string::npos;
  }));
  std::thread reader([fd = ends[0]] {
    char buffer[65536];
    while (::read(fd, buffer, sizeof buffer) > 0) {
    }
  });
  EXPECT_EQ(program.ends(), 0);
  ::close(ends[1]);
  reader.join();
  ::close(ends[0]);
}

int prints_into_a_stuck_pipe(int& argc, char**& argv) {
  const Session session(argc, argv);
  const auto pids = addprocs(2);
  remote_do(
      [] {
        for (int i = 0; i < 5000; ++i) std::puts("a line that nobody reads yet");
      },
      pids[0]);
  const int sum = fetchfrom(pids[1], [] { return 1; });
  rmprocs(pids[1]);
  std::fprintf(stderr, "went on %d\n", sum);
  return 0;
}

}  // namespace
}  // namespace muster::testing

int main(int argc, char** argv) {
  using namespace muster::testing;
  return main_with_roles(argc, argv,
                         {{"two_lines", prints_two_lines},
                          {"pieces", prints_without_newline},
                          {"at_once", prints_at_once},
                          {"hook", prints_through_hook},
                          {"crash", says_it_crashed},
                          {"full", prints_where_it_is_full},
                          {"stuck", prints_into_a_stuck_pipe}});
}
