#include "runtime/calls/unconfirmed_puts.hpp"

#include <muster/detail/put_places.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace muster::runtime {
namespace {

TEST(UnconfirmedPuts, AreOfNoConcernToTheirOwner) {
  UnconfirmedPuts puts;
  EXPECT_FALSE(puts.elsewhere(1));
  puts.sent(2, {1, 7});
  EXPECT_FALSE(puts.elsewhere(2));
  EXPECT_TRUE(puts.elsewhere(1));
  puts.sent(3, {1, 8});
  EXPECT_TRUE(puts.elsewhere(2));
  ASSERT_EQ(puts.marks_elsewhere(2).size(), 1U);
  EXPECT_EQ(puts.marks_elsewhere(2)[0].owner, 3);
  EXPECT_EQ(puts.marks_elsewhere(1).size(), 2U);
  puts.forget(3);
  EXPECT_FALSE(puts.elsewhere(2));
}

TEST(UnconfirmedPuts, WhatWasSentLaterIsNotConfirmed) {
  UnconfirmedPuts puts;
  EXPECT_EQ(puts.mark(2).sent, 0U);
  puts.confirmed(puts.mark(2));
  puts.sent(2, {1, 7});
  const auto before = puts.mark(2);
  puts.sent(2, {1, 9});
  EXPECT_EQ(puts.mark(2).channel, (RemoteRefId{1, 9}));
  puts.confirmed(before);
  EXPECT_TRUE(puts.elsewhere(1));
  puts.confirmed(puts.mark(2));
  EXPECT_FALSE(puts.elsewhere(1));
}

TEST(PutPlaces, AreTakenOnce) {
  detail::PutPlaces places;
  EXPECT_FALSE(places.take());
  places.add(2);
  EXPECT_TRUE(places.take());
  EXPECT_FALSE(places.not_sent()) << "and is free again";
  EXPECT_TRUE(places.take());
  EXPECT_TRUE(places.take());
  EXPECT_FALSE(places.take());
  EXPECT_FALSE(places.sent());
  EXPECT_FALSE(places.sent());
  EXPECT_TRUE(places.give_back()) << "nothing is under way";
}

TEST(PutPlaces, AreGivenBackBehindWhatIsBeingSent) {
  detail::PutPlaces places;
  places.add(5);
  EXPECT_TRUE(places.take());
  EXPECT_TRUE(places.take());
  EXPECT_FALSE(places.give_back());
  EXPECT_FALSE(places.take()) << "there are none any more";
  EXPECT_FALSE(places.sent());
  EXPECT_TRUE(places.not_sent()) << "the last one says so, sent or not";
  EXPECT_FALSE(places.take());
  places.add(1);
  EXPECT_TRUE(places.take());
  EXPECT_FALSE(places.sent());
}

TEST(PutPlaces, AreNeverUsedTwiceByManyThreads) {
  detail::PutPlaces places;
  constexpr int rounds = 2000, each = 5;
  std::atomic<int> used{0}, told{0};
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      while (!over) {
        if (!places.take()) continue;
        ++used;
        if (places.sent()) ++told;
      }
    });
  int given = 0;
  for (int round = 1; round <= rounds; ++round) {
    places.add(each);
    given += each;
    if (places.give_back()) ++told;
    while (told < round) std::this_thread::yield();
    EXPECT_FALSE(places.take());
  }
  over = true;
  for (auto& thread : threads) thread.join();
  EXPECT_LE(used, given);
  EXPECT_EQ(told, rounds) << "each recall is answered once";
}

}  // namespace
}  // namespace muster::runtime
