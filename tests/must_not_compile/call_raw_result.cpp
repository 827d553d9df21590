// expect: pointer
#include <muster/spawn.hpp>

void refused() {
  (void)muster::spawnat(2, [] { return static_cast<int*>(nullptr); });
}
