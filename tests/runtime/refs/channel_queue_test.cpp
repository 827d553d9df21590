#include "runtime/refs/channel_queue.hpp"

#include <muster/errors.hpp>

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace muster::runtime {
namespace {

using detail::Payload;
using What = ChannelQueue::Reply::What;

Payload item(int value) {
  Payload payload;
  payload.bytes.append(&value, sizeof value);
  return payload;
}

int value_of(const Payload& payload) {
  int value = -1;
  if (payload.bytes.size() == sizeof value) std::memcpy(&value, payload.bytes.data(), sizeof value);
  return value;
}

/// Who it is for, and what: a number for the item where there is one.
std::string text_of(const ChannelQueue::Reply& reply) {
  const std::string to = std::to_string(reply.to.pid) + '/' + std::to_string(reply.to.number) + ' ';
  switch (reply.what) {
    case What::yes: return to + (reply.item.bytes.empty() ? "yes" : std::to_string(value_of(reply.item)));
    case What::no: return to + "no";
    case What::places: return to + "places " + std::to_string(reply.places);
    case What::recall: return to + "recall";
    case What::failed: break;
  }
  try {
    std::rethrow_exception(reply.failure);
  } catch (const ChannelClosed&) {
    return to + "closed";
  } catch (const std::exception& error) {
    return to + error.what();
  }
}

class ChannelQueueTest : public testing::Test {
 protected:
  /// The replies since the last call, in their order, separated by commas.
  std::string said() {
    std::string all;
    for (const auto& reply : std::exchange(replies, {})) all += (all.empty() ? "" : ", ") + text_of(reply);
    return all;
  }
  std::string put(Asker asker, int value, bool at_once = false) {
    queue->put(asker, item(value), at_once, replies);
    return said();
  }
  std::string take(Asker asker, bool at_once = false) {
    queue->take(asker, at_once, replies);
    return said();
  }
  std::string fetch(Asker asker) {
    queue->fetch(asker, replies);
    return said();
  }
  std::string wait(Asker asker) {
    queue->wait(asker, replies);
    return said();
  }
  std::string withdraw(Asker asker) {
    queue->withdraw(asker, replies);
    return said();
  }
  std::string received(Asker asker) {
    queue->received(asker, replies);
    return said();
  }
  std::string returned(Asker asker) {
    queue->returned(asker, replies);
    return said();
  }
  std::string close() {
    queue->close({9, 9}, replies);
    EXPECT_EQ(std::erase_if(replies, [](const auto& reply) { return reply.to == Asker{9, 9}; }), 1U);
    return said();
  }
  /// As a process of another lane: it may be given places.
  std::string put_from(Asker asker, int value) {
    queue->put(asker, item(value), false, replies);
    queue->offer_places(asker.pid, replies);
    return said();
  }
  std::string put_in_place(Pid pid, int value) {
    queue->put_in_place(pid, item(value), replies);
    return said();
  }
  std::string places_returned(Pid pid) {
    queue->places_returned(pid, replies);
    return said();
  }
  std::string died(Pid pid) {
    queue->process_died(pid, replies);
    return said();
  }
  void make(std::size_t capacity) { queue = std::make_unique<ChannelQueue>(capacity); }

  std::unique_ptr<ChannelQueue> queue = std::make_unique<ChannelQueue>(2);
  ChannelQueue::Replies replies;
};

TEST_F(ChannelQueueTest, FirstInFirstOut) {
  EXPECT_EQ(put({1, 1}, 10), "1/1 yes");
  EXPECT_EQ(put({2, 1}, 11), "2/1 yes");
  EXPECT_EQ(queue->size(), 2U);
  EXPECT_EQ(take({3, 1}), "3/1 10");
  EXPECT_EQ(take({3, 2}), "3/2 11");
  EXPECT_EQ(take({3, 3}), "");
  EXPECT_EQ(take({4, 1}), "");
  EXPECT_EQ(put({1, 2}, 12), "1/2 yes, 3/3 12") << "who has waited longer";
  EXPECT_EQ(put({1, 3}, 13), "1/3 yes, 4/1 13");
}

TEST_F(ChannelQueueTest, PuttersWaitForRoom) {
  put({1, 1}, 10);
  put({1, 2}, 11);
  EXPECT_EQ(put({1, 3}, 12), "");
  EXPECT_EQ(put({1, 4}, 13, true), "1/4 no");
  EXPECT_EQ(put({1, 5}, 14), "");
  EXPECT_EQ(queue->size(), 2U);
  EXPECT_EQ(take({2, 1}), "2/1 10, 1/3 yes") << "its place is free while it is under way";
  EXPECT_EQ(withdraw({1, 5}), "1/5 no");
  EXPECT_EQ(withdraw({1, 5}), "") << "has had its reply";
  EXPECT_EQ(take({2, 2}), "2/2 11");
  EXPECT_EQ(take({2, 3}), "2/3 12");
  EXPECT_EQ(take({2, 4}, true), "2/4 no");
}

/// Process 1 has two places, and a queue of eight four items.
class PlacesTest : public ChannelQueueTest {
 protected:
  PlacesTest() {
    make(8);
    for (int i = 1; i <= 3; ++i)
      EXPECT_EQ(put_from({1, static_cast<std::uint64_t>(i)}, i), "1/" + std::to_string(i) + " yes");
    EXPECT_EQ(put_from({1, 4}, 4), "1/0 places 2, 1/4 yes") << "half of what is free";
  }
};

TEST_F(PlacesTest, AreFullForOthers) {
  EXPECT_EQ(put({2, 1}, 5), "2/1 yes");
  EXPECT_EQ(put({2, 2}, 6), "2/2 yes");
  EXPECT_EQ(put_in_place(1, 7), "");
  EXPECT_EQ(put_in_place(1, 8), "");
  EXPECT_EQ(queue->size(), 8U);
  EXPECT_EQ(put({2, 3}, 9, true), "2/3 no") << "really full: nothing to call back";
  for (std::uint64_t i = 1; i <= 8; ++i)
    EXPECT_EQ(take({3, i}), "3/" + std::to_string(i) + ' ' + std::to_string(i)) << "in the order in which they came";
}

TEST_F(PlacesTest, AreCalledBackForWhoFindsNoRoom) {
  put({2, 1}, 5);
  put({2, 2}, 6);
  EXPECT_EQ(put({2, 3}, 7, true), "1/0 recall") << "there may be room";
  EXPECT_EQ(put({2, 4}, 8), "") << "once is enough";
  EXPECT_EQ(put({3, 1}, 9, true), "");
  EXPECT_EQ(put_in_place(1, 10), "") << "was on its way";
  EXPECT_EQ(queue->size(), 7U);
  EXPECT_EQ(places_returned(1), "2/3 yes, 3/1 no") << "and one still waits";
  EXPECT_EQ(take({4, 1}), "4/1 1, 2/4 yes");
  EXPECT_EQ(put_from({1, 5}, 11), "");
}

TEST_F(PlacesTest, AWaitingPutterGetsTheRoomThatATakerMakes) {
  put({2, 1}, 5);
  put({2, 2}, 6);
  EXPECT_EQ(put({2, 3}, 7), "1/0 recall");
  EXPECT_EQ(take({3, 1}), "3/1 1, 2/3 yes");
  EXPECT_EQ(places_returned(1), "");
}

TEST_F(PlacesTest, KeepAClosedChannelFromItsEnd) {
  for (std::uint64_t i = 1; i <= 4; ++i) take({3, i});
  for (std::uint64_t i = 1; i <= 4; ++i) received({3, i});
  take({3, 5});
  queue->close({2, 1}, replies);
  EXPECT_EQ(said(), "1/0 recall") << "neither the closer nor the taker is told yet";
  EXPECT_FALSE(queue->is_open());
  EXPECT_EQ(put({2, 2}, 6), "2/2 closed");
  EXPECT_EQ(take({4, 1}), "");
  EXPECT_EQ(put_in_place(1, 5), "3/5 5");
  EXPECT_EQ(places_returned(1), "2/1 yes") << "the item is under way: it may come back";
  EXPECT_EQ(received({3, 5}), "4/1 closed");
  EXPECT_EQ(put_from({1, 5}, 9), "1/5 closed");
}

TEST_F(PlacesTest, OfTheDeadStayUntilAllThatItLeftIsHere) {
  put({2, 1}, 5);
  put({2, 2}, 6);
  EXPECT_EQ(died(1), "");
  EXPECT_EQ(put({2, 3}, 7), "1/0 recall");
  EXPECT_EQ(put_in_place(1, 8), "");
  EXPECT_EQ(places_returned(1), "2/3 yes");
  EXPECT_EQ(queue->size(), 8U);
}

TEST_F(PlacesTest, AreRenewedInTime) {
  make(1000);
  std::uint64_t number = 0;
  for (int i = 0; i < 3; ++i) put_from({1, ++number}, i);
  EXPECT_EQ(put_from({1, ++number}, 3), "1/0 places 128, 1/4 yes");
  for (int i = 0; i < 500; ++i) {
    queue->put_in_place(1, item(i), replies);
    queue->offer_places(1, replies);
    const std::string more = said();
    EXPECT_EQ(more, i % 96 == 95 ? "1/0 places 96" : "") << i;
  }
}

TEST_F(PlacesTest, AreNotForChannelsWithoutRoomToSpare) {
  for (const std::size_t capacity : {std::size_t{1}, std::size_t{3}}) {
    make(capacity);
    for (std::uint64_t i = 0; i < 20; i += 2) {
      EXPECT_EQ(put_from({1, i}, 1), "1/" + std::to_string(i) + " yes");
      take({2, i});
      EXPECT_EQ(said(), "");
    }
  }
}

TEST_F(ChannelQueueTest, ThoseThatLookSeeItBeforeItIsTaken) {
  EXPECT_EQ(fetch({1, 1}), "");
  EXPECT_EQ(take({2, 1}), "");
  EXPECT_EQ(wait({1, 2}), "");
  EXPECT_EQ(fetch({3, 1}), "");
  EXPECT_EQ(withdraw({3, 1}), "3/1 no");
  EXPECT_EQ(put({4, 1}, 7), "4/1 yes, 1/1 7, 1/2 yes, 2/1 7");
  put({4, 2}, 8);
  EXPECT_EQ(fetch({1, 3}), "1/3 8");
  EXPECT_EQ(wait({1, 4}), "1/4 yes");
  EXPECT_EQ(queue->size(), 1U);
}

TEST_F(ChannelQueueTest, WhatIsReturnedGoesToTheFront) {
  put({1, 1}, 10);
  put({1, 2}, 11);
  take({2, 1});
  take({2, 2});
  put({1, 3}, 12);
  put({1, 4}, 13);
  EXPECT_EQ(queue->size(), 2U);
  EXPECT_EQ(returned({2, 2}), "");
  EXPECT_EQ(returned({2, 1}), "");
  EXPECT_EQ(returned({2, 1}), "");
  EXPECT_EQ(received({2, 1}), "") << "was returned";
  EXPECT_EQ(queue->size(), 4U);
  EXPECT_EQ(put({1, 5}, 14), "") << "full";
  EXPECT_EQ(fetch({3, 9}), "3/9 10");
  EXPECT_EQ(take({3, 1}), "3/1 10");
  EXPECT_EQ(take({3, 2}), "3/2 11");
  EXPECT_EQ(take({3, 3}), "3/3 12, 1/5 yes");
}

TEST_F(ChannelQueueTest, WhatIsReturnedGoesToWhoWaits) {
  put({1, 1}, 10);
  take({2, 1});
  EXPECT_EQ(take({3, 1}), "");
  EXPECT_EQ(returned({2, 1}), "3/1 10");
}

TEST_F(ChannelQueueTest, ADeadTakersItemsComeBackInTheirOrder) {
  put({1, 1}, 10);
  put({1, 2}, 11);
  take({2, 1});
  take({3, 1});
  put({1, 3}, 12);
  take({2, 2});
  EXPECT_EQ(take({2, 3}), "");
  EXPECT_EQ(take({4, 1}), "");
  EXPECT_EQ(died(2), "4/1 10") << "and not its own question";
  EXPECT_EQ(take({4, 2}), "4/2 12");
  EXPECT_EQ(put({1, 4}, 13), "1/4 yes");
  EXPECT_EQ(queue->size(), 1U);
}

TEST_F(ChannelQueueTest, ADeadPuttersItemIsDroppedWhereItWasNotIn) {
  put({2, 1}, 10);
  put({2, 2}, 11);
  put({2, 3}, 12);
  put({3, 1}, 13);
  fetch({2, 4});
  EXPECT_EQ(died(2), "");
  EXPECT_EQ(take({4, 1}), "4/1 10, 3/1 yes") << "what was in stays";
  take({4, 2});
  EXPECT_EQ(take({4, 3}), "4/3 13");
}

TEST_F(ChannelQueueTest, Closed) {
  put({1, 1}, 10);
  put({1, 2}, 11);
  put({1, 3}, 12);
  EXPECT_EQ(close(), "1/3 closed");
  EXPECT_EQ(close(), "");
  EXPECT_FALSE(queue->is_open());
  EXPECT_EQ(put({1, 4}, 13), "1/4 closed");
  EXPECT_EQ(put({1, 5}, 13, true), "1/5 closed");
  EXPECT_EQ(take({2, 1}), "2/1 10");
  EXPECT_EQ(take({2, 2}), "2/2 11");
  EXPECT_EQ(take({2, 3}), "") << "one under way may come back";
  EXPECT_EQ(take({2, 4}, true), "2/4 no");
  EXPECT_EQ(fetch({2, 5}), "");
  EXPECT_EQ(received({2, 1}), "");
  EXPECT_EQ(returned({2, 2}), "2/5 11, 2/3 11");
  EXPECT_EQ(take({2, 6}), "");
  EXPECT_EQ(wait({2, 7}), "");
  EXPECT_EQ(received({2, 3}), "2/6 closed, 2/7 closed");
  EXPECT_EQ(take({2, 8}), "2/8 closed");
  EXPECT_EQ(take({2, 9}, true), "2/9 closed");
  EXPECT_EQ(fetch({2, 10}), "2/10 closed");
}

TEST_F(ChannelQueueTest, CloseWakesAll) {
  take({1, 1});
  fetch({1, 2});
  wait({1, 3});
  EXPECT_EQ(close(), "1/1 closed, 1/2 closed, 1/3 closed");
}

// -- unbuffered -------------------------------------------------------------------------------------------------------

TEST_F(ChannelQueueTest, UnbufferedPutIsDoneWhenItsItemWasReceived) {
  make(0);
  EXPECT_TRUE(queue->is_unbuffered());
  EXPECT_EQ(put({1, 1}, 10, true), "1/1 no");
  EXPECT_EQ(put({1, 2}, 11), "");
  EXPECT_EQ(queue->size(), 1U);
  EXPECT_EQ(wait({5, 1}), "5/1 yes");
  EXPECT_EQ(fetch({5, 2}), "5/2 An unbuffered channel holds nothing to fetch");
  EXPECT_EQ(take({2, 1}), "2/1 11");
  EXPECT_EQ(queue->size(), 0U);
  EXPECT_EQ(received({2, 1}), "1/2 yes");
  EXPECT_EQ(received({2, 1}), "");
  EXPECT_EQ(take({2, 2}), "");
  EXPECT_EQ(put({1, 3}, 12, true), "2/2 12");
  EXPECT_EQ(received({2, 2}), "1/3 yes");
}

TEST_F(ChannelQueueTest, UnbufferedItemsThatComeBack) {
  make(0);
  put({1, 1}, 10);
  put({1, 2}, 11);
  take({2, 1});
  EXPECT_EQ(returned({2, 1}), "");
  EXPECT_EQ(take({2, 2}), "2/2 10") << "before the one that came after it";
  take({2, 3});
  EXPECT_EQ(died(2), "");
  EXPECT_EQ(take({3, 1}), "3/1 10");
  EXPECT_EQ(take({3, 2}), "3/2 11");
  EXPECT_EQ(received({3, 1}), "1/1 yes");
  EXPECT_EQ(close(), "");
  EXPECT_EQ(returned({3, 2}), "1/2 closed");
}

TEST_F(ChannelQueueTest, UnbufferedPuttersThatGiveUp) {
  make(0);
  put({1, 1}, 10);
  EXPECT_EQ(withdraw({1, 1}), "1/1 no");
  EXPECT_EQ(take({2, 1}, true), "2/1 no");
  put({1, 2}, 11);
  take({2, 2});
  EXPECT_EQ(withdraw({1, 2}), "") << "the taker decides";
  EXPECT_EQ(returned({2, 2}), "1/2 no");
  put({1, 3}, 12);
  take({2, 3});
  EXPECT_EQ(withdraw({1, 3}), "");
  EXPECT_EQ(received({2, 3}), "1/3 yes") << "it was taken";
  take({2, 4});
  EXPECT_EQ(put({1, 4}, 13, true), "2/4 13");
  EXPECT_EQ(take({2, 5}), "");
  EXPECT_EQ(returned({2, 4}), "2/5 13") << "another took it";
  EXPECT_EQ(returned({2, 5}), "1/4 no");
}

TEST_F(ChannelQueueTest, UnbufferedPuttersThatDie) {
  make(0);
  put({1, 1}, 10);
  put({1, 2}, 11);
  take({2, 1});
  EXPECT_EQ(died(1), "");
  EXPECT_EQ(take({2, 2}), "");
  EXPECT_EQ(returned({2, 1}), "") << "nobody's item any more";
  put({3, 1}, 12);
  EXPECT_EQ(received({2, 2}), "3/1 yes");
  put({3, 2}, 13);
  take({2, 3});
  EXPECT_EQ(died(3), "");
  EXPECT_EQ(received({2, 3}), "") << "nobody to tell";
}

// -- users' stores ----------------------------------------------------------------------------------------------------

/// Holds one number; throws for some.
class Single final : public detail::ItemStore {
 public:
  bool try_put(const Payload& put, std::shared_ptr<void>& decoded) override {
    ++attempts;
    if (decoded) ++decoded_before;
    decoded = std::make_shared<int>(value_of(put));
    if (value_of(put) < 0) throw std::runtime_error("bad put");
    if (held_) return false;
    held_ = value_of(put);
    return true;
  }
  std::optional<Payload> try_take() override {
    if (!held_) return std::nullopt;
    const int value = *std::exchange(held_, std::nullopt);
    if (value == 13) throw std::runtime_error("bad take");
    return item(value);
  }
  std::optional<Payload> peek() override {
    if (held_ == 14) throw std::runtime_error("bad peek");
    return held_ && *held_ != 15 ? std::optional(item(*held_)) : std::nullopt;
  }
  std::size_t size() override { return held_ ? 1 : 0; }

  int attempts = 0, decoded_before = 0;

 private:
  std::optional<int> held_;
};

class UsersStoreTest : public ChannelQueueTest {
 protected:
  UsersStoreTest() {
    auto made = std::make_unique<Single>();
    store = made.get();
    queue = std::make_unique<ChannelQueue>(std::move(made));
  }
  Single* store;
};

TEST_F(UsersStoreTest, ItStoresAndTheQueueWaits) {
  EXPECT_FALSE(queue->is_unbuffered());
  EXPECT_EQ(take({1, 1}, true), "1/1 no");
  EXPECT_EQ(put({1, 2}, 5), "1/2 yes");
  EXPECT_EQ(put({1, 3}, 6), "");
  EXPECT_EQ(put({1, 4}, 7, true), "1/4 no");
  EXPECT_EQ(fetch({1, 5}), "1/5 5");
  EXPECT_EQ(take({2, 1}), "2/1 5, 1/3 yes");
  EXPECT_GT(store->decoded_before, 0) << "decoded once, for all attempts";
  EXPECT_EQ(returned({2, 1}), "");
  EXPECT_EQ(queue->size(), 2U);
  EXPECT_EQ(fetch({2, 2}), "2/2 5");
  EXPECT_EQ(take({2, 3}), "2/3 5");
  EXPECT_EQ(take({2, 4}), "2/4 6");
  EXPECT_EQ(take({2, 5}), "");
  EXPECT_EQ(close(), "");
  EXPECT_EQ(died(2), "") << "they come back";
  EXPECT_EQ(take({3, 1}), "3/1 5");
}

TEST_F(UsersStoreTest, WhatItThrowsIsTheReplyToWhoAsked) {
  EXPECT_EQ(put({1, 1}, -1), "1/1 bad put");
  put({1, 2}, 13);
  EXPECT_EQ(take({1, 3}), "1/3 bad take");
  EXPECT_EQ(take({1, 4}), "");
  EXPECT_EQ(take({1, 5}), "");
  EXPECT_EQ(put({1, 6}, 13), "1/6 yes, 1/4 bad take");
  EXPECT_EQ(put({1, 7}, 8), "1/7 yes, 1/5 8");
  put({1, 8}, 14);
  EXPECT_EQ(fetch({1, 9}), "1/9 bad peek");
  EXPECT_EQ(wait({1, 10}), "1/10 yes");
  EXPECT_EQ(take({1, 11}), "1/11 14");
  put({1, 12}, 15);
  EXPECT_EQ(fetch({1, 13}), "") << "can't be shown";
  EXPECT_EQ(take({1, 14}), "1/14 15");
  EXPECT_EQ(put({1, 15}, 16), "1/15 yes, 1/13 16");
}

}  // namespace
}  // namespace muster::runtime
