#include "runtime/code/elf_file.hpp"

#include <muster/errors.hpp>

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstring>

namespace muster::runtime {
namespace {

#if defined(__x86_64__)
constexpr unsigned this_machine = EM_X86_64;
#elif defined(__aarch64__)
constexpr unsigned this_machine = EM_AARCH64;
#elif defined(__riscv)
constexpr unsigned this_machine = EM_RISCV;
#elif defined(__powerpc64__)
constexpr unsigned this_machine = EM_PPC64;
#else
#error "say here which ELF machine this is"
#endif
constexpr unsigned char this_class = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;

/// That many bytes from there on. @throws SerializationError
std::span<const std::byte> within(std::span<const std::byte> file, std::uint64_t offset, std::uint64_t size) {
  if (offset > file.size() || size > file.size() - offset)
    throw SerializationError("The file of a module is cut short: it has " + std::to_string(file.size()) + " bytes");
  return file.subspan(offset, size);
}

ElfW(Ehdr) head_of(std::span<const std::byte> file) {
  ElfW(Ehdr) head;
  std::memcpy(&head, within(file, 0, sizeof head).data(), sizeof head);
  if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
    throw SerializationError("What should be a module is no ELF file");
  if (head.e_ident[EI_CLASS] != this_class || head.e_ident[EI_DATA] != ELFDATA2LSB || head.e_machine != this_machine)
    throw SerializationError("A module is for another kind of machine");
  if (head.e_type != ET_DYN || head.e_phentsize != sizeof(ElfW(Phdr)))
    throw SerializationError("A module is no shared library");
  return head;
}

}  // namespace

std::uint64_t hash_of(std::span<const std::byte> bytes) {
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

ElfFile read_elf_file(std::span<const std::byte> file) {
  const auto head = head_of(file);
  const auto table = within(file, head.e_phoff, std::uint64_t{head.e_phnum} * sizeof(ElfW(Phdr)));
  std::span<const std::byte> build_id;
  for (std::size_t at = 0; at < table.size(); at += sizeof(ElfW(Phdr))) {
    ElfW(Phdr) segment;
    std::memcpy(&segment, table.data() + at, sizeof segment);
    // All that is mapped must be there: a page behind the file's end kills whoever looks at it.
    const bool is_note = segment.p_type == PT_NOTE;
    if (!is_note && segment.p_type != PT_LOAD) continue;
    const auto bytes = within(file, segment.p_offset, segment.p_filesz);
    if (is_note && build_id.empty()) build_id = build_id_in(bytes, segment.p_align == 8 ? 8 : 4);
  }
  return {build_id.empty() ? 0 : hash_of(build_id), hexadecimal(build_id)};
}

}  // namespace muster::runtime
