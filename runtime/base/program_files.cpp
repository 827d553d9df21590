#include "runtime/base/program_files.hpp"

#include "runtime/base/random.hpp"

#include <muster/errors.hpp>

#include <link.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <vector>

namespace muster::runtime {

namespace {

/// Name of 4 bytes, contents of 20, kind 3, "GNU": how the note of a build-id begins (little-endian).
constexpr std::string_view note_head{"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0", 16};
constexpr std::size_t build_id_size = 20;

/// These must be the host's own, as they go with its kernel and with each other.
constexpr const char* c_library[] = {"ld-linux", "libc.so", "libm.so",      "libpthread.so", "libdl.so",
                                     "librt.so", "libnss",  "libresolv.so", "libutil.so",    "linux-vdso"};
constexpr const char* system_directories[] = {"/lib", "/usr/lib", "/lib64", "/usr/lib64"};

std::string hexadecimal_of(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    text += digits[static_cast<unsigned char>(byte) >> 4U];
    text += digits[static_cast<unsigned char>(byte) & 15U];
  }
  return text;
}

bool is_of_system(const std::string& path) {
  return std::any_of(std::begin(system_directories), std::end(system_directories),
                     [&](const char* directory) { return path.starts_with(std::string(directory) + "/"); });
}

bool is_of_c_library(const std::string& path) {
  const std::string name = name_of_file(path);
  return std::any_of(std::begin(c_library), std::end(c_library),
                     [&](const char* prefix) { return name.starts_with(prefix); });
}

}  // namespace

std::string contents_of(const std::string& path, std::size_t most) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error("can't read " + path + " here, which is to be copied there");
  std::string contents;
  std::array<char, 65536> part{};
  while (contents.size() < most) {
    const std::size_t wanted = std::min(part.size(), most - contents.size());
    if (!file.read(part.data(), static_cast<std::streamsize>(wanted)) && file.gcount() == 0) break;
    contents.append(part.data(), static_cast<std::size_t>(file.gcount()));
  }
  return contents;
}

ContentHash hash_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error("can't read " + path);
  constexpr std::string_view key = "muster file";
  ContentHash hash;
  std::vector<std::byte> digests, part(std::size_t{1} << 20);
  while (file.read(reinterpret_cast<char*>(part.data()), static_cast<std::streamsize>(part.size())) ||
         file.gcount() > 0) {
    const auto got = static_cast<std::size_t>(file.gcount());
    hash.size += got;
    const auto digest = keyed_hash(key, std::span(part).first(got));
    digests.insert(digests.end(), digest.begin(), digest.end());
  }
  hash.digest = keyed_hash(key, digests);
  return hash;
}

std::string name_of_file(const std::string& path) { return std::filesystem::path(path).filename().string(); }

std::string build_id_at(std::string_view beginning) {
  const auto at = beginning.find(note_head);
  if (at == std::string_view::npos || at + note_head.size() + build_id_size > beginning.size()) return {};
  return hexadecimal_of(beginning.substr(at + note_head.size(), build_id_size));
}

std::string note_of_build_id(const std::string& build_id) {
  std::string note(note_head);
  for (std::size_t at = 0; at + 2 <= build_id.size(); at += 2) {
    unsigned char byte = 0;
    (void)std::from_chars(build_id.data() + at, build_id.data() + at + 2, byte, 16);
    note += static_cast<char>(byte);
  }
  return note;
}

std::vector<ProgramFile> files_of_program(const std::string& program) {
  std::vector<std::string> paths{program};
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* found) {
        if (info->dlpi_name != nullptr && info->dlpi_name[0] == '/')
          static_cast<std::vector<std::string>*>(found)->emplace_back(info->dlpi_name);
        return 0;
      },
      &paths);
  std::vector<ProgramFile> files;
  for (const std::string& path : paths) {
    if (!files.empty() && is_of_c_library(path)) continue;
    const bool is_program = files.empty();
    const std::string source = is_program ? "/proc/self/exe" : path;
    files.push_back(
        {path, source, build_id_at(contents_of(source, build_id_reach)), !is_program && is_of_system(path)});
  }
  return files;
}

std::string name_of_copy(const std::vector<ProgramFile>& files) {
  std::string all;
  for (const ProgramFile& file : files) all += name_of_file(file.path) + file.build_id + "\n";
  const auto hash = keyed_hash("muster files", std::as_bytes(std::span(all)));
  const std::string_view some(reinterpret_cast<const char*>(hash.data()), 8);
  return files.front().build_id + "-" + hexadecimal_of(some);
}

std::string system_here() {
  utsname names{};
  ::uname(&names);
  return std::string(names.sysname) + " " + names.machine;
}

std::string other_system(const std::string& there, const std::string& needed) {
  return "it is a host of another kind (" + there + ") than this program was built for (" + needed +
         "). All processes of a cluster run one build.";
}

}  // namespace muster::runtime
