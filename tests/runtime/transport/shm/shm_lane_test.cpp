// What only the shared-memory lane can go wrong in. The rest is in transport_test.cpp, which runs over every lane.

#include "tests/runtime/transport/transport_pair.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

namespace muster::runtime {
namespace {

using std::chrono::milliseconds;

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

std::string unique_name() {
  static std::atomic<int> last{0};
  return "shm-test-" + std::to_string(getpid()) + "-" + std::to_string(++last);
}

/// The next event. @returns false at the deadline
bool next(Lane& lane, LaneEvent& event, Clock::duration limit = patience) {
  const auto deadline = Clock::now() + limit;
  while (!lane.receive(event)) {
    if (Clock::now() > deadline) return false;
    lane.wait(deadline);
  }
  return true;
}

/// Whether a thread of this process waits in the kernel.
bool sleeps(const std::filesystem::path& thread) {
  std::ifstream stat(thread / "stat");
  std::string line;
  std::getline(stat, line);
  return line.find(") S ") != std::string::npos;
}

/// Waits until all threads but this one sleep. @returns false at the deadline
bool all_others_sleep() {
  const std::string self = std::to_string(gettid());
  const auto idle = [&](const auto& thread) { return thread.path().filename() == self || sleeps(thread.path()); };
  const auto all_idle = [&] {
    const std::filesystem::directory_iterator threads("/proc/self/task");
    return std::all_of(begin(threads), end(threads), idle);
  };
  const auto deadline = Clock::now() + patience;
  while (!all_idle()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(ShmLane, NobodyThereIsALostLink) {
  ShmLane lane(unique_name());
  const LinkId link = lane.dial("nowhere");
  LaneEvent event;
  ASSERT_TRUE(next(lane, event));
  EXPECT_EQ(event.kind, LaneEvent::Kind::lost);
  EXPECT_EQ(event.link, link);
  EXPECT_NE(event.reason.find("nobody listens at nowhere"), std::string::npos) << event.reason;
}

TEST(ShmLane, ANameInUseIsAnError) {
  const ShmLane lane(unique_name());
  EXPECT_THROW(ShmLane other(lane.endpoint()), std::system_error);
}

TEST(ShmLane, AProcessKilledInTheMiddleOfWritingIsLostAfterWhatItWrote) {
  int survivors = 0;
  for (int round = 0; round < 20; ++round) {
    ShmLane lane(unique_name());
    const std::string name = lane.endpoint();
    const pid_t child = fork();
    if (child == 0) {
      ShmLane dialer(unique_name());
      const LinkId link = dialer.dial(name);
      const auto payload = payload_of(1, 30, {100'000});
      for (std::uint64_t i = 0;; ++i) {
        dialer.send(link, Header{.kind = MessageKind::call, .number = i}, i % 50 == 0 ? payload : detail::Payload{});
        LaneEvent ignored;
        while (dialer.receive(ignored)) {
        }
      }
    }
    LaneEvent event;
    std::uint64_t expected = 0;
    const auto look_at_it = [&] {
      ASSERT_EQ(read_frame({event.frames.at(0).data, event.frames[0].size}, ~std::uint64_t{0}).header.number, expected);
      ++expected;
    };
    while (expected < 200U + static_cast<unsigned>(round) * 97) {
      ASSERT_TRUE(next(lane, event));
      ASSERT_EQ(event.kind, LaneEvent::Kind::message);
      look_at_it();
    }
    kill(child, SIGKILL);
    for (;;) {
      ASSERT_TRUE(next(lane, event)) << "its end was never noticed";
      if (event.kind == LaneEvent::Kind::lost) break;
      look_at_it();
      ++survivors;
    }
    EXPECT_EQ(waitpid(child, nullptr, 0), child);
  }
  EXPECT_GT(survivors, 0) << "in no round was anything read after the kill: the test shows less than it says";
}

/// Memory of which only the first half can be read: who reads on is ended by SIGBUS.
std::span<const std::byte> half_readable(std::size_t size) {
  const UniqueFd fd(memfd_create("half", MFD_CLOEXEC));
  EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(size / 2)), 0);
  void* const memory = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  EXPECT_NE(memory, MAP_FAILED);
  return {static_cast<const std::byte*>(memory), size};
}

TEST(ShmLane, AProcessThatEndsInTheMiddleOfABlockIsLostToWhoFollows) {
  constexpr std::size_t size = std::size_t{1} << 20;
  ShmLane lane(unique_name());
  const std::string name = lane.endpoint();
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGBUS, SIG_DFL);
    ShmLane dialer(unique_name());
    const LinkId link = dialer.dial(name);
    detail::Payload payload;
    const auto half = half_readable(size);
    payload.parts.push_back({half.data(), half.size(), nullptr});
    LaneEvent ignored;
    for (const auto deadline = Clock::now() + patience; !dialer.handed_over(link) && Clock::now() < deadline;) {
      (void)dialer.receive(ignored);
      dialer.wait(Clock::now() + milliseconds(1));
    }
    dialer.send(link, Header{.kind = MessageKind::call, .flags = read_as_it_comes, .number = 1}, payload);
    _exit(0);
  }
  LaneEvent event;
  ASSERT_TRUE(next(lane, event));
  ASSERT_EQ(event.kind, LaneEvent::Kind::message);
  ASSERT_EQ(event.frames.size(), 2u);
  const auto part = event.frames[1];
  ASSERT_NE(part.arriving, nullptr);
  EXPECT_GE(part.arriving->await(part.data + size / 4), part.data + size / 4);
  EXPECT_THROW((void)part.arriving->await(part.data + size), detail::SenderLost);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
  ASSERT_TRUE(next(lane, event));
  EXPECT_EQ(event.kind, LaneEvent::Kind::lost);
}

TEST(ShmLane, NothingIsLeftOfLinksAndBlocks) {
  const std::size_t before = open_descriptors();
  for (int round = 0; round < 10; ++round) {
    Pair pair(LaneKind::shm);
    pair.a.transport.send(*pair.to_b, Header{.kind = MessageKind::call}, payload_of(1, 10, {3'000'000, 50'000}));
    ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.messages.size() == 1; }));
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(ShmLane, ABlockOutlivesItsLink) {
  std::vector<detail::Part> parts;
  const auto expected = payload_of(9, 0, {500'000});
  {
    Pair pair(LaneKind::shm);
    pair.a.transport.send(*pair.to_b, Header{.kind = MessageKind::call}, detail::Payload(expected));
    ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.messages.size() == 1; }));
    parts = pair.b.recorder.messages.front().payload.parts;
  }
  EXPECT_EQ(std::memcmp(parts.at(0).data, expected.parts[0].data, 500'000), 0);
}

TEST(ShmLane, WithoutADescriptorForABlockTheMessageGoesInFragments) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "this sanitizer needs descriptors to look at memory";
#endif
  Pair pair(LaneKind::shm);
  const auto expected = payload_of(9, 200'000, {3'000'000, 5000});
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{open_descriptors(), before.rlim_max};  // the iterator's own is free again
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  std::vector<UniqueFd> taken;
  for (int fd = dup(0); fd >= 0; fd = dup(0)) taken.emplace_back(fd);
  for (std::uint64_t i = 0; i < 3; ++i)
    pair.a.transport.send(*pair.to_b, Header{.kind = MessageKind::call, .number = i}, detail::Payload(expected));
  const bool all = pair.pump([&] { return pair.b.recorder.messages.size() == 3; });
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(all);
  for (std::uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(pair.b.recorder.messages[i].header.number, i);
    EXPECT_TRUE(same_contents(pair.b.recorder.messages[i].payload, expected));
  }
}

TEST(ShmLane, ManyMessagesThatNobodyReadsYetAllArrive) {
  Pair pair(LaneKind::shm);
  constexpr std::uint64_t count = 20'000;  // far more than the ring holds
  for (std::uint64_t i = 0; i < count; ++i)
    pair.a.transport.send(*pair.to_b, Header{.kind = MessageKind::call, .number = i}, payload_of(i, i % 100));
  ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.messages.size() == count; }));
  for (std::uint64_t i = 0; i < count; ++i) ASSERT_EQ(pair.b.recorder.messages[i].header.number, i);
}

TEST(ShmLane, ManyLinksTakeTurns) {
  ShmLane lane(unique_name());
  std::vector<std::unique_ptr<ShmLane>> others;
  for (int i = 0; i < 100; ++i) {
    others.push_back(std::make_unique<ShmLane>(unique_name()));
    const LinkId link = others.back()->dial(lane.endpoint());
    for (int n = 0; n < 40; ++n) others.back()->send(link, Header{.kind = MessageKind::call}, {});
  }
  std::map<LinkId, int> counts;
  LaneEvent event;
  for (int received = 0; received < 100 * 40; ++received) {
    while (!lane.receive(event)) {
      lane.wait(Clock::now() + milliseconds(1));
      for (auto& other : others) {
        LaneEvent none;
        other->wait(Clock::now());
        (void)other->receive(none);
      }
    }
    ++counts[event.link];
  }
  EXPECT_EQ(counts.size(), 100u);
}

TEST(ShmLane, ManyLinksThatAskInTurnAreAllAnswered) {
  // More than are watched, each often enough to be watched, and all asleep now and then.
  constexpr int links = 7, rounds = 400;
  ShmLane lane(unique_name());
  std::atomic<int> answered{0};
  std::vector<std::jthread> askers;
  for (int i = 0; i < links; ++i) {
    askers.emplace_back([&] {
      ShmLane asker(unique_name());
      const LinkId link = asker.dial(lane.endpoint());
      LaneEvent event;
      for (int n = 0; n < rounds; ++n) {
        asker.send(link, Header{.kind = MessageKind::call}, {});
        if (!next(asker, event) || event.kind != LaneEvent::Kind::message) return;
      }
      ++answered;
    });
  }
  LaneEvent event;
  for (int asked = 0; asked < links * rounds; ++asked) {
    do {
      ASSERT_TRUE(next(lane, event)) << "after " << asked << " questions";
    } while (event.kind == LaneEvent::Kind::lost);  // of who has asked enough
    lane.send(event.link, Header{.kind = MessageKind::reply_value}, {});
  }
  askers.clear();
  EXPECT_EQ(answered, links);
}

TEST(ShmLane, AKickEndsAWait) {
  ShmLane lane(unique_name());
  lane.kick();
  lane.wait(Clock::time_point::max());
  std::jthread kicker([&] { lane.kick(); });
  lane.wait(Clock::time_point::max());
}

TEST(ShmLane, WhatCanWaitIsHeardWithTheNextMessageOrWhenItsSenderSleeps) {
  Pair pair(LaneKind::shm);
  Lane& lane = pair.a.transport.lane();
  constexpr std::size_t most = 4;
  const auto heard = [&](std::size_t count) {
    std::jthread sleeper([&] {
      const auto deadline = Clock::now() + patience;
      while (pair.b.recorder.count() < count && Clock::now() < deadline)
        if (!pair.b.transport.receive_some(16)) pair.b.transport.wait(deadline);
    });
    for (std::size_t i = 0; i < count; ++i) lane.send_soon(pair.to_b->id, Header{.kind = MessageKind::call}, {});
    if (count < most) lane.wait(Clock::now() + milliseconds(1));
    sleeper.join();
    return pair.b.recorder.count() >= count;
  };
  for (int round = 0; round < 20; ++round) {
    EXPECT_TRUE(heard(1)) << "its sender went to sleep";
    pair.b.recorder.messages.clear();
    EXPECT_TRUE(heard(most)) << "enough have come";
    pair.b.recorder.messages.clear();
  }
}

/// Receives for a side, and sleeps where nothing is there, as a leader does.
class Receiving {
 public:
  explicit Receiving(Side& side) : side_(side) {}
  ~Receiving() {
    thread_.request_stop();
    side_.transport.lane().kick();
  }
  Receiving(const Receiving&) = delete;
  Receiving& operator=(const Receiving&) = delete;

