// Arrays that are read in place where they arrive: muster::View over each lane, and what it keeps.
// lanes: shm zmq

#include "support.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace muster;
using namespace muster::test;

// Below what travels beside a message, in a record, in a block, in pieces over ZeroMQ.
constexpr std::array<std::size_t, 6> sizes{0, 10, 1000, 20'000, 300'000, 3'000'000};

std::vector<double> numbers(std::size_t count, double first = 0.5) {
  std::vector<double> all(count);
  std::iota(all.begin(), all.end(), first);
  return all;
}

bool right(std::span<const double> values, std::size_t count, double first = 0.5) {
  if (values.size() != count || reinterpret_cast<std::uintptr_t>(values.data()) % alignof(double) != 0) return false;
  for (std::size_t i = 0; i < count; ++i)
    if (values[i] != first + static_cast<double>(i)) return false;
  return true;
}

bool right_view(View<double> values, std::size_t count) { return right(values, count); }
bool right_reference(std::size_t count, const View<double>& values) { return right(values, count); }
bool right_span(std::span<const double> values, std::size_t count) { return right(values, count); }
bool right_vector(const std::vector<double>& values, std::size_t count) { return right(values, count); }
View<double> made_view(std::size_t count) { return numbers(count); }
Task<bool> right_later(View<double> values, std::size_t count) {
  co_await spawnat(1, [] { return 0; });
  co_return right(values, count);
}

TEST(Views, ArgumentsOfEverySizeArriveAsViews) {
  for (const Pid pid : {1, at_least(1)[0]}) {
    for (const std::size_t count : sizes) {
      SCOPED_TRACE("pid " + std::to_string(pid) + ", " + std::to_string(count));
      const auto values = numbers(count);
      EXPECT_TRUE(remotecall_fetch(&right_view, pid, values, count));
      EXPECT_TRUE(remotecall_fetch(&right_view, pid, std::span(values), count));
      EXPECT_TRUE(remotecall_fetch(&right_view, pid, View<double>(numbers(count)), count));
      EXPECT_TRUE(spawnat(pid, &right_reference, count, values).fetch());
      EXPECT_TRUE(spawnat(pid, &right_span, values, count).fetch());
      EXPECT_TRUE(spawnat(pid, &right_later, values, count).fetch());
      EXPECT_TRUE(spawnat(pid, &right_vector, View<double>(numbers(count)), count).fetch());
      const auto lambda = [](View<double> view, std::size_t size) { return right(view, size); };
      EXPECT_TRUE(spawnat(pid, lambda, values, count).fetch());
    }
    auto array = std::make_unique<std::array<double, 2000>>();
    std::iota(array->begin(), array->end(), 0.5);
    EXPECT_TRUE(remotecall_fetch(&right_view, pid, *array, array->size()));
  }
}

TEST(Views, ResultsOfEverySizeAreFetchedAsViews) {
  for (const Pid pid : {1, at_least(1)[0]}) {
    for (const std::size_t count : sizes) {
      SCOPED_TRACE("pid " + std::to_string(pid) + ", " + std::to_string(count));
      EXPECT_TRUE(right(remotecall_fetch(&made_view, pid, count), count));
      const Future<View<double>> future = spawnat(pid, &made_view, count);
      const auto first = future.fetch(), second = future.fetch();
      EXPECT_EQ(first.data(), second.data());
      EXPECT_TRUE(right(first, count));
      EXPECT_TRUE(right(spawnat(pid, &made_view, count).take(), count));
    }
  }
}

TEST(Views, AFutureOfAVectorIsFetchedInPlace) {
  for (const Pid pid : {1, at_least(1)[0]}) {
    for (const std::size_t count : sizes) {
      SCOPED_TRACE("pid " + std::to_string(pid) + ", " + std::to_string(count));
      std::optional<View<double>> kept;
      {
        const auto future = spawnat(pid, [](std::size_t n) { return numbers(n); }, count);
        kept = future.fetch_view();
        if (count >= 20'000) {
          EXPECT_EQ(kept->data(), future.fetch_view(patience).data());
        }
        EXPECT_TRUE(right(future.fetch(), count));
        EXPECT_TRUE(right(future.fetch_view(), count)) << "after it was decoded";
      }
      EXPECT_TRUE(right(*kept, count));
    }
  }
  Future<std::vector<double>> own;
  EXPECT_THROW((void)own.fetch_view(1ms), TimeoutError);
  own.put(numbers(1000));
  EXPECT_TRUE(right(own.fetch_view(), 1000));
}

struct Measured {
  std::string name;
  View<double> values;
};

Measured renamed(Measured measured) {
  measured.name += "!";
  return measured;
}

TEST(Views, TravelWithinOtherValuesAndOn) {
  const auto pids = at_least(2);
  for (const std::size_t count : sizes) {
    const auto there = remotecall_fetch(&renamed, pids[0], Measured{"a", numbers(count)});
    const auto back = remotecall_fetch(&renamed, pids[1], there);  // from where it arrived
    EXPECT_EQ(back.name, "a!!");
    EXPECT_TRUE(right(back.values, count));
  }
}

