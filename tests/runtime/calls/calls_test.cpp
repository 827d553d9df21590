#include "runtime/calls/calls.hpp"

#include "tests/runtime/calls/process_pieces.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <future>
#include <numeric>

namespace muster::runtime {
namespace {

using namespace std::chrono_literals;
using detail::CorePointer;
using detail::FutureCore;
using detail::Payload;
using detail::Returns;
using detail::TaskRun;

using Body = std::function<void(TaskRun&)>;

/// What all calls of these tests run: a function of the test, since all processes are in this program.
void run_body(TaskRun& run) {
  const auto* const body = std::bit_cast<const Body*>(FieldReader(run.arguments().bytes.bytes()).u64());
  (*body)(run);
}

Payload naming(const Body& body) {
  Payload payload;
  FieldWriter(payload.bytes).u64(std::bit_cast<std::uint64_t>(&body));
  return payload;
}

Payload bytes(std::size_t count, int fill) {
  Payload payload;
  std::memset(payload.bytes.extend(count), fill, count);
  return payload;
}

constexpr std::size_t large = 100'000;  // stays where it is computed

/// Settled, with its value where that is wanted, in time.
bool settles(Calls& calls, const CorePointer& core, bool needs_value = true) {
  calls.pursue(core, needs_value);
  return calls.block_until_settled(core, needs_value, Clock::now() + patience);
}

class CallsTest : public testing::Test {
 protected:
  CallsTest() {
    for (const Pid pid : {1, 2, 3}) all[pid] = std::make_unique<PieceOfProcess>(hub, pid);
    at(1).connect(at(2));
    at(1).connect(at(3));
    at(2).connect(at(3));
  }

  PieceOfProcess& at(Pid pid) { return *all.at(pid); }
  Calls& calls(Pid pid) { return at(pid).calls(); }
  CorePointer start(Pid from, Pid to, const Body& body, Returns returns = Returns::small,
                    std::vector<CorePointer> handles = {}) {
    Payload payload = naming(body);
    for (auto& core : handles) {
      (void)core->prepare_to_send();
      payload.handles.push_back(core);
    }
    return calls(from).start(to, &run_body, std::move(payload), returns);
  }
  /// Whether nobody owes or keeps anything any more.
  bool nothing_left() {
    return eventually([this] {
      return std::all_of(all.begin(), all.end(), [](const auto& one) {
        return one.second->calls().values_owned() == 0 && one.second->calls().calls_in_flight() == 0;
      });
    });
  }

