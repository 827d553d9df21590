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

std::string loader_name(std::uintptr_t base) {
  struct Search {
    std::uintptr_t base;
    std::string name;
  } search{base, {}};
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        auto& wanted = *static_cast<Search*>(result);
        if (info->dlpi_addr != wanted.base) return 0;
        wanted.name = info->dlpi_name;
        return 1;
      },
      &search);
  return search.name;
}

}  // namespace muster::runtime