TEST(Views, GoThroughChannelsMapsAndCapturedValues) {
  const auto pids = at_least(2);
  for (const std::size_t count : sizes) {
    for (const Pid pid : {1, pids[0]}) {
      const RemoteChannel<View<double>> channel(2, pid);
      channel.put(numbers(count));
      EXPECT_TRUE(spawnat(
                      pids[1], [](RemoteChannel<View<double>> from, std::size_t n) { return right(from.take(), n); },
                      channel, count)
                      .fetch());
      channel.put(numbers(count));
      EXPECT_TRUE(right(channel.fetch(), count));
      EXPECT_TRUE(right(channel.take(), count));
    }
    const auto values = numbers(count);
    const auto captured = bind_front([](const View<double>& view, std::size_t n, int) { return right(view, n); },
                                     View<double>(numbers(count)), count);
    EXPECT_EQ(pmap(captured, std::vector<int>(8)), std::vector<bool>(8, true));
    EXPECT_TRUE(remotecall_fetch(captured, CachingPool(workers()), 0));
  }
  const std::vector<std::vector<double>> vectors(6, numbers(3000));
  const std::vector<std::span<const double>> spans(vectors.begin(), vectors.end());
  const std::vector<std::size_t> counts(6, 3000);
  for (const int batch : {1, 4}) {
    PmapOptions<> options;
    options.batch_size = batch;
    EXPECT_EQ(pmap(&right_view, vectors, counts, options), std::vector<bool>(6, true));
    EXPECT_EQ(pmap(&right_view, spans, counts, options), std::vector<bool>(6, true));
    for (const auto& view : pmap(&made_view, counts, options)) EXPECT_TRUE(right(view, 3000));
  }
}

TEST(Views, AFutureThatTravelsWithItsValueTravelsInPlace) {
  const auto pids = at_least(2);
  for (const std::size_t count : sizes) {
    const auto future = spawnat(pids[0], [](std::size_t n) { return numbers(n); }, count);
    EXPECT_TRUE(right(future.fetch_view(), count));
    const auto back = remotecall_fetch([](Future<std::vector<double>> same) { return same; }, pids[1], future);
    EXPECT_EQ(back, future);
    EXPECT_TRUE(right(back.fetch(), count));
    EXPECT_TRUE(spawnat(
                    pids[1],
                    [](Future<std::vector<double>> same, std::size_t n) {
                      return right(same.fetch_view(), n) && right(same.fetch(), n) && right(std::move(same).take(), n);
                    },
                    future, count)
                    .fetch());
  }
}

TEST(Views, OutliveTheProcessTheyCameFrom) {
  std::vector<View<double>> kept;
  {
    const OwnWorkers own(1);
    for (const std::size_t count : sizes) kept.push_back(remotecall_fetch(&made_view, own[0], count));
    kill_worker(own[0]);
    ASSERT_TRUE(eventually([&] {
      const auto left = procs();
      return std::ranges::find(left, own[0]) == left.end();
    }));
    for (std::size_t i = 0; i < sizes.size(); ++i) EXPECT_TRUE(right(kept[i], sizes[i]));
  }
  const OwnWorkers others(1);  // memory of a dead link is nobody else's
  EXPECT_TRUE(right(remotecall_fetch(&made_view, others[0], sizes.back()), sizes.back()));
  for (std::size_t i = 0; i < sizes.size(); ++i) EXPECT_TRUE(right(kept[i], sizes[i]));
}

TEST(Views, AWorkerKeepsViewsOfItsArguments) {
  const OwnWorkers own(1);
  const auto keep = [](View<double> values) {
    static std::vector<View<double>> kept;
    kept.push_back(std::move(values));
    for (std::size_t i = 0; i < kept.size(); ++i)
      if (!right(kept[i], 20'000, static_cast<double>(i))) return false;
    return true;
  };
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(remotecall_fetch(keep, own[0], numbers(20'000, i)));
}

TEST(Views, ManyThatAreHeldDoNotStopTheLink) {
  const OwnWorkers own(1);
  std::vector<View<double>> held;
  constexpr std::size_t small = 3000, most = 3000;
  for (std::size_t i = 0; i < most; ++i) {
    held.push_back(remotecall_fetch([](double first) { return View<double>(numbers(small, first)); }, own[0],
                                    static_cast<double>(i)));
  }
  for (std::size_t i = 0; i < most; ++i) ASSERT_TRUE(right(held[i], small, static_cast<double>(i))) << i;
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(right(remotecall_fetch(&made_view, own[0], 1'000'000), 1'000'000));
  held.clear();
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(right(remotecall_fetch(&made_view, own[0], small), small));
}

TEST(Views, AnyThreadGivesThemBack) {
  const OwnWorkers own(1);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&own, t] {
      std::vector<View<double>> held;
      for (int i = 0; i < 100; ++i) {
        const auto first = static_cast<double>(1000 * t + i);
        held.push_back(remotecall_fetch([](double from) { return View<double>(numbers(5000, from)); }, own[0], first));
        auto last = held.back();
        std::jthread([view = std::move(last), first] { EXPECT_TRUE(right(view, 5000, first)); }).join();
        if (i % 3 == 0) held.erase(held.begin());
      }
    });
  }
}

}  // namespace
