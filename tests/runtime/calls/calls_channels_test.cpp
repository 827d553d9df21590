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
