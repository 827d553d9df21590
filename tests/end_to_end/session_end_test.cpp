// What handles do when their session is over.

#include "support.hpp"

namespace {

using namespace muster;
using namespace muster::test;

int argument_count = 0;            // NOLINT
char** arguments = nullptr;        // NOLINT
std::unique_ptr<Session> session;  // NOLINT: made before anything else, since a worker never leaves its constructor

void next_session() {
  session.reset();
  session = std::make_unique<Session>(argument_count, arguments);
}

TEST(SessionEnd, FuturesOutliveTheirSession) {
  next_session();
  (void)addprocs(2);
  const auto fetched = spawnat(2, [] { return std::vector<int>(100'000, 4); });
  (void)fetched.fetch();
  const auto small = spawnat(2, [] { return 5; });
  small.wait();
  const auto not_fetched = remotecall_wait([] { return std::vector<int>(100'000, 6); }, 3);
  const Future<int> unset(2), own;
  const auto failed = spawnat(2, []() -> int { throw std::out_of_range("late"); });
  failed.wait_for(patience);
  const auto chained = Future<int>().then([](int n) { return n; });
  session.reset();

  EXPECT_EQ(fetched.fetch().size(), 100'000U);
  EXPECT_EQ(small.fetch(), 5);
  EXPECT_TRUE(small.isready());
  EXPECT_THROW((void)failed.fetch(), RemoteException);
  EXPECT_EQ(fetched.where(), 2);
  EXPECT_EQ(fetched, fetched);
  EXPECT_THROW((void)not_fetched.fetch(), NoSession);
  EXPECT_THROW((void)not_fetched.isready(), NoSession);
  EXPECT_THROW(not_fetched.wait(), NoSession);
  EXPECT_THROW((void)not_fetched.wait_for(patience), NoSession);
  EXPECT_THROW((void)unset.fetch(), NoSession);
  EXPECT_THROW((void)unset.isready(), NoSession);
  EXPECT_THROW(own.put(1), NoSession);
  EXPECT_THROW((void)own.cancel(), NoSession);
  EXPECT_THROW((void)chained.fetch(), NoSession);
  EXPECT_THROW((void)spawnat(1, [] {}), NoSession);
  EXPECT_THROW((void)Future<int>(), NoSession);
  EXPECT_THROW((void)myid(), NoSession);
  this_task::check();
  this_task::sleep_for(1ms);
}

TEST(SessionEnd, HandlesOfAnotherSessionAreNotSent) {
  next_session();
  (void)addprocs(1);
  const auto old = remotecall_wait([] { return std::vector<int>(100'000, 6); }, 2);
  const RemoteChannel<int> old_channel(1, 2);
  next_session();
  (void)addprocs(1);
  EXPECT_THROW((void)spawnat(2, [](const Future<std::vector<int>>& f) { return f.fetch(); }, old), NoSession);
  EXPECT_THROW((void)spawnat(2, [](const RemoteChannel<int>& c) { return c.size(); }, old_channel), NoSession);
  EXPECT_EQ(remotecall_fetch(&myid, 2), 2) << "nothing came of it";
  session.reset();
}

TEST(SessionEnd, ViewsOutliveTheirSession) {
  next_session();
  (void)addprocs(1);
  const auto future = spawnat(2, [] { return std::vector<int>(100'000, 4); });
  const View<int> held = future.fetch_view();
  const View<int> small = remotecall_fetch([] { return View<int>(std::vector<int>(2000, 5)); }, 2);
  session.reset();
  EXPECT_EQ(held.to_vector(), std::vector<int>(100'000, 4));
  EXPECT_EQ(future.fetch_view().data(), held.data());
  EXPECT_EQ(small.to_vector(), std::vector<int>(2000, 5));
}

TEST(SessionEnd, WhoeverWaitsAtTheEndIsToldSo) {
  next_session();
  (void)addprocs(1);
  const Future<int> never;
  const auto long_task = spawnat(2, [] { this_task::sleep_for(1h); });
  std::thread waiting([&] { EXPECT_THROW((void)never.fetch(), NoSession); });
  std::thread also([&] { EXPECT_ANY_THROW(long_task.fetch()); });
  ASSERT_TRUE(eventually([] { return debug::calls_in_flight(1) == 2; }));
  const auto begin = std::chrono::steady_clock::now();
  session.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
  waiting.join();
  also.join();
}

TEST(SessionEnd, ChannelsOutliveTheirSession) {
  next_session();
  (void)addprocs(1);
  const RemoteChannel<int> here(2), there(2, 2), same = there;
  here.put(1);
  there.put(1);
  const Channel<int> local;
  local.put(3);
  session.reset();
  EXPECT_EQ(there, same);
  EXPECT_EQ(there.where(), 2);
  for (const auto& channel : {here, there}) {
    EXPECT_THROW((void)channel.take(), NoSession);
    EXPECT_THROW((void)channel.try_take(), NoSession);
    EXPECT_THROW(channel.put(2), NoSession);
    EXPECT_THROW((void)channel.try_put(2), NoSession);
    EXPECT_THROW((void)channel.fetch(), NoSession);
    EXPECT_THROW((void)channel.isready(), NoSession);
    EXPECT_THROW(channel.close(), NoSession);
  }
  EXPECT_THROW(RemoteChannel<int>(), NoSession);
  EXPECT_EQ(local.take(), 3);
  EXPECT_THROW((void)local.take(1ms), TimeoutError);
  const DeadlineScope scope(1ms);
  EXPECT_THROW((void)local.take(), TimeoutError);
}

TEST(SessionEnd, WhoeverWaitsForAChannelAtTheEndIsToldSo) {
  next_session();
  (void)addprocs(1);
  const RemoteChannel<int> here(1), there(1, 2);
  const Channel<int> local;
  std::thread one([&] { EXPECT_THROW((void)here.take(), NoSession); });
  std::thread two([&] { EXPECT_ANY_THROW((void)there.take()); });
  std::thread three([&] { EXPECT_EQ(local.take(), 4); });
  const auto task = spawnat(1, [] { (void)Channel<int>().take(); });
  const auto other_task = spawnat(2, [](const RemoteChannel<int>& channel) { (void)channel.take(); }, there);
  ASSERT_TRUE(eventually([] { return debug::calls_in_flight(1) == 4; }));
  const auto begin = std::chrono::steady_clock::now();
  session.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
  one.join();
  two.join();
  local.put(4);
  three.join();
}

TEST(SessionEnd, ASecondSessionStartsAnew) {
  next_session();
  const auto pids = addprocs(2);
  EXPECT_EQ(pids, (std::vector<Pid>{2, 3}));
  EXPECT_EQ(remotecall_fetch(&myid, 3), 3);
  EXPECT_THROW(Session(argument_count, arguments), std::logic_error);
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  argument_count = argc;
  arguments = argv;
  session = std::make_unique<muster::Session>(argument_count, arguments);
  const int status = RUN_ALL_TESTS();
  session.reset();
  return status;
}
