/// @file
/// What the dynamic loader knows.
#include "runtime/code/modules.hpp"

#include "runtime/base/loader.hpp"
#include "runtime/code/elf_file.hpp"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

namespace muster::runtime {
namespace {

/// Memory of a segment that is mapped from the file.
std::span<const std::byte> memory_of(const dl_phdr_info& info, const ElfW(Phdr) & segment) {
  return {reinterpret_cast<const std::byte*>(info.dlpi_addr + segment.p_vaddr), segment.p_memsz};
}

Module read_module(const dl_phdr_info& info) {
  Module module;
  module.base = info.dlpi_addr;
  module.path = info.dlpi_name;
  std::span<const std::byte> build_id;
  for (const ElfW(Phdr) & segment : std::span(info.dlpi_phdr, info.dlpi_phnum)) {
    if (segment.p_type == PT_LOAD && (segment.p_flags & PF_X) != 0) {
      const std::uintptr_t first = info.dlpi_addr + segment.p_vaddr;
      module.code.push_back({first, first + segment.p_memsz});
    } else if (segment.p_type == PT_NOTE && build_id.empty()) {
      build_id = build_id_in(memory_of(info, segment), segment.p_align == 8 ? 8 : 4);
    }
  }
  module.build_id = hexadecimal(build_id);
  module.id = build_id.empty() ? 0 : hash_of(build_id);
  return module;
}

/// Name of the file without folders, and its size: what two machines with the same program agree on.
std::uint64_t id_of_file(const std::string& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  const std::string name = std::filesystem::path(path).filename().string() + ":" + (error ? "?" : std::to_string(size));
  return hash_of(std::as_bytes(std::span(name)));
}

/// Load addresses of what was loaded together with muster: the program's own libraries, as a rule.
const std::vector<std::uintptr_t>& first_modules() {
  static const std::vector<std::uintptr_t> bases = [] {
    std::vector<std::uintptr_t> found;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* result) {
          static_cast<std::vector<std::uintptr_t>*>(result)->push_back(info->dlpi_addr);
          return 0;
        },
        &found);
    return found;
  }();
  return bases;
}

/// The list is made while muster itself is being loaded, before anybody can load something else.
[[maybe_unused]] const bool first_modules_known = !first_modules().empty();

}  // namespace

std::vector<Module> loaded_modules() {
  std::vector<Module> modules;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        static_cast<std::vector<Module>*>(result)->push_back(read_module(*info));
        return 0;
      },
      &modules);
  std::error_code error;  // without /proc the program has no name, and needs a build-id
  if (!modules.empty()) modules.front().path = std::filesystem::read_symlink("/proc/self/exe", error).string();
  for (Module& module : modules) {
    if (module.build_id.empty()) module.id = id_of_file(module.path);
    const auto& first = first_modules();
    module.came_with_program = std::find(first.begin(), first.end(), module.base) != first.end();
  }
  return modules;
}

ModuleTable& modules() {
  static ModuleTable table;
  return table;
}

/// Calls look(modules) under the lock, with modules as they are now. A module that was unloaded must not be believed
/// in, and another may be at its address: so the loader's counter is read each time, which is cheap, and the modules
/// only if it moved.
template <class Look>
auto ModuleTable::look(Look look) {
  const std::uint64_t now = loader_changes();
  const std::lock_guard lock(mutex_);
  if (changes_ != now) {
    modules_ = loaded_modules();
    changes_ = now;
  }
  return look(std::as_const(modules_));
}

std::optional<ModuleOffset> ModuleTable::locate(std::uintptr_t address) {
  return look([&](const std::vector<Module>& modules) -> std::optional<ModuleOffset> {
    for (const Module& module : modules)
      if (module.holds(address)) return ModuleOffset{module.id, address - module.base, module.came_with_program};
    return std::nullopt;
  });
}

std::optional<Module> ModuleTable::find_at(std::uintptr_t base) {
  return look([&](const std::vector<Module>& modules) -> std::optional<Module> {
    const auto found =
        std::find_if(modules.begin(), modules.end(), [&](const Module& module) { return module.base == base; });
    return found == modules.end() ? std::nullopt : std::optional(*found);
  });
}

bool ModuleTable::has(std::uint64_t id) {
  return look([&](const std::vector<Module>& modules) {
    return std::any_of(modules.begin(), modules.end(), [&](const Module& module) { return module.id == id; });
  });
}

std::optional<Module> ModuleTable::find(std::uint64_t id) {
  return look([&](const std::vector<Module>& modules) -> std::optional<Module> {
    const auto found =
        std::find_if(modules.begin(), modules.end(), [&](const Module& module) { return module.id == id; });
    return found == modules.end() ? std::nullopt : std::optional(*found);
  });
}

std::optional<std::uintptr_t> ModuleTable::address_of(ModuleOffset place) {
  return look([&](const std::vector<Module>& modules) -> std::optional<std::uintptr_t> {
    for (const Module& module : modules) {
      if (module.id != place.module) continue;
      const std::uintptr_t address = module.base + place.offset;  // may wrap around: then it is in no range
      if (module.holds(address)) return address;
    }
    return std::nullopt;
  });
}

}  // namespace muster::runtime
