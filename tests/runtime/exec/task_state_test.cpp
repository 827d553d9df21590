#include "runtime/exec/task_state.hpp"

#include "tests/runtime/exec/scripted_source.hpp"

#include <muster/errors.hpp>

#include <gtest/gtest.h>

#include <atomic>

namespace muster::runtime {
namespace {

TEST(TaskState, TheFirstReasonStays) {
  const auto task = std::make_shared<OwnedTask>();
  EXPECT_EQ(task->stop_reason(), StopReason::none);
  EXPECT_NO_THROW(task->check());
  task->request_stop(StopReason::interrupted);
  task->request_stop(StopReason::cancelled);
  EXPECT_EQ(task->stop_reason(), StopReason::interrupted);
  EXPECT_THROW(task->check(), InterruptedError);
  const auto other = std::make_shared<OwnedTask>();
  other->request_stop(StopReason::cancelled);
  EXPECT_THROW(other->check(), CancelledError);
}

TEST(TaskState, TokensFollow) {
  const auto task = std::make_shared<OwnedTask>();
  const auto token = task->stop_token();
  EXPECT_TRUE(token.stop_possible());
  EXPECT_FALSE(token.stop_requested());
  task->request_stop(StopReason::cancelled);
  EXPECT_TRUE(token.stop_requested());
  EXPECT_TRUE(task->stop_token().stop_requested());
  const auto late = std::make_shared<OwnedTask>();
  late->request_stop(StopReason::cancelled);
  EXPECT_TRUE(late->stop_token().stop_requested());
}

TEST(TaskState, AllWhoWatchAreTold) {
  const auto task = std::make_shared<OwnedTask>();
  int told = 0;
  const auto first = task->on_stop([&] { told += 1; });
  const auto second = task->on_stop([&] { told += 10; });
  const auto third = task->on_stop([&] { told += 100; });
  task->clear_on_stop(second);
  task->request_stop(StopReason::cancelled);
  EXPECT_EQ(told, 101);
  task->clear_on_stop(first);
  task->clear_on_stop(third);
  task->clear_on_stop(third);  // again does no harm
  const auto late = task->on_stop([&] { told += 1000; });
  EXPECT_EQ(told, 1101);
  task->clear_on_stop(late);
}

TEST(TaskState, NobodyIsToldAfterClear) {
  for (int round = 0; round < 200; ++round) {
    const auto task = std::make_shared<OwnedTask>();
    std::atomic<bool> cleared = false, late = false;
    const auto watch = task->on_stop([&] { late = late || cleared; });
    std::thread stopper([&] { task->request_stop(StopReason::cancelled); });
    task->clear_on_stop(watch);
    cleared = true;
    stopper.join();
    ASSERT_FALSE(late);
  }
}

TEST(TaskState, AWatchMayUseTheTaskAndEndItself) {
  const auto task = std::make_shared<OwnedTask>();
  TaskState::StopWatch watch = 0;
  bool told = false;
  watch = task->on_stop([&] {
    task->clear_on_stop(watch);  // by the thread that runs it: not waited for
    told = task->stop_token().stop_requested();
    task->clear_on_stop(task->on_stop([] {}));
  });
  task->request_stop(StopReason::cancelled);
  EXPECT_TRUE(told);
}

TEST(TaskState, AWatchMayOwnTheTask) {
  std::weak_ptr<OwnedTask> gone;
  {
    auto task = std::make_shared<OwnedTask>();
    gone = task;
    OwnedTask& state = *task;
    const auto watch = state.on_stop([task = std::move(task)] {});
    const auto kept = state.shared_state();
    state.clear_on_stop(watch);
  }
  EXPECT_TRUE(gone.expired());
}

}  // namespace
}  // namespace muster::runtime
