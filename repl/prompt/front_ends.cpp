#include "repl/prompt/front_ends.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <system_error>

namespace muster::repl {

namespace {

namespace fs = std::filesystem;

/// Where this program is installed: its bin folder's parent.
fs::path prefix() { return fs::read_symlink("/proc/self/exe").parent_path().parent_path(); }

const std::string folder_prefix = "muster-prompt-";

/// Removes the folders of this user's sessions that were killed, or died with their terminal: nobody locks them.
void remove_forsaken(const fs::path& parent) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(parent, ignored)) {
    if (!entry.path().filename().string().starts_with(folder_prefix)) continue;
    const FolderLock lock(entry.path().string(), LOCK_NB);
    struct stat facts = {};
    if (::fstat(lock.fd(), &facts) == 0 && facts.st_uid == ::geteuid()) fs::remove_all(entry.path(), ignored);
  }
}

}  // namespace

FolderLock::FolderLock(const std::string& folder, int flags)
    : fd_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) {
  if (fd_ >= 0 && ::flock(fd_, LOCK_EX | flags) != 0) ::close(std::exchange(fd_, -1));
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

CellFolder::CellFolder() {
  const fs::path parent = fs::temp_directory_path();
  remove_forsaken(parent);
  do {
    path_ = (parent / (folder_prefix + "XXXXXX")).string();
    if (::mkdtemp(path_.data()) == nullptr)
      throw std::runtime_error("can't make a folder in " + parent.string() + ": " +
                               std::generic_category().message(errno) + ". Name another place in TMPDIR.");
    lock_ = FolderLock(path_, 0);
  } while (!fs::exists(path_));  // another session, which starts just now, came before the lock
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
