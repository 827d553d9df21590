/// @file
/// Shared libraries loaded at run time, whose functions run on other processes too.
#pragma once

#include <string>
#include <type_traits>

namespace muster {

/// What load_module takes.
struct LoadModuleOptions {
  /// Whether its symbols serve the modules that are loaded after it (dlopen's RTLD_GLOBAL). Where a module is needed on
  /// another process, the global ones that were loaded before it go there first, in the same order.
  bool global = false;
};

/// A library that load_module has loaded. It is never unloaded, so its copies and all addresses it gives out are good
/// until the process ends.
/// @par Thread safety
/// As any value; its functions may be called from any thread.
class LoadedModule {
 public:
  /// Path of its file.
  const std::string& path() const { return path_; }
  /// Its build-id, in hexadecimal: the name it has in all processes.
  const std::string& build_id() const { return build_id_; }
  /// Address of what it exports under that name (mangled, where it is not `extern "C"`).
  /// @throws Error when there is no such symbol.
  void* symbol(const std::string& name) const;
  /// The function it exports under that name, e.g. `module.function<int(int)>("triple")`: to be called here, and to be
  /// sent like any other.
  /// @tparam F its type, which nobody checks
  /// @throws Error when there is no such symbol.
  template <class F>
    requires std::is_function_v<F>
  F* function(const std::string& name) const {
    return reinterpret_cast<F*>(symbol(name));
  }

 private:
  friend LoadedModule load_module(const std::string& path, LoadModuleOptions options);
  LoadedModule() = default;

  std::string path_, build_id_;
  void* library_ = nullptr;  ///< dlopen's
};

/// Loads a shared library into this process, so that its functions can be called here and sent: a call that names code
/// of a module which its callee lacks brings the module there first, once. Libraries that were loaded with dlopen
/// travel as well, as if without `global`; what this function adds is the early look at what would make them fail to.
/// Constructors of its static objects run here, in this thread, and once on each process it comes to; one that throws
/// ends the process. Loading it again gives the same module. Needs no session. Any thread. Costs what dlopen does.
/// @param path of its file; without a slash, dlopen searches for it
/// @throws Error when there is no such file, it is not a shared library for this machine, has no build-id (link with
/// -Wl,--build-id), or something that it needs is missing (with the dynamic loader's text).
LoadedModule load_module(const std::string& path, LoadModuleOptions options = {});

}  // namespace muster
