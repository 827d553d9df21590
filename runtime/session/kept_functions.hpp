/// @file
/// Functions kept at a process for the calls that use them, and how they get there.
#pragma once

#include "runtime/calls/calls.hpp"

#include <muster/detail/kept_function.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace muster::runtime {

/// Those kept in this process for others. Any thread.
class KeptFunctions {
 public:
  void keep(detail::KeptId id, std::shared_ptr<const void> function);
  void fail(detail::KeptId id, const std::exception_ptr& failure);
  /// Waits until it is here. @throws its failure; as a blocking call does
  std::shared_ptr<const void> wait_for(detail::KeptId id);
  /// It is not needed any more. Who still waits for it fails.
  void release(detail::KeptId id);
  /// Nobody will use what that process sent.
  void process_gone(Pid pid);
  std::size_t size() const;

 private:
  /// Settled when the function is here, or will never be.
  struct Entry {
    std::shared_ptr<const void> function;
    detail::CorePointer arrival;  ///< where somebody waited before it came
    int waiting = 0;
  };
  void drop(detail::KeptId id, const std::exception_ptr& failure);

  mutable std::mutex mutex_;  ///< guards entries_
  std::unordered_map<detail::KeptId, Entry> entries_;
};

class BackgroundHandout;

/// A function on its way from this process to others: to each once. Any thread.
class SentFunction {
 public:
  /// @param write writes the function behind its name
  SentFunction(detail::Thunk keep, std::function<void(detail::Payload&, detail::KeptId)> write)
      : keep_(keep), write_(std::move(write)) {}
  SentFunction(const SentFunction&) = delete;
  SentFunction& operator=(const SentFunction&) = delete;
  /// Frees it everywhere.
  ~SentFunction();

  /// Its name at that process; sends it there before anything that is sent after this returns. @throws as start_call
  detail::KeptId at(Pid pid);

  /// Where it is large and many of those are on other hosts, they hand it on to each other, while the caller does
  /// something else.
  void hand_out(const std::vector<Pid>& to);
  /// Whether it is on its way to that process, or to any: at() would send it there a second time.
  bool on_its_way(Pid pid) const;
  bool on_its_way() const;
  /// Called by any thread, while somebody keeps it, when it is not on its way to some process any more.
  using Listener = std::function<void()>;
  void tell(const std::shared_ptr<Listener>& listener);

 private:
  /// Where it is. Also known to those who tell of its arrival, who may come later than the end of this.
  struct Places {
    mutable std::mutex mutex;  ///< guards the following; never held for long: the steward takes it
    std::unordered_map<Pid, detail::KeptId> ids;
    std::unordered_set<Pid> on_the_way;
    std::vector<std::weak_ptr<Listener>> listeners;

    std::optional<detail::KeptId> name_at(Pid pid) const;
    void settled(Pid pid);
  };
  static void follow(const std::shared_ptr<Places>& places, const detail::CorePointer& arrival, Pid pid,
                     detail::KeptId id);

  const detail::Thunk keep_;
  const std::function<void(detail::Payload&, detail::KeptId)> write_;
  const std::shared_ptr<Places> places_ = std::make_shared<Places>();
  std::mutex sending_;  ///< guards handouts_; held while sending, so that nothing is sent to one process twice
  std::vector<std::shared_ptr<BackgroundHandout>> handouts_;
};

}  // namespace muster::runtime
