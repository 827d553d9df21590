// Channels are kept while somebody holds them; and users' own stores behind them.

#include "channels.hpp"

#include <memory>
#include <optional>
#include <set>
#include <stdexcept>

namespace {

using namespace muster;
using namespace muster::test;

/// Handles that a process keeps for a while.
std::vector<RemoteChannel<int>> kept;  // NOLINT

// -- counting ---------------------------------------------------------------------------------------------------------

// catalogue: 3.7.135, 3.7.136
TEST_F(Channels, AreKeptWhileSomebodyHoldsThem) {
  for (const Pid owner : {1, 2}) {
    auto channel = std::make_optional<RemoteChannel<int>>(2U, owner);
    EXPECT_EQ(owned.more_on(owner), 1U);
    channel->put(1);
    EXPECT_EQ(channel->fetch(), 1);
    EXPECT_EQ(owned.more_on(owner), 1U) << "peeking takes nothing";
    remotecall_fetch([](const RemoteChannel<int>& c) { kept.push_back(c); }, 3, *channel);
    channel.reset();
    remotecall_fetch(&myid, owner);
    EXPECT_EQ(owned.more_on(owner), 1U);
    EXPECT_EQ(remotecall_fetch([] { return kept.back().take(); }, 3), 1);
    remotecall_fetch([] { kept.clear(); }, 3);
    EXPECT_TRUE(owned.as_before());
  }
}

TEST_F(Channels, HoldWhatIsInThem) {
  auto channel = std::make_optional<RemoteChannel<RemoteChannel<int>>>(2U, 2);
  channel->put(RemoteChannel<int>(1, 3));
  EXPECT_EQ(owned.more_on(3), 1U);
  channel->fetch().put(4);
  EXPECT_EQ(owned.more_on(3), 1U);
  EXPECT_EQ(channel->fetch().take(), 4);
  channel.reset();
  EXPECT_TRUE(owned.as_before());
}

TEST_F(Channels, AHolderThatDiesHoldsNothing) {
  const Pid holder = addprocs(1).front();
  {
    const RemoteChannel<int> channel(2, 2);
    remotecall_fetch([](const RemoteChannel<int>& c) { kept.push_back(c); }, holder, channel);
  }
  remotecall_fetch(&myid, 2);
  EXPECT_EQ(owned.more_on(2), 1U);
  kill_worker(holder);
  EXPECT_TRUE(owned.as_before());
}

TEST_F(Channels, AMakerThatDiesLeavesItToOthers) {
  const Pid maker = addprocs(1).front();
  const auto channel = remotecall_fetch([] { return RemoteChannel<int>(1, 2); }, maker);
  kill_worker(maker);
  ASSERT_TRUE(eventually([&] { return is_gone(maker); }));
  channel.put(1);
  EXPECT_EQ(channel.take(), 1);
}

// -- stores of one's own ----------------------------------------------------------------------------------------------

/// The largest first; refuses negative numbers, and holds three.
class Largest : public ChannelStore<int> {
 public:
  explicit Largest(std::size_t room = 3) : room_(room) {}
  bool try_put(int& value) override {
    if (value < 0) throw std::domain_error("negative");
    if (values_.size() >= room_) return false;
    values_.insert(value);
    return true;
  }
  std::optional<int> try_take() override {
    if (values_.empty()) return std::nullopt;
    const int value = *values_.rbegin();
    values_.erase(std::prev(values_.end()));
    if (value == 13) throw std::runtime_error("unlucky");
    return value;
  }
  const int* peek() const override { return values_.empty() ? nullptr : &*values_.rbegin(); }
  std::size_t size() const override { return values_.size(); }

