/// @file
/// `start_up`: addprocs(4) and a first call answered by each. Floor: posix_spawn of four processes of this program
/// that connect by raw ZeroMQ and answer one message each.
#include "../common/floor_child.hpp"
#include "../common/report.hpp"

#include <muster/muster.hpp>

#include <memory>
#include <stdexcept>
#include <vector>

namespace {

constexpr int processes = 4;

muster::Pid who() { return muster::myid(); }

void call_each(const std::vector<muster::Pid>& pids) {
  for (const muster::Pid pid : pids) {
    if (muster::remotecall_fetch(&who, pid) != pid) throw std::runtime_error("a wrong worker answered");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (bench::was_floor_child(argc, argv)) return 0;
  muster::Session session(argc, argv);
  const int rounds = bench::take_rounds(argc, argv);

  bench::add("start_up", "s", rounds, [&] {
    std::unique_ptr<bench::ZmqFloor> zmq;
    const double zmq_seconds = bench::seconds_of([&] { zmq = std::make_unique<bench::ZmqFloor>(processes); });
    zmq.reset();
    std::vector<muster::Pid> pids;
    const double ours = bench::seconds_of([&] {
      pids = muster::addprocs(processes);
      call_each(pids);
    });
    muster::rmprocs(pids);
    return bench::Round{ours, {{"raw_zmq", zmq_seconds}}};
  });
  return bench::run(argc, argv);
}
