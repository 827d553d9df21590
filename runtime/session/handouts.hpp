/// @file
/// Large arguments of a call to many processes: each gets them once, from one that has them already.
///
/// Who hands out gives them to a first process, then both give them to one more each, and so on: a tree whose edges
/// carry them once, and in which nobody sends more than a few times. It says who gives to whom, so a process that dies
/// leaves nobody without: whom it was to serve gets them from who hands out. The calls themselves, which are small,
/// travel as all calls do: in order, run once, and failing each for itself.
#pragma once

#include "runtime/calls/calls.hpp"
#include "runtime/cluster/cluster.hpp"

#include <muster/detail/kept_function.hpp>

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace muster::runtime {

/// Those kept in this process, for calls to it and to be handed on. Any thread.
class Handouts {
 public:
  void keep(detail::KeptId id, std::shared_ptr<const detail::Payload> arguments);
  /// Null where there are none.
  std::shared_ptr<const detail::Payload> find(detail::KeptId id) const;
  /// They are not needed any more, also where they are still to come.
  void drop(detail::KeptId id);
  /// Nobody will use what that process handed out.
  void process_gone(Pid pid);
  std::size_t size() const;

  /// Calls that the receiving thread runs itself, though all slots of its process are taken: they do not block.
  static std::vector<detail::Thunk> quick_calls();

 private:
  static constexpr std::size_t most_dropped = 1024;

  mutable std::mutex mutex_;  ///< guards both
  std::unordered_map<detail::KeptId, std::shared_ptr<const detail::Payload>> kept_;
  std::deque<detail::KeptId> dropped_;  ///< the last ones, of which one may still arrive
};

/// One handing out, from its process. One thread at a time.
class Handout {
 public:
  using Served = std::function<void(Pid)>;
  using Failed = std::function<void(Pid, const std::exception_ptr&)>;
  /// Who has not been served by another after so long is served by who hands out.
  static constexpr auto patience = std::chrono::milliseconds(100);

  /// @param arguments without handles; all their parts owned
  /// @param tell called by any thread when there is something to take in
  Handout(Calls& calls, const detail::Payload& arguments, std::function<void()> tell = {});
  /// Frees them everywhere.
  ~Handout();
  Handout(const Handout&) = delete;
  Handout& operator=(const Handout&) = delete;

  /// Those who are called directly (sorted): of this host each copy costs the same processors, and the memory of the
  /// links from here is warm. (A test may want it otherwise.)
  static std::vector<Pid> served_directly(const Cluster& cluster, Pid self);
  /// Each of those once, but for the process itself and those in `but` (sorted).
  static std::vector<Pid> others_in(const std::vector<Pid>& pids, Pid self, const std::vector<Pid>& but);
  /// Whether there are several processes, which may talk to each other.
  static bool enough(const Cluster& cluster, std::size_t processes);
  /// Whether it is worth it: enough of them, and large arguments.
  static bool pays(const Cluster& cluster, const detail::Payload& arguments, std::size_t processes);

  /// Gives them to all of those (none of them this process, none twice). Returns when each was served or has failed.
  /// @param served called for each that has them, as soon as it does
  /// @param failed called for each other one, with what a call to it would have thrown
  /// @throws where the calling task must stop
  void give(const std::vector<Pid>& to, Served served, Failed failed);

  // The same without waiting.
  void begin(const std::vector<Pid>& to, Served served, Failed failed);
  /// What ended, and what follows from it. @returns whether each was served or has failed
  bool take_in();
  /// To be called where nothing came for `patience`.
  void help_late_ones();

  /// Starts a call with them there, where they are.
  detail::CorePointer call(Pid pid, detail::Thunk thunk);

 private:
  /// Under way from one to another.
  struct Transfer {
    Pid from = 0, to = 0;
    Clock::time_point begun;
    detail::CorePointer core;
  };
  /// What ended, told by any thread.
  struct Ended {
    std::mutex mutex;  ///< guards both
    std::vector<std::uint64_t> transfers;
    detail::CorePointer event;
    std::function<void()> tell;  ///< never changes
  };

  void assign();
  void start(Pid from, Pid to);
  void wait();
  void conclude(const Transfer& transfer);
  void conclude_failed(const Transfer& transfer, const std::exception_ptr& failure);

  Calls& calls_;
  const std::shared_ptr<detail::Anchor> anchor_;  ///< of the session, which may end before this
  const detail::KeptId id_;
  const std::shared_ptr<const detail::Payload> arguments_;
  std::vector<Pid> given_to_;  ///< or tried
  const std::shared_ptr<Ended> ended_ = std::make_shared<Ended>();

  // While it gives:
  Served served_;
  Failed failed_;
  std::deque<Pid> to_serve_;  ///< by anybody
  std::deque<Pid> by_us_;     ///< where another failed, or is late
  std::deque<Pid> idle_;      ///< they have them, and give them to nobody just now
  bool we_are_idle_ = true;
  std::unordered_set<Pid> done_;
  std::map<std::uint64_t, Transfer> under_way_;
  std::uint64_t last_transfer_ = 0;
};

}  // namespace muster::runtime
