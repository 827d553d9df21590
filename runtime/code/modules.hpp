/// @file
/// The ELF modules of this process: the program and its shared libraries, by address and by build-id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace muster::runtime {

/// One loaded module.
struct Module {
  std::uint64_t id = 0;     ///< hash of its build-id; of its file's name and size, where it has none
  std::string build_id;     ///< hexadecimal; empty where it has none
  std::string path;         ///< of its file
  std::uintptr_t base = 0;  ///< load address
  struct Range {
    std::uintptr_t first, last;  ///< half-open
    bool contains(std::uintptr_t address) const { return first <= address && address < last; }
  };
  std::vector<Range> code;         ///< its executable segments
  bool came_with_program = false;  ///< it was there when muster was loaded, so every process has its own
  /// Whether that address is executable code of it.
  bool holds(std::uintptr_t address) const {
    for (const Range& range : code)
      if (range.contains(address)) return true;
    return false;
  }
};

/// Reads the modules that are loaded now, the program first.
std::vector<Module> loaded_modules();

/// A place inside a module.
struct ModuleOffset {
  std::uint64_t module;
  std::uintptr_t offset;
  bool came_with_program = false;  ///< see Module; no part of the name
};

/// Keeps what loaded_modules() said, and asks again when modules have come or gone since. Any thread.
class ModuleTable {
 public:
  /// Where this address is executable code.
  std::optional<ModuleOffset> locate(std::uintptr_t address);
  /// The module of that id.
  std::optional<Module> find(std::uint64_t id);
  /// The module of that load address.
  std::optional<Module> find_at(std::uintptr_t base);
  /// Whether there is one of that id.
  bool has(std::uint64_t id);
  /// The address that is `offset` behind the load address of that module, if it is executable code there.
  std::optional<std::uintptr_t> address_of(ModuleOffset place);

 private:
  template <class Look>
  auto look(Look look);

  // Not a lock for readers and writers: readers pass the loader's own lock one by one anyway, and pthread's such lock
  // lets readers that never pause keep a writer out for ever.
  std::mutex mutex_;  ///< guards what follows
  std::vector<Module> modules_;
  std::uint64_t changes_ = 0;  ///< the loader's count of loads and unloads when modules_ was read; 0: not yet
};

/// The process's own, not a session's: the loader, whose answers it keeps, is the process's.
ModuleTable& modules();

}  // namespace muster::runtime
