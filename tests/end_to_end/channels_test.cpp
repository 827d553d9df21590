// Remote channels, from one process and across several. The numbers are those of the behaviour catalogue.

#include "support.hpp"

#include <muster/remote_channel.hpp>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <stdexcept>
#include <unordered_set>
#include <variant>

namespace {

using namespace muster;
using namespace muster::test;

using Anything = std::variant<int, std::string, double>;

/// What every process owns now, to be found again later.
class Owned {
 public:
  Owned() {
    for (const Pid pid : procs()) before_[pid] = debug::values_owned(pid);
  }
  std::size_t more_on(Pid pid) const { return debug::values_owned(pid) - before_.at(pid); }
  /// Whether all that was kept is freed within the time API.md names; machines that are busy get more.
  bool as_before() const {
    return eventually([this] {
      for (const auto& [pid, count] : before_)
        if (debug::values_owned(pid) != count) return false;
      return true;
    }, 10s);
  }

 private:
  std::map<Pid, std::size_t> before_;
};

/// Handles that a process keeps for a while.
std::vector<RemoteChannel<int>> kept;  // NOLINT

void kill_worker(Pid pid) {
  const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, pid);
  ASSERT_EQ(::kill(os_pid, SIGKILL), 0);
}

bool is_gone(Pid pid) {
  const auto all = procs();
  return std::find(all.begin(), all.end(), pid) == all.end();
}

/// Stops a process, and waits until it stands still.
void stop_process(int os_pid) {
  ASSERT_EQ(::kill(os_pid, SIGSTOP), 0);
  ASSERT_TRUE(eventually([os_pid] {
    for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(os_pid) + "/task")) {
      std::ifstream in(thread.path() / "stat");
      std::string stat;
      std::getline(in, stat);
      const auto name_end = stat.rfind(')');
      if (name_end == std::string::npos || stat.substr(name_end, 3) != ") T") return false;
    }
    return true;
  }));
}

class Channels : public testing::Test {
 protected:
  Channels() : pids(at_least(2)) {}
  ~Channels() override {
    EXPECT_TRUE(owned.as_before()) << "something is left";
    EXPECT_TRUE(eventually([] { return debug::calls_in_flight(1) == 0; }));
  }
  const std::vector<Pid> pids;
  const Owned owned;
};

/// Waits until another process waits in an operation on a channel: it has asked, and has no answer.
bool waits(Pid pid, std::size_t calls = 1) {
  return eventually([&] { return debug::calls_in_flight(pid) >= calls; });
}

// -- one channel, here and elsewhere ---------------------------------------------------------------------------------------------

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
    remotecall_fetch([](const RemoteChannel<Anything>& channel) { life_of(channel); }, 3, RemoteChannel<Anything>(10, pid));
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
  EXPECT_TRUE(remotecall_fetch([](const RemoteChannel<int>& x, const RemoteChannel<int>& y) { return x == y && x.where() == 2; }, 3, b, copy));
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
  remotecall_fetch(put, 2, channel, 1);                                                                           // argument
  spawnat(2, bind_front(put, channel), 2).fetch();                                                                // captured
  EXPECT_EQ(remotecall_fetch([](RemoteChannel<int> c) { return std::vector{c}; }, 2, channel).front(), channel);  // in a result
  const RemoteChannel<RemoteChannel<int>> of_channels(1, 2);
  of_channels.put(channel);
  remotecall_fetch([](const RemoteChannel<RemoteChannel<int>>& c) { c.take().put(3); }, 1, of_channels);
  everywhere([](const RemoteChannel<int>& c) { c.put(myid() * 10); }, channel);
  std::set<int> got;
  while (const auto value = channel.try_take()) got.insert(*value);
  EXPECT_EQ(got, (std::set<int>{1, 2, 3, 10, 20, 30}));
}

// -- waiting ----------------------------------------------------------------------------------------------------------------------

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
  const auto failure = thrown<RemoteException>([&] { remotecall_fetch([](const RemoteChannel<int>& c) { c.put(1); }, 3, channel); });
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

// -- order, iteration -------------------------------------------------------------------------------------------------------------

