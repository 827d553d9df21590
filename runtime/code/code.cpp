/// @file
/// Functions by name.
#include "runtime/code/code.hpp"

#include "runtime/code/modules.hpp"

#include <muster/errors.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <cstring>
#include <string_view>

namespace muster::runtime {
namespace {

std::string hexadecimal_number(std::uint64_t number) {
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number, 16).ptr;
  return {digits.data(), end};
}

/// The program itself, which is never unloaded: for its own code, nearly all of what is called, nobody asks the loader.
const Module& program() {
  static const Module module = loaded_modules().at(0);
  return module;
}

/// Null where it is not there.
const void* find_in_program(CodeReference reference) {
  const Module& own = program();
  const bool is_there = reference.module == own.id && own.holds(own.base + reference.offset);
  return is_there ? reinterpret_cast<const void*>(own.base + reference.offset) : nullptr;
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MUSTER_SANITIZED
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MUSTER_SANITIZED
#endif

// Words outside these bounds are numbers. Below 4 GiB a program that is position independent has nothing; above is the
// kernel's half, where doubles and negative numbers are.
#if defined(MUSTER_SANITIZED) && defined(__x86_64__)
constexpr std::uint64_t first_address = 0x5000'0000'0000;  // below it the sanitizer has mapped terabytes of shadow
#else
constexpr std::uint64_t first_address = std::uint64_t{1} << 32U;
#endif
#if defined(__aarch64__)
constexpr std::uint64_t last_address = std::uint64_t{1} << 48U;
#else
constexpr std::uint64_t last_address = std::uint64_t{1} << 47U;
#endif

/// Whether something is mapped there: mincore fails with ENOMEM where nothing is.
bool is_mapped(std::uint64_t address) {
  static const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  unsigned char resident = 0;
  return mincore(reinterpret_cast<void*>(address / page * page), 1, &resident) == 0;
}

std::atomic<ModuleSource*> module_source{nullptr};

}  // namespace

void set_module_source(ModuleSource* source) { module_source.store(source, std::memory_order_release); }

NamedCode name_code(const void* address) {
  const auto number = reinterpret_cast<std::uintptr_t>(address);
  if (const Module& own = program(); own.holds(number)) return {{own.id, number - own.base}, own.came_with_program};
  const auto place = modules().locate(reinterpret_cast<std::uintptr_t>(address));
  if (!place) {
    throw Error(
        "the address " + hexadecimal_number(reinterpret_cast<std::uintptr_t>(address)) +
        " is not in the code of the program or of a library it has loaded, so no other process can find it; only "
        "functions that were compiled into one of those can be sent");
  }
  return {{place->module, place->offset}, place->came_with_program};
}

const void* find_code(CodeReference reference) {
  if (const void* const own = find_in_program(reference)) return own;
  if (!modules().has(reference.module)) {
    if (ModuleSource* const source = module_source.load(std::memory_order_acquire)) source->require(reference.module);
  }
  return find_code_here(reference);
}

const void* find_code_here(CodeReference reference) {
  if (const void* const own = find_in_program(reference)) return own;
  if (const auto address = modules().address_of({reference.module, reference.offset})) {
    return reinterpret_cast<const void*>(*address);
  }
  if (const auto module = modules().find(reference.module)) {
    throw Error("a call names the function at offset " + hexadecimal_number(reference.offset) + " of " + module->path +
                ", which is not inside its code; the message is damaged, or comes from another build");
  }
  throw Error("a call names a function of the module with the build-id hash " + hexadecimal_number(reference.module) +
              ", which is not loaded in this process");
}

std::string program_build_id() {
  return program().build_id.empty() ? "file-" + hexadecimal_number(program().id) : program().build_id;
}

std::string program_path() {
  std::string path = program().path;
  // The kernel's remark on a file that was replaced since; its successor has the name.
  constexpr std::string_view remark = " (deleted)";
  if (path.ends_with(remark)) path.resize(path.size() - remark.size());
  return path;
}

std::optional<std::size_t> find_address(std::span<const std::byte> bytes) {
  for (std::size_t offset = 0; offset + sizeof(std::uint64_t) <= bytes.size(); offset += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + offset, sizeof word);
    if (word >= first_address && word < last_address && is_mapped(word)) return offset;
  }
  return std::nullopt;
}

}  // namespace muster::runtime
