/// @file
/// Naming a function so that another process of the same program finds it: `{build-id of its ELF module, offset}`.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace muster::runtime {

/// A function's name across processes.
struct CodeReference {
  std::uint64_t module = 0;  ///< hash of the module's build-id (of its file's name and size, where it has none)
  std::uint64_t offset = 0;  ///< from the module's load address

  auto operator<=>(const CodeReference&) const = default;
};

/// The same, with what is known of its module here.
struct NamedCode : CodeReference {
  bool came_with_program = false;  ///< so every process of the program has it; else it was loaded at run time
};

/// Names the function at this address. Fast after the first call for a module. Any thread.
/// @throws Error when the address is in no loaded module.
NamedCode name_code(const void* address);

/// Finds the function again.
/// @throws Error naming the module when it is not loaded here, or when the offset is not inside its executable part.
const void* find_code_here(CodeReference reference);
/// As find_code_here, but gets the module first where it is not here and can be had from others. May block.
/// @throws Error also saying why the module can't be had.
const void* find_code(CodeReference reference);

/// Where modules come from that are not loaded here. Any thread.
class ModuleSource {
 public:
  virtual ~ModuleSource() = default;
  /// Returns when the module is loaded. @throws Error saying why it can't be
  virtual void require(std::uint64_t module) = 0;
};
/// The source of this process; null: there is none. It must live until no other thread decodes messages.
void set_module_source(ModuleSource* source);

/// Build-id of the program itself, in hexadecimal; what the handshake compares.
std::string program_build_id();

/// Path of the program's file.
std::string program_path();

/// Looks at every aligned word for an address of this process's mapped memory (4 GiB and above: smaller words are taken
/// for numbers). Costs a few ns a word, and a system call for a word that looks like an address.
/// @returns offset of the first such word, or nothing.
std::optional<std::size_t> find_address(std::span<const std::byte> bytes);

}  // namespace muster::runtime