// catalogue: 3.8.146
TEST_F(Channels, IterationEndsWithTheChannel) {
  for (const Pid pid : {1, 2}) {
    const RemoteChannel<Anything> channel(1, pid);
    const auto consumer = spawnat(3, [](const RemoteChannel<Anything>& c) {
      std::vector<Anything> got;
      for (const auto& item : c) got.push_back(item);
      return got;
    }, channel);
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
        puts.push_back(spawnat(pid, [](const RemoteChannel<std::pair<int, int>>& c) {
          for (int i = 0; i < each; ++i) c.put({myid(), i});
        }, channel));
        takes.push_back(spawnat(pid, [](const RemoteChannel<std::pair<int, int>>& c) {
          return std::vector<std::pair<int, int>>(c.begin(), c.end());
        }, channel));
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

// -- unbuffered ---------------------------------------------------------------------------------------------------------------------

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
    const auto nested = thrown<RemoteException>([&] { remotecall_fetch([](const RemoteChannel<int>& c) { return c.fetch(); }, 3, channel); });
    ASSERT_TRUE(nested);
    EXPECT_TRUE(nested->is<std::logic_error>());
  }
}

// catalogue: 3.8.150
TEST_F(Channels, UnbufferedItemsAreAsTheyWerePut) {
  const RemoteChannel<std::vector<int>> channel(0);
  const auto taker = spawnat(2, [](const RemoteChannel<std::vector<int>>& c) {
    for (int k = 0; k < 10; ++k)
      if (c.take() != std::vector<int>(100'000, k)) return k;
    return -1;
  }, channel);
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
    const auto failed = thrown<RemoteException>([&] { remotecall_fetch([](const RemoteChannel<int>& c) { return c.take(); }, 2, channel); });
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
  EXPECT_EQ(remotecall_fetch([](const RemoteChannel<std::vector<double>>& c, std::size_t i) { return c.fetch()[i]; }, channel.where(), channel, 7U), 0.5);
  EXPECT_LT(sent() - before, 10'000U);
  EXPECT_EQ(channel.fetch().size(), 1'000'000U);
}

// -- takers and putters that end ------------------------------------------------------------------------------------------------------

// catalogue: 3.8.158
TEST_F(Channels, ATakerThatGaveUpSwallowsNothing) {
  for (const Pid owner : {1, 2}) {
    for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}}) {
      const RemoteChannel<int> channel(capacity, owner);
      EXPECT_THROW((void)channel.take(1ms), TimeoutError);
      const auto late = spawnat(3, [](const RemoteChannel<int>& c) { return c.take(1ms); }, channel);
      EXPECT_THROW((void)late.fetch(patience), TimeoutError);
      const auto cancelled = spawnat(3, [](const RemoteChannel<int>& c) { return c.take(); }, channel);
      ASSERT_TRUE(waits(3));
      EXPECT_TRUE(cancelled.cancel());
      ASSERT_TRUE(eventually([] { return debug::calls_in_flight(3) == 0; }));
      {
        const DeadlineScope scope(1ms);
        EXPECT_THROW((void)channel.take(), TimeoutError);
      }
      const auto putter = spawnat(3, [](const RemoteChannel<int>& c) { c.put(9); }, channel);
      EXPECT_EQ(channel.take(patience), 9);
      putter.fetch(patience);
    }
  }
}

/// Puts numbers into a channel whose takers give up all the time: each number arrives just once, in order.
// catalogue: 3.8.158
TEST_F(Channels, TakersThatGiveUpWhileItemsCome) {
  for (const Pid owner : {1, 2}) {
    for (const std::size_t capacity : {std::size_t{0}, std::size_t{2}}) {
      const RemoteChannel<int> channel(capacity, owner);
      constexpr int count = 500;
      const auto putter = spawnat(3, [](const RemoteChannel<int>& c) {
        for (int i = 0; i < count; ++i) {
          c.put(i);
          if (i % 7 == 0) this_task::sleep_for(std::chrono::microseconds(i % 50 * 10));
        }
        c.close();
      }, channel);
      std::vector<int> got;
      int in_vain = 0;
      for (int round = 0; channel.isopen() || channel.isready() || !putter.isready(); ++round) {
        try {
          got.push_back(channel.take(std::chrono::microseconds(round % 40 * 5)));
        } catch (const TimeoutError&) {
          ++in_vain;
        } catch (const ChannelClosed&) {
        }
      }
      putter.fetch(patience);
      std::vector<int> all(count);
      std::iota(all.begin(), all.end(), 0);
      EXPECT_EQ(got, all) << owner << ' ' << capacity << ", in vain: " << in_vain;
    }
  }
}

