/// @file
/// `channels`: a put and a take through a RemoteChannel that lives on a local worker, one waiting for the other
/// (`channels/round_trip`); items from a producer there to a consumer here, in a channel that lives here
/// (`channels/stream`), or there (`channels/stream_from_owner`); and a put and a take of one process's own channel
/// (`channels/local`). Floor: a bare ring in shared memory, as many ping-pongs as the operation has, or as many
/// messages under way as it holds.
#include "../common/floor_child.hpp"
#include "../common/report.hpp"
#include "../common/workload.hpp"

#include <muster/muster.hpp>

#include <cstddef>
#include <stdexcept>

namespace {

constexpr int items = 20'000;
constexpr std::size_t message_bytes = 64;

void produce(const muster::RemoteChannel<int>& channel, int count) {
  for (int i = 0; i < count; ++i) channel.put(i);
  channel.close();
}

void stream(muster::Pid worker, muster::Pid owner) {
  const muster::RemoteChannel<int> channel(1000, owner);
  const auto producer = muster::spawnat(worker, &produce, channel, items);
  int expected = 0;
  for (const int item : channel)
    if (item != expected++) throw std::runtime_error("a channel gave a wrong item");
  if (expected != items) throw std::runtime_error("a channel lost items");
  producer.fetch();
}

}  // namespace

int main(int argc, char** argv) {
  if (bench::was_floor_child(argc, argv)) return 0;
  muster::Session session(argc, argv);
  const int rounds = bench::take_rounds(argc, argv);
  const muster::Pid worker = muster::addprocs(1).front();
  bench::RingFloor ring(message_bytes, message_bytes, bench::RingWait::yields);
  const muster::RemoteChannel<int> channel(10, worker);

  const auto median_us = [](auto call) {
    return 1e6 * bench::median_call(call, bench::round_trip_calls, bench::round_trip_limit, bench::round_trip_warm_up);
  };
  bench::add("channels/round_trip", "us", rounds, [&] {
    const double ring_us = median_us([&] {
      ring.ping_pong();
      ring.ping_pong();
    });
    const double ours_us = median_us([&] {
      channel.put(7);
      if (channel.take() != 7) throw std::runtime_error("a channel gave a wrong item");
    });
    return bench::Round{ours_us, {{"bare_ring", ring_us}}};
  });
  const auto add_stream = [&](const char* name, muster::Pid owner) {
    bench::add(name, "us/item", rounds, [&, owner] {
      const double ring_us = 1e6 * bench::seconds_of([&] { ring.pipelined(items); }) / items;
      const double ours_us = 1e6 * bench::seconds_of([&] { stream(worker, owner); }) / items;
      return bench::Round{ours_us, {{"bare_ring", ring_us}}};
    });
  };
  stream(worker, 1);  // warm up
  add_stream("channels/stream", 1);
  add_stream("channels/stream_from_owner", worker);
  bench::add("channels/local", "us", rounds, [&] {
    const muster::RemoteChannel<int> own(10);
    const double ours_us = 1e6 * bench::seconds_of([&] {
                             for (int i = 0; i < items; ++i) {
                               own.put(i);
                               if (own.take() != i) throw std::runtime_error("a channel gave a wrong item");
                             }
                           }) /
                           items;
    return bench::Round{ours_us, {}};
  });
  return bench::run(argc, argv);
}
