// expect: take parameters by value or by const reference, not by lvalue reference
#include <muster/spawn.hpp>

void refused() {
  (void)muster::remotecall_fetch([](int& n) { return ++n; }, 2, 1);
}
