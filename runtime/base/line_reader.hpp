/// @file
/// Bytes in, whole lines out.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace muster::runtime {

/// Cuts a stream of bytes into lines. Holds at most one line of at most `longest` bytes. Not thread-safe.
class LineReader {
 public:
  /// Receives a line without its newline; a carriage return before it is kept. The text is valid during the call.
  using Emit = std::function<void(std::string_view line)>;

  /// @param longest bytes of the longest line, at least 1; a longer one is emitted in pieces of that many.
  explicit LineReader(std::size_t longest = std::size_t{64} * 1024);

  /// Emits each line that `bytes` complete, and keeps the rest. Linear in `bytes`.
  void add(std::string_view bytes, const Emit& emit);
  /// The stream has ended: emits what is kept, if anything. The reader is as new afterwards.
  void end(const Emit& emit);

 private:
  std::size_t longest_;
  std::string kept_;
};

}  // namespace muster::runtime
