/// @file
/// Functions kept at a process for the calls that use them, and how they get there.
#pragma once

#include "runtime/calls/calls.hpp"

#include <muster/detail/kept_function.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>

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

/// A function on its way from this process to others: to each once. Any thread.
class SentFunction : public std::enable_shared_from_this<SentFunction> {
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
  /// It did not arrive: it will be sent again.
  void lost(Pid pid, detail::KeptId id);

 private:
  const detail::Thunk keep_;
  const std::function<void(detail::Payload&, detail::KeptId)> write_;
  std::mutex mutex_;  ///< guards ids_; held while sending, so that no name is used before its function was sent
  std::unordered_map<Pid, detail::KeptId> ids_;
};

}  // namespace muster::runtime
