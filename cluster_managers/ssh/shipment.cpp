#include "cluster_managers/ssh/shipment.hpp"

#include "cluster_managers/ssh/gzip.hpp"
#include "cluster_managers/ssh/remote_shell.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/random.hpp"

#include <muster/errors.hpp>

#include <link.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <sstream>

namespace muster::runtime::ssh {

namespace {

/// Linkers put the build-id among the first things of a file.
constexpr std::size_t beginning_size = 4096;
/// Name of 4 bytes, contents of 20, kind 3, "GNU": how the note of a build-id begins (little-endian).
constexpr std::string_view note_head{"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0", 16};
constexpr std::size_t build_id_size = 20;

/// These must be the host's own, as they go with its kernel and with each other.
constexpr const char* c_library[] = {"ld-linux", "libc.so", "libm.so",      "libpthread.so", "libdl.so",
                                     "librt.so", "libnss",  "libresolv.so", "libutil.so",    "linux-vdso"};
constexpr const char* system_directories[] = {"/lib", "/usr/lib", "/lib64", "/usr/lib64"};

std::string hexadecimal(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    text += digits[static_cast<unsigned char>(byte) >> 4U];
    text += digits[static_cast<unsigned char>(byte) & 15U];
  }
  return text;
}

std::string contents_of(const std::string& path, std::size_t most = std::string::npos) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error("can't read " + path + " here, which is to be copied there");
  std::string contents;
  std::array<char, 65536> part{};
  while (contents.size() < most && (file.read(part.data(), part.size()) || file.gcount() > 0))
    contents.append(part.data(), std::min(static_cast<std::size_t>(file.gcount()), most - contents.size()));
  return contents;
}

std::string name_of_file(const std::string& path) { return std::filesystem::path(path).filename().string(); }

bool is_of_system(const std::string& path) {
  return std::any_of(std::begin(system_directories), std::end(system_directories),
                     [&](const char* directory) { return path.starts_with(std::string(directory) + "/"); });
}

bool is_of_c_library(const std::string& path) {
  const std::string name = name_of_file(path);
  return std::any_of(std::begin(c_library), std::end(c_library),
                     [&](const char* prefix) { return name.starts_with(prefix); });
}

std::string system_here() {
  utsname names{};
  ::uname(&names);
  return std::string(names.sysname) + " " + names.machine;
}

struct Answer {
  std::vector<bool> usable;  ///< for each file, whether the host's own one at its path is as good
  std::string cache;         ///< the user's directory for what can be made again
};

Answer read_answer(const std::string& output, const std::vector<ProgramFile>& files) {
  const auto begin = output.find("\nmuster_files=\n");
  if (begin == std::string::npos) throw Error("its shell did not say which files it has: " + output.substr(0, 500));
  std::istringstream lines(output.substr(begin + 1));
  std::string line;
  std::getline(lines, line);
  Answer said;
  for (const ProgramFile& file : files) {
    std::getline(lines, line);
    const bool same = !file.build_id.empty() && line.find(hexadecimal(note_head) + file.build_id) != std::string::npos;
    said.usable.push_back(file.of_system ? !line.empty() : same);
  }
  std::getline(lines, line);
  said.cache = line.substr(std::min(line.size(), line.find('=') + 1));
  if (!said.cache.starts_with('/')) throw Error("there is no directory to copy the program to: the user has no home");
  return said;
}

/// Named after all that is in it.
std::string directory_name(const std::vector<ProgramFile>& files) {
  std::string all;
  for (const ProgramFile& file : files) all += name_of_file(file.path) + file.build_id + "\n";
  const auto hash = keyed_hash("muster files", std::as_bytes(std::span(all)));
  const std::string_view some(reinterpret_cast<const char*>(hash.data()), 8);
  return files.front().build_id + "-" + hexadecimal(some);
}

/// One copying of files to a host: into a directory beside their place first, so that they are there whole or not at
/// all.
class Copying {
 public:
  Copying(SshConnection& connection, std::string target, Clock::time_point deadline)
      : connection_(connection),
        target_(std::move(target)),
        unfinished_(target_ + ".unfinished-" + random_token(8)),
        deadline_(deadline) {}

