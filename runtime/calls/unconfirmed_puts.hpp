/// @file
/// Puts of this process that were sent without a question: which of them their owners may not have seen yet.
#pragma once

#include <muster/ids.hpp>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

namespace muster::runtime {

/// What an item in a place of its own is put for, a third process may look for: it must not hear of the put from us
/// before the channel's owner has. To the owner itself all goes one way, in order.
/// Threads: every function from any.
class UnconfirmedPuts {
 public:
  /// So much was sent to that owner; the last of it to that channel.
  struct Mark {
    Pid owner = 0;
    RemoteRefId channel;
    std::uint64_t sent = 0;
  };

  /// An item has left for that channel.
  void sent(Pid owner, const RemoteRefId& channel);
  /// Whether another process than that one may lack something.
  bool elsewhere(Pid receiver) const {
    const Pid only = only_.load(std::memory_order_acquire);
    return only != nobody && only != receiver;
  }
  /// What others than that process may lack.
  std::vector<Mark> marks_elsewhere(Pid receiver) const;
  /// All that was sent to that process until now. sent 0: nothing
  Mark mark(Pid owner) const;
  /// It has all up to that.
  void confirmed(const Mark& mark);
  /// It is gone, and its channels are.
  void forget(Pid owner);

 private:
  void settle_only();

  static constexpr Pid nobody = 0, several = -1;

  mutable std::mutex mutex_;  ///< guards marks_; only_ changes under it
  std::vector<Mark> marks_;   ///< of whom something is not confirmed
  std::uint64_t last_ = 0;
  std::atomic<Pid> only_{nobody};  ///< whom marks_ is about
};

}  // namespace muster::runtime
