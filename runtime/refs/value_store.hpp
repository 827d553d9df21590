/// @file
/// Values that live here on behalf of other processes, and who waits for them. A state machine without I/O: what is to
/// be said to whom comes out as answers. Not thread-safe.
#pragma once

#include "runtime/refs/asker.hpp"
#include "runtime/refs/ref_counts.hpp"

#include <muster/detail/payload.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

namespace muster::runtime {

class OwnedChannel;

/// A value or a failure, kept as it will be sent.
struct StoredResult {
  detail::Payload value;
  std::vector<std::byte> failure;  ///< encoded; empty: value counts
  bool failed = false;
};

/// A failure as a result, made where somebody asks for it: the end of a process concerns few values, and may be one of
/// hundreds.
using FailedResult = std::function<std::shared_ptr<const StoredResult>()>;

/// What a request about a reference wants. Numbers are part of the protocol.
enum class ReferenceOperation : std::uint32_t { fetch = 1, wait = 2, is_ready = 3, put = 4, cancel = 5, withdraw = 6 };

/// Something to be said to an asker.
struct Answer {
  enum class What : std::uint8_t {
    value,
    ready,
    yes,
    no,
    failure,
    already_set,
    gone,  ///< nobody holds it any more, as far as its owner knows: it will never come
  };
  Asker to;
  What what{};
  std::shared_ptr<const StoredResult> result;  ///< value, failure
};

class ValueStore {
 public:
  /// What nobody holds any more.
  struct Freed {
    std::vector<std::shared_ptr<const StoredResult>> results;
    std::vector<std::shared_ptr<OwnedChannel>> channels;
  };

  /// The result of a task that is to come: kept for `creator` and whoever gets a handle.
  void expect(RemoteRefId ref);
  /// The result of a task came. @param answers grows by those for whoever waited
  void store(RemoteRefId ref, std::shared_ptr<const StoredResult> result, std::vector<Answer>& answers);
  /// A request from a process. One for a reference not heard of makes its empty slot.
  /// @param task the reference names a task's result, which nobody will bring once its creator is dead
  void request(Asker asker, ReferenceOperation operation, RemoteRefId ref, std::shared_ptr<const StoredResult> put,
               std::vector<Answer>& answers, bool task = false);
  /// Another process got a handle of a task's result. @returns false when the task is not known here any more: its
  /// creator must fill the slot that was made.
  bool retain(RemoteRefId ref);

  /// A channel that its creator has the first handle of.
  void add_channel(RemoteRefId ref, std::shared_ptr<OwnedChannel> channel);
  /// Null where there is none of that name (any more).
  std::shared_ptr<OwnedChannel> channel(RemoteRefId ref) const;
  std::vector<std::shared_ptr<OwnedChannel>> channels() const;

  void apply(const RefNote& note);
  /// Nothing more comes from that process: a slot that only it could fill gets this failure.
  void creator_lost(Pid pid, const FailedResult& failure, std::vector<Answer>& answers);
  /// @param exited what waiters for a slot that only the dead could fill are told
  void process_died(Pid pid, const FailedResult& exited, std::vector<Answer>& answers);
  std::vector<RefQuestion> take_questions() { return counts_.take_questions(); }
  /// Forgets what nobody holds. @param answers for those who asked for it, and did not stay to hear
  /// @returns it, to be destroyed where the caller likes: handles in it release others
  [[nodiscard]] Freed collect(std::vector<Answer>& answers);

  std::size_t size() const { return slots_.size(); }
  bool contains(RemoteRefId ref) const { return slots_.contains(ref); }

 private:
  struct Waiting {
    Asker asker;
    bool wants_value;
  };
  struct Slot {
    std::shared_ptr<const StoredResult> result;
    std::shared_ptr<OwnedChannel> channel;  ///< a channel, which has no result
    bool task = false;                      ///< a task's: nobody may put
    bool expected = false;                  ///< a task that is here will fill it
    std::vector<Waiting> waiting;
  };

  Slot& slot(RemoteRefId ref);
  static void answer(const Slot& slot, Waiting waiting, std::vector<Answer>& answers);
  static void fill(Slot& slot, std::shared_ptr<const StoredResult> result, std::vector<Answer>& answers);

  RefCounts counts_;
  std::unordered_map<RemoteRefId, Slot> slots_;
  std::unordered_map<Pid, FailedResult> exits_;  ///< of the dead, for slots made after that
};

}  // namespace muster::runtime
