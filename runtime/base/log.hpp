/// @file
/// The front of the log: a few levels, one line each, to stderr. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace muster::runtime::log {

enum class Level { trace, debug, info, warning, error, off };

/// Level from its name as `--muster-log` takes it.
/// @throws std::invalid_argument for an unknown name, listing the known ones.
Level level_named(std::string_view name);

/// Lines below this level are dropped. `info` unless told.
void set_level(Level level);
/// Whether a line of that level would be written; ask before composing an expensive one.
bool enabled(Level level);
/// Said at the start of each line: which process this is.
void set_process(int pid);

void write(Level level, const std::string& text);
inline void debug(const std::string& text) {
  if (enabled(Level::debug)) write(Level::debug, text);
}
inline void info(const std::string& text) { write(Level::info, text); }
inline void warning(const std::string& text) { write(Level::warning, text); }
inline void error(const std::string& text) { write(Level::error, text); }

}  // namespace muster::runtime::log
