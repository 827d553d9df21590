/// @file
/// The small integers that stand for functions on one link.
#pragma once

#include "runtime/code/code.hpp"

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace muster::runtime {

class CallJob;

/// A call that waits for code, or behind one that does: those of a link begin in the order in which they came.
struct HeldCall {
  std::shared_ptr<CallJob> job;
  const void* address = nullptr;  ///< its function; null: `reference` is still to be found
  CodeReference reference;
  std::vector<std::uint64_t> modules;  ///< which must be here, or known not to come, before it begins
};

struct LinkCodes {
  std::mutex mutex;                                     ///< guards sent
  std::unordered_map<const void*, std::uint32_t> sent;  ///< numbers we gave
  /// The entry of `sent` that was needed last, defined at the peer: programs call the same function many times.
  std::atomic<const std::pair<const void* const, std::uint32_t>*> recent{nullptr};
  struct Received {
    const void* address = nullptr;  ///< null: it was not here when last looked for
    CodeReference reference;
    bool quick = false;  ///< see Calls::set_quick
  };
  std::vector<Received> received;  ///< by the peer's numbers; the receiving thread's alone
  std::deque<HeldCall> held;       ///< guarded by the calls' held_mutex_
  std::atomic<bool> holds{false};  ///< whether there are such: looked at without the lock
};

}  // namespace muster::runtime
