/// @file
/// Lists of texts over a socket: what the prompt and its compiler's process say to each other.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace muster::repl {

using Frame = std::vector<std::string>;

/// @returns false where the other side is gone
bool send_frame(int fd, const Frame& frame);
/// @returns nothing where the other side is gone
std::optional<Frame> receive_frame(int fd);

}  // namespace muster::repl
