/// @file
/// What the dynamic loader knows.
#include "runtime/code/modules.hpp"

#include "runtime/base/loader.hpp"

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

/// FNV-1a, 64 bits (Fowler, Noll, Vo). Build-ids are hashes already; the modules of one process are few.
std::uint64_t hash(std::span<const std::byte> bytes) {
  std::uint64_t result = 0xcbf29ce484222325ULL;
  for (const std::byte byte : bytes) result = (result ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3ULL;
  return result;
}

std::string hexadecimal(std::span<const std::byte> bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text += digits[std::to_integer<unsigned>(byte) >> 4U];
    text += digits[std::to_integer<unsigned>(byte) & 15U];
  }
  return text;
}

/// Looks for the build-id among the notes of one PT_NOTE segment: each is a header, a name and a description, padded to
/// the segment's alignment (ELF gABI, "Note Section").
std::span<const std::byte> build_id_in(std::span<const std::byte> notes, std::size_t alignment) {
  const auto padded = [&](std::size_t size) { return (size + alignment - 1) / alignment * alignment; };
  while (notes.size() >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) header;
    std::memcpy(&header, notes.data(), sizeof header);
    const std::size_t description = padded(sizeof header + header.n_namesz);
    if (description > notes.size() || header.n_descsz > notes.size() - description) return {};
    const bool from_gnu = header.n_namesz == 4 && std::memcmp(notes.data() + sizeof header, "GNU", 4) == 0;
    if (from_gnu && header.n_type == NT_GNU_BUILD_ID) return notes.subspan(description, header.n_descsz);
    notes = notes.subspan(std::min(notes.size(), padded(description + header.n_descsz)));
  }
  return {};
}

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
  module.id = build_id.empty() ? 0 : hash(build_id);
  return module;
}

/// Name of the file without folders, and its size: what two machines with the same program agree on.
std::uint64_t id_of_file(const std::string& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  const std::string name = std::filesystem::path(path).filename().string() + ":" + (error ? "?" : std::to_string(size));
  return hash(std::as_bytes(std::span(name)));
}

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
  }
  return modules;
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
    for (const Module& module : modules) {
      for (const Module::Range& range : module.code) {
        if (range.contains(address)) return ModuleOffset{module.id, address - module.base};
      }
    }
    return std::nullopt;
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
      for (const Module::Range& range : module.code) {
        if (range.contains(address)) return address;
      }
    }
    return std::nullopt;
  });
}

}  // namespace muster::runtime
