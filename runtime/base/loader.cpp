/// @file
/// What the dynamic loader counts.
#include "runtime/base/loader.hpp"

#include <link.h>

#include <cstddef>

namespace muster::runtime {

std::uint64_t loader_changes() {
  std::uint64_t changes = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        *static_cast<std::uint64_t*>(result) = info->dlpi_adds + info->dlpi_subs;
        return 1;  // the first module tells it for all
      },
      &changes);
  return changes;
}

}  // namespace muster::runtime
