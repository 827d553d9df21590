/// @file
/// `round_trip`: remotecall_fetch of a function that does nothing, one call at a time, to an idle local worker.
/// Floors: ping-pong of messages of the same sizes over a bare ring in shared memory that waits as the lane does, over
/// raw ZeroMQ DEALER/ROUTER and over a raw TCP socket. `round_trip_p99` is the 99th percentile of the same calls;
/// `round_trip_one_core` has both processes on one core, beside a ring whose sides sleep at once.
#include "../common/floor_child.hpp"
#include "../common/report.hpp"
#include "../common/workload.hpp"

#include <muster/muster.hpp>

#include <sched.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

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

std::vector<double> times_of(auto call) {
  return bench::call_times(call, bench::round_trip_calls, bench::round_trip_limit, bench::round_trip_warm_up);
}
double median_us(auto call) { return 1e6 * bench::median(times_of(call)); }

cpu_set_t cores_of_this_thread() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) != 0)
    throw std::system_error(errno, std::generic_category(), "sched_getaffinity");
  return cores;
}

/// All threads of a process, which may end meanwhile.
void confine(pid_t process, const cpu_set_t& cores) {
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/task"))
    sched_setaffinity(std::atoi(thread.path().filename().c_str()), sizeof cores, &cores);
}

/// As long as this lives those processes share one core.
class OnOneCore {
 public:
  explicit OnOneCore(std::vector<pid_t> processes) : processes_(std::move(processes)), before_(cores_of_this_thread()) {
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int core = 0; core < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++core)
      if (CPU_ISSET(core, &before_)) CPU_SET(core, &one);
    for (const pid_t process : processes_) confine(process, one);
  }
  ~OnOneCore() {
    for (const pid_t process : processes_) confine(process, before_);
  }
  OnOneCore(const OnOneCore&) = delete;
  OnOneCore& operator=(const OnOneCore&) = delete;

 private:
  std::vector<pid_t> processes_;
  cpu_set_t before_;
};

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
  bench::RingFloor ring(bytes.request, bytes.reply, bench::RingWait::yields);
  bench::RingFloor sleeping_ring(bytes.request, bytes.reply, bench::RingWait::sleeps);
  const auto call = [&] { muster::remotecall_fetch(&no_op, worker); };
  const pid_t worker_process = muster::remotecall_fetch(&getpid, worker);

  bench::add("round_trip", "us", rounds, [&] {
    const double ring_us = median_us([&] { ring.ping_pong(); });
    const double zmq_us = median_us([&] { zmq.ping_pong(bytes.request, bytes.reply); });
    const double ours_us = median_us(call);
    const double tcp_us = median_us([&] { tcp.ping_pong(); });
    return bench::Round{ours_us, {{"bare_ring", ring_us}, {"raw_zmq", zmq_us}, {"raw_tcp", tcp_us}}};
  });
  bench::add("round_trip_p99", "us", rounds, [&] {
    const double ring_us = 1e6 * bench::quantile(times_of([&] { ring.ping_pong(); }), 0.99);
    const double ours_us = 1e6 * bench::quantile(times_of(call), 0.99);
    return bench::Round{ours_us, {{"bare_ring", ring_us}}};
  });
  bench::add("round_trip_one_core", "us", rounds, [&] {
    const OnOneCore crowded({getpid(), worker_process, sleeping_ring.child()});
    const double ring_us = median_us([&] { sleeping_ring.ping_pong(); });
    const double ours_us = median_us(call);
    return bench::Round{ours_us, {{"sleeping_ring", ring_us}}};
  });
  return bench::run(argc, argv);
}