TEST_F(Channels, APutterThatGaveUpLeavesNothing) {
  for (const Pid owner : {1, 2}) {
    const RemoteChannel<int> channel(1, owner);
    channel.put(1);
    EXPECT_THROW(channel.put(2, 1ms), TimeoutError);
    const auto late = spawnat(3, [](const RemoteChannel<int>& c) { c.put(3, 1ms); }, channel);
    EXPECT_THROW(late.fetch(patience), TimeoutError);
    const auto cancelled = spawnat(3, [](const RemoteChannel<int>& c) { c.put(4); }, channel);
    ASSERT_TRUE(waits(3));
    EXPECT_TRUE(cancelled.cancel());
    ASSERT_TRUE(eventually([] { return debug::calls_in_flight(3) == 0; }));
    EXPECT_EQ(channel.take(), 1);
    EXPECT_EQ(channel.try_take(), std::nullopt);
  }
}

/// Putters that give up all the time while somebody takes: a put that threw left nothing, one that did not is there once.
TEST_F(Channels, PuttersThatGiveUpWhileItemsGo) {
  for (const Pid owner : {1, 2}) {
    for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}}) {
      const RemoteChannel<int> channel(capacity, owner);
      const auto taker = spawnat(3, [](const RemoteChannel<int>& c) {
        std::vector<int> got;
        for (const int item : c) {
          got.push_back(item);
          if (item % 5 == 0) this_task::sleep_for(std::chrono::microseconds(item % 30 * 10));
        }
        return got;
      }, channel);
      std::vector<int> put;
      for (int i = 0; i < 500; ++i) {
        try {
          channel.put(i, std::chrono::microseconds(i % 40 * 5));
          put.push_back(i);
        } catch (const TimeoutError&) {
        }
      }
      channel.close();
      EXPECT_EQ(taker.fetch(patience), put) << owner << ' ' << capacity;
    }
  }
}

// catalogue: 3.8.157
TEST_F(Channels, ATakerThatDiesSwallowsNothing) {
  for (const Pid owner : {1, 2}) {
    for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}}) {
      const RemoteChannel<int> channel(capacity, owner);
      const Pid mortal = addprocs(1).front();
      const auto dying = spawnat(mortal, [](const RemoteChannel<int>& c) { return c.take(); }, channel);
      ASSERT_TRUE(waits(mortal));
      const auto living = spawnat(3, [](const RemoteChannel<int>& c) { return c.take(); }, channel);
      ASSERT_TRUE(waits(3));
      kill_worker(mortal);
      EXPECT_THROW((void)dying.fetch(patience), ProcessExitedException);
      channel.put(6);
      EXPECT_EQ(living.fetch(patience), 6);
    }
  }
}

TEST_F(Channels, APutterThatDiesLeavesNothing) {
  for (const Pid owner : {1, 2}) {
    const RemoteChannel<int> channel(0, owner);
    const Pid mortal = addprocs(1).front();
    const auto dying = spawnat(mortal, [](const RemoteChannel<int>& c) { c.put(2); }, channel);
    channel.wait(patience);
    kill_worker(mortal);
    EXPECT_THROW(dying.fetch(patience), ProcessExitedException);
    EXPECT_TRUE(eventually([&] { return channel.isempty(); }));
    EXPECT_EQ(channel.try_take(), std::nullopt);
  }
}

/// A process that is stopped can't say that it has an item: it goes back when the process is killed.
// catalogue: 3.8.157
TEST_F(Channels, AnItemOnItsWayToOneWhoDiesComesBack) {
  for (const std::size_t capacity : {std::size_t{0}, std::size_t{2}}) {
    const RemoteChannel<int> channel(capacity);
    const Pid mortal = addprocs(1).front();
    const auto dying = spawnat(mortal, [](const RemoteChannel<int>& c) { return c.take(); }, channel);
    ASSERT_TRUE(waits(mortal));
    const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, mortal);
    ASSERT_NO_FATAL_FAILURE(stop_process(os_pid));
    auto puts = std::async(std::launch::async, [&] {
      channel.put(1);
      channel.put(2);
    });
    if (capacity != 0) {
      puts.wait();
      EXPECT_EQ(channel.size(), 1U) << "one is under way";
    }
    ASSERT_EQ(::kill(os_pid, SIGKILL), 0);
    EXPECT_THROW((void)dying.fetch(patience), ProcessExitedException);
    ASSERT_TRUE(eventually([&] { return channel.size() >= (capacity == 0 ? 1U : 2U); }));
    EXPECT_EQ(channel.take(), 1);
    EXPECT_EQ(channel.take(), 2);
    puts.get();
  }
}

