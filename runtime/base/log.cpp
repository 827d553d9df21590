/// @file
/// The log, through spdlog: a sink of our own, because a line that several processes write to one terminal must leave
/// in one write.
#include "runtime/base/log.hpp"

#include <spdlog/details/log_msg.h>
#include <spdlog/details/os.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>

#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <mutex>
#include <stdexcept>

namespace muster::runtime::log {
namespace {

/// Level's names in its order, as the user types them.
constexpr std::array<std::string_view, 6> level_names = {"trace", "debug", "info", "warning", "error", "off"};

spdlog::level::level_enum spdlog_level(Level level) {
  switch (level) {
    case Level::trace: return spdlog::level::trace;
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warning: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
    case Level::off: break;
  }
  return spdlog::level::off;
}

/// Writes each message with one write(2) to stderr; base_sink's mutex keeps the rest of a partial write behind its
/// start.
class StderrSink final : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    const char* rest = line.data();
    std::size_t left = line.size();
    while (left > 0) {
      const ssize_t written = ::write(STDERR_FILENO, rest, left);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return;  // stderr is closed or full: there is nobody left to tell
      rest += written;
      left -= static_cast<std::size_t>(written);
    }
  }
  void flush_() override {}
};

std::string pattern(int process) {
  const std::string name = process > 0 ? "muster[" + std::to_string(process) + "]" : "muster";
  return name + " %H:%M:%S.%e %l: %v";
}

/// The process has one stderr, so there is one logger; it belongs to no session since it must also tell why there is
/// none.
spdlog::logger& logger() {
  static spdlog::logger instance = [] {
    spdlog::logger made("muster", std::make_shared<StderrSink>());
    made.set_pattern(pattern(0));
    made.set_level(spdlog::level::info);
    return made;
  }();
  return instance;
}

/// Further lines of one text are set off, so that each line that starts with `muster[` starts a message.
std::string indented(const std::string& text) {
  std::string result;
  result.reserve(text.size() + 64);
  const std::size_t end = text.find_last_not_of('\n') + 1;  // npos + 1 is 0: nothing but newlines
  for (std::size_t i = 0; i < end; ++i) {
    result += text[i];
    if (text[i] == '\n') result += "    ";
  }
  return result;
}

}  // namespace

Level level_named(std::string_view name) {
  for (std::size_t i = 0; i < level_names.size(); ++i) {
    if (level_names[i] == name) return static_cast<Level>(i);
  }
  throw std::invalid_argument("no log level \"" + std::string(name) +
                              "\"; there are trace, debug, info, warning, error and off");
}

void set_level(Level level) { logger().set_level(spdlog_level(level)); }

bool enabled(Level level) { return level != Level::off && logger().should_log(spdlog_level(level)); }

void set_process(int pid) { logger().set_pattern(pattern(pid)); }

void write(Level level, const std::string& text) {
  if (enabled(level)) logger().log(spdlog_level(level), spdlog::string_view_t(indented(text)));
}

}  // namespace muster::runtime::log
