/// @file
/// The leader's side of runtime/base/worker_group.hpp.
#pragma once

#include <cstddef>

namespace muster::runtime {

/// How many workers the arguments ask for; 0: for no group.
std::size_t worker_group_asked(int argc, char** argv);

/// Leads a group, and ends this process after the last of its workers. Returns in each of them, which then is as if it
/// had been started by itself.
/// @param can_fork whether forks of this process are sound; otherwise each worker is another start of this program
void lead_worker_group(std::size_t count, char** argv, bool can_fork);

}  // namespace muster::runtime
