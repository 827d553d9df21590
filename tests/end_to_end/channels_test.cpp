// Remote channels, from one process and across several. The numbers are those of the behaviour catalogue.

#include "channels.hpp"

#include <atomic>
#include <future>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <stdexcept>
#include <unordered_set>
#include <variant>

namespace {

using namespace muster;
using namespace muster::test;

using Anything = std::variant<int, std::string, double>;

// -- one channel, here and elsewhere ----------------------------------------------------------------------------------

/// What a channel is put through, whichever kind it is.
template <class Channel>
void life_of(const Channel& channel) {
  EXPECT_FALSE(channel.isready());
  EXPECT_TRUE(channel.isempty());
  EXPECT_TRUE(channel.isopen());
  channel.put(1);
  channel.put("Hello");
  channel.put(5.0);
  EXPECT_TRUE(channel.isready());
  EXPECT_FALSE(channel.isempty());
  EXPECT_EQ(channel.size(), 3U);
  EXPECT_EQ(channel.fetch(), Anything(1));
  EXPECT_EQ(channel.fetch(1s), Anything(1));
  EXPECT_EQ(channel.take(), Anything(1));
  EXPECT_EQ(channel.take(1s), Anything("Hello"));
  channel.wait();
  channel.wait(1s);
  EXPECT_EQ(channel.fetch(), Anything(5.0));
  EXPECT_EQ(channel.take(), Anything(5.0));
  EXPECT_FALSE(channel.isready());
  EXPECT_TRUE(channel.isopen());
  EXPECT_EQ(channel.try_take(), std::nullopt);
  EXPECT_TRUE(channel.try_put(2));
  EXPECT_EQ(channel.try_take(), Anything(2));
  EXPECT_THROW((void)channel.take(1ms), TimeoutError);
  EXPECT_THROW((void)channel.take(0ms), TimeoutError);
  EXPECT_THROW((void)channel.fetch(1ms), TimeoutError);
  EXPECT_THROW(channel.wait(1ms), TimeoutError);
  channel.put(3);
  channel.close();
  channel.close();
  EXPECT_FALSE(channel.isopen());
  EXPECT_THROW(channel.put(4), ChannelClosed);
  EXPECT_THROW(channel.put(4, 1s), ChannelClosed);
  EXPECT_THROW((void)channel.try_put(4), ChannelClosed);
  EXPECT_EQ(channel.size(), 1U);
  EXPECT_EQ(channel.take(), Anything(3));
  EXPECT_THROW((void)channel.take(), ChannelClosed);
  EXPECT_THROW((void)channel.take(1s), ChannelClosed);
  EXPECT_THROW((void)channel.try_take(), ChannelClosed);
  EXPECT_THROW((void)channel.fetch(), ChannelClosed);
  EXPECT_THROW(channel.wait(), ChannelClosed);
}

// catalogue: 3.8.144, 3.8.147, 3.8.149
TEST_F(Channels, LifeOfAChannel) {
  life_of(Channel<Anything>(10));
  life_of(RemoteChannel<Anything>(10));
  for (const Pid pid : pids) life_of(RemoteChannel<Anything>(10, pid));
  for (const Pid pid : {1, 2, 3})
    remotecall_fetch([](const RemoteChannel<Anything>& channel) { life_of(channel); }, 3,
                     RemoteChannel<Anything>(10, pid));
}

// catalogue: 3.8.152
TEST_F(Channels, ElementTypeAndIdentity) {
  static_assert(std::is_same_v<RemoteChannel<Anything>::value_type, Anything>);
  static_assert(std::is_same_v<Channel<Anything>::value_type, Anything>);
  static_assert(std::input_iterator<RemoteChannel<Anything>::iterator>);
  const RemoteChannel<int> a, b(1, 2), copy = b;
  EXPECT_EQ(a.where(), 1);
  EXPECT_EQ(b.where(), 2);
  EXPECT_EQ(b, copy);
  EXPECT_NE(a, b);
  EXPECT_EQ(b.id(), copy.id());
  EXPECT_EQ((std::unordered_set<RemoteChannel<int>>{a, b, copy}.size()), 2U);
  EXPECT_TRUE(remotecall_fetch(
      [](const RemoteChannel<int>& x, const RemoteChannel<int>& y) { return x == y && x.where() == 2; }, 3, b, copy));
  EXPECT_EQ(remotecall_fetch([](RemoteChannel<int> c) { return c; }, 3, b), b);
  const Channel<int> local, same = local;
  EXPECT_EQ(local, same);
  EXPECT_NE(local, Channel<int>());
}

TEST_F(Channels, DefaultsAreOneItemHere) {
  const RemoteChannel<int> channel;
  EXPECT_TRUE(channel.try_put(1));
  EXPECT_FALSE(channel.try_put(2));
  EXPECT_THROW(channel.put(2, 1ms), TimeoutError);
  EXPECT_EQ(fetch(channel), 1);
  wait(channel);
  EXPECT_EQ(channel.take(), 1);
  EXPECT_EQ(remotecall_fetch([] { return RemoteChannel<int>().where(); }, 2), 2);
}

TEST_F(Channels, WhereTheyCanNotLive) {
  EXPECT_THROW(RemoteChannel<int>(1, 99), std::invalid_argument);
  const Pid gone = addprocs(1).front();
  rmprocs(gone);
  EXPECT_THROW(RemoteChannel<int>(1, gone), ProcessExitedException);
}

TEST_F(Channels, EveryKindOfItem) {
  for (const Pid pid : {1, 2}) {
    const RemoteChannel<std::unique_ptr<int>> pointers(1, pid);
    pointers.put(std::make_unique<int>(7));
    EXPECT_EQ(*pointers.fetch(), 7);
    EXPECT_EQ(*pointers.take(), 7);
    const RemoteChannel<std::vector<double>> arrays(2, pid);
    arrays.put(std::vector<double>(1'000'000, 1.5));
    arrays.put({});
    EXPECT_EQ(arrays.fetch().size(), 1'000'000U);
    const auto large = arrays.take();
    EXPECT_EQ(std::accumulate(large.begin(), large.end(), 0.0), 1'500'000.0);
    EXPECT_TRUE(arrays.take().empty());
    const RemoteChannel<std::monostate> empty(2, pid);
    empty.put({});
    EXPECT_TRUE(empty.try_take().has_value());
    EXPECT_FALSE(empty.try_take().has_value());
    const RemoteChannel<Future<int>> futures(1, pid);
    futures.put(spawnat(3, [] { return 5; }));
    EXPECT_EQ(futures.take().fetch(), 5);
  }
}

TEST_F(Channels, HandlesTravelWhereverValuesDo) {
  const RemoteChannel<int> channel(10, 3);
  const auto put = [](const RemoteChannel<int>& c, int value) { c.put(value); };
  remotecall_fetch(put, 2, channel, 1);             // argument
  spawnat(2, bind_front(put, channel), 2).fetch();  // captured
  EXPECT_EQ(remotecall_fetch([](RemoteChannel<int> c) { return std::vector{c}; }, 2, channel).front(),
            channel);  // in a result
  const RemoteChannel<RemoteChannel<int>> of_channels(1, 2);
  of_channels.put(channel);
  remotecall_fetch([](const RemoteChannel<RemoteChannel<int>>& c) { c.take().put(3); }, 1, of_channels);
  everywhere([](const RemoteChannel<int>& c) { c.put(myid() * 10); }, channel);
  std::set<int> got;
  while (const auto value = channel.try_take()) got.insert(*value);
  EXPECT_EQ(got, (std::set<int>{1, 2, 3, 10, 20, 30}));
}

// -- waiting ----------------------------------------------------------------------------------------------------------

// catalogue: 3.8.155
TEST_F(Channels, APutterThatWaitsForRoom) {
  for (const Pid pid : {1, 2}) {
    const RemoteChannel<int> channel(1, pid);
    channel.put(1);
    const auto putter = spawnat(3, [](const RemoteChannel<int>& c) { c.put(2); }, channel);
    ASSERT_TRUE(waits(3));
    EXPECT_FALSE(putter.isready());
    EXPECT_EQ(remotecall_fetch([](const RemoteChannel<int>& c) { return c.take(); }, 2, channel), 1);
    putter.fetch(patience);
    EXPECT_EQ(channel.take(), 2);
  }
}

// catalogue: 3.8.156
TEST_F(Channels, EveryoneWhoWaitsToSeeAnItem) {
  for (const Pid pid : {1, 2}) {
    const RemoteChannel<int> channel(1, pid);
    const auto see = [](const RemoteChannel<int>& c) { return c.fetch(); };
    const auto one = spawnat(2, see, channel), two = spawnat(3, see, channel);
    const auto only_wait = spawnat(3, [](const RemoteChannel<int>& c) { c.wait(); }, channel);
    ASSERT_TRUE(waits(2));
    ASSERT_TRUE(waits(3, 2));
    channel.put(8);
    EXPECT_EQ(one.fetch(patience), 8);
    EXPECT_EQ(two.fetch(patience), 8);
    only_wait.fetch(patience);
    EXPECT_EQ(channel.take(), 8);
  }
}

// catalogue: 3.8.154, 3.8.147
TEST_F(Channels, CloseWakesWhoeverWaits) {
  for (const Pid pid : {1, 2}) {
    for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}}) {
      const RemoteChannel<int> channel(capacity, pid);
      const auto ended = [](const RemoteChannel<int>& c, bool puts) {
        try {
          if (puts)
            c.put(1);
          else
            (void)c.take();
        } catch (const ChannelClosed&) {
          return true;
        }
        return false;
      };
      if (capacity == 1) {
        channel.put(1);
        const auto putter = spawnat(3, ended, channel, true);
        ASSERT_TRUE(waits(3));
        channel.close();
        EXPECT_TRUE(putter.fetch(patience));
        EXPECT_EQ(channel.take(), 1);
        EXPECT_THROW((void)channel.take(), ChannelClosed);
      } else {
        const auto taker = spawnat(3, ended, channel, false);
        ASSERT_TRUE(waits(3));
        remotecall_fetch([](const RemoteChannel<int>& c) { c.close(); }, 2, channel);  // by anyone
        EXPECT_TRUE(taker.fetch(patience));
      }
    }
    const RemoteChannel<int> unbuffered(0, pid);
    auto putter = std::async(std::launch::async, [&] { EXPECT_THROW(unbuffered.put(1), ChannelClosed); });
    unbuffered.wait();
    unbuffered.close();
    putter.get();
    EXPECT_THROW((void)unbuffered.take(), ChannelClosed);
  }
}