  void copy(const std::vector<ProgramFile>& files) {
    log::info("The program is being copied to " + connection_.name() +
              ", which does not have it: " + std::to_string(files.size()) + " files");
    try {
      const std::string said = run("umask 077 && mkdir -p " + quoted(unfinished_) +
                                   " && if : | gzip -c 2>/dev/null | gzip -dc >/dev/null 2>&1; then echo gzip; fi");
      compressed_ = said.find("gzip") != std::string::npos;
      for (const ProgramFile& file : files) copy_file(file);
      run("chmod u+x " + quoted(unfinished_) + "/* && { [ -d " + quoted(target_) + " ] || mv " + quoted(unfinished_) +
          " " + quoted(target_) + "; } && rm -rf " + quoted(unfinished_));
    } catch (const Error&) {
      remove_unfinished();
      throw;
    }
    log::info("The program was copied to " + connection_.name() + ": " + std::to_string(files.size()) + " files, " +
              kibibytes(bytes_) + (compressed_ ? ", " + kibibytes(sent_) + " compressed" : "") + ", in " + target_);
  }

 private:
  static std::string kibibytes(std::size_t bytes) { return std::to_string(bytes / 1024) + " KiB"; }

  std::string run(const std::string& script, std::string_view input = {}) {
    const CommandResult result = connection_.run(script_prologue() + script, deadline_, input);
    if (result.status == 0) return result.output;
    std::string text = "the program can't be copied to " + target_ +
                       " there: " + (result.errors.empty() ? "no reason given" : result.errors);
    while (text.ends_with('\n')) text.pop_back();
    throw Error(text +
                ". See that the user may write there, and that there is room (df, quota); another place is that "
                "of XDG_CACHE_HOME in the environment there.");
  }

  void copy_file(const ProgramFile& file) {
    const std::string contents = contents_of(file.source);
    const std::string small = compressed_ ? gzipped(contents) : std::string();
    const std::string_view sent = compressed_ ? std::string_view(small) : contents;
    run("umask 077 && " + std::string(compressed_ ? "gzip -dc" : "cat") + " > " +
            quoted(unfinished_ + "/" + name_of_file(file.path)),
        sent);
    bytes_ += contents.size();
    sent_ += sent.size();
    log::debug("Copied " + file.path + " to " + connection_.name());
  }

  /// A full disk stays full otherwise.
  void remove_unfinished() {
    try {
      (void)connection_.run(script_prologue() + "rm -rf " + quoted(unfinished_), deadline_);
    } catch (const Error& error) {
      log::debug("An unfinished copy is left on " + connection_.name() + ", " + unfinished_ + ": " + error.what());
    }
  }

  SshConnection& connection_;
  const std::string target_, unfinished_;
  const Clock::time_point deadline_;
  bool compressed_ = false;
  std::size_t bytes_ = 0, sent_ = 0;
};

}  // namespace

std::string build_id_in(std::string_view beginning) {
  const auto at = beginning.find(note_head);
  if (at == std::string_view::npos || at + note_head.size() + build_id_size > beginning.size()) return {};
  return hexadecimal(beginning.substr(at + note_head.size(), build_id_size));
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
        {path, source, build_id_in(contents_of(source, beginning_size)), !is_program && is_of_system(path)});
  }
  return files;
}

// A line for each file: its beginning in hexadecimal, nothing where it is not there. Of the system's own, of which there
// are many, only whether they are there: that is said by the shell itself, without starting a program for each.
std::string ship_question(const std::vector<ProgramFile>& files) {
  std::string script = script_prologue() + "echo; echo muster_files=; ";
  for (const ProgramFile& file : files) {
    if (file.of_system) {
      script += "[ -s " + quoted(file.path) + " ] && echo yes || echo; ";
    } else {
      script += "head -c " + std::to_string(beginning_size) + " " + quoted(file.path) +
                " 2>/dev/null | od -An -v -tx1 | tr -d ' \\n'; echo; ";
    }
  }
  return script + R"(echo "cache=${XDG_CACHE_HOME:-$HOME/.cache}")";
}

ShippedProgram ship(SshConnection& connection, const std::vector<ProgramFile>& files, Ship policy,
                    const std::string& system, const std::string& answer, Clock::time_point deadline) {
  if (system != system_here()) {
    throw Error("it is a host of another kind (" + system + ") than this program was built for (" + system_here() +
                "). All processes of a cluster run one build.");
  }
  const std::string& program = files.front().path;
  const Answer said = read_answer(answer, files);
  std::vector<ProgramFile> needed{files.front()};
  for (std::size_t i = 1; i < files.size(); ++i)
    if (!said.usable[i] || (policy == Ship::Always && !files[i].of_system)) needed.push_back(files[i]);
  if (policy != Ship::Always && needed.size() == 1 && said.usable.front()) return {program, {}};
  const std::string target = said.cache + "/muster/" + directory_name(needed);
  const CommandResult there = connection.run(script_prologue() + "[ -d " + quoted(target) + " ]", deadline);
  if (there.status != 0) Copying(connection, target, deadline).copy(needed);
  return {target + "/" + name_of_file(program), needed.size() == 1 ? "" : target};
}

}  // namespace muster::runtime::ssh
