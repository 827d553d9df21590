/// @file
/// `map_overhead`: pmap of a function that returns its argument over 20,000 elements on two local workers, element by
/// element and in batches of 100. Floor: as many messages (or as many batches) echoed by two raw ZeroMQ DEALERs.
#include "../common/floor_child.hpp"
#include "../common/report.hpp"
#include "../common/workload.hpp"

#include <muster/muster.hpp>

#include <cstddef>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace {

int identity(int value) { return value; }

double us_per_element(auto all) { return 1e6 * bench::seconds_of(all) / bench::task_count; }

}  // namespace

int main(int argc, char** argv) {
  if (bench::was_floor_child(argc, argv)) return 0;
  muster::Session session(argc, argv);
  const int rounds = bench::take_rounds(argc, argv);
  muster::addprocs(2);
  bench::ZmqFloor zmq(2);
  std::vector<int> elements(bench::task_count);
  std::iota(elements.begin(), elements.end(), 0);

  const auto map = [&](int batch) {
    const std::vector<int> results = muster::pmap(&identity, elements, muster::PmapOptions{.batch_size = batch});
    if (results != elements) throw std::runtime_error("pmap returned wrong values");
  };
  map(1);  // warm up
  for (const int batch : {1, bench::map_batch}) {
    const std::size_t message_bytes = 64 + sizeof(int) * static_cast<std::size_t>(batch);
    bench::add(batch == 1 ? "map_overhead/unbatched" : "map_overhead/batched", "us/element", rounds,
               [&, batch, message_bytes] {
                 const double zmq_us =
                     us_per_element([&] { zmq.pipelined_echo(bench::task_count / batch, message_bytes); });
                 const double ours_us = us_per_element([&] { map(batch); });
                 return bench::Round{ours_us, {{"raw_zmq", zmq_us}}};
               });
  }
  return bench::run(argc, argv);
}
