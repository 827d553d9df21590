/// @file
/// `bandwidth`: arrays of doubles as argument and as result of a call to a local worker, one call at a time.
/// Floors: the same bytes over raw ZeroMQ DEALER/ROUTER on tcp, sent without a copy from an array and used in place by
/// the receiver, one message at a time (for a result the child makes the array for each reply, as our function does:
/// `raw_zmq`; or sends one it kept: `raw_zmq_kept`); and memcpy between two arrays that are already there. A function
/// that makes its array pays for fresh pages, whoever fetches it: `make` is the same function, called here. What is
/// received in a vector is copied twice, the second time into a new one: `two_copies` does that here. `_ready` was made
/// before it is asked for. `_view` are read in place by the receiver; `_kept` and `result_view` are of an array that
/// stays at the worker, `_kept` copied into a vector once it is here.
#include "../common/floor_child.hpp"
#include "../common/report.hpp"
#include "../common/workload.hpp"

#include <muster/muster.hpp>

#include <cstddef>
#include <cstring>
#include <span>
#include <stdexcept>
#include <vector>

namespace {

std::size_t size_of(const std::vector<double>& array) { return array.size(); }

std::size_t size_of_view(muster::View<double> array) { return array.size(); }

std::vector<double> make_array(std::size_t doubles) { return std::vector<double>(doubles, 1.0); }

// An array that was made before it is asked for.
std::vector<double> ready;

void make_ready(std::size_t doubles) { ready = make_array(doubles); }

std::vector<double> give_away() { return std::move(ready); }

muster::View<double> kept_array(std::size_t doubles) {
  static const std::vector<double> kept(bench::array_sizes().back().doubles, 1.0);
  return {std::span(kept).first(doubles), nullptr};
}

void demand(bool right) {
  if (!right) throw std::runtime_error("an array arrived with a wrong size");
}

// GB/s of stop-and-wait calls that each move one array.
double rate(const bench::ArraySize& size, auto call) {
  return static_cast<double>(size.bytes()) / bench::median_call(call, size.calls, 2.0) * 1e-9;
}

double memcpy_rate(const bench::ArraySize& size, const std::vector<double>& from, std::vector<double>& into) {
  return rate(size, [&] {
    std::memcpy(into.data(), from.data(), size.bytes());
    benchmark::ClobberMemory();
  });
}

// What it takes to pass an array on by way of memory that is shared, when it is received in a new vector.
double two_copies_rate(const bench::ArraySize& size, const std::vector<double>& from, std::vector<double>& into) {
  return rate(size, [&] {
    std::memcpy(into.data(), from.data(), size.bytes());
    benchmark::ClobberMemory();
    demand(muster::View<double>(std::span(into).first(size.doubles), nullptr).to_vector().size() == size.doubles);
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (bench::was_floor_child(argc, argv)) return 0;
  muster::Session session(argc, argv);
  const int rounds = bench::take_rounds(argc, argv);
  const muster::Pid worker = muster::addprocs(1).front();
  const auto sizes = bench::array_sizes();
  std::vector<std::vector<double>> arrays;  // before the floor, which may read them until it is gone
  for (const bench::ArraySize& size : sizes) arrays.emplace_back(size.doubles, 1.0);
  std::vector<double> target(sizes.back().doubles, 0.0);
  bench::ZmqFloor zmq(1);

  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const bench::ArraySize& size = sizes[i];
    const std::vector<double>& array = arrays[i];
    bench::add("bandwidth_argument/" + size.name, "GB/s", rounds, [&] {
      const double zmq_rate = rate(size, [&] { zmq.send_array(array); });
      const double ours =
          rate(size, [&] { demand(muster::remotecall_fetch(&size_of, worker, array) == size.doubles); });
      return bench::Round{ours,
                          {{"raw_zmq", zmq_rate},
                           {"memcpy", memcpy_rate(size, array, target)},
                           {"two_copies", two_copies_rate(size, array, target)}}};
    });
    bench::add("bandwidth_argument_view/" + size.name, "GB/s", rounds, [&] {
      const double ours =
          rate(size, [&] { demand(muster::remotecall_fetch(&size_of_view, worker, array) == size.doubles); });
      return bench::Round{ours, {{"memcpy", memcpy_rate(size, array, target)}}};
    });
    bench::add("bandwidth_result/" + size.name, "GB/s", rounds, [&] {
      const auto zmq_result = [&](bench::Reply reply) {
        return rate(size, [&] { demand(zmq.receive_array(size.doubles, reply) == size.doubles); });
      };
      const double fresh_rate = zmq_result(bench::Reply::fresh);
      const double ours = rate(
          size, [&] { demand(muster::remotecall_fetch(&make_array, worker, size.doubles).size() == size.doubles); });
      const double kept_rate = zmq_result(bench::Reply::kept);
      const double copy_rate = memcpy_rate(size, array, target);
      const double make_rate = rate(size, [&] { demand(make_array(size.doubles).size() == size.doubles); });
      return bench::Round{
          ours, {{"raw_zmq", fresh_rate}, {"raw_zmq_kept", kept_rate}, {"memcpy", copy_rate}, {"make", make_rate}}};
    });
    bench::add("bandwidth_result_ready/" + size.name, "GB/s", rounds, [&] {
      const double seconds = bench::median_prepared_call(
          [&] { muster::remotecall_fetch(&make_ready, worker, size.doubles); },
          [&] { demand(muster::remotecall_fetch(&give_away, worker).size() == size.doubles); }, size.calls, 2.0);
      const double ours = static_cast<double>(size.bytes()) / seconds * 1e-9;
      return bench::Round{
          ours, {{"memcpy", memcpy_rate(size, array, target)}, {"two_copies", two_copies_rate(size, array, target)}}};
    });
    bench::add("bandwidth_result_kept/" + size.name, "GB/s", rounds, [&] {
      const double ours = rate(size, [&] {
        demand(muster::remotecall_fetch(&kept_array, worker, size.doubles).to_vector().size() == size.doubles);
      });
      return bench::Round{
          ours, {{"memcpy", memcpy_rate(size, array, target)}, {"two_copies", two_copies_rate(size, array, target)}}};
    });
    bench::add("bandwidth_result_view/" + size.name, "GB/s", rounds, [&] {
      const double ours = rate(
          size, [&] { demand(muster::remotecall_fetch(&kept_array, worker, size.doubles).size() == size.doubles); });
      return bench::Round{ours, {{"memcpy", memcpy_rate(size, array, target)}}};
    });
  }
  return bench::run(argc, argv);
}