TEST_F(Channels, ChannelClosedItselfInsideATaskIsARemoteException) {
  const RemoteChannel<int> channel(1, 2);
  channel.close();
  const auto failure =
      thrown<RemoteException>([&] { remotecall_fetch([](const RemoteChannel<int>& c) { c.put(1); }, 3, channel); });
  ASSERT_TRUE(failure);
  EXPECT_TRUE(failure->is<ChannelClosed>());
}

TEST_F(Channels, AWaitingTaskLetsItsWorkerRunOthers) {
  const RemoteChannel<int> channel(1, 2), full(1, 2);
  full.put(0);
  const auto taker = spawnat(2, [](const RemoteChannel<int>& c) { return c.take(); }, channel);
  const auto putter = spawnat(2, [](const RemoteChannel<int>& c) { c.put(1); }, full);
  remotecall_fetch([](const RemoteChannel<int>& c) { c.put(4); }, 2, channel);
  EXPECT_EQ(taker.fetch(patience), 4);
  EXPECT_EQ(full.take(), 0);
  putter.fetch(patience);
}

TEST_F(Channels, AComputingOwnerAnswers) {
  const RemoteChannel<int> channel(1, 2);
  const auto busy = spawnat(2, [] {
    while (!this_task::stop_token().stop_requested()) {
    }
  });
  channel.put(1);
  EXPECT_EQ(remotecall_fetch([](const RemoteChannel<int>& c) { return c.take(); }, 3, channel), 1);
  EXPECT_TRUE(RemoteChannel<int>(1, 2).isempty());
  EXPECT_TRUE(busy.cancel());
}

