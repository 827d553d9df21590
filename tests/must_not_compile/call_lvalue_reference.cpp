// expect: take parameters by value or by const reference, not by lvalue reference
#include <muster/spawn.hpp>

void refused() {
  (void)muster::spawnat(2, [](int& n) { return ++n; }, 1);
}
