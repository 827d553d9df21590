#include "runtime/base/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <utility>

namespace muster::runtime {

namespace {

using namespace std::chrono_literals;

constexpr auto between_bars = 100ms;
constexpr auto between_lines = 10s;
constexpr std::size_t widest_bar = 40;

// Progress that can't be written is not worth failing for.
void write_to_stderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

template <class... Values>
std::string formatted(const char* format, Values... values) {
  char text[64];
  const int length = std::snprintf(text, sizeof text, format, values...);
  return {text, static_cast<std::size_t>(std::clamp(length, 0, static_cast<int>(sizeof text) - 1))};
}

// 0:07, 12:30, 1:02:03
std::string duration(double seconds) {
  const auto whole = static_cast<long long>(std::min(seconds, 3.6e9));
  const long long hours = whole / 3600, minutes = whole / 60 % 60, rest = whole % 60;
  return hours > 0 ? formatted("%lld:%02lld:%02lld", hours, minutes, rest) : formatted("%lld:%02lld", minutes, rest);
}

// 312 B, 4.1 KiB, 70 MiB
std::string bytes(double count) {
  static constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; count >= 1024 && unit + 1 < std::size(units); ++unit) count /= 1024;
  return formatted(unit > 0 && count < 10 ? "%.1f %s" : "%.0f %s", count, units[unit]);
}

}  // namespace

ProgressOutput ProgressOutput::standard_error() {
  ProgressOutput output;
  output.write = write_to_stderr;
  output.terminal = ::isatty(STDERR_FILENO) == 1;
  winsize size{};
  if (output.terminal && ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    output.columns = size.ws_col;
  return output;
}

ProgressReport::ProgressReport(std::string label, std::optional<std::size_t> total, ProgressOutput output,
                               ProgressUnit unit)
    : label_(std::move(label)),
      total_(total),
      output_(std::move(output)),
      unit_(unit),
      start_(output_.now()),
      drawn_(start_) {}

ProgressReport::~ProgressReport() { finish(); }

void ProgressReport::advance(std::size_t n) {
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  done_ += n;
  const Time now = output_.now();
  if (output_.terminal ? now - drawn_ >= between_bars : now - drawn_ >= between_lines) draw(now);
}

void ProgressReport::finish() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(finished_, true)) return;
  const Time now = output_.now();
  if (output_.terminal) {
    output_.write(bar(now) + "\n");
  } else if (now - start_ >= between_lines) {
    output_.write(line(now) + "\n");
  }
}

void ProgressReport::draw(Time now) {
  drawn_ = now;
  output_.write(output_.terminal ? bar(now) : line(now) + "\n");
}

double ProgressReport::seconds(Time now) const { return std::chrono::duration<double>(now - start_).count(); }

std::string ProgressReport::count() const {
  if (unit_ == ProgressUnit::bytes) {
    const auto done = static_cast<double>(done_);
    return total_ ? bytes(done) + " of " + bytes(static_cast<double>(*total_)) : bytes(done);
  }
  return total_ ? std::to_string(done_) + "/" + std::to_string(*total_) : std::to_string(done_);
}

std::string ProgressReport::rate(Time now) const {
  const double elapsed = seconds(now);
  const double rate = elapsed > 0 ? static_cast<double>(done_) / elapsed : 0;
  if (unit_ == ProgressUnit::bytes) return bytes(rate) + "/s";
  return formatted(rate >= 100 ? "%.0f/s" : "%.3g/s", rate);
}

// Remaining time while there is something to go by, at the end the time it took.
std::string ProgressReport::remaining(Time now) const {
  if (finished_) return "in " + duration(seconds(now));
  if (!total_ || done_ == 0 || done_ >= *total_) return duration(seconds(now)) + " so far";
  const double each = seconds(now) / static_cast<double>(done_);
  return duration(std::ceil(each * static_cast<double>(*total_ - done_))) + " left";
}

std::string ProgressReport::line(Time now) const {
  std::string text = label_.empty() ? "" : label_ + ": ";
  text += count();
  if (total_ && *total_ > 0) {
    text += formatted(" (%d%%)", static_cast<int>(100.0 * static_cast<double>(done_) / static_cast<double>(*total_)));
  }
  return text + ", " + rate(now) + ", " + remaining(now);
}

// From the first column of the current line, clearing what a longer one left there; never as wide as the terminal, or
// it would wrap.
std::string ProgressReport::bar(Time now) const {
  std::string before = label_.empty() ? "" : label_ + " ", after = count() + " " + rate(now) + " " + remaining(now);
  if (total_ && *total_ > 0) {
    const double part = std::min(1.0, static_cast<double>(done_) / static_cast<double>(*total_));
    before += formatted("%3d%% ", static_cast<int>(100 * part));
    const std::size_t taken = before.size() + after.size() + 4;
    const std::size_t width = std::min(widest_bar, output_.columns > taken ? output_.columns - taken : 0);
    if (width >= 5) {
      const auto full = static_cast<std::size_t>(part * static_cast<double>(width));
      before += "[" + std::string(full, '=') + std::string(width - full, ' ') + "] ";
    }
  }
  std::string text = before + after;
  if (text.size() >= output_.columns && output_.columns > 0) text.resize(output_.columns - 1);
  return "\r" + text + "\x1b[K";
}

}  // namespace muster::runtime