// catalogue: 3.8.159
TEST_F(Channels, AnOwnerThatDies) {
  const Pid owner = addprocs(1).front();
  const RemoteChannel<int> empty(1, owner), full(1, owner);
  full.put(1);
  const auto ends = [](const RemoteChannel<int>& c, int what) {
    try {
      if (what == 0) (void)c.take();
      if (what == 1) c.put(1);
      if (what == 2) (void)c.fetch();
      if (what == 3) c.wait();
    } catch (const ProcessExitedException& exited) {
      return exited.pid();
    }
    return 0;
  };
  std::vector<Future<int>> waiting;
  for (const Pid pid : {1, 2})
    for (int what = 0; what < 4; ++what) waiting.push_back(spawnat(pid, ends, what == 1 ? full : empty, what));
  ASSERT_TRUE(waits(2, 4));
  ASSERT_TRUE(waits(1, 8));
  kill_worker(owner);
  for (const auto& one : waiting) EXPECT_EQ(one.fetch(patience), owner);
  EXPECT_THROW((void)full.take(), ProcessExitedException);
  EXPECT_THROW((void)full.try_take(), ProcessExitedException);
  EXPECT_THROW(full.put(1), ProcessExitedException);
  EXPECT_THROW((void)full.try_put(1), ProcessExitedException);
  EXPECT_THROW((void)full.fetch(), ProcessExitedException);
  EXPECT_THROW(full.wait(1s), ProcessExitedException);
  EXPECT_THROW((void)full.isready(), ProcessExitedException);
  EXPECT_THROW((void)full.isopen(), ProcessExitedException);
  EXPECT_THROW(full.close(), ProcessExitedException);
}

TEST_F(Channels, AnOwnerThatDoesNotAnswer) {
  const Pid owner = addprocs(1).front();
  {
    const RemoteChannel<int> channel(2, owner);
    channel.put(1);
    const int os_pid = remotecall_fetch([] { return static_cast<int>(::getpid()); }, owner);
    ASSERT_NO_FATAL_FAILURE(stop_process(os_pid));
    const auto start = std::chrono::steady_clock::now();
    EXPECT_THROW((void)channel.take(10ms), TimeoutError);
    const auto late = thrown<TimeoutError>([&] { channel.put(2, 10ms); });
    ASSERT_TRUE(late);
    EXPECT_NE(std::string(late->what()).find("not known"), std::string::npos) << late->what();
    EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
    ASSERT_EQ(::kill(os_pid, SIGCONT), 0);
    EXPECT_EQ(channel.take(patience), 1) << "the take that gave up got it, and gave it back";
  }
  rmprocs(owner);
}

TEST_F(Channels, AStoppedTaskWaitsForNothing) {
  for (const Pid owner : {1, 2, 3}) {
    const RemoteChannel<int> channel(5, owner);
    const RemoteChannel<std::string> told(10, 2);
    const auto task = spawnat(3, [](const RemoteChannel<int>& c, const RemoteChannel<std::string>& started) {
      started.put("started");
      while (!this_task::stop_token().stop_requested()) {
      }
      EXPECT_THROW(c.put(1), CancelledError);
      EXPECT_THROW((void)c.take(), CancelledError);
      EXPECT_THROW((void)c.try_take(), CancelledError);
      EXPECT_THROW((void)c.isready(), CancelledError);
      EXPECT_THROW(Channel<int>().put(1), CancelledError);
    }, channel, told);
    EXPECT_EQ(told.take(), "started");
    EXPECT_TRUE(task.cancel());
    ASSERT_EQ(remotecall_fetch([] { return testing::Test::HasFailure(); }, 3), false);
    EXPECT_TRUE(channel.isempty());
  }
}

// catalogue: 3.8.161
TEST_F(Channels, ThreadsOfTwoWorkers) {
  const OwnWorkers two(2, {.threads = 2});
  const RemoteChannel<int> channel(1, two[0]);
  std::vector<Future<void>> puts;
  std::vector<Future<int>> takes;
  for (int combination = 0; combination < 16; ++combination) {
    puts.push_back(spawnat(two[0], [](const RemoteChannel<int>& c, int i) { c.put(i); }, channel, combination));
    takes.push_back(spawnat(two[1], [](const RemoteChannel<int>& c) { return c.take(); }, channel));
  }
  int sum = 0;
  for (const auto& put : puts) put.fetch(60s);
  for (const auto& take : takes) sum += take.fetch(60s);
  EXPECT_EQ(sum, 120);
}

