/// @file
/// Worker pools at their owner: who is free, who waits.
#pragma once

#include "runtime/exec/executor.hpp"
#include "runtime/session/changes.hpp"

#include <muster/worker_pool.hpp>

#include <algorithm>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

namespace muster::runtime {
class WorkerPools;
}

namespace muster::detail {

/// On whose behalf a process was taken. The number tells loans to one process apart; 0 for one that is never forgone.
struct Borrower {
  Pid pid = 0;
  std::uint64_t loan = 0;
  friend bool operator==(const Borrower&, const Borrower&) = default;
};

/// One pool. Any thread.
class PoolState {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// @param members in order; none for the default pool, whose members are the workers
  PoolState(std::uint64_t number, const std::vector<Pid>& members, bool is_default);
  PoolState(const PoolState&) = delete;
  PoolState& operator=(const PoolState&) = delete;

  std::uint64_t number() const { return number_; }
  Pid take(Borrower borrower, std::optional<Time> deadline);
  /// Takes back what was lent to that borrower, who gave up before it heard of it. A take of it that still waits must
  /// have been cancelled before.
  void forgo(Borrower borrower);
  void wait(std::optional<Time> deadline);
  void put(Pid pid);
  void push(Pid pid);
  bool isready();
  std::vector<Pid> workers();
  /// Members came or went.
  void members_changed();

 private:
  /// A caller that waits: for a process to take, or just for one to be free.
  struct Waiter {
    runtime::Wakeup* wakeup;
    Borrower borrower;
    bool takes;
    Pid given = 0;
  };

  Pid wait_for_one(Borrower borrower, bool takes, std::optional<Time> deadline);
  bool available();
  Pid lend(Borrower borrower);
  void take_back(Pid pid, Borrower borrower);
  void refresh();
  void serve();

  const std::uint64_t number_;
  const bool is_default_;
  std::mutex mutex_;  ///< guards everything below
  std::vector<Pid> members_;
  std::deque<Pid> free_;
  std::unordered_map<Pid, Borrower> lent_;  ///< by member
  std::list<Waiter*> waiters_;              ///< oldest first
};

/// Asks for the members of a pool, in the background.
CorePointer ask_pool_members(const WorkerPool& pool);

}  // namespace muster::detail

namespace muster::runtime {

/// The pools that live in this process. Any thread.
class WorkerPools {
 public:
  std::shared_ptr<detail::PoolState> make(const std::vector<Pid>& members);
  /// Keeps it until the end of the session.
  void pin(const std::shared_ptr<detail::PoolState>& pool);
  /// Number 0, at the master only: the default pool. @throws Error where there is none of that number
  std::shared_ptr<detail::PoolState> find(std::uint64_t number);
  void members_changed();

 private:
  std::mutex mutex_;  ///< guards both
  std::unordered_map<std::uint64_t, std::weak_ptr<detail::PoolState>> pools_;
  std::vector<std::shared_ptr<detail::PoolState>> pinned_;
};

}  // namespace muster::runtime
