/// @file
/// `reduce`: distributed_reduce of the numbers up to 1,000 on two local workers. Floor: one ping-pong with each of two
/// children over bare rings in shared memory.
#include "../common/floor_child.hpp"
#include "../common/report.hpp"
#include "../common/workload.hpp"

#include <muster/muster.hpp>

#include <cstddef>
#include <functional>
#include <stdexcept>

namespace {

constexpr std::size_t elements = 1000;
constexpr std::size_t message_bytes = 96;

std::size_t itself(std::size_t i) { return i; }

void reduce() {
  const auto sum = muster::distributed_reduce(std::plus<>(), muster::IndexRange{0, elements}, &itself);
  if (sum != elements * (elements - 1) / 2) throw std::runtime_error("distributed_reduce gave a wrong sum");
}

}  // namespace

int main(int argc, char** argv) {
  if (bench::was_floor_child(argc, argv)) return 0;
  muster::Session session(argc, argv);
  const int rounds = bench::take_rounds(argc, argv);
  muster::addprocs(2);
  bench::RingFloor first(message_bytes, message_bytes, bench::RingWait::yields);
  bench::RingFloor second(message_bytes, message_bytes, bench::RingWait::yields);

  const auto median_us = [](auto call) {
    return 1e6 * bench::median_call(call, bench::round_trip_calls, bench::round_trip_limit, bench::round_trip_warm_up);
  };
  bench::add("reduce", "us", rounds, [&] {
    const double ring_us = median_us([&] {
      first.ping_pong();
      second.ping_pong();
    });
    const double ours_us = median_us(reduce);
    return bench::Round{ours_us, {{"bare_ring", ring_us}}};
  });
  return bench::run(argc, argv);
}
