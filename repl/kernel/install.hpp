/// @file
/// `muster-kernel install`: tells Jupyter of the kernel.
#pragma once

#include <string>
#include <vector>

namespace muster::repl {

/// Writes the kernelspec. @param words what stands behind `install`
/// @returns the folder that was written
/// @throws std::invalid_argument, std::runtime_error
std::string install_kernelspec(const std::vector<std::string>& words);

}  // namespace muster::repl
