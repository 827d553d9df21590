/// @file
/// What workers print, as the master shows it. Pipes stand for workers and for the master's own output.
#include "runtime/cluster/worker_output.hpp"

#include "runtime/base/child_process.hpp"

#include <muster/cluster_manager.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/wait.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace muster::runtime {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
constexpr auto deadline = 20s;

/// A pipe whose reader collects all that is written, on a thread, so that no writer waits.
class Collector {
 public:
  Collector() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    read_end_.reset(ends[0]);
    write_end_.reset(ends[1]);
    reader_ = std::jthread([this] {
      char buffer[4096];
      for (ssize_t count; (count = ::read(read_end_.get(), buffer, sizeof buffer)) > 0;) {
        text_.append(buffer, static_cast<std::size_t>(count));
      }
    });
  }
  ~Collector() { text(); }
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;
  int fd() const { return write_end_.get(); }
  /// All that was written; nothing may be written afterwards.
  std::string text() {
    write_end_.reset();
    if (reader_.joinable()) reader_.join();
    return text_;
  }
  std::vector<std::string> lines() {
    std::vector<std::string> result;
    std::string rest = text();
    for (std::size_t newline; (newline = rest.find('\n')) != std::string::npos; rest.erase(0, newline + 1)) {
      result.push_back(rest.substr(0, newline));
    }
    EXPECT_EQ(rest, "") << "the last line is not whole";
    return result;
  }

 private:
  UniqueFd read_end_, write_end_;
  std::string text_;
  std::jthread reader_;
};

/// The two pipes of a worker.
struct FakeWorker {
  FakeWorker() {
    for (auto [read_end, write_end] : {std::pair(&output_read, &output), std::pair(&error_read, &error)}) {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
      read_end->reset(ends[0]);
      write_end->reset(ends[1]);
    }
  }
  void prints(std::string_view text) const { write_all(output.get(), text, 20s); }
  void complains(std::string_view text) const { write_all(error.get(), text, 20s); }
  void ends() {
    output.reset();
    error.reset();
  }
  UniqueFd output_read, output, error_read, error;
};

/// A WorkerOutput with what is around it. `output` and `error` may be asked for once `wait_for_end` has returned.
struct Shown {
  explicit Shown(OutputPrinter::Hook hook = {})
      : printer(std::make_shared<OutputPrinter>(hook, output.fd(), error.fd())) {}

  void watch(FakeWorker& worker, std::function<void(const StartupOutput&)> started = {}) {
    shown =
        std::make_unique<WorkerOutput>(steward, printer, std::move(worker.output_read), std::move(worker.error_read),
                                       WorkerOutput::Callbacks{std::move(started), [this] { end.set_value(); }});
  }
  void wait_for_end() { ASSERT_EQ(ended.wait_for(deadline), std::future_status::ready); }
  /// Waits until the steward has read what was written before.
  void settle() {
    for (int i = 0; i < 2; ++i) {  // a readable descriptor is seen in the poll after the first one
      std::promise<void> passed;
      auto future = passed.get_future();
      steward.after(1ms, [&] { passed.set_value(); });
      ASSERT_EQ(future.wait_for(deadline), std::future_status::ready);
    }
  }

  Collector output, error;
  std::shared_ptr<OutputPrinter> printer;
  std::promise<void> end;
  std::future<void> ended = end.get_future();
  Steward steward;
  std::unique_ptr<WorkerOutput> shown;
};

TEST(WorkerOutput, ShowsBothStreamsWithTheWorkersPid) {
  Shown shown;
  FakeWorker worker;
  shown.watch(worker);
  shown.shown->set_pid(2);
  worker.prints("hello\nworld\n");
  worker.complains("oops\n");
  worker.ends();
  shown.wait_for_end();
  EXPECT_EQ(shown.output.text(), "      From worker 2:\thello\n      From worker 2:\tworld\n");
  EXPECT_EQ(shown.error.text(), "      From worker 2:\toops\n");
}

TEST(WorkerOutput, ShowsLinesBeforeThePidIsKnownAsStartup) {
  Shown shown;
  FakeWorker worker;
  std::promise<WorkerAddress> found;
  auto address = found.get_future();
  shown.watch(worker, [&](const StartupOutput& startup) {
    EXPECT_EQ(startup.outcome(), StartupOutput::Outcome::address_found);
    shown.shown->set_pid(3);
    found.set_value(startup.address());
  });
  worker.prints("Welcome\nmuster_worker:90#::1\nwork");
  ASSERT_EQ(address.wait_for(deadline), std::future_status::ready);
  EXPECT_EQ(address.get(), (WorkerAddress{"::1", 90}));
  worker.prints("ing\nmuster_worker:90#::1\n");
  worker.ends();
  shown.wait_for_end();
  EXPECT_THAT(shown.output.lines(), ElementsAre("\tFrom worker startup:\tWelcome", "      From worker 3:\tworking",
                                                "      From worker 3:\tmuster_worker:90#::1"));
  EXPECT_THAT(shown.error.lines(), IsEmpty());
}