// -- order, iteration -------------------------------------------------------------------------------------------------

// catalogue: 3.8.146
TEST_F(Channels, IterationEndsWithTheChannel) {
  for (const Pid pid : {1, 2}) {
    const RemoteChannel<Anything> channel(1, pid);
    const auto consumer = spawnat(
        3,
        [](const RemoteChannel<Anything>& c) {
          std::vector<Anything> got;
          for (const auto& item : c) got.push_back(item);
          return got;
        },
        channel);
    channel.put(1);
    channel.put("Hello");
    channel.close();
    EXPECT_EQ(consumer.fetch(patience), (std::vector<Anything>{1, "Hello"}));
    EXPECT_EQ(channel.begin(), channel.end());
  }
  const Channel<std::unique_ptr<int>> local(3);
  local.put(std::make_unique<int>(1));
  local.close();
  for (auto& item : local) EXPECT_EQ(*std::exchange(item, nullptr), 1);
}

// catalogue: 3.8.148
TEST_F(Channels, ProducerAndConsumer) {
  const auto produce = [](const RemoteChannel<int>& c) {
    for (int i = 0; i < 10; ++i) c.put(i);
    c.close();
  };
  const auto collect = [](const RemoteChannel<int>& c) { return std::vector<int>(c.begin(), c.end()); };
  std::vector<int> all(10);
  std::iota(all.begin(), all.end(), 0);
  for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}, std::size_t{4}}) {
    for (const Pid owner : {1, 2, 3}) {
      const RemoteChannel<int> out(capacity, owner), back(capacity, owner);
      const auto consumer = spawnat(2, collect, out);
      produce(out);
      EXPECT_EQ(consumer.fetch(patience), all);
      const auto producer = spawnat(2, produce, back);
      EXPECT_EQ(collect(back), all);
      producer.fetch(patience);
    }
  }
}

