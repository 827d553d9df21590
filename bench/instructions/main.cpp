/// @file
/// What bench/instructions/count.py runs under callgrind: `bench_instructions call|spawn|pmap N` makes N calls of one
/// kind to one worker.
#include <muster/muster.hpp>

#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

int identity(int value) { return value; }

void demand(bool right) {
  if (!right) throw std::runtime_error("a wrong value came back");
}

void call(int n, muster::Pid worker) {
  for (int i = 0; i < n; ++i) demand(muster::remotecall_fetch(&identity, worker, i) == i);
}

void spawn(int n, muster::Pid worker) {
  std::vector<muster::Future<int>> futures;
  futures.reserve(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) futures.push_back(muster::spawnat(worker, &identity, i));
  for (int i = 0; i < n; ++i) demand(futures[static_cast<std::size_t>(i)].fetch() == i);
}

void pmap(int n) {
  std::vector<int> elements(static_cast<std::size_t>(n));
  std::iota(elements.begin(), elements.end(), 0);
  demand(muster::pmap(&identity, elements) == elements);
}

}  // namespace

int main(int argc, char** argv) {
  muster::Session session(argc, argv);
  const std::string what = argc == 3 ? argv[1] : "";
  const int n = argc == 3 ? std::atoi(argv[2]) : 0;
  if (n < 1 || (what != "call" && what != "spawn" && what != "pmap")) {
    std::fputs("usage: bench_instructions call|spawn|pmap N\n", stderr);
    return 2;
  }
  const muster::Pid worker = muster::addprocs(1).front();
  if (what == "call") call(n, worker);
  if (what == "spawn") spawn(n, worker);
  if (what == "pmap") pmap(n);
  return 0;
}
