/// @file
/// Private memory of a process on this machine.
#pragma once

#include <sys/types.h>

#include <fstream>
#include <limits>
#include <stdexcept>
#include <string>

namespace bench {

/// Private_Clean + Private_Dirty of /proc/PID/smaps_rollup in MiB: what would come free if only that process ended.
/// Throws std::runtime_error when it can't be read.
inline double private_mib(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/smaps_rollup";
  std::ifstream file(path);
  double kib = 0.0;
  int found = 0;
  for (std::string key; file >> key;) {
    if (key == "Private_Clean:" || key == "Private_Dirty:") {
      double value = 0.0;
      file >> value;
      kib += value;
      ++found;
    }
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  if (found != 2) throw std::runtime_error("can't read Private_Clean and Private_Dirty from " + path);
  return kib / 1024.0;
}

}  // namespace bench
