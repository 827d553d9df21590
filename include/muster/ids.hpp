/// @file
/// Names of processes and of values that live in them.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>

namespace muster {

/// Number of a process in the cluster. The master is 1; a number is never used twice.
using Pid = int;

/// Name of one remote value or channel, the same in every process: who made it, and its number there.
struct RemoteRefId {
  Pid creator = 0;           ///< process that made the reference
  std::uint64_t number = 0;  ///< counted by that process

  /// By creator, then by number.
  auto operator<=>(const RemoteRefId&) const = default;
};

/// Writes `creator:number`.
std::ostream& operator<<(std::ostream& out, const RemoteRefId& id);

}  // namespace muster

/// @cond
template <>
struct std::hash<muster::RemoteRefId> {
  std::size_t operator()(const muster::RemoteRefId& id) const noexcept {
    return std::hash<std::uint64_t>{}(id.number * 0x9e3779b97f4a7c15ULL + static_cast<std::uint64_t>(id.creator));
  }
};
/// @endcond
