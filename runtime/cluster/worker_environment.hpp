/// @file
/// The environment that managers give workers.
#pragma once

#include <muster/cluster.hpp>

#include <map>
#include <string>

namespace muster::runtime {

/// What a worker's environment is to have beyond what it finds: `options.env`, and, unless the options say
/// `threaded_blas`, variables that keep numerical libraries from starting a thread per core in each of a core's
/// workers.
std::map<std::string, std::string> added_environment(const AddprocsOptions& options);

}  // namespace muster::runtime