TEST_F(Channels, ManyThreadsOfTheMaster) {
  for (const Pid owner : {1, 2}) {
    const RemoteChannel<int> channel(3, owner);
    std::atomic<int> sum{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 1; i <= 100; ++i) channel.put(i);
      });
      threads.emplace_back([&] {
        for (int i = 1; i <= 100; ++i) sum += channel.take();
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(sum, 4 * 5050);
  }
}

// -- counting --------------------------------------------------------------------------------------------------------------------------

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

// -- stores of one's own ---------------------------------------------------------------------------------------------------------------

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
    const auto channel = RemoteChannel<int>::make(bind_front([](std::size_t room) { return std::make_unique<Largest>(room); }, std::size_t{1}), owner);
    const auto taker = spawnat(3, [](const RemoteChannel<int>& c) { return c.take(); }, channel);
    const auto watcher = spawnat(2, [](const RemoteChannel<int>& c) { return c.fetch(); }, channel);
    ASSERT_TRUE(waits(3));
    ASSERT_TRUE(waits(2));
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
    const auto null = thrown<RemoteException>([&] { (void)RemoteChannel<int>::make([] { return std::unique_ptr<Largest>(); }, owner); });
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

// -- within one process ------------------------------------------------------------------------------------------------------------------

TEST(LocalChannel, ThoseThatWait) {
  const Channel<int> unbuffered(0);
  EXPECT_FALSE(unbuffered.try_put(1));
  EXPECT_THROW(unbuffered.put(1, 1ms), TimeoutError);
  EXPECT_THROW((void)unbuffered.fetch(), std::logic_error);
  auto putter = std::async(std::launch::async, [&] { unbuffered.put(2); });
  unbuffered.wait();
  EXPECT_EQ(unbuffered.size(), 1U);
  EXPECT_EQ(unbuffered.take(), 2);
  putter.get();
  auto taker = std::async(std::launch::async, [&] { return unbuffered.take(); });
  EXPECT_TRUE(eventually([&] { return unbuffered.try_put(3); }));
  EXPECT_EQ(taker.get(), 3);
  auto closed = std::async(std::launch::async, [&] { EXPECT_THROW((void)unbuffered.take(), ChannelClosed); });
  auto closed_too = std::async(std::launch::async, [&] { EXPECT_THROW(unbuffered.wait(), ChannelClosed); });
  unbuffered.close();
  closed.get();
  closed_too.get();
}

TEST(LocalChannel, InATask) {
  (void)at_least(2);
  const auto sum = spawnat(2, [] {
    const Channel<int> channel;
    std::thread other([channel] {
      for (int i = 1; i <= 100; ++i) channel.put(i);
      channel.close();
    });
    int total = 0;
    for (const int item : channel) total += item;
    other.join();
    return total;
  });
  EXPECT_EQ(sum.fetch(patience), 5050);
  const RemoteChannel<int> started;
  const auto waiting = spawnat(2, [](const RemoteChannel<int>& told) {
    told.put(1);
    (void)Channel<int>().take();
  }, started);
  (void)started.take();
  EXPECT_EQ(remotecall_fetch(&myid, 2), 2) << "its slot is free";
  EXPECT_TRUE(waiting.cancel());
  EXPECT_THROW(waiting.fetch(patience), CancelledError);
}

TEST(LocalChannel, EveryItemOnce) {
  for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
    const Channel<int> channel(capacity);
    constexpr int each = 2000;
    std::atomic<long> put_sum{0}, sum{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) {
          try {
            if (t == 0)
              channel.put(i, std::chrono::microseconds(i % 50));
            else
              channel.put(i);
            put_sum += i;
          } catch (const TimeoutError&) {
          }
        }
      });
    }
    std::vector<std::thread> takers;
    for (int t = 0; t < 2; ++t) {
      takers.emplace_back([&, t] {
        for (int i = 0;; ++i) {
          try {
            sum += t == 0 ? channel.take() : channel.take(std::chrono::microseconds(i % 50));
          } catch (const TimeoutError&) {
          } catch (const ChannelClosed&) {
            return;
          }
        }
      });
    }
    for (auto& thread : threads) thread.join();
    channel.close();
    for (auto& thread : takers) thread.join();
    EXPECT_EQ(sum, put_sum) << capacity;
  }
}

}  // namespace
