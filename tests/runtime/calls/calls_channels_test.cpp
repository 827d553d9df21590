// Channels between processes whose messages arrive when the test lets them.

#include "tests/runtime/calls/process_pieces.hpp"

#include <gtest/gtest.h>

#include <future>
#include <thread>

namespace muster::runtime {
namespace {

using namespace std::chrono_literals;
using detail::ChannelPointer;
using detail::Payload;
using Operation = ChannelOperation;

Payload item(int value) {
  Payload payload;
  payload.bytes.append(&value, sizeof value);
  return payload;
}

int value_of(const std::optional<Payload>& payload) {
  int value = -1;
  if (payload && payload->bytes.size() == sizeof value) std::memcpy(&value, payload->bytes.data(), sizeof value);
  return value;
}

/// Ends what this thread asks.
class Limited {
 public:
  explicit Limited(std::chrono::nanoseconds time) : before_(exchange_scope_deadline(Clock::now() + time)) {}
  ~Limited() { (void)exchange_scope_deadline(before_); }
  Limited(const Limited&) = delete;
  Limited& operator=(const Limited&) = delete;

 private:
  std::optional<Clock::time_point> before_;
};

class CallsChannels : public testing::Test {
 protected:
  CallsChannels() : owner(std::make_unique<PieceOfProcess>(hub, 1)), asker(std::make_unique<PieceOfProcess>(hub, 2)) {
    owner->connect(*asker);
    channel = owner->calls().make_channel(2, 1);
    theirs = asker->calls().make_channel(2, 1);
  }
  /// How many items the owner says are in the asker's channel: whoever asks is told at once.
  std::size_t size() {
    FieldReader in(sizes.emplace_back(*asker->calls().ask_channel(theirs, Operation::size)).bytes.bytes());
    return in.u64();
  }
  int take() { return value_of(asker->calls().ask_channel(theirs, Operation::take)); }