TEST_F(Channels, ManyPutAndManyTake) {
  for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}, std::size_t{7}}) {
    for (const Pid owner : {1, 2}) {
      const RemoteChannel<std::pair<int, int>> channel(capacity, owner);
      constexpr int each = 100, putters = 3;
      std::vector<Future<void>> puts;
      std::vector<Future<std::vector<std::pair<int, int>>>> takes;
      for (const Pid pid : {1, 2, 3}) {
        puts.push_back(spawnat(
            pid,
            [](const RemoteChannel<std::pair<int, int>>& c) {
              for (int i = 0; i < each; ++i) c.put({myid(), i});
            },
            channel));
        takes.push_back(spawnat(
            pid,
            [](const RemoteChannel<std::pair<int, int>>& c) {
              return std::vector<std::pair<int, int>>(c.begin(), c.end());
            },
            channel));
      }
      for (const auto& put : puts) put.fetch(patience);
      channel.close();
      std::set<std::pair<int, int>> all;
      for (const auto& take : takes) {
        std::map<int, int> last;
        for (const auto& [from, number] : take.fetch(patience)) {
          EXPECT_TRUE(all.insert({from, number}).second) << "twice";
          EXPECT_TRUE(!last.contains(from) || last[from] < number) << "out of order";
          last[from] = number;
        }
      }
      EXPECT_EQ(all.size(), static_cast<std::size_t>(each * putters)) << capacity << ' ' << owner;
    }
  }
}

// -- unbuffered -------------------------------------------------------------------------------------------------------

