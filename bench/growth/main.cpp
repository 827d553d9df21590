/// @file
/// `growth`: does each of n cost the same, however many there are? A table for each quantity, with the exponent of
/// growth: 1 where it does. Not part of bench/run's rounds: `bench_growth [--quick] [--json FILE] [quantity...]`.
///
/// - outstanding: calls made to two workers that are kept from running them, and answered then; memory of the master
/// - futures: results that stay at a worker until they are fetched
/// - channels: remote channels of one worker, an item through each
/// - workers: addprocs, a call to each at once, everywhere, rmprocs
/// - message: bytes of an array as argument, read in place
#include "../common/growth.hpp"
#include "../common/memory.hpp"
#include "../common/statistics.hpp"

#include <muster/muster.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using bench::Growth;
using bench::seconds_of;

struct Options {
  bool quick = false;
  std::string json;
  std::vector<std::string> chosen;
};

std::vector<int> powers_of_ten(int last) {
  std::vector<int> all;
  for (int n = 1; n <= last; n *= 10) all.push_back(n);
  return all;
}

int identity(int value) { return value; }
void nothing() {}
void wait_at(const muster::RemoteChannel<int>& gate) { (void)gate.take(); }
double own_mib() { return bench::private_mib(::getpid()); }

void demand(bool right) {
  if (!right) throw std::runtime_error("a wrong value came back");
}

/// Calls that have no answer yet: their workers run one that waits for the gate, on their only thread.
bench::GrowthPoint outstanding_point(const std::vector<muster::Pid>& workers, int n) {
  const muster::RemoteChannel<int> gate(workers.size());
  std::vector<muster::Future<void>> waiting;
  for (const muster::Pid pid : workers) waiting.push_back(muster::spawnat(pid, &wait_at, gate));
  std::vector<muster::Future<int>> futures;
  futures.reserve(static_cast<std::size_t>(n));
  const double before = own_mib();
  double mib = 0.0;
  double seconds = seconds_of([&] {
    for (int i = 0; i < n; ++i)
      futures.push_back(muster::spawnat(workers[static_cast<std::size_t>(i) % workers.size()], &identity, i));
  });
  mib = own_mib() - before + static_cast<double>(futures.capacity() * sizeof futures[0]) / 1048576.0;
  for (std::size_t i = 0; i < workers.size(); ++i) gate.put(1);
  seconds += seconds_of([&] {
    for (int i = 0; i < n; ++i) demand(futures[static_cast<std::size_t>(i)].fetch() == i);
  });
  for (auto& each : waiting) each.wait();
  return {static_cast<double>(n), seconds, mib};
}

