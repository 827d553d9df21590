#include "runtime/base/demangle.hpp"
#include "runtime/base/failure.hpp"

#include <muster/errors.hpp>
#include <muster/ids.hpp>

#include <gtest/gtest.h>

#include <any>
#include <csignal>
#include <ios>
#include <sstream>

namespace {

using namespace muster;

WorkerExit killed_worker() {
  return {.pid = 3,
          .host = "h",
          .expected = false,
          .exit_status = {},
          .signal = SIGKILL,
          .last_output = "out\n",
          .calls_in_flight = 2};
}

TEST(WorkerExit, SaysWhoHowOutputAndCalls) {
  EXPECT_EQ(killed_worker().describe(),
            "worker 3 on host h was ended by signal 9 (SIGKILL: killed, perhaps by the out-of-memory killer); its last "
            "output: "
            "out; 2 calls were in flight");
}

TEST(WorkerExit, SaysExitStatus) {
  const WorkerExit exit{
      .pid = 4, .host = {}, .expected = false, .exit_status = 7, .signal = {}, .last_output = {}, .calls_in_flight = 1};
  EXPECT_EQ(exit.describe(), "worker 4 exited with status 7; 1 call was in flight");
}

TEST(WorkerExit, SaysTheCause) {
  WorkerExit exit = killed_worker();
  exit.cause = "job 7 ran out of memory";
  EXPECT_NE(exit.describe().find("out-of-memory killer): job 7 ran out of memory; its last output"), std::string::npos)
      << exit.describe();
  WorkerExit lost;
  lost.pid = 5;
  lost.host = "far";
  lost.cause = "job 7 reached its time limit";
  EXPECT_EQ(lost.describe(), "worker 5 on host far is gone: job 7 reached its time limit");
}

TEST(WorkerExit, SaysWhatIsNotKnown) {
  EXPECT_EQ((WorkerExit{.pid = 5,
                        .host = "far",
                        .expected = false,
                        .exit_status = {},
                        .signal = {},
                        .last_output = {},
                        .calls_in_flight = 0}
                 .describe()),
            "worker 5 on host far is gone: its connection was lost, and how it ended is not known");
  EXPECT_EQ((WorkerExit{.pid = 5,
                        .host = "far",
                        .expected = true,
                        .exit_status = {},
                        .signal = {},
                        .last_output = {},
                        .calls_in_flight = 0}
                 .describe()),
            "worker 5 on host far has left, as it was asked to");
  EXPECT_EQ((WorkerExit{.pid = 5,
                        .host = "far",
                        .expected = true,
                        .exit_status = 0,
                        .signal = {},
                        .last_output = {},
                        .calls_in_flight = 0}
                 .describe()),
            "worker 5 on host far exited with status 0, as it was asked to leave");
}

TEST(WorkerExit, ShowsSeveralLinesBelow) {
  WorkerExit exit = killed_worker();
  exit.signal = SIGSEGV;
  exit.last_output = "one\ntwo\n";
  EXPECT_EQ(
      exit.describe(),
      "worker 3 on host h was ended by signal 11 (SIGSEGV: it used memory that is not its own); its last output:\n"
      "    one\n    two\n2 calls were in flight");
}

TEST(ProcessExitedException, KeepsTheExit) {
  const ProcessExitedException error(killed_worker());
  EXPECT_EQ(error.pid(), 3);
  EXPECT_EQ(error.exit().signal, SIGKILL);
  EXPECT_EQ(error.what(), killed_worker().describe());
}

// catalogue: 196
TEST(CompositeException, ShowsTheFirstAndCountsTheRest) {
  const auto first = std::make_exception_ptr(std::out_of_range("first"));
  const auto second = std::make_exception_ptr(42);
  EXPECT_STREQ(CompositeException({first}).what(), "first");
  const CompositeException error({first, second, second});
  EXPECT_STREQ(error.what(), "first\n...and 2 more exceptions.");
  EXPECT_EQ(error.exceptions().size(), 3U);
  EXPECT_STREQ(CompositeException({second}).what(), "int");
  EXPECT_STREQ(CompositeException({nullptr}).what(), "no exception");
}

TEST(LaunchError, ListsEachFailure) {
  LaunchFailure exited{.where = "node1",
                       .cause = LaunchCause::exited,
                       .exit_status = 127,
                       .signal = {},
                       .output = "sh: not found\n",
                       .message = {},
                       .error = nullptr};
  LaunchFailure refused{.where = "node2",
                        .cause = LaunchCause::handshake,
                        .exit_status = {},
                        .signal = {},
                        .output = {},
                        .message = {},
                        .error = std::make_exception_ptr(AuthError("another cookie"))};
  const LaunchError error({exited, refused}, {2, 5});
  EXPECT_STREQ(
      error.what(),
      "2 workers could not be started (2 joined and stay: 2, 5):\n"
      "  node1: it ended before it said where it listens; it exited with status 127; its output: sh: not found\n"
      "  node2: it was not admitted; another cookie");
  EXPECT_EQ(error.failures().size(), 2U);
  EXPECT_EQ(error.joined(), (std::vector<Pid>{2, 5}));
}

TEST(LaunchError, SaysNothingTwice) {
  LaunchFailure exited{.where = "node1",
                       .cause = LaunchCause::exited,
                       .exit_status = 127,
                       .signal = {},
                       .output = "sh: not found\n",
                       .message = "worker 2 exited with status 127; its last output: sh: not found",
                       .error = nullptr};
  EXPECT_STREQ(
      LaunchError({exited}, {}).what(),
      "1 worker could not be started:\n  node1: it ended before it said where it listens; worker 2 exited with "
      "status 127; its last output: sh: not found");
}

TEST(RemoteException, NamesProcessTypeAndText) {
  auto failure = std::make_shared<detail::RemoteFailure>();
  failure->pid = 3;
  failure->type_name = "std::out_of_range";
  failure->message = "message";
  failure->backtrace = "  at f (a.cpp:1)";
  EXPECT_STREQ(RemoteException(failure).what(), "On worker 3: std::out_of_range: message\n  at f (a.cpp:1)");
  failure->pid = 1;
  failure->backtrace.clear();
  EXPECT_STREQ(RemoteException(failure).what(), "On worker 1: std::out_of_range: message");
  failure->message.clear();
  failure->type_name = "int";
  EXPECT_STREQ(RemoteException(failure).what(), "On worker 1: int");
}

TEST(RemoteRefId, IsWrittenAsTwoNumbers) {
  std::ostringstream out;
  out << RemoteRefId{.creator = 2, .number = 17};
  EXPECT_EQ(out.str(), "2:17");
}

TEST(Demangle, GivesNamesAsUsersWriteThem) {
  using runtime::readable_name;
  EXPECT_EQ(readable_name(typeid(int)), "int");
  EXPECT_EQ(readable_name(typeid(std::string)), "std::string");
  EXPECT_EQ(readable_name(typeid(const char*)), "const char*");
  EXPECT_EQ(readable_name(typeid(std::out_of_range)), "std::out_of_range");
  EXPECT_EQ(readable_name(typeid(std::ios_base::failure)), "std::ios_base::failure");
  EXPECT_EQ(readable_name(typeid(muster::TimeoutError)), "muster::TimeoutError");
  EXPECT_EQ(runtime::demangled("no mangled name"), "no mangled name");
}

// Classes to catch: public, private, ambiguous and virtual bases.
struct Top {
  virtual ~Top() = default;
};
struct Left : Top {};
struct Right : Top {};
struct Diamond : Left, Right {};
struct VirtualLeft : virtual Top {};
struct VirtualRight : virtual Top {};
struct VirtualDiamond : VirtualLeft, VirtualRight {};
struct Hidden : private Top {};
struct HalfHidden : private VirtualLeft, public VirtualRight {};
struct BelowHidden : Hidden {};

template <class Thrown, class Caught>
bool really_caught() {
  try {
    throw Thrown();
  } catch (const Caught&) {
    return true;
  } catch (...) {
    return false;
  }
}

template <class Thrown, class Caught>
void expect_same() {
  const auto names = runtime::caught_as(typeid(Thrown));
  const bool said = std::find(names.begin(), names.end(), typeid(Caught).name()) != names.end();
  EXPECT_EQ(said, (really_caught<Thrown, Caught>())) << typeid(Thrown).name() << " as " << typeid(Caught).name();
}

template <class Thrown, class... Caught>
void expect_all_same() {
  (expect_same<Thrown, Caught>(), ...);
}

template <class... All>
void expect_all_pairs_same() {
  (expect_all_same<All, All...>(), ...);
}

TEST(CaughtAs, AgreesWithTheCompilersCatch) {
  expect_all_pairs_same<Top, Left, Right, Diamond, VirtualLeft, VirtualRight, VirtualDiamond, Hidden, HalfHidden,
                        BelowHidden, int, std::string, std::exception>();
  EXPECT_FALSE((really_caught<Diamond, Top>()));
  EXPECT_TRUE((really_caught<VirtualDiamond, Top>()));
  EXPECT_TRUE((really_caught<HalfHidden, Top>()));
}

}  // namespace
