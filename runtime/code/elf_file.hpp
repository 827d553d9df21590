/// @file
/// What an ELF file says of itself: its build-id, and whether it is a shared library for this machine. Reads bytes that
/// came from elsewhere: nothing in them is believed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace muster::runtime {

/// FNV-1a, 64 bits (Fowler, Noll, Vo). Build-ids are hashes already; the modules of one process are few.
std::uint64_t hash_of(std::span<const std::byte> bytes);

/// Bytes as text.
std::string hexadecimal(std::span<const std::byte> bytes);

/// Looks for the build-id among the notes of one PT_NOTE segment: each is a header, a name and a description, padded to
/// the segment's alignment (ELF gABI, "Note Section"). @returns nothing where there is none
std::span<const std::byte> build_id_in(std::span<const std::byte> notes, std::size_t alignment);

/// A shared library's file.
struct ElfFile {
  std::uint64_t id = 0;  ///< hash of its build-id; 0 where it has none
  std::string build_id;  ///< hexadecimal; empty where it has none
};

/// Reads its head and its segments' table. Costs no more than a look at its first pages.
/// @throws SerializationError for what is no shared library for this machine, or cut short.
ElfFile read_elf_file(std::span<const std::byte> file);

}  // namespace muster::runtime
