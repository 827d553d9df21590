#include "repl/prompt/front_ends.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace muster::repl {

namespace {

namespace fs = std::filesystem;

/// Where this program is installed: its bin folder's parent.
fs::path prefix() { return fs::read_symlink("/proc/self/exe").parent_path().parent_path(); }

}  // namespace

CellFolder::CellFolder() {
  std::string pattern = (fs::temp_directory_path() / "muster-prompt-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr)
    throw std::runtime_error("can't make a folder in " + fs::temp_directory_path().string());
  path_ = pattern;
}

CellFolder::~CellFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::unique_ptr<FrontEnd> make_front_end(const Options& options, const std::string& folder, bool warm) {
  FrontEndOptions settings;
  settings.folder = folder;
  settings.warm = warm;
  settings.flags = options.flags;
  settings.flags.push_back("-I" + (prefix() / "include").string());
  const std::string clang = (prefix() / "libexec" / "muster" / "muster-clang").string();
  const bool has_clang = ::access(clang.c_str(), X_OK) == 0;
  if (options.front_end == "clang" || (options.front_end.empty() && has_clang)) {
    if (!has_clang)
      throw std::runtime_error("this muster was built without clang 22 (" + clang +
                               " is not there); use --front-end g++");
    return make_clang_front_end(clang, settings);
  }
  if (!options.front_end.empty() && options.front_end != "g++")
    throw std::invalid_argument("--front-end is clang or g++, not " + options.front_end);
  return make_gxx_front_end("g++", settings);
}

}  // namespace muster::repl