 private:
  std::size_t room_;
  std::multiset<int> values_;
};

template <class Channel>
void life_of_largest(const Channel& channel) {
  for (const int value : {2, 5, 3}) channel.put(value);
  EXPECT_FALSE(channel.try_put(9));
  EXPECT_THROW(channel.put(9, 1ms), TimeoutError);
  EXPECT_EQ(channel.size(), 3U);
  EXPECT_EQ(channel.fetch(), 5);
  EXPECT_EQ(channel.take(), 5);
  EXPECT_EQ(channel.try_take(), 3);
  EXPECT_EQ(channel.take(1s), 2);
  EXPECT_EQ(channel.try_take(), std::nullopt);
  EXPECT_THROW((void)channel.take(1ms), TimeoutError);
  EXPECT_FALSE(channel.isready());
  channel.put(1);
  channel.close();
  EXPECT_THROW(channel.put(1), ChannelClosed);
  EXPECT_EQ(std::vector<int>(channel.begin(), channel.end()), std::vector<int>{1});
}

TEST_F(Channels, AStoreOfOnesOwn) {
  life_of_largest(Channel<int>::make([] { return std::make_unique<Largest>(); }));
  for (const Pid owner : {1, 2}) {
    const auto make = [owner] { return RemoteChannel<int>::make([] { return std::make_unique<Largest>(); }, owner); };
    EXPECT_EQ(make().where(), owner);
    life_of_largest(make());
    remotecall_fetch([](const RemoteChannel<int>& c) { life_of_largest(c); }, 3, make());
  }
}

TEST_F(Channels, AStoreOfOnesOwnAndThoseThatWait) {
  for (const Pid owner : {1, 2}) {
    const auto channel = RemoteChannel<int>::make(
        bind_front([](std::size_t room) { return std::make_unique<Largest>(room); }, std::size_t{1}), owner);
    const auto taker = spawnat(3, [](const RemoteChannel<int>& c) { return c.take(); }, channel);
    const auto watcher = spawnat(2, [](const RemoteChannel<int>& c) { return c.fetch(); }, channel);
    asked(3, channel);
    asked(2, channel);
    channel.put(1);
    EXPECT_EQ(taker.fetch(patience), 1);
    EXPECT_EQ(watcher.fetch(patience), 1);
    channel.put(2);
    const auto putter = spawnat(3, [](const RemoteChannel<int>& c) { c.put(3); }, channel);
    ASSERT_TRUE(waits(3));
    EXPECT_EQ(channel.take(), 2);
    putter.fetch(patience);
    EXPECT_EQ(channel.take(), 3);
  }
}

TEST_F(Channels, WhatAStoreThrowsReachesWhoAsked) {
  for (const Pid owner : {1, 2}) {
    const auto channel = RemoteChannel<int>::make([] { return std::make_unique<Largest>(); }, owner);
    const auto negative = thrown<RemoteException>([&] { channel.put(-1); });
    ASSERT_TRUE(negative);
    EXPECT_EQ(negative->pid(), owner);
    EXPECT_TRUE(negative->is<std::domain_error>());
    EXPECT_THROW(negative->rethrow_cause(), std::domain_error);
    channel.put(13);
    const auto unlucky = thrown<RemoteException>([&] { (void)channel.take(); });
    ASSERT_TRUE(unlucky);
    EXPECT_TRUE(unlucky->is<std::runtime_error>());
    channel.put(4);
    EXPECT_EQ(channel.take(), 4);
  }
  const auto local = Channel<int>::make([] { return std::make_unique<Largest>(); });
  EXPECT_THROW(local.put(-1), std::domain_error);
}

// catalogue: 3.8.162
TEST_F(Channels, AFactoryThatThrows) {
  for (const Pid owner : {1, 2}) {
    const auto failed = thrown<RemoteException>([&] {
      (void)RemoteChannel<int>::make([]() -> std::unique_ptr<Largest> { throw std::out_of_range("no store"); }, owner);
    });
    ASSERT_TRUE(failed);
    EXPECT_EQ(failed->pid(), owner);
    EXPECT_TRUE(failed->is<std::out_of_range>());
    const auto null = thrown<RemoteException>(
        [&] { (void)RemoteChannel<int>::make([] { return std::unique_ptr<Largest>(); }, owner); });
    ASSERT_TRUE(null);
    EXPECT_TRUE(null->is<std::invalid_argument>());
  }
}

TEST_F(Channels, AStoreOfOnesOwnAndATakerThatDies) {
  const auto channel = RemoteChannel<int>::make([] { return std::make_unique<Largest>(); }, 2);
  const Pid mortal = addprocs(1).front();
  const auto dying = spawnat(mortal, [](const RemoteChannel<int>& c) { return c.take(); }, channel);
  ASSERT_TRUE(waits(mortal));
  kill_worker(mortal);
  EXPECT_THROW((void)dying.fetch(patience), ProcessExitedException);
  ASSERT_TRUE(eventually([&] { return remotecall_fetch(&is_gone, 2, mortal); }));
  channel.put(1);
  EXPECT_EQ(channel.take(patience), 1);
}

}  // namespace
