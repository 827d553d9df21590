/// @file
/// Bytes in, whole lines out.
#include "runtime/base/line_reader.hpp"

#include <algorithm>
#include <utility>

namespace muster::runtime {

LineReader::LineReader(std::size_t longest) : longest_(std::max<std::size_t>(longest, 1)) {}

void LineReader::add(std::string_view bytes, const Emit& emit) {
  while (!bytes.empty()) {
    // A piece is cut only when a byte beyond it is seen that is no newline: a line of exactly `longest_` bytes is
    // whole.
    const std::size_t room = longest_ - kept_.size();
    const std::size_t newline = bytes.substr(0, room + 1).find('\n');
    const bool complete = newline != std::string_view::npos || bytes.size() > room;
    const std::string_view text = bytes.substr(0, std::min(newline, room));
    bytes.remove_prefix(newline != std::string_view::npos ? newline + 1 : text.size());
    if (complete && kept_.empty()) {
      emit(text);
      continue;
    }
    kept_ += text;
    if (complete) emit(std::exchange(kept_, {}));
  }
}

void LineReader::end(const Emit& emit) {
  if (!kept_.empty()) emit(std::exchange(kept_, {}));
}

}  // namespace muster::runtime
