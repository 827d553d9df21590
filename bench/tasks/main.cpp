/// @file
/// `tasks`: 20,000 tasks that return their argument, all spawned before the first is fetched, on two local workers.
/// Floor: as many messages echoed by two raw ZeroMQ DEALERs, all sent before the first is received.
#include "../common/floor_child.hpp"
#include "../common/report.hpp"
#include "../common/workload.hpp"

#include <muster/muster.hpp>

#include <cstddef>
#include <stdexcept>
#include <vector>

namespace {

constexpr std::size_t message_bytes = 64;

int identity(int value) { return value; }

void spawn_and_fetch_all() {
  std::vector<muster::Future<int>> futures;
  futures.reserve(bench::task_count);
  for (int i = 0; i < bench::task_count; ++i) futures.push_back(muster::spawn(&identity, i));
  for (int i = 0; i < bench::task_count; ++i) {
    if (futures[static_cast<std::size_t>(i)].fetch() != i) throw std::runtime_error("a task returned a wrong value");
  }
}

double us_per_task(auto all) { return 1e6 * bench::seconds_of(all) / bench::task_count; }

}  // namespace

int main(int argc, char** argv) {
  if (bench::was_floor_child(argc, argv)) return 0;
  muster::Session session(argc, argv);
  const int rounds = bench::take_rounds(argc, argv);
  muster::addprocs(2);
  bench::ZmqFloor zmq(2);

  spawn_and_fetch_all();  // warm up
  zmq.pipelined_echo(bench::task_count, message_bytes);
  bench::add("tasks", "us/task", rounds, [&] {
    const double zmq_us = us_per_task([&] { zmq.pipelined_echo(bench::task_count, message_bytes); });
    const double ours_us = us_per_task(spawn_and_fetch_all);
    return bench::Round{ours_us, {{"raw_zmq", zmq_us}}};
  });
  return bench::run(argc, argv);
}