TEST(WorkerOutput, ReportsAnExitBeforeTheAddressAfterAllItPrinted) {
  Shown shown;
  FakeWorker worker;
  std::promise<std::string> outcome;
  auto future = outcome.get_future();
  shown.watch(worker, [&](const StartupOutput& startup) {
    EXPECT_EQ(startup.outcome(), StartupOutput::Outcome::exited);
    outcome.set_value(shown.shown->last_output());
  });
  worker.complains("no such library\n");
  shown.settle();
  worker.prints("giving\nup");
  worker.ends();
  shown.wait_for_end();
  ASSERT_EQ(future.wait_for(0s), std::future_status::ready) << "`started` comes before `ended`";
  EXPECT_EQ(future.get(), "no such library\ngiving\nup\n");
  EXPECT_THAT(shown.output.lines(), ElementsAre("\tFrom worker startup:\tgiving", "\tFrom worker startup:\tup"));
  EXPECT_THAT(shown.error.lines(), ElementsAre("\tFrom worker startup:\tno such library"));
}

TEST(WorkerOutput, ReportsTooMuchOutputAndShowsNoMoreOfIt) {
  Shown shown;
  FakeWorker worker;
  std::promise<StartupOutput::Outcome> outcome;
  auto future = outcome.get_future();
  shown.watch(worker, [&](const StartupOutput& startup) { outcome.set_value(startup.outcome()); });
  std::string flood;
  for (int i = 0; i < 5000; ++i) flood += "y\n";
  worker.prints(flood);
  ASSERT_EQ(future.wait_for(deadline), std::future_status::ready);
  EXPECT_EQ(future.get(), StartupOutput::Outcome::too_much_output);
  worker.ends();
  shown.wait_for_end();
  EXPECT_EQ(shown.output.lines().size(), 1000u);
}

// catalogue: 306
TEST(WorkerOutput, HoldsAPartialLineUntilItIsWhole) {
  Shown shown;
  FakeWorker worker;
  shown.watch(worker);
  shown.shown->set_pid(2);
  worker.prints("par");
  shown.settle();
  EXPECT_EQ(shown.shown->last_output(), "");
  worker.prints("tial\nlast");
  worker.ends();
  shown.wait_for_end();
  EXPECT_THAT(shown.output.lines(), ElementsAre("      From worker 2:\tpartial", "      From worker 2:\tlast"));
}

TEST(WorkerOutput, WorksWithOneStream) {
  Shown shown;
  FakeWorker worker;
  worker.error_read.reset();
  shown.watch(worker);
  shown.shown->set_pid(4);
  worker.prints("alone\n");
  worker.ends();
  shown.wait_for_end();
  EXPECT_THAT(shown.output.lines(), ElementsAre("      From worker 4:\talone"));
}

TEST(WorkerOutput, WorksWithNone) {
  Shown shown;
  FakeWorker worker;
  worker.output_read.reset();
  worker.error_read.reset();
  shown.watch(worker);
  shown.wait_for_end();
}

TEST(WorkerOutput, LinesOfDifferentWorkersNeverMix) {
  Collector output;
  const auto printer = std::make_shared<OutputPrinter>(OutputPrinter::Hook{}, output.fd(), output.fd());
  constexpr int workers = 4;
  constexpr int lines = 300;
  {
    std::vector<std::unique_ptr<Steward>> stewards;  // printing at once
    std::vector<FakeWorker> fakes(workers);
    std::vector<std::unique_ptr<WorkerOutput>> outputs;
    std::vector<std::promise<void>> ends(workers);
    std::vector<std::jthread> writers;
    for (int i = 0; i < workers; ++i) {
      const auto at = static_cast<std::size_t>(i);
      stewards.push_back(std::make_unique<Steward>());
      outputs.push_back(std::make_unique<WorkerOutput>(
          *stewards.back(), printer, std::move(fakes[at].output_read), std::move(fakes[at].error_read),
          WorkerOutput::Callbacks{{}, [&ends, at] { ends[at].set_value(); }}));
      outputs.back()->set_pid(i + 2);
    }
    for (std::size_t at = 0; at < workers; ++at) {
      writers.emplace_back([&fake = fakes[at], at] {
        const std::string text(6000, static_cast<char>('a' + at));  // more than a pipe takes in one piece for sure
        for (int line = 0; line < lines; ++line) fake.prints(text.substr(0, 5000) + text.substr(0, 1000) + "\n");
        fake.ends();
      });
    }
    for (auto& end : ends) ASSERT_EQ(end.get_future().wait_for(deadline), std::future_status::ready);
  }
  std::vector<int> seen(workers);
  for (const std::string& line : output.lines()) {
    ASSERT_GT(line.size(), 21u);
    const int pid = line[18] - '0';
    ASSERT_EQ(line,
              "      From worker " + std::to_string(pid) + ":\t" + std::string(6000, static_cast<char>('a' + pid - 2)));
    ++seen[static_cast<std::size_t>(pid - 2)];
  }
  EXPECT_EQ(seen, std::vector<int>(workers, lines));
}

