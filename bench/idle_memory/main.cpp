/// @file
/// `idle_memory`: private memory of a local worker that has answered its first calls (`fresh`) and one that has
/// answered 10,000 (`used`). Floor: private memory of a process of this program with one raw ZeroMQ DEALER.
#include "../common/floor_child.hpp"
#include "../common/memory.hpp"
#include "../common/report.hpp"

#include <muster/muster.hpp>

#include <unistd.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

int process_number() { return static_cast<int>(getpid()); }

// Private MiB of a process once it is idle: the figure it showed ten times in a row, 20 ms apart.
double settled_mib(int process) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  double mib = bench::private_mib(process);
  for (int same = 1; same < 10;) {
    if (std::chrono::steady_clock::now() > deadline)
      throw std::runtime_error("The memory of idle process " + std::to_string(process) + " still changes after 30 s");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const double now = bench::private_mib(process);
    same = now == mib ? same + 1 : 1;
    mib = now;
  }
  return mib;
}

// Private MiB of a new idle worker after so many calls.
double worker_mib(int calls) {
  const muster::Pid worker = muster::addprocs(1).front();
  int process = 0;
  for (int i = 0; i < calls; ++i) process = muster::remotecall_fetch(&process_number, worker);
  const double mib = settled_mib(process);
  muster::rmprocs(worker);
  return mib;
}

}  // namespace

int main(int argc, char** argv) {
  if (bench::was_floor_child(argc, argv)) return 0;
  muster::Session session(argc, argv);
  const int rounds = bench::take_rounds(argc, argv);
  const bench::ZmqFloor zmq(1);

  for (const int calls : {3, 10'000}) {
    const auto round = [&, calls] {
      return bench::Round{worker_mib(calls), {{"raw_zmq", bench::private_mib(zmq.pid(0))}}};
    };
    bench::add(calls == 3 ? "idle_memory/fresh" : "idle_memory/used", "MiB", rounds, round);
  }
  return bench::run(argc, argv);
}