  MemoryHub hub;
  std::unique_ptr<PieceOfProcess> owner, asker;
  ChannelPointer channel, theirs;
  std::deque<Payload> sizes;
};

TEST_F(CallsChannels, AnItemWhoseReplyComesTooLateGoesBack) {
  (void)asker->calls().ask_channel(theirs, Operation::put, false, item(1));
  (void)asker->calls().ask_channel(theirs, Operation::put, false, item(2));
  asker->hold(1);
  {
    const Limited limit(5ms);
    EXPECT_THROW((void)asker->calls().ask_channel(theirs, Operation::take), TimeoutError);
  }
  asker->wait_outside(1, 1);  // the item, for nobody
  asker->let_in(1);
  EXPECT_EQ(size(), 2U);
  EXPECT_EQ(take(), 1);
  EXPECT_EQ(take(), 2);
  EXPECT_TRUE(eventually([&] { return asker->calls().calls_in_flight() == 0; }));
}

TEST_F(CallsChannels, AnItemThatComesWhileItsTakerGivesUpIsTaken) {
  (void)asker->calls().ask_channel(theirs, Operation::put, false, item(1));
  asker->hold(1);
  std::thread late([&] {
    asker->wait_outside(1, 1);
    asker->let_in(1);
  });
  {
    const Limited limit(0ms);
    EXPECT_EQ(take(), 1) << "it was there when it was asked for";
  }
  late.join();
  EXPECT_EQ(size(), 0U);
}

TEST_F(CallsChannels, APutThatIsInIsNoTimeout) {
  asker->hold(1);
  std::thread late([&] {
    asker->wait_outside(1, 1);
    asker->let_in(1);
  });
  {
    const Limited limit(0ms);
    EXPECT_TRUE(asker->calls().ask_channel(theirs, Operation::put, false, item(1)).has_value());
  }
  late.join();
  EXPECT_EQ(take(), 1);
}

ChannelPointer brought;  // NOLINT: the handle that keep_handle was called with

void keep_handle(detail::TaskRun& run) {
  brought = std::dynamic_pointer_cast<detail::ChannelCore>(run.arguments().handles.at(0));
  run.complete({});
}

/// A channel with room to spare, and a third process.
class CallsPlaces : public CallsChannels {
 protected:
  CallsPlaces() : third(std::make_unique<PieceOfProcess>(hub, 3)) {
    owner->connect(*third);
    asker->connect(*third);
    theirs = asker->calls().make_channel(100, 1);
    for (int i = 0; i < 4; ++i) put(i);
    (void)size();  // its answer comes behind word of the places
  }
  void put(int value) {
    ASSERT_TRUE(asker->calls().ask_channel(theirs, Operation::put, false, item(value)).has_value());
  }
  /// The owner's handle of it.
  ChannelPointer kept() {
    Payload handle;
    handle.handles.push_back(theirs);
    const auto sent = asker->calls().start(1, &keep_handle, std::move(handle), detail::Returns::value);
    EXPECT_TRUE(asker->calls().block_until_settled(sent, true, Clock::now() + patience));
    return std::exchange(brought, nullptr);
  }
  std::unique_ptr<PieceOfProcess> third;
};

TEST_F(CallsPlaces, APutDoesNotWaitForTheOwner) {
  asker->hold(1);
  for (int i = 4; i < 14; ++i) put(i);
  EXPECT_EQ(asker->calls().calls_in_flight(), 0U) << "nothing was asked";
  asker->let_in(1);
  EXPECT_EQ(size(), 14U);
  for (int i = 0; i < 14; ++i) EXPECT_EQ(take(), i);
}

void nothing(detail::TaskRun& run) { run.complete({}); }

TEST_F(CallsPlaces, OthersHearNothingBeforeTheOwner) {
  owner->hold(2);
  put(4);
  third->hold(2);
  auto calling =
      std::async(std::launch::async, [&] { return asker->calls().start(3, &nothing, {}, detail::Returns::value); });
  owner->wait_outside(2, 2);  // the item, and a question behind it
  EXPECT_EQ(third->outside(2), 0U);
  owner->let_in(2);
  third->wait_outside(2, 1);
  third->let_in(2);
  const auto answer = calling.get();
  ASSERT_TRUE(asker->calls().block_until_settled(answer, true, Clock::now() + patience));
  EXPECT_EQ(size(), 5U);
}

TEST_F(CallsPlaces, WhoTellsTheOwnerWaitsForNothing) {
  owner->hold(2);
  put(4);
  const auto answer = asker->calls().start(1, &nothing, {}, detail::Returns::value);
  owner->wait_outside(2, 2);
  owner->let_in(2);
  ASSERT_TRUE(asker->calls().block_until_settled(answer, true, Clock::now() + patience));
}

TEST_F(CallsPlaces, CloseWaitsForThePlaces) {
  const auto channel_there = kept();
  asker->hold(1);
  auto closing =
      std::async(std::launch::async, [&] { (void)owner->calls().ask_channel(channel_there, Operation::close); });
  asker->wait_outside(1, 1);  // the recall
  put(4);                     // was sent before it was heard
  EXPECT_EQ(owner->calls().calls_in_flight(), 1U);
  asker->let_in(1);
  closing.get();
  EXPECT_THROW(put(5), ChannelClosed);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(take(), i);
  EXPECT_THROW((void)take(), ChannelClosed);
}

TEST_F(CallsPlaces, OfTheDeadAreFree) {
  const auto channel_there = kept();
  owner->lose(2);
  for (int i = 0; i < 96; ++i)
    EXPECT_TRUE(owner->calls().ask_channel(channel_there, Operation::put, true, item(i)).has_value()) << i;
  EXPECT_FALSE(owner->calls().ask_channel(channel_there, Operation::put, true, item(0)).has_value());
  asker->lose(1);
}

TEST_F(CallsChannels, AnItemUnderWayToTheDeadComesBack) {
  Payload handle;
  handle.handles.push_back(channel);
  const auto sent = owner->calls().start(2, &keep_handle, std::move(handle), detail::Returns::value);
  ASSERT_TRUE(owner->calls().block_until_settled(sent, true, Clock::now() + patience));
  ASSERT_TRUE(brought);
  EXPECT_EQ(brought->id(), channel->id());
  (void)owner->calls().ask_channel(channel, Operation::put, false, item(7));
  (void)owner->calls().ask_channel(channel, Operation::put, false, item(8));
  asker->hold(1);
  auto dying = std::async(std::launch::async, [&] { (void)asker->calls().ask_channel(brought, Operation::take); });
  asker->wait_outside(1, 1);
  EXPECT_EQ(owner->calls().values_owned(), 2U);
  owner->lose(2);
  EXPECT_EQ(value_of(owner->calls().ask_channel(channel, Operation::take)), 7);
  EXPECT_EQ(value_of(owner->calls().ask_channel(channel, Operation::take)), 8);
  EXPECT_TRUE(eventually([&] { return owner->calls().values_owned() == 1; })) << "what the dead held is freed";
  asker->lose(1);
  EXPECT_THROW(dying.get(), ProcessExitedException);
  brought.reset();
}

TEST_F(CallsChannels, TheOwnersDeathEndsWhatWaits) {
  auto waiting = std::async(std::launch::async, [&] { (void)take(); });
  ASSERT_TRUE(eventually([&] { return asker->calls().calls_in_flight() == 1; }));
  asker->lose(1);
  EXPECT_THROW(waiting.get(), ProcessExitedException);
  EXPECT_THROW((void)take(), ProcessExitedException);
  EXPECT_THROW((void)asker->calls().make_channel(1, 1), ProcessExitedException);
}

}  // namespace
}  // namespace muster::runtime
