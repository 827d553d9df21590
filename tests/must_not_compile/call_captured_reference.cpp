// expect: bind_front
#include <muster/spawn.hpp>

void refused(int n) {
  muster::remote_do([&n] { ++n; }, 2);
}
