#include <muster/muster.hpp>

#include <atomic>
#include <string>

namespace {
std::atomic<int> marks{0};
}

extern "C" {
int mark_here() { return marks += 1; }
int marks_here() { return marks; }
/// From whichever process: this module is then wherever the call runs, process 1 first.
void mark_everywhere_always(int by) {
  muster::everywhere_always([](int n) { marks += n; }, by);
}
int read_marks(muster::Pid pid) {
  return muster::remotecall_fetch([] { return marks.load(); }, pid);
}
}
