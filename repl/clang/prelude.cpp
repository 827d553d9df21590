#include "repl/clang/prelude.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace muster::repl {

namespace {

namespace fs = std::filesystem;

fs::path cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (cache != nullptr && *cache != '\0') return fs::path(cache) / "muster";
  if (home != nullptr && *home != '\0') return fs::path(home) / ".cache" / "muster";
  return fs::temp_directory_path() / ("muster-cache-" + std::to_string(::getuid()));
}

/// FNV-1a, 64 bits, of all that the result depends on.
class Key {
 public:
  void add(const std::string& text) {
    for (const char c : text) hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    hash_ = (hash_ ^ 0xffU) * 0x100000001b3ULL;
  }
  void add_file(const fs::path& path) {
    std::error_code ignored;
    add(path.string());
    add(std::to_string(fs::file_size(path, ignored)));
    add(std::to_string(fs::last_write_time(path, ignored).time_since_epoch().count()));
  }
  std::string text() const {
    char digits[17];
    (void)std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash_));
    return digits;
  }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325ULL;
};

/// All of muster's headers that these flags find.
std::vector<fs::path> headers(const std::vector<std::string>& flags) {
  std::vector<fs::path> found;
  for (const std::string& flag : flags) {
    if (!flag.starts_with("-I")) continue;
    std::error_code ignored;
    for (const auto& entry : fs::recursive_directory_iterator(flag.substr(2) + "/muster", ignored))
      if (entry.is_regular_file(ignored)) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

bool run(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = -1;
  int status = -1;
  if (::posix_spawnp(&pid, arguments[0], nullptr, nullptr, arguments.data(), environ) != 0) return false;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status == 0;
}

}  // namespace

void use_prelude(std::vector<std::string>& flags) {
  const auto all = headers(flags);
  const auto prompt =
      std::find_if(all.begin(), all.end(), [](const fs::path& path) { return path.filename() == "prompt.hpp"; });
  if (prompt == all.end() || ::access(MUSTER_CLANG_PROGRAM, X_OK) != 0) return;
  Key key;
  // Other folders of headers do not change what these headers are.
  std::vector<std::string> own;
  for (const std::string& flag : flags)
    if (!flag.starts_with("-I") || prompt->string().starts_with(flag.substr(2) + "/")) own.push_back(flag);
  for (const std::string& flag : own) key.add(flag);
  for (const fs::path& path : all) key.add_file(path);
  key.add_file("/usr/include/c++");
  key.add_file(MUSTER_CLANG_PROGRAM);
  std::error_code error;
  const fs::path folder = cache_folder(), result = folder / ("prelude-" + key.text() + ".pch");
  if (!fs::exists(result, error)) {
    fs::create_directories(folder, error);
    std::fprintf(stderr, "muster: preparing the headers for this user (once, some seconds)\n");
    const fs::path fresh = folder / ("making-" + std::to_string(::getpid()) + ".pch");
    std::vector<std::string> command{MUSTER_CLANG_PROGRAM};
    command.insert(command.end(), own.begin(), own.end());
    command.insert(command.end(), {"-fpch-instantiate-templates", "-Xclang", "-fincremental-extensions", "-x",
                                   "c++-header", prompt->string(), "-o", fresh.string()});
    if (!run(command)) {
      fs::remove(fresh, error);
      return;
    }
    fs::rename(fresh, result, error);
    if (error) return;
  }
  flags.insert(flags.end(), {"-include-pch", result.string()});
}

}  // namespace muster::repl
