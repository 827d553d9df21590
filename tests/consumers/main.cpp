/// @file
/// A user's first program: two workers, one closure, its result.
#include <muster/muster.hpp>

int main(int argc, char** argv) {
  const muster::Session session(argc, argv);
  muster::addprocs(2);
  const auto squared = muster::spawn([](int x) { return x * x; }, 7);
  return squared.fetch() == 49 ? 0 : 1;
}
