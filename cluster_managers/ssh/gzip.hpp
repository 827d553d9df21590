/// @file
/// Contents made smaller for the way to another host, in the format that its gzip reads.
#pragma once

#include <string>
#include <string_view>

namespace muster::runtime::ssh {

/// As `gzip -1` makes it: most of what programs can be shrunk by, at some 100 MB/s. @throws Error without memory
std::string gzipped(std::string_view contents);

}  // namespace muster::runtime::ssh
