/// @file
/// `round_trip`: remotecall_fetch of a function that does nothing, one call at a time, to an idle local worker.
/// Floors: ping-pong of messages of the same sizes over raw ZeroMQ DEALER/ROUTER and over a raw TCP socket.
#include "../common/floor_child.hpp"
#include "../common/report.hpp"
#include "../common/workload.hpp"

#include <muster/muster.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace {

void no_op() {}

muster::debug::LinkInfo link_to(muster::Pid worker) {
  for (const muster::debug::LinkInfo& link : muster::debug::links(muster::myid())) {
    if (link.peer == worker) return link;
  }
  return {};
}

struct CallBytes {
  std::size_t request, reply;
};

// Bytes of one call and of its reply, so that the floors carry as much.
CallBytes bytes_of_call(muster::Pid worker) {
  constexpr std::uint64_t calls = 1000;
  muster::remotecall_fetch(&no_op, worker);
  const muster::debug::LinkInfo before = link_to(worker);
  for (std::uint64_t i = 0; i < calls; ++i) muster::remotecall_fetch(&no_op, worker);
  const muster::debug::LinkInfo after = link_to(worker);
  const auto each = [](std::uint64_t bytes) {
    return std::max(sizeof(bench::EchoRequest), static_cast<std::size_t>(bytes / calls));
  };
  return {each(after.bytes_sent - before.bytes_sent), each(after.bytes_received - before.bytes_received)};
}

double median_us(auto call) {
  return 1e6 * bench::median_call(call, bench::round_trip_calls, bench::round_trip_limit, bench::round_trip_warm_up);
}

}  // namespace

int main(int argc, char** argv) {
  if (bench::was_floor_child(argc, argv)) return 0;
  muster::Session session(argc, argv);
  const int rounds = bench::take_rounds(argc, argv);
  const muster::Pid worker = muster::addprocs(1).front();
  const CallBytes bytes = bytes_of_call(worker);
  bench::ZmqFloor zmq(1);
  bench::TcpFloor tcp(bytes.request, bytes.reply);

  benchmark::AddCustomContext("message_bytes",
                              std::to_string(bytes.request) + " out, " + std::to_string(bytes.reply) + " back");
  bench::add("round_trip", "us", rounds, [&] {
    const double zmq_us = median_us([&] { zmq.ping_pong(bytes.request, bytes.reply); });
    const double ours_us = median_us([&] { muster::remotecall_fetch(&no_op, worker); });
    const double tcp_us = median_us([&] { tcp.ping_pong(); });
    return bench::Round{ours_us, {{"raw_zmq", zmq_us}, {"raw_tcp", tcp_us}}};
  });
  return bench::run(argc, argv);
}
