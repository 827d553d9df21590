/// @file
/// Writing into files.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <system_error>

namespace muster::runtime {

/// Writes all of it into an open file, however many calls that takes.
/// @returns what kept it from that; nothing where all is written
std::error_code write_whole(int file, std::span<const std::byte> bytes);
/// The same, of text.
inline std::error_code write_whole(int file, std::string_view text) {
  return write_whole(file, std::as_bytes(std::span(text)));
}

}  // namespace muster::runtime
