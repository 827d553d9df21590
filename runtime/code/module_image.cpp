// What this process has loaded at run time: by load_module, and from other processes.

#include "runtime/code/module_image.hpp"

#include "runtime/base/unique_fd.hpp"
#include "runtime/base/write_whole.hpp"
#include "runtime/code/elf_file.hpp"
#include "runtime/code/modules.hpp"

#include <muster/errors.hpp>
#include <muster/module.hpp>

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U  // Linux 6.3, which warns without it; older kernels refuse it
#endif

namespace muster {
namespace {

using namespace runtime;

std::string error_text() { return std::system_category().message(errno); }

std::string file_name(const std::string& path) { return std::filesystem::path(path).filename().string(); }

/// What is known of one module that was loaded at run time.
struct Loaded {
  std::uint64_t id = 0;
  std::string name;
  bool global = false;
  std::vector<std::uint64_t> needs;
  UniqueFd file;  ///< of one that came from elsewhere. Never closed: dlopen takes equal paths for equal files.
};

/// In order of loading. The process's own, as the loader is.
class LoadedList {
 public:
  static LoadedList& instance() {
    static LoadedList list;
    return list;
  }
  /// The global ones so far, but for that one.
  std::vector<std::uint64_t> globals(std::uint64_t without = 0) const {
    const std::lock_guard lock(mutex_);
    std::vector<std::uint64_t> ids;
    for (const Loaded& each : list_)
      if (each.global && each.id != without) ids.push_back(each.id);
    return ids;
  }
  void add(Loaded loaded) {
    const std::lock_guard lock(mutex_);
    const auto known =
        std::find_if(list_.begin(), list_.end(), [&](const Loaded& each) { return each.id == loaded.id; });
    if (known == list_.end()) {
      list_.push_back(std::move(loaded));
    } else if (loaded.global && !known->global) {
      known->global = true;
      std::rotate(known, known + 1, list_.end());  // it serves those loaded from now on
    }
  }
  /// Fills in what is known of that module. @returns its file's descriptor, where this process got it from another one
  std::optional<int> describe(std::uint64_t id, ModuleImage& image) const {
    const std::lock_guard lock(mutex_);
    const auto known = std::find_if(list_.begin(), list_.end(), [&](const Loaded& each) { return each.id == id; });
    if (known == list_.end()) return std::nullopt;
    image.name = known->name;
    image.global = known->global;
    image.needs = known->needs;
    return known->file ? std::optional(known->file.get()) : std::nullopt;
  }
  bool knows(std::uint64_t id) const {
    const std::lock_guard lock(mutex_);
    return std::any_of(list_.begin(), list_.end(), [&](const Loaded& each) { return each.id == id; });
  }

 private:
  mutable std::mutex mutex_;  ///< guards list_
  std::vector<Loaded> list_;
};

/// The file that is mapped at this address; the loader's own name for it may be relative to a directory that was left.
std::string mapped_file(std::uintptr_t address) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t first = 0, last = 0;
    int path = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %*s %n", &first, &last, &path) < 2) continue;
    if (first <= address && address < last) return path > 0 ? line.substr(static_cast<std::size_t>(path)) : "";
  }
  return {};
}

std::shared_ptr<const std::byte> read_all(int file, std::size_t size, const std::string& name) {
  auto memory = std::make_shared_for_overwrite<std::byte[]>(size);
  for (std::size_t done = 0; done < size;) {
    const ssize_t got = ::pread(file, memory.get() + done, size - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw Error(name + " can't be read: " + (got < 0 ? error_text() : "it became shorter"));
    done += static_cast<std::size_t>(got);
  }
  return {memory, memory.get()};
}

UniqueFd new_memory_file(const std::string& name) {
  const std::string short_name = name.substr(0, 200);  // memfd_create's limit is 249
  int fd = ::memfd_create(short_name.c_str(), MFD_CLOEXEC | MFD_EXEC);
  if (fd < 0 && errno == EINVAL) fd = ::memfd_create(short_name.c_str(), MFD_CLOEXEC);
  if (fd < 0) throw Error("There is no memory file to be had for " + name + ": " + error_text());
  return UniqueFd(fd);
}

/// dlopen's. @throws Error with its text, in which `name` stands for `path`
void* open_library(const std::string& path, bool global, const std::string& name) {
  // Now: a missing symbol is an error here, and not the end of the process in the middle of a task.
  void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_NODELETE | (global ? RTLD_GLOBAL : RTLD_LOCAL));
  if (library != nullptr) return library;
  const char* said = ::dlerror();
  std::string text = said != nullptr ? said : "dlopen does not say why";
  for (auto at = text.find(path); at != std::string::npos; at = text.find(path, at + name.size()))
    text.replace(at, path.size(), name);
  throw Error(text);
}

}  // namespace

