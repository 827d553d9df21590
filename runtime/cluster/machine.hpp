/// @file
/// Lists of machines.
#pragma once

#include <muster/cluster.hpp>

#include <vector>

namespace muster::runtime {

/// The same machines with each named once, where it was named first: counts of those alike in all else add up, and Auto
/// wins over numbers.
std::vector<Machine> merged_machines(std::vector<Machine> machines);

}  // namespace muster::runtime
