/// @file
/// The files that this program runs from, for hosts that do not have them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace muster::runtime {

/// A file that a worker is made of.
struct ProgramFile {
  std::string path;
  std::string source = {};    ///< where its contents are: the file at its path may have been built anew
  std::string build_id = {};  ///< hexadecimal; empty where it has none
  bool of_system = false;     ///< a library that came with the system: a host's own one serves as well
  bool operator==(const ProgramFile&) const = default;
};

/// The program, and the libraries that this process has loaded, but for those of the C library itself, which must be a
/// host's own.
std::vector<ProgramFile> files_of_program(const std::string& program);

/// Linkers put the build-id among the first things of a file, within so many bytes.
inline constexpr std::size_t build_id_reach = 4096;
/// The build-id in the beginning of an ELF file (its GNU note), in hexadecimal; empty where there is none.
std::string build_id_at(std::string_view beginning);
/// The bytes of such a note. @param build_id in hexadecimal
std::string note_of_build_id(const std::string& build_id);

/// A file's contents, or so many bytes of their beginning. @throws Error naming it
std::string contents_of(const std::string& path, std::size_t most = std::string::npos);
/// What tells a file's contents from others.
struct ContentHash {
  std::uint64_t size = 0;              ///< bytes
  std::array<std::byte, 32> digest{};  ///< of the digests of its parts of a MiB each
  bool operator==(const ContentHash&) const = default;
};
/// Reads the file once, in little memory. @throws Error naming it
ContentHash hash_of_file(const std::string& path);

/// Its name without directories.
std::string name_of_file(const std::string& path);

/// A name for a directory with copies of these files, the program first, in a user's cache: after all that is in it.
std::string name_of_copy(const std::vector<ProgramFile>& files);

/// System and processor, as `uname -sm` says them.
std::string system_here();
/// That a host of that system can't run this program, which needs the other.
std::string other_system(const std::string& there, const std::string& needed);

}  // namespace muster::runtime