Growth outstanding(const Options& options) {
  Growth growth{"outstanding", "calls not answered yet; memory of the master", {}, 100, true};
  const auto workers = muster::addprocs(2);
  for (const int n : powers_of_ten(options.quick ? 100'000 : 1'000'000))
    growth.points.push_back(outstanding_point(workers, n));
  muster::rmprocs(workers);
  return growth;
}

Growth futures(const Options& options) {
  Growth growth{"futures", "results that stay at a worker, made, fetched and let go", {}, 100, true};
  const auto workers = muster::addprocs(1);
  for (const int n : powers_of_ten(options.quick ? 10'000 : 100'000)) {
    std::vector<muster::Future<int>> all;
    const double before = own_mib();
    double mib = 0.0;
    const double seconds = seconds_of([&] {
      for (int i = 0; i < n; ++i) all.push_back(muster::remotecall_wait(&identity, workers[0], i));
      mib = own_mib() - before;
      for (int i = 0; i < n; ++i) demand(all[static_cast<std::size_t>(i)].fetch() == i);
      all.clear();
    });
    growth.points.push_back({static_cast<double>(n), seconds, mib});
  }
  muster::rmprocs(workers);
  return growth;
}

Growth channels(const Options& options) {
  Growth growth{"channels", "remote channels of one worker, an item put into and taken from each", {}, 10, true};
  const auto workers = muster::addprocs(1);
  for (const int n : powers_of_ten(options.quick ? 1'000 : 10'000)) {
    std::vector<muster::RemoteChannel<int>> all;
    const double before = own_mib();
    double mib = 0.0;
    const double seconds = seconds_of([&] {
      for (int i = 0; i < n; ++i) all.emplace_back(std::size_t{4}, workers[0]);
      for (int i = 0; i < n; ++i) all[static_cast<std::size_t>(i)].put(i);
      mib = own_mib() - before;
      for (int i = 0; i < n; ++i) demand(all[static_cast<std::size_t>(i)].take() == i);
      all.clear();
    });
    growth.points.push_back({static_cast<double>(n), seconds, mib});
  }
  muster::rmprocs(workers);
  return growth;
}

/// Tables of the same workers.
std::vector<Growth> workers(const Options& options) {
  Growth start{"addprocs", "workers started, until all have answered", {}, 10, true};
  Growth calls{"calls_to_all", "one call to each of n idle workers, all at once", {}, 10};
  Growth all{"everywhere", "an empty function on every process", {}, 10};
  Growth gone{"rmprocs", "every other of n workers removed, until the others have answered", {}, 10};
  Growth one{"one_of_many", "1000 calls, one at a time, to one of n workers (flat: exponent 0)", {}, 1};
  for (const int n : options.quick ? std::vector{1, 4, 16, 64} : std::vector{1, 4, 16, 64, 250, 1000}) {
    std::vector<muster::Pid> pids;
    const double before = own_mib();
    const auto call_all = [&] {
      std::vector<muster::Future<int>> answers;
      for (const muster::Pid pid : pids) answers.push_back(muster::spawnat(pid, &identity, 1));
      for (auto& answer : answers) demand(answer.fetch() == 1);
    };
    const double started = seconds_of([&] {
      pids = muster::addprocs(n);
      call_all();
    });
    const double count = n;
    start.points.push_back({count, started, own_mib() - before});
    calls.points.push_back({count, bench::median_call(call_all, 10)});
    all.points.push_back({count, bench::median_call([] { muster::everywhere(&nothing); }, 10)});
    one.points.push_back(
        {count, bench::median_call([&] { (void)muster::fetchfrom(pids[0], &identity, 1); }, 1000) * 1000});
    std::vector<muster::Pid> leaving, staying;
    for (std::size_t i = 0; i < pids.size(); ++i) (i % 2 == 0 ? leaving : staying).push_back(pids[i]);
    gone.points.push_back({count, seconds_of([&] {
                             muster::rmprocs(leaving);
                             muster::everywhere(&nothing);
                           })});
    muster::rmprocs(staying);
  }
  return {start, calls, all, gone, one};
}

std::size_t size_of(const muster::View<std::uint8_t>& bytes) { return bytes.size(); }

Growth message(const Options& options) {
  Growth growth{"message", "bytes of an argument, read in place", {}, 1 << 20};
  const auto workers = muster::addprocs(1);
  // Both sides hold it, and the block between them; more than half of the memory would not fit.
  const auto pages = static_cast<double>(::sysconf(_SC_AVPHYS_PAGES)),
             page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  const double most =
      options.quick ? double{1 << 28} : std::min(double{1} * (std::uint64_t{4} << 30), pages * page / 3);
  for (double bytes = 0; bytes < most;) {
    bytes = std::min(std::max(8.0, bytes * 8), most);
    const auto size = static_cast<std::size_t>(bytes);
    const std::vector<std::uint8_t> array(size, 1);
    const auto call = [&] { demand(muster::fetchfrom(workers[0], &size_of, array) == size); };
    growth.points.push_back({bytes, bench::median_call(call, bytes < 1e6 ? 200 : 3, 20.0)});
  }
  muster::rmprocs(workers);
  return growth;
}

Options take_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--quick")
      options.quick = true;
    else if (argument == "--json" && i + 1 < argc)
      options.json = argv[++i];
    else
      options.chosen.push_back(argument);
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  muster::Session session(argc, argv);
  const Options options = take_options(argc, argv);
  const auto single = [](auto measure) {
    return [measure](const Options& given) { return std::vector<Growth>{measure(given)}; };
  };
  const std::map<std::string, std::function<std::vector<Growth>(const Options&)>> quantities{
      {"outstanding", single(outstanding)},
      {"futures", single(futures)},
      {"channels", single(channels)},
      {"workers", workers},
      {"message", single(message)}};
  std::vector<Growth> results;
  for (const std::string& name : options.chosen) {
    if (quantities.contains(name)) continue;
    std::cerr << "bench_growth: there is no quantity \"" << name << "\"\n";
    return 2;
  }
  for (const auto& [name, measure] : quantities) {
    if (!options.chosen.empty() &&
        std::find(options.chosen.begin(), options.chosen.end(), name) == options.chosen.end())
      continue;
    for (Growth& growth : measure(options)) {
      bench::print(growth);
      results.push_back(std::move(growth));
    }
  }
  if (options.json.empty()) return 0;
  std::ofstream out(options.json);
  out << "[";
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (i != 0) out << ",\n ";
    bench::write_json(out, results[i]);
  }
  out << "]\n";
  return out ? 0 : 1;
}
