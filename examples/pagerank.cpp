/// @file
/// PageRank of Debian's packages: on which of them does everything else rest? A package passes its rank on to those it
/// depends on (Page, Brin, Motwani and Winograd, "The PageRank citation ranking", 1999).
///
/// Each worker keeps some rows of the graph, which travel once; an iteration sends it the ranks and fetches its part of
/// the new ones. This graph fits a processor's cache, so one process is faster; the pattern is for those that don't.
#include "debian_packages.hpp"
#include "example.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <numeric>
#include <ranges>
#include <utility>
#include <vector>

namespace {

using Ranks = std::vector<double>;

/// Some packages, and who depends on each: the dependents of row i begin at dependents[begins[i]].
struct Rows {
  std::vector<std::size_t> begins{0};
  std::vector<std::size_t> dependents;
};

Rows rows_of(const std::vector<std::vector<std::size_t>>& dependents, muster::IndexRange range) {
  Rows rows;
  for (const std::size_t package : range) {
    rows.dependents.insert(rows.dependents.end(), dependents[package].begin(), dependents[package].end());
    rows.begins.push_back(rows.dependents.size());
  }
  return rows;
}

/// What flows into each row when every package gives `shares[package]` to each of those it depends on.
Ranks inflow(const Rows& rows, const Ranks& shares) {
  Ranks sums(rows.begins.size() - 1);
  for (std::size_t row = 0; row < sums.size(); ++row) {
    for (std::size_t i = rows.begins[row]; i < rows.begins[row + 1]; ++i) sums[row] += shares[rows.dependents[i]];
  }
  return sums;
}

/// The same for rows which this worker keeps: the fetch is local, only the shares have travelled.
Ranks inflow_kept(const muster::Future<Rows>& kept, const Ranks& shares) { return inflow(kept.fetch(), shares); }

/// Power iteration, until the ranks move by less than 1e-12 in all. `flow(shares)` computes the inflow of every
/// package.
template <class Flow>
Ranks page_rank(const example::PackageGraph& graph, Flow flow) {
  constexpr double damping = 0.85;
  const auto n = static_cast<double>(graph.needs.size());
  Ranks ranks(graph.needs.size(), 1 / n);
  for (double moved = 1; moved > 1e-12;) {
    Ranks shares(ranks.size());
    double unspent = 0;  // the rank of packages that depend on nothing goes to all alike
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      if (graph.needs[i].empty()) {
        unspent += ranks[i];
      } else {
        shares[i] = ranks[i] / static_cast<double>(graph.needs[i].size());
      }
    }
    const Ranks received = flow(shares);
    moved = 0;
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      const double rank = (1 - damping) / n + damping * (received[i] + unspent / n);
      moved += std::abs(rank - std::exchange(ranks[i], rank));
    }
  }
  return ranks;
}

}  // namespace

int main(int argc, char** argv) {
  const muster::Session session(argc, argv);
  CLI::App app("Ranks Debian's packages by what depends on them");
  const example::Options options(app);
  CLI11_PARSE(app, argc, argv);

  const example::PackageGraph graph = example::read_package_graph(options.quick ? 3'000 : 1'000'000);
  const std::size_t n = graph.names.size();
  std::vector<std::vector<std::size_t>> dependents(n);
  for (std::size_t i = 0; i < n; ++i) {
    for (const std::size_t needed : graph.needs[i]) dependents[needed].push_back(i);
  }

  const Rows all_rows = rows_of(dependents, {0, n});
  const auto [expected, serial_seconds] =
      example::timed([&] { return page_rank(graph, [&](const Ranks& shares) { return inflow(all_rows, shares); }); });

  example::start_workers(options);
  const auto keep = [](Rows rows) { return rows; };  // the result of a task stays where it ran until it is fetched
  const std::vector<muster::IndexRange> ranges = muster::splitrange(n, muster::nworkers());
  const std::vector<muster::Pid> workers = muster::workers();
  std::vector<muster::Future<Rows>> kept;
  kept.reserve(ranges.size());
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    kept.push_back(muster::spawnat(workers[i], keep, rows_of(dependents, ranges[i])));
  }
  const auto flow = [&kept](const Ranks& shares) {
    std::vector<muster::Future<Ranks>> parts;
    parts.reserve(kept.size());
    for (const auto& rows : kept) parts.push_back(muster::spawnat(rows.where(), inflow_kept, rows, shares));
    Ranks received;
    for (const auto& part : parts) {
      const Ranks sums = part.fetch();
      received.insert(received.end(), sums.begin(), sums.end());
    }
    return received;
  };
  const auto [ranks, parallel_seconds] = example::timed([&] { return page_rank(graph, flow); });

  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, [&ranks](std::size_t a, std::size_t b) { return ranks[a] > ranks[b]; });
  std::printf("%zu packages, %zu dependencies\n", n, all_rows.dependents.size());
  for (const std::size_t i : order | std::views::take(10)) std::printf("%10.6f %s\n", ranks[i], graph.names[i].c_str());

  double difference = 0;
  for (std::size_t i = 0; i < n; ++i) difference += std::abs(ranks[i] - expected[i]);
  const double sum = std::accumulate(ranks.begin(), ranks.end(), 0.0);
  return example::conclude(serial_seconds, parallel_seconds, n > 0 && difference < 1e-9 && std::abs(sum - 1) < 1e-9);
}
