/// @file
/// Interleaved rounds of ours and its floors as one Google Benchmark with the medians and ratios as counters.
#pragma once

#include "statistics.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// What one round of a benchmark measured: ours and each floor, all in the same unit.
struct Round {
  double ours;
  std::map<std::string, double> floors;
};

/// Registers a benchmark that calls `round` as often as there are rounds. Its counters in the JSON output: `median`,
/// `min` and `max` of ours; for each floor F `floor_F`, the median, and `ratio_F`, the median over the rounds of
/// ours / F of that round. The label is the unit.
inline void add(const std::string& name, const std::string& unit, int rounds, std::function<Round()> round) {
  const auto run = [unit, round = std::move(round)](benchmark::State& state) {
    std::vector<double> ours;
    std::map<std::string, std::vector<double>> floors;
    std::map<std::string, std::vector<double>> ratios;
    for (auto _ : state) {
      const double start = now();
      const Round measured = round();
      state.SetIterationTime(now() - start);
      ours.push_back(measured.ours);
      for (const auto& [floor, value] : measured.floors) {
        floors[floor].push_back(value);
        ratios[floor].push_back(measured.ours / value);
      }
    }
    state.SetLabel(unit);
    state.counters["median"] = median(ours);
    state.counters["min"] = *std::min_element(ours.begin(), ours.end());
    state.counters["max"] = *std::max_element(ours.begin(), ours.end());
    for (const auto& [floor, values] : floors) state.counters["floor_" + floor] = median(values);
    for (const auto& [floor, values] : ratios) state.counters["ratio_" + floor] = median(values);
  };
  benchmark::RegisterBenchmark(name.c_str(), run)->Iterations(rounds)->UseManualTime()->Unit(benchmark::kMillisecond);
}

/// Takes `--rounds N` out of the command line; 5 without it. Throws std::invalid_argument if N is no count.
inline int take_rounds(int& argc, char** argv) {
  int rounds = 5;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    if (argv[i] == std::string("--rounds") && i + 1 < argc) {
      rounds = std::atoi(argv[++i]);
      if (rounds < 1) throw std::invalid_argument("--rounds wants a number of at least 1");
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  argv[argc] = nullptr;
  return rounds;
}

/// Runs what `add` registered. Returns the status for `main`.
inline int run(int& argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace bench