TEST_F(Channels, UnbufferedPutReturnsWhenItsItemWasTaken) {
  for (const Pid pid : {1, 2}) {
    const RemoteChannel<int> channel(0, pid);
    EXPECT_FALSE(channel.try_put(1)) << "nobody waits for it";
    EXPECT_FALSE(channel.isready());
    EXPECT_EQ(channel.try_take(), std::nullopt);
    EXPECT_THROW(channel.put(1, 1ms), TimeoutError);
    EXPECT_EQ(channel.try_take(), std::nullopt) << "a put that timed out left its item";
    const auto putter = spawnat(3, [](const RemoteChannel<int>& c) { c.put(2); }, channel);
    channel.wait(patience);
    EXPECT_TRUE(channel.isready());
    EXPECT_EQ(channel.size(), 1U);
    EXPECT_FALSE(putter.isready());
    EXPECT_EQ(channel.try_take(), 2);
    putter.fetch(patience);
    EXPECT_TRUE(channel.isempty());
    const auto taker = spawnat(3, [](const RemoteChannel<int>& c) { return c.take(); }, channel);
    ASSERT_TRUE(eventually([&] { return channel.try_put(5); })) << "somebody waits for it";
    EXPECT_EQ(taker.fetch(patience), 5);
    EXPECT_THROW((void)channel.fetch(), std::logic_error);
    EXPECT_THROW((void)channel.fetch(1s), std::logic_error);
    const auto nested = thrown<RemoteException>(
        [&] { remotecall_fetch([](const RemoteChannel<int>& c) { return c.fetch(); }, 3, channel); });
    ASSERT_TRUE(nested);
    EXPECT_TRUE(nested->is<std::logic_error>());
  }
}

// catalogue: 3.8.150
TEST_F(Channels, UnbufferedItemsAreAsTheyWerePut) {
  const RemoteChannel<std::vector<int>> channel(0);
  const auto taker = spawnat(
      2,
      [](const RemoteChannel<std::vector<int>>& c) {
        for (int k = 0; k < 10; ++k)
          if (c.take() != std::vector<int>(100'000, k)) return k;
        return -1;
      },
      channel);
  std::vector<int> numbers(100'000);
  for (int k = 0; k < 10; ++k) {
    std::fill(numbers.begin(), numbers.end(), k);
    channel.put(numbers);
  }
  std::fill(numbers.begin(), numbers.end(), -1);
  EXPECT_EQ(taker.fetch(patience), -1);
}

// catalogue: 3.8.151
TEST_F(Channels, UnbufferedAndClosed) {
  const RemoteChannel<int> channel(0);
  channel.close();
  for (int i = 0; i < 2; ++i) {
    const auto failed = thrown<RemoteException>(
        [&] { remotecall_fetch([](const RemoteChannel<int>& c) { return c.take(); }, 2, channel); });
    ASSERT_TRUE(failed);
    EXPECT_TRUE(failed->is<ChannelClosed>());
  }
  EXPECT_THROW((void)channel.take(), ChannelClosed);  // nothing is held by what failed
}

// catalogue: 3.8.160
TEST_F(Channels, ItemsAreCopiesOfWhatWasPut) {
  const RemoteChannel<std::vector<int>> channel(3);
  std::vector<int> value{0};
  for (int i = 1; i <= 3; ++i) {
    value[0] = i;
    channel.put(value);
  }
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(channel.take(), std::vector<int>{i});
}

// catalogue: 3.8.153
TEST_F(Channels, OnlyAnElementTravels) {
  const auto sent = [] {
    std::uint64_t bytes = 0;
    for (const auto& link : debug::links(2))
      if (link.peer == 1) bytes = link.bytes_sent;
    return bytes;
  };
  const RemoteChannel<std::vector<double>> channel(1, 2);
  channel.put(std::vector<double>(1'000'000, 0.5));
  const auto before = sent();
  EXPECT_EQ(remotecall_fetch([](const RemoteChannel<std::vector<double>>& c, std::size_t i) { return c.fetch()[i]; },
                             channel.where(), channel, 7U),
            0.5);
  EXPECT_LT(sent() - before, 10'000U);
  EXPECT_EQ(channel.fetch().size(), 1'000'000U);
}

}  // namespace
