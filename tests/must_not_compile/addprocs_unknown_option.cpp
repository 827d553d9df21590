// expect: AddprocsOptions
// expect: thread_count
// catalogue: 34
#include <muster/cluster.hpp>

void refused() { (void)muster::addprocs(2, muster::AddprocsOptions{.thread_count = 4}); }
