/// @file
/// The small integers that stand for functions on one link.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace muster::runtime {

struct LinkCodes {
  std::mutex mutex;                                     ///< guards sent
  std::unordered_map<const void*, std::uint32_t> sent;  ///< numbers we gave
  struct Received {
    const void* address = nullptr;
    std::string missing;  ///< why there is none
    bool quick = false;   ///< see Calls::set_quick
  };
  std::vector<Received> received;  ///< by the peer's numbers; the receiving thread's alone
};

}  // namespace muster::runtime