 private:
  Side& side_;
  std::jthread thread_{[this](const std::stop_token& stop) {
    while (!stop.stop_requested())
      if (!side_.transport.receive_some(16)) side_.transport.wait(Clock::time_point::max());
  }};
};

TEST(ShmLane, WhatCanWaitIsSoonHeardThoughItsSenderSleepsAlready) {
  Pair pair(LaneKind::shm);
  const Receiving at_a(pair.a), at_b(pair.b);
  for (std::size_t count = 1; count <= 3; ++count) {
    ASSERT_TRUE(all_others_sleep()) << "before message " << count;
    pair.a.transport.lane().send_soon(pair.to_b->id, Header{.kind = MessageKind::call}, {});
    const auto deadline = Clock::now() + patience;
    while (pair.b.recorder.count() < count && Clock::now() < deadline) std::this_thread::yield();
    EXPECT_LT(Clock::now(), deadline) << "nobody told the receiver of message " << count;
  }
}

TEST(ShmLane, WhoHasNothingToDoSleeps) {
  Pair pair(LaneKind::shm);
  pair.a.transport.send(*pair.to_b, Header{.kind = MessageKind::call}, payload_of(1, 10, {100'000}));
  ASSERT_TRUE(pair.pump([&] { return pair.b.recorder.messages.size() == 1; }));
  pair.b.recorder.messages.clear();  // whose block goes back
  // Neither wakes the other any more: both see their deadline, soon and then always.
  int both = 0;
  for (int i = 0; both < 3; ++i) {
    ASSERT_LT(i, 100) << "they wake each other for ever";
    bool quiet = true;
    for (Side* side : {&pair.a, &pair.b}) {
      const auto until = Clock::now() + milliseconds(5);
      if (side->transport.receive_some(16)) quiet = false;
      side->transport.wait(until);
      if (Clock::now() < until) quiet = false;
    }
    both = quiet ? both + 1 : 0;
  }
}

// -- strangers at the socket ------------------------------------------------------------------------------------------

class ShmStranger : public testing::Test {
 protected:
  ShmStranger() { EXPECT_TRUE(socket_); }
  /// Whether the lane closes the connection.
  bool is_closed() {
    const auto deadline = Clock::now() + patience;
    Packet packet;
    LaneEvent event;
    while (Clock::now() < deadline) {
      if (lane_.receive(event)) events_.push_back(event.kind);
      lane_.wait(Clock::now() + milliseconds(1));
      for (;;) {
        const Arrival arrival = receive_packet(socket_, packet);
        if (arrival == Arrival::end) return true;
        if (arrival == Arrival::nothing) break;
      }
    }
    return false;
  }
  bool say(const std::string& text, std::span<const int> descriptors = {}) {
    return send_packet(socket_, std::as_bytes(std::span(text)), descriptors);
  }

  ShmLane lane_{unique_name()};
  UniqueFd socket_ = connect_to("muster/" + lane_.endpoint());
  std::vector<LaneEvent::Kind> events_;
};

TEST_F(ShmStranger, WhoSaysSomethingElseIsClosed) {
  ASSERT_TRUE(say("GET / HTTP/1.0"));
  EXPECT_TRUE(is_closed());
  EXPECT_TRUE(events_.empty()) << "it was no link";
}

TEST_F(ShmStranger, WhoSaysTooMuchIsClosed) {
  ASSERT_TRUE(say(std::string(1000, 'x')));
  EXPECT_TRUE(is_closed());
}

TEST_F(ShmStranger, WhoPassesFilesForMemoryIsClosed) {
  std::string hello("mustersm");
  const std::array<std::uint32_t, 4> numbers{1, 1, 0, 0};
  hello.append(reinterpret_cast<const char*>(numbers.data()), sizeof numbers);
  const std::uint64_t size = ring_capacity;
  hello.append(reinterpret_cast<const char*>(&size), sizeof size);
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  const std::array descriptors{null.get(), null.get(), null.get()};
  ASSERT_TRUE(say(hello, descriptors));
  EXPECT_TRUE(is_closed());
}

TEST_F(ShmStranger, WhoSaysNothingIsClosedInTime) {
  lane_.upkeep(Clock::now() - std::chrono::hours(1));
  LaneEvent event;
  lane_.wait(Clock::now() + milliseconds(1));
  EXPECT_FALSE(lane_.receive(event));
  lane_.upkeep(Clock::now());
  EXPECT_TRUE(is_closed());
}

}  // namespace
}  // namespace muster::runtime