  MemoryHub hub;
  std::map<Pid, std::unique_ptr<PieceOfProcess>> all;
};

// -- calls ------------------------------------------------------------------------------------------------------------

TEST_F(CallsTest, ACallIsAnsweredWithItsValue) {
  const Body body = [](TaskRun& run) { run.complete(bytes(3, 7)); };
  for (const Pid to : {1, 2}) {
    const auto core = start(1, to, body);
    ASSERT_TRUE(settles(calls(1), core));
    EXPECT_EQ(core->state(), FutureCore::State::here);
    EXPECT_EQ(core->take_payload().bytes.size(), 3U);
  }
  EXPECT_TRUE(nothing_left());
}

TEST_F(CallsTest, AFailureComesBack) {
  const Body body = [](TaskRun&) { throw std::out_of_range("there"); };
  for (const Pid to : {1, 2}) {
    const auto core = start(1, to, body);
    ASSERT_TRUE(settles(calls(1), core));
    ASSERT_EQ(core->state(), FutureCore::State::failed);
    try {
      core->throw_failure();
    } catch (const RemoteException& error) {
      EXPECT_EQ(error.pid(), to);
      EXPECT_TRUE(error.is<std::out_of_range>());
    }
  }
  EXPECT_TRUE(nothing_left());
}

TEST_F(CallsTest, ALargeResultStaysUntilItIsWanted) {
  const Body body = [](TaskRun& run) { run.complete(bytes(large, 1)); };
  const auto core = start(1, 2, body);
  ASSERT_TRUE(settles(calls(1), core, false));
  EXPECT_EQ(core->state(), FutureCore::State::remote);
  EXPECT_EQ(calls(2).values_owned(), 1U);
  ASSERT_TRUE(settles(calls(1), core));
  EXPECT_EQ(core->take_payload().bytes.size(), large);
  EXPECT_TRUE(nothing_left());
}

TEST_F(CallsTest, ALargeResultThatNobodyWantsGoesWithItsHandle) {
  const Body body = [](TaskRun& run) { run.complete(bytes(large, 1)); };
  auto core = start(1, 2, body);
  ASSERT_TRUE(settles(calls(1), core, false));
  core.reset();
  EXPECT_TRUE(nothing_left());
}

TEST_F(CallsTest, AnUnknownProcessLeavesNothingBehind) {
  const Body body = [](TaskRun& run) { run.complete({}); };
  const auto promise = calls(1).make_promise(2);
  EXPECT_THROW((void)start(1, 9, body, Returns::small, {promise}), std::invalid_argument);
  EXPECT_EQ(calls(1).calls_in_flight(), 0U);
  EXPECT_EQ(calls(2).values_owned(), 0U);
}

TEST_F(CallsTest, CancelBeforeAndWhileItRuns) {
  std::promise<void> begun;
  const Body waits = [&](TaskRun& run) {
    begun.set_value();
    while (current_task()->stop_reason() == StopReason::none) std::this_thread::yield();
    run.complete(bytes(large, 2));  // too late: nobody wants it
  };
  std::atomic<bool> ran = false;
  const Body never = [&](TaskRun& run) {
    ran = true;
    run.complete({});
  };
  const auto running = start(1, 2, waits);
  begun.get_future().wait();
  const auto queued = start(1, 2, never);
  EXPECT_TRUE(calls(1).cancel(queued));
  EXPECT_TRUE(calls(1).cancel(running));
  EXPECT_FALSE(calls(1).cancel(running));
  for (const auto& core : {queued, running}) EXPECT_THROW(core->throw_failure(), CancelledError);
  EXPECT_TRUE(nothing_left());
  const Body next = [](TaskRun& run) { run.complete({}); };
  EXPECT_TRUE(settles(calls(1), start(1, 2, next)));
  EXPECT_FALSE(ran);
}

TEST_F(CallsTest, AWithdrawalIsAnsweredBeforeItsTaskFails) {
  std::promise<void> begun;
  const Body waits = [&](TaskRun& run) {
    begun.set_value();
    while (current_task()->stop_reason() == StopReason::none) std::this_thread::yield();
    run.complete({});
  };
  const Body never = [](TaskRun& run) { run.complete({}); };
  const auto running = start(1, 2, waits);
  begun.get_future().wait();
  const auto queued = start(1, 2, never);
  std::atomic<bool> answered = false, answered_first = false;
  queued->when_settled(false, [&] { answered_first = answered.load(); });
  const auto withdrawal = calls(1).withdraw(queued);
  withdrawal->when_settled(false, [&] { answered = true; });
  EXPECT_TRUE(settles(calls(1), queued));
  EXPECT_TRUE(answered_first) << "a process that dies between the two would leave a failure that is none of the task's";
  EXPECT_THROW(queued->throw_failure(), CancelledError);
  EXPECT_EQ(withdrawal->take_payload().bytes.size(), 1u);
  const auto too_late = calls(1).withdraw(running);
  EXPECT_TRUE(settles(calls(1), too_late));
  EXPECT_EQ(too_late->take_payload().bytes.size(), 0u);
  EXPECT_TRUE(calls(1).cancel(running));
}

TEST_F(CallsTest, AProcessThatDiesFailsWhatWaitsForIt) {
  static const Body forever = [](TaskRun&) {  // it may start when this test is over
    while (current_task()->stop_reason() == StopReason::none) std::this_thread::yield();
  };
  const auto call = start(1, 2, forever);
  const auto promise = calls(1).make_promise(2);
  calls(1).pursue(promise, true);
  EXPECT_EQ(calls(1).calls_in_flight(2), 2U);
  at(1).lose(2);
  EXPECT_TRUE(settles(calls(1), call));
  EXPECT_THROW(call->throw_failure(), ProcessExitedException);
  EXPECT_TRUE(settles(calls(1), promise));
  EXPECT_THROW(promise->throw_failure(), ProcessExitedException);
  EXPECT_THROW((void)start(1, 2, forever), ProcessExitedException);
  const auto later = calls(1).make_promise(2);
  EXPECT_TRUE(settles(calls(1), later));
  EXPECT_THROW(later->throw_failure(), ProcessExitedException);
  EXPECT_EQ(calls(1).calls_in_flight(), 0U);
  calls(2).interrupt_here();
}

TEST_F(CallsTest, SpawnPassesOverAProcessThatJustDied) {
  calls(1).worker_joined(2);
  calls(1).worker_joined(3);
  static const Body body = [](TaskRun& run) { run.complete({}); };
  // The router knows of the death before the calls do.
  std::thread death([&] { at(1).lose(2); });
  for (int i = 0; i < 50; ++i) {
    const auto core = start(1, detail::any_process, body);
    EXPECT_TRUE(settles(calls(1), core));
  }
  death.join();
}

// -- values filled by hand --------------------------------------------------------------------------------------------

TEST_F(CallsTest, PromisesAreFilledOnce) {
  for (const Pid where : {1, 2}) {
    const auto promise = calls(1).make_promise(where);
    EXPECT_FALSE(calls(1).is_ready(promise));
    EXPECT_EQ(calls(where).values_owned(), 1U);
    calls(1).fulfil(promise, bytes(2, 1));
    EXPECT_THROW(calls(1).fulfil(promise, bytes(2, 1)), std::future_error);
    EXPECT_TRUE(nothing_left());
  }
}

TEST_F(CallsTest, HandlesInARefusedValueAreDestroyedWithoutHarm) {
  // A second put is refused by the owner, who then drops what came with it: handles, whose release needs the owner's
  // lock.
  const auto inner = calls(1).make_promise(2);
  const auto promise = calls(1).make_promise(2);
  const Body fill = [&](TaskRun& run) {
    EXPECT_EQ(run.arguments().handles.size(), 1U);
    const auto here = std::dynamic_pointer_cast<FutureCore>(run.arguments().handles.at(0));
    calls(2).fulfil(here, bytes(1, 1));
    run.complete({});
  };
  ASSERT_TRUE(settles(calls(1), start(1, 2, fill, Returns::small, {promise})));
  Payload value = bytes(1, 2);
  value.handles.push_back(inner);
  EXPECT_THROW(calls(1).fulfil(promise, std::move(value)), std::future_error);
  EXPECT_FALSE(calls(1).is_ready(inner));
}

TEST_F(CallsTest, WhoGivesUpWaitingLeavesNothing) {
  for (const Pid where : {1, 2}) {
    auto promise = calls(1).make_promise(where);
    calls(1).pursue(promise, true);
    EXPECT_FALSE(calls(1).block_until_settled(promise, true, Clock::now() + 1ms));
    promise.reset();
    EXPECT_TRUE(nothing_left());
  }
}

// -- handles sent before the answer came: every order -----------------------------------------------------------------

/// Process 1 starts a task on 2 and, while it is pending, sends its future to 3, which fetches it. What travels is held
/// back and let in in one order out of all.
class Orders : public CallsTest {
 protected:
  void one_order(const std::vector<int>& order, std::size_t size, bool fails, bool dropped) {
    std::promise<void> begun, go;
    const auto gate = go.get_future().share();
    const Body task = [&](TaskRun& run) {
      begun.set_value();
      gate.wait();
      if (fails) throw std::out_of_range("task");
      run.complete(bytes(size, 5));
    };
    std::promise<CorePointer> arrived;
    const Body takes = [&](TaskRun& run) {
      arrived.set_value(std::dynamic_pointer_cast<FutureCore>(run.arguments().handles.at(0)));
      run.arguments_done();
      run.complete({});
    };
    auto core = start(1, 2, task);
    begun.get_future().wait();
    at(2).hold(1);
    at(2).hold(3);
    at(1).hold(2);
    const auto sent = start(1, 3, takes, Returns::small, {core});
    auto there = arrived.get_future().get();
    calls(3).pursue(there, true);
    at(2).wait_outside(1, 1);  // the word that 3 wants it
    at(2).wait_outside(3, 1);  // the request
    ASSERT_TRUE(settles(calls(1), sent));
    if (dropped) core.reset();
    for (const int step : order) {
      if (step == 0) at(2).let_in(1);
      if (step == 1) at(2).let_in(3);
      if (step == 2) {
        const std::size_t before = at(1).outside(2);
        go.set_value();
        if (at(1).holds(2)) at(1).wait_outside(2, before + 1);
      }
      if (step == 3) at(1).let_in(2);
    }
    ASSERT_TRUE(settles(calls(3), there));
    EXPECT_EQ(there->state(), fails ? FutureCore::State::failed : FutureCore::State::here);
    if (!fails) {
      EXPECT_EQ(there->take_payload().bytes.size(), size);
    }
    if (core) {
      ASSERT_TRUE(settles(calls(1), core));
      EXPECT_EQ(core->state(), fails ? FutureCore::State::failed : FutureCore::State::here);
    }
    core.reset();
    there.reset();
    EXPECT_TRUE(nothing_left());
  }
};

TEST_F(Orders, AllOfThem) {
  std::vector<int> order{0, 1, 2, 3};
  do {
    for (const std::size_t size : {std::size_t{4}, large})
      for (const bool fails : {false, true})
        for (const bool dropped : {false, true}) {
          SCOPED_TRACE(testing::PrintToString(order) + " size " + std::to_string(size) + (fails ? " fails" : "") +
                       (dropped ? " dropped" : ""));
          one_order(order, size, fails, dropped);
          if (HasFatalFailure()) return;
        }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(CallsTest, AHandleThatComesBackWhileItsLastCopyGoes) {
  // The count of a handle that arrives must survive the one that is just being destroyed.
  const Body keep = [](TaskRun& run) { run.complete({}); };
  const Body result = [](TaskRun& run) { run.complete(bytes(large, 1)); };
  auto stored = start(1, 2, result);
  ASSERT_TRUE(settles(calls(1), stored, false));
  std::vector<CorePointer> answers;
  for (int i = 0; i < 500; ++i) answers.push_back(start(1, 3, keep, Returns::small, {stored}));
  for (const auto& answer : answers) ASSERT_TRUE(settles(calls(1), answer));
  EXPECT_EQ(calls(2).values_owned(), 1U);
  ASSERT_TRUE(settles(calls(1), stored));
  stored.reset();  // it was sent on, and may be again: until it goes, its value stays
  EXPECT_TRUE(nothing_left());
}

TEST_F(CallsTest, TheCreatorDiesBeforeItsTaskEnds) {
  std::promise<void> go;
  const auto gate = go.get_future().share();
  const Body task = [&](TaskRun& run) {
    gate.wait();
    run.complete(bytes(large, 1));
  };
  std::promise<CorePointer> arrived;
  const Body takes = [&](TaskRun& run) {
    arrived.set_value(std::dynamic_pointer_cast<FutureCore>(run.arguments().handles.at(0)));
    run.arguments_done();
    run.complete({});
  };
  const auto core = start(1, 2, task);
  ASSERT_TRUE(settles(calls(1), start(1, 3, takes, Returns::small, {core})));
  auto there = arrived.get_future().get();
  ASSERT_TRUE(eventually([&] { return calls(2).values_owned() == 1; }));
  at(2).lose(1);
  at(3).lose(1);
  go.set_value();
  ASSERT_TRUE(settles(calls(3), there));
  EXPECT_EQ(there->take_payload().bytes.size(), large);
  there.reset();
  EXPECT_TRUE(eventually([&] { return calls(2).values_owned() == 0 && calls(3).values_owned() == 0; }));
}

// The promise's count for its new holder is lost with its creator: who waits for it hears that nobody keeps it.
TEST_F(CallsTest, AValueThatNobodyHoldsIsNotWaitedFor) {
  std::promise<CorePointer> arrived;
  const Body takes = [&](TaskRun& run) {
    arrived.set_value(std::dynamic_pointer_cast<FutureCore>(run.arguments().handles.at(0)));
    run.arguments_done();
    run.complete({});
  };
  at(2).hold(1);
  const auto promise = calls(1).make_promise(2);
  ASSERT_TRUE(settles(calls(1), start(1, 3, takes, Returns::small, {promise})));
  auto there = arrived.get_future().get();
  at(2).lose(1);
  at(3).lose(1);
  ASSERT_TRUE(settles(calls(3), there));
  EXPECT_THROW(there->throw_failure(), Error);
  there.reset();
  EXPECT_TRUE(eventually([&] { return calls(2).values_owned() == 0 && calls(3).values_owned() == 0; }));
}

// -- hostile messages -------------------------------------------------------------------------------------------------

TEST_F(CallsTest, MessagesThatMakeNoSenseCloseTheirPeer) {
  struct Nonsense {
    const char* name;
    Header header;
    Payload payload;
  };
  const auto reference = [](RemoteRefId ref) {
    Payload payload;
    FieldWriter(payload.bytes).reference(ref);
    return payload;
  };
  std::vector<Nonsense> all_nonsense;
  all_nonsense.push_back({"a call of no function", {.kind = MessageKind::call, .code = 77, .number = 1}, {}});
  all_nonsense.push_back({"an unknown wish", {.kind = MessageKind::call, .flags = 9, .code = 0, .number = 1}, {}});
  all_nonsense.push_back({"a function out of turn", {.kind = MessageKind::define_code, .code = 5}, bytes(16, 0)});
  all_nonsense.push_back({"half a function", {.kind = MessageKind::define_code, .code = 0}, bytes(3, 0)});
  all_nonsense.push_back({"a failure of no bytes", {.kind = MessageKind::reply_failure, .number = 1}, {}});
  all_nonsense.push_back(
      {"an unknown request", {.kind = MessageKind::reference_request, .code = 99}, reference({1, 1})});
  all_nonsense.push_back({"a request about nothing", {.kind = MessageKind::reference_request, .code = 1}, {}});
  all_nonsense.push_back({"more notes than bytes", {.kind = MessageKind::reference_notes, .code = 1000}, bytes(25, 0)});
  all_nonsense.push_back({"an unknown note", {.kind = MessageKind::reference_notes, .code = 1}, bytes(25, 9)});
  all_nonsense.push_back({"half a question", {.kind = MessageKind::reference_question}, bytes(1, 0)});
  all_nonsense.push_back({"half a retain", {.kind = MessageKind::retain, .number = 1}, {}});
  all_nonsense.push_back({"a value of somebody else's task", {.kind = MessageKind::fill}, reference({3, 1})});
  all_nonsense.push_back({"a fill of nothing", {.kind = MessageKind::fill}, {}});
  all_nonsense.push_back({"a request about no channel", {.kind = MessageKind::channel_request, .code = 3}, {}});
  all_nonsense.push_back(
      {"an unknown operation", {.kind = MessageKind::channel_request, .code = 9}, reference({8, 1})});
  all_nonsense.push_back(
      {"unknown flags", {.kind = MessageKind::channel_request, .flags = 2, .code = 3}, reference({8, 1})});
  all_nonsense.push_back(
      {"a channel in another's name", {.kind = MessageKind::channel_request, .code = 1}, reference({1, 1})});
  all_nonsense.push_back(
      {"a channel without a capacity", {.kind = MessageKind::channel_request, .code = 1}, reference({8, 1})});
  all_nonsense.push_back({"an unknown word", {.kind = MessageKind::channel_word, .code = 5}, reference({8, 1})});
  all_nonsense.push_back({"an unknown notice", {.kind = MessageKind::channel_notice, .code = 3}, reference({8, 1})});
  all_nonsense.push_back(
      {"too many places", {.kind = MessageKind::channel_notice, .code = 1, .number = 1U << 30U}, reference({8, 1})});
  all_nonsense.push_back({"a word about nothing", {.kind = MessageKind::channel_word, .code = 1}, {}});
  for (auto& one : all_nonsense) {
    SCOPED_TRACE(one.name);
    PieceOfProcess hostile(hub, 8);
    hostile.connect(at(2));
    hostile.transport().send(*hostile.link_with(2), one.header, std::move(one.payload));
    EXPECT_NE(at(2).reason_of_loss(8).find("invalid"), std::string::npos);
    at(2).lose(8);
    // Everybody else goes on.
    const Body body = [](TaskRun& run) { run.complete({}); };
    EXPECT_TRUE(settles(calls(1), start(1, 2, body)));
    all.erase(2);
    all[2] = std::make_unique<PieceOfProcess>(hub, 2);
    at(1).connect(at(2));
  }
}

TEST_F(CallsTest, AnswersFromSomebodyElseCloseTheirPeer) {
  std::promise<void> go;
  const auto gate = go.get_future().share();
  const Body task = [&](TaskRun& run) {
    gate.wait();
    run.complete(bytes(1, 1));
  };
  const auto core = start(1, 2, task);
  PieceOfProcess hostile(hub, 8);
  hostile.connect(at(1));
  hostile.transport().send(*hostile.link_with(1), {.kind = MessageKind::reply_value, .number = core->id().number},
                           bytes(1, 66));
  EXPECT_NE(at(1).reason_of_loss(8).find("answers a call"), std::string::npos);
  EXPECT_EQ(core->state(), FutureCore::State::pending);
  go.set_value();
  ASSERT_TRUE(settles(calls(1), core));
  EXPECT_EQ(core->take_payload().bytes.data()[0], std::byte{1});
}

}  // namespace
}  // namespace muster::runtime
