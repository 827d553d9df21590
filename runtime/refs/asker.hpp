/// @file
/// Who asked about a value or channel that lives here.
#pragma once

#include <muster/ids.hpp>

#include <compare>
#include <cstdint>

namespace muster::runtime {

/// Who asked, and the number of the question there.
struct Asker {
  Pid pid = 0;
  std::uint64_t number = 0;

  auto operator<=>(const Asker&) const = default;
};

}  // namespace muster::runtime
