// expect: pointer
#include <muster/spawn.hpp>

void refused(const char* text) {
  (void)muster::spawnat(2, [](const char* t) { return t != nullptr; }, text);
}
