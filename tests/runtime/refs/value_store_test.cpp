#include "runtime/refs/value_store.hpp"

#include <gtest/gtest.h>

namespace muster::runtime {
namespace {

using What = Answer::What;
using Operation = ReferenceOperation;

std::shared_ptr<const StoredResult> value(const char* text) {
  auto result = std::make_shared<StoredResult>();
  result->value.bytes.append(text, std::char_traits<char>::length(text));
  return result;
}

std::shared_ptr<const StoredResult> failure() {
  auto result = std::make_shared<StoredResult>();
  result->failed = true;
  result->failure.resize(3);
  return result;
}

/// A store at process 2, whose references process 1 creates.
class ValueStoreTest : public testing::Test {
 protected:
  std::vector<Answer> ask(Asker asker, Operation operation, std::shared_ptr<const StoredResult> put = nullptr) {
    std::vector<Answer> answers;
    store.request(asker, operation, ref, std::move(put), answers);
    return answers;
  }
  std::vector<Answer> fill(std::shared_ptr<const StoredResult> result) {
    std::vector<Answer> answers;
    store.store(ref, std::move(result), answers);
    return answers;
  }
  void note(RefNote::Kind kind, Pid holder, Pid sender) {
    store.apply({.kind = kind, .ref = ref, .holder = holder, .count = 1, .sender = sender});
  }
  std::size_t collect() {
    gone.clear();
    return store.collect(gone).results.size();
  }
  static What only(const std::vector<Answer>& answers) {
    EXPECT_EQ(answers.size(), 1U);
    return answers.at(0).what;
  }

  const RemoteRefId ref{1, 7};
  ValueStore store;
  std::vector<Answer> gone;
};

TEST_F(ValueStoreTest, AStoredResultIsGivenAndFreed) {
  EXPECT_TRUE(fill(value("x")).empty());
  EXPECT_EQ(store.size(), 1U);
  const auto answers = ask({3, 1}, Operation::fetch);
  EXPECT_EQ(only(answers), What::value);
  EXPECT_EQ(answers[0].to.pid, 3);
  EXPECT_EQ(answers[0].to.number, 1U);
  EXPECT_EQ(answers[0].result->value.bytes.size(), 1U);
  EXPECT_EQ(only(ask({1, 2}, Operation::wait)), What::ready);
  EXPECT_EQ(only(ask({1, 3}, Operation::is_ready)), What::yes);
  EXPECT_EQ(only(ask({1, 4}, Operation::put, value("y"))), What::already_set);
  EXPECT_EQ(only(ask({1, 5}, Operation::cancel)), What::no);
  EXPECT_EQ(collect(), 0U);
  note(RefNote::Kind::release, 1, 1);
  EXPECT_EQ(collect(), 1U);
  EXPECT_EQ(store.size(), 0U);
}

TEST_F(ValueStoreTest, WhoWaitsIsAnswered) {
  EXPECT_TRUE(ask({1, 1}, Operation::fetch).empty());
  EXPECT_TRUE(ask({3, 2}, Operation::wait).empty());
  EXPECT_EQ(only(ask({3, 3}, Operation::is_ready)), What::no);
  const auto answers = ask({4, 4}, Operation::put, value("put"));
  ASSERT_EQ(answers.size(), 3U);
  EXPECT_EQ(answers[0].what, What::yes);
  EXPECT_EQ(answers[1].what, What::value);
  EXPECT_EQ(answers[2].what, What::ready);
}

TEST_F(ValueStoreTest, FailuresAreGivenToAll) {
  store.expect(ref);
  EXPECT_TRUE(ask({1, 1}, Operation::fetch).empty());
  EXPECT_TRUE(ask({3, 2}, Operation::wait).empty());
  EXPECT_EQ(only(ask({3, 3}, Operation::put, value("no"))), What::already_set) << "a task's";
  const auto answers = fill(failure());
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[0].what, What::failure);
  EXPECT_EQ(answers[1].what, What::failure);
}

TEST_F(ValueStoreTest, TheFirstResultStays) {
  fill(value("a"));
  fill(value("bc"));
  EXPECT_EQ(ask({1, 1}, Operation::fetch)[0].result->value.bytes.size(), 1U);
}

TEST_F(ValueStoreTest, RetainSaysWhetherATaskIsHere) {
  EXPECT_FALSE(store.retain(ref)) << "unknown: its creator has to fill it";
  EXPECT_EQ(store.size(), 1U);
  EXPECT_EQ(only(ask({3, 3}, Operation::put, value("no"))), What::already_set);
  const RemoteRefId running{1, 8}, done{1, 9};
  store.expect(running);
  EXPECT_TRUE(store.retain(running));
  std::vector<Answer> answers;
  store.store(done, value("d"), answers);
  EXPECT_TRUE(store.retain(done));
}

TEST_F(ValueStoreTest, AnAddKeepsIt) {
  fill(value("x"));
  note(RefNote::Kind::add, 3, 1);
  note(RefNote::Kind::release, 1, 1);
  EXPECT_EQ(collect(), 0U);
  note(RefNote::Kind::release, 3, 1);
  EXPECT_EQ(collect(), 1U);
}

TEST_F(ValueStoreTest, AnAddMayComeBeforeAnythingElse) {
  note(RefNote::Kind::add, 3, 1);
  EXPECT_EQ(store.size(), 1U);
  EXPECT_TRUE(ask({3, 1}, Operation::fetch).empty());
  const auto answers = ask({1, 2}, Operation::put, value("v"));
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[0].what, What::yes);
  EXPECT_EQ(answers[1].to.pid, 3);
}