TEST(WorkerOutput, RemembersTheLastTwentyLines) {
  Shown shown;
  FakeWorker worker;
  shown.watch(worker);
  std::string expected;
  for (int i = 0; i < 50; ++i) {
    worker.prints(std::to_string(i) + "\n");
    if (i >= 30) expected += std::to_string(i) + "\n";
  }
  worker.ends();
  shown.wait_for_end();
  EXPECT_EQ(shown.shown->last_output(), expected);
}

TEST(WorkerOutput, RemembersAtMostFourKilobytes) {
  Shown shown;
  FakeWorker worker;
  shown.watch(worker);
  worker.prints(std::string(3000, 'a') + "\n" + std::string(1094, 'b') + "\n");
  shown.settle();
  EXPECT_EQ(shown.shown->last_output(), std::string(3000, 'a') + "\n" + std::string(1094, 'b') + "\n") << "4096 bytes";
  worker.prints("c\n");
  shown.settle();
  EXPECT_EQ(shown.shown->last_output(), std::string(1094, 'b') + "\nc\n");
  worker.prints(std::string(10000, 'd') + "end\n");
  worker.ends();
  shown.wait_for_end();
  EXPECT_EQ(shown.shown->last_output(), std::string(4092, 'd') + "end\n");
}

TEST(WorkerOutput, FinishShowsTheRestThoughSomebodyHoldsThePipesOpen) {
  Shown shown;
  FakeWorker worker;
  shown.watch(worker);
  shown.shown->set_pid(2);
  worker.prints("first\nunfinished");
  worker.complains("error");
  std::promise<std::string> finished;
  auto future = finished.get_future();
  shown.shown->finish([&] {
    EXPECT_EQ(shown.ended.wait_for(0s), std::future_status::ready) << "`ended` comes before `done`";
    finished.set_value(shown.shown->last_output());
  });
  ASSERT_EQ(future.wait_for(deadline), std::future_status::ready);
  EXPECT_EQ(future.get(), "first\nunfinished\nerror\n");
  std::promise<void> again;
  auto second = again.get_future();
  shown.shown->finish([&] { again.set_value(); });
  EXPECT_EQ(second.wait_for(deadline), std::future_status::ready) << "finishing twice is no harm";
  EXPECT_THAT(shown.output.lines(), ElementsAre("      From worker 2:\tfirst", "      From worker 2:\tunfinished"));
}

TEST(WorkerOutput, FinishEndsThoughSomebodyWritesWithoutEnd) {
  Shown shown([](Pid, std::string_view) { return std::string(); });
  ChildProcess child = spawn_process({.arguments = {"/bin/sh", "-c", "while :; do echo yyyyyyyyyyyyyyyyyyyy; done"},
                                      .environment = current_environment()});
  WorkerOutput output(shown.steward, shown.printer, std::move(child.standard_output), std::move(child.standard_error),
                      {});
  output.set_pid(2);
  std::promise<void> finished;
  auto future = finished.get_future();
  output.finish([&] { finished.set_value(); });
  EXPECT_EQ(future.wait_for(deadline), std::future_status::ready);
  int status = 0;
  EXPECT_EQ(::waitpid(child.os_pid, &status, 0), child.os_pid) << "its pipe is closed, so it ends";
}

TEST(WorkerOutput, MayBeDestroyedInItsOwnCallbacks) {
  for (const bool at_start : {true, false}) {
    Shown shown;
    FakeWorker worker;
    std::promise<void> destroyed;
    auto future = destroyed.get_future();
    const auto destroy = [&] {
      shown.shown.reset();
      destroyed.set_value();
    };
    shown.shown = std::make_unique<WorkerOutput>(
        shown.steward, shown.printer, std::move(worker.output_read), std::move(worker.error_read),
        WorkerOutput::Callbacks{[&](const StartupOutput&) {
                                  if (at_start) destroy();
                                },
                                [&] {
                                  EXPECT_FALSE(at_start) << "no callback after the end";
                                  destroy();
                                }});
    worker.prints("muster_worker:1#h\nmore\n");
    worker.ends();
    ASSERT_EQ(future.wait_for(deadline), std::future_status::ready);
    shown.settle();
  }
}