namespace runtime {

ModuleImage read_module(std::uint64_t id) {
  const auto module = modules().find(id);
  if (!module) throw Error("it is not loaded there");
  ModuleImage image;
  image.name = file_name(module->path);
  if (module->came_with_program) {
    throw Error(image.name +
                " came with the program, so that every host has its own, and this host's is another build: install the "
                "same build on all hosts");
  }
  if (module->build_id.empty()) {
    throw Error(image.name +
                " has no build-id, by which other processes would know it: link it with -Wl,--build-id (CMake: "
                "target_link_options), or load it in every process yourself");
  }
  const bool known = LoadedList::instance().knows(id);
  if (!known) image.needs = LoadedList::instance().globals();
  UniqueFd opened;
  const auto kept = LoadedList::instance().describe(id, image);
  if (!kept) {
    const std::string path = module->code.empty() ? module->path : mapped_file(module->code.front().first);
    opened.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!opened)
      throw Error("the file of " + image.name + " (" + path + ") can't be opened any more: " + error_text() +
                  ". Leave the files of loaded libraries where they are");
  }
  const int file = kept ? *kept : opened.get();
  struct stat status{};
  if (::fstat(file, &status) != 0 || status.st_size <= 0) throw Error(image.name + " can't be read: " + error_text());
  const auto size = static_cast<std::size_t>(status.st_size);
  auto memory = read_all(file, size, image.name);
  image.bytes = {memory.get(), size};
  image.owner = std::move(memory);
  if (read_elf_file(image.bytes).id != id)
    throw Error("the file of " + image.name +
                " was replaced since it was loaded. Load a library under another name when it was built anew");
  return image;
}

void load_image(std::uint64_t id, const ModuleImage& image) {
  if (modules().has(id)) return;
  Loaded loaded{id, image.name, image.global, image.needs, new_memory_file(image.name)};
  if (const auto error = write_whole(loaded.file.get(), image.bytes))
    throw Error("The memory file of " + image.name + " can't be written: " + error.message());
  (void)open_library("/proc/self/fd/" + std::to_string(loaded.file.get()), image.global, image.name);
  LoadedList::instance().add(std::move(loaded));
  if (!modules().has(id)) throw Error("the dynamic loader took " + image.name + " for another library");
}

}  // namespace runtime

void* LoadedModule::symbol(const std::string& name) const {
  (void)::dlerror();
  void* const found = ::dlsym(library_, name.c_str());
  if (found == nullptr)
    throw Error("The module " + path_ + " has no symbol " + name +
                ". Names of C++ functions are mangled: declare it extern \"C\", or see nm -D");
  return found;
}

LoadedModule load_module(const std::string& path, LoadModuleOptions options) {
  const auto before = LoadedList::instance().globals();
  LoadedModule result;
  try {
    result.library_ = open_library(path, options.global, path);
  } catch (const Error& error) {
    const bool searched = path.find('/') == std::string::npos;
    throw Error("The module " + path + " can't be loaded: " + error.what() +
                (searched ? ". (A name without a slash is searched for where libraries are; write ./" + path +
                                " for a file here)"
                          : ""));
  }
  link_map* map = nullptr;
  if (::dlinfo(result.library_, RTLD_DI_LINKMAP, static_cast<void*>(&map)) != 0)
    throw Error("The module " + path + " is lost again");
  const auto module = modules().find_at(map->l_addr);
  if (!module) throw Error("The module " + path + " is lost again");
  if (module->build_id.empty()) {
    throw Error("The module " + path +
                " has no build-id, by which other processes would know it: link it with -Wl,--build-id (CMake: "
                "target_link_options)");
  }
  result.path_ = module->path;
  result.build_id_ = module->build_id;
  if (!module->came_with_program) {
    auto needs = before;
    std::erase(needs, module->id);
    LoadedList::instance().add({module->id, file_name(module->path), options.global, std::move(needs), UniqueFd()});
  }
  return result;
}

}  // namespace muster
