/// @file
/// The one line of JSON that each result of a peer is.
#pragma once

#include <cstdio>
#include <string>

namespace bench {

/// One result; `more` is further JSON members.
inline void emit(const std::string& name, double median, const std::string& unit, const std::string& more = "") {
  std::printf("{\"name\": \"%s\", \"median\": %.9g, \"unit\": \"%s\"%s}\n", name.c_str(), median, unit.c_str(),
              more.c_str());
  std::fflush(stdout);
}

}  // namespace bench