TEST(WorkerOutput, ClosesItsDescriptorsAndCallsNothingOnceDestroyed) {
  for (int round = 0; round < 100; ++round) {
    Shown shown;
    FakeWorker worker;
    const int fd = worker.output_read.get();
    std::atomic<bool> alive = true;
    auto output = std::make_unique<WorkerOutput>(
        shown.steward, shown.printer, std::move(worker.output_read), std::move(worker.error_read),
        WorkerOutput::Callbacks{[&](const StartupOutput&) { EXPECT_TRUE(alive); }, [&] { EXPECT_TRUE(alive); }});
    worker.prints("muster_worker:1#h\n");
    if (round % 2 == 0) worker.ends();
    if (round % 3 == 0) output->finish([&] { EXPECT_TRUE(alive); });
    output.reset();
    alive = false;
    shown.settle();
    EXPECT_LT(::fcntl(fd, F_GETFD), 0);
  }
}

TEST(OutputPrinter, TheHookReplacesTheWholeLine) {
  Collector output, error;
  OutputPrinter printer(
      [](Pid pid, std::string_view line) {
        if (line == "hide") return std::string();
        return "<" + std::to_string(pid) + "|" + std::string(line) + ">";
      },
      output.fd(), error.fd());
  printer.print(2, OutputPrinter::Stream::output, "one");
  printer.print(3, OutputPrinter::Stream::error, "two");
  printer.print(3, OutputPrinter::Stream::output, "hide");
  printer.print(std::nullopt, OutputPrinter::Stream::output, "early");
  EXPECT_THAT(output.lines(), ElementsAre("<2|one>", "\tFrom worker startup:\tearly"));
  EXPECT_THAT(error.lines(), ElementsAre("<3|two>"));
}

// catalogue: 308
TEST(OutputPrinter, AHookThatThrowsLeavesTheUsualPrefix) {
  Collector output;
  OutputPrinter printer(
      [](Pid pid, std::string_view) -> std::string {
        if (pid == 2) throw std::runtime_error("on purpose");
        throw 7;
      },
      output.fd(), output.fd());
  printer.print(2, OutputPrinter::Stream::output, "one");
  printer.print(3, OutputPrinter::Stream::output, "two");
  EXPECT_THAT(output.lines(), ElementsAre("      From worker 2:\tone", "      From worker 3:\ttwo"));
}

// catalogue: 307
TEST(OutputPrinter, PrefixesARelayedLineOnce) {
  Collector output;
  OutputPrinter printer({}, output.fd(), output.fd());
  printer.print(2, OutputPrinter::Stream::output, "      From worker 7:\tdeep");
  printer.print(2, OutputPrinter::Stream::output, "");
  EXPECT_THAT(output.lines(), ElementsAre("      From worker 7:\tdeep", "      From worker 2:\t"));
}

TEST(OutputPrinter, WaitsWhereTheOutputIsNonBlockingAndGivesUpWhereItIsClosed) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  OutputPrinter printer([](Pid, std::string_view) { return std::string(1 << 20, 'x'); }, write_end.get(), -1);
  auto printed = std::async(std::launch::async, [&] { printer.print(2, OutputPrinter::Stream::output, "big"); });
  ASSERT_EQ(::fcntl(read_end.get(), F_SETFL, 0), 0);
  std::size_t total = 0;
  char buffer[4096];
  while (total < (1 << 20) + 1) {
    const ssize_t count = ::read(read_end.get(), buffer, sizeof buffer);
    ASSERT_GT(count, 0);
    total += static_cast<std::size_t>(count);
  }
  ASSERT_EQ(printed.wait_for(deadline), std::future_status::ready);
  printer.print(2, OutputPrinter::Stream::error, "nobody can see this");
}

TEST(StandardError, IsTakenOutOfAConfigurationOnce) {
  WorkerConfig config;
  EXPECT_FALSE(take_standard_error(config));
  config.userdata = 7;
  EXPECT_FALSE(take_standard_error(config)) << "a manager's own data";
  config.userdata = StandardError{};
  EXPECT_FALSE(take_standard_error(config));
  UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = fd.get();
  config.userdata = StandardError{std::make_shared<UniqueFd>(std::move(fd))};
  const UniqueFd taken = take_standard_error(config);
  EXPECT_EQ(taken.get(), number);
  EXPECT_FALSE(take_standard_error(config));
}

}  // namespace
}  // namespace muster::runtime
