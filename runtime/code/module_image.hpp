/// @file
/// Modules as bytes: reading the file of one that is loaded here, and loading one that came from elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace muster::runtime {

/// A module, ready to be loaded by another process.
struct ModuleImage {
  std::string name;                   ///< of its file, for people
  bool global = false;                ///< its symbols serve the modules loaded after it
  std::vector<std::uint64_t> needs;   ///< ids of the global modules that were loaded before it
  std::span<const std::byte> bytes;   ///< its file
  std::shared_ptr<const void> owner;  ///< keeps them
};

/// Reads the file of a module that is loaded here.
/// @throws Error saying why it can't travel: not loaded here, came with the program, has no build-id, its file changed.
ModuleImage read_module(std::uint64_t id);

/// Writes what came from elsewhere to memory without a name, and loads it; at once where it is loaded already. Its
/// initializers run in this thread. Nothing is left behind when the process ends, however it does.
/// @throws Error with the dynamic loader's text
void load_image(std::uint64_t id, const ModuleImage& image);

}  // namespace muster::runtime