TEST_F(ValueStoreTest, WhoAskedAndLetGoIsToldThatItIsGone) {
  EXPECT_TRUE(ask({1, 5}, Operation::fetch).empty());
  note(RefNote::Kind::release, 1, 1);
  EXPECT_EQ(collect(), 1U);
  ASSERT_EQ(gone.size(), 1U);
  EXPECT_EQ(gone[0].what, What::gone);
  EXPECT_EQ(gone[0].to.number, 5U);
}

TEST_F(ValueStoreTest, ADeadCreatorsUnfilledSlotsFail) {
  EXPECT_FALSE(store.retain(ref));
  note(RefNote::Kind::add, 3, 1);
  EXPECT_TRUE(ask({3, 1}, Operation::fetch).empty());
  std::vector<Answer> answers;
  store.process_died(1, failure, answers);
  EXPECT_EQ(only(answers), What::failure);
  EXPECT_EQ(collect(), 0U) << "process 3 still holds it";
  // Its holder is asked what it really has; it has nothing more.
  const auto questions = store.take_questions();
  ASSERT_EQ(questions.size(), 1U);
  EXPECT_EQ(questions[0], (RefQuestion{.holder = 3, .sender = 1}));
  store.apply({.kind = RefNote::Kind::settle, .ref = {}, .holder = 3, .count = 1, .sender = 1});
  EXPECT_EQ(collect(), 1U);
}

TEST_F(ValueStoreTest, ADeadHoldersCountEnds) {
  fill(value("x"));
  note(RefNote::Kind::add, 3, 1);
  note(RefNote::Kind::release, 1, 1);
  std::vector<Answer> answers;
  store.process_died(3, failure, answers);
  EXPECT_TRUE(answers.empty());
  EXPECT_EQ(collect(), 1U);
}

TEST_F(ValueStoreTest, AResultForADeadCreatorAloneIsFreedAtOnce) {
  std::vector<Answer> answers;
  store.process_died(1, failure, answers);
  fill(value("late"));
  EXPECT_EQ(collect(), 1U);
  EXPECT_EQ(store.size(), 0U);
}

TEST_F(ValueStoreTest, ExpectedResultsOfADeadCreatorStillComeForOthers) {
  store.expect(ref);
  note(RefNote::Kind::add, 3, 1);
  EXPECT_TRUE(ask({3, 1}, Operation::fetch).empty());
  std::vector<Answer> answers;
  store.process_died(1, failure, answers);
  EXPECT_TRUE(answers.empty()) << "the task is here, and goes on";
  EXPECT_EQ(only(fill(value("v"))), What::value);
}

TEST_F(ValueStoreTest, AResultThatADeadCreatorsLostCallWouldHaveBroughtFails) {
  std::vector<Answer> answers;
  store.process_died(1, failure, answers);
  note(RefNote::Kind::add, 3, 2);  // passed on by another process, which still lives
  store.request({3, 1}, Operation::fetch, ref, nullptr, answers, true);
  EXPECT_EQ(only(answers), What::failure);
}

TEST_F(ValueStoreTest, ASlotThatWasAskedForAsATasksFailsWithItsCreator) {
  std::vector<Answer> answers;
  store.request({3, 1}, Operation::fetch, ref, nullptr, answers, true);
  EXPECT_TRUE(answers.empty());
  store.process_died(1, failure, answers);
  EXPECT_EQ(only(answers), What::failure);
}

TEST_F(ValueStoreTest, WhatOnlyACreatorOutOfReachCouldFillFails) {
  EXPECT_FALSE(store.retain(ref));
  EXPECT_TRUE(ask({3, 1}, Operation::wait).empty());
  std::vector<Answer> answers;
  store.creator_lost(1, failure, answers);
  EXPECT_EQ(only(answers), What::failure);
  EXPECT_TRUE(fill(value("late")).empty());
  EXPECT_EQ(only(ask({3, 2}, Operation::fetch)), What::failure) << "the first counts";
}

}  // namespace
}  // namespace muster::runtime
