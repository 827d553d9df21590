#include <atomic>

namespace {
std::atomic<int> runs{0};
}

extern "C" {
void run_once_more() { ++runs; }
int runs_here() { return runs; }
int forty_two() { return 42; }
}
