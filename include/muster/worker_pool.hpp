/// @file
/// Pools of workers: who wants one takes it, and gives it back.
#pragma once

#include <muster/detail/kept_function.hpp>
#include <muster/spawn.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace muster {

namespace detail {

class PoolState;
class FunctionCache;

/// Where a pool lives, and its name there. Number 0 of process 1 is the default pool.
struct PoolName {
  Pid owner = 0;
  std::uint64_t number = 0;
  bool operator==(const PoolName&) const = default;
};

}  // namespace detail

/// Processes that are lent out one caller at a time, first free first lent. A handle: every copy, also one that was
/// sent to another process, is the same pool. It lives in the process that made it, as long as that keeps a handle, and
/// once a handle was sent anywhere until the end of the session there; operations elsewhere are calls to that process.
///
/// Members that have died are dropped by whatever is done next; by a pool of the master also those that were asked to
/// leave, as soon as they were. A member that was lent to a process that died is free again.
/// @par Thread safety
/// Every member from any thread.
/// @throws NoSession from every member; elsewhere than in the pool's process ProcessExitedException when that has died.
class WorkerPool {
 public:
  /// A pool of these processes, all free, in this order. Those that are not in the cluster are dropped.
  explicit WorkerPool(std::vector<Pid> pids);

  /// Takes the process that has been free for longest; waits while none is. Callers that wait are served in their
  /// order.
  /// @throws Error "No active worker available in pool" where no member lives, also when the last one dies meanwhile;
  /// TimeoutError
  Pid take() const;
  /// As take, for that long at most.
  Pid take(std::chrono::nanoseconds timeout) const;
  /// Gives a process back. One that is no member, or is free already, is ignored.
  void put(Pid pid) const;
  /// Whether take would return at once.
  bool isready() const;
  /// Waits until a member is free, without taking it. @throws as take
  void wait() const;
  /// As wait, for that long at most.
  void wait(std::chrono::nanoseconds timeout) const;
  /// How many members live, free or not. The default pool of a cluster without workers has one, process 1.
  std::size_t size() const;
  /// They, in the order in which they became members.
  std::vector<Pid> workers() const;
  /// Makes a process a member, free. One that is already is ignored.
  void push(Pid pid) const;

  /// Whether they are handles to the same pool.
  friend bool operator==(const WorkerPool& a, const WorkerPool& b) { return a.name_ == b.name_; }

  // -- for muster's own use -------------------------------------------------------------------------------------------
  /// (A second parameter, so that no list of pids is taken for a name.)
  WorkerPool(std::in_place_t, detail::PoolName name);
  /// Where it lives, and its number there.
  detail::PoolName name() const { return name_; }
  /// Its state, where it lives in this process; else null.
  const std::shared_ptr<detail::PoolState>& state() const { return state_; }
  /// Keeps the pool until the end of the session: a handle is about to be sent.
  void pin() const;
  /// Functions kept at its members; null but for a CachingPool.
  const std::shared_ptr<detail::FunctionCache>& function_cache() const { return cache_; }

 protected:
  std::shared_ptr<detail::FunctionCache> cache_;  ///< a CachingPool's

 private:
  detail::PoolName name_;
  std::shared_ptr<detail::PoolState> state_;
};

/// A pool that sends a function to each of its members once, for all calls and maps that use the pool: with the first
/// that needs it there. Functions are the same when their types and captured values are. They stay until clear, or
/// until the last copy of the pool is gone. (Functions that are plain bytes and small are not kept: they travel with
/// each call.)
///
/// It can't be sent to other processes.
class CachingPool : public WorkerPool {
 public:
  /// A pool of these processes, all free, in this order. Those that are not in the cluster are dropped.
  explicit CachingPool(std::vector<Pid> pids);
  /// Frees all functions kept at the members.
  void clear() const;
};

/// All workers, as they come and go; without workers it gives 1. It lives in process 1; the same object at each call.
WorkerPool& default_worker_pool();

namespace detail {

template <>
struct Codec<WorkerPool> {
  using Elements = TypeList<>;
  static constexpr std::size_t least_bytes = sizeof(Pid) + sizeof(std::uint64_t);
  static void save(OutputArchive& archive, const WorkerPool& pool) {
    pool.pin();
    archive.write_number(pool.name().owner);
    archive.write_number(pool.name().number);
  }
  static WorkerPool make(InputArchive& archive) {
    PoolName name;
    archive.read_number(name.owner);
    archive.read_number(name.number);
    return {std::in_place, name};
  }
};

/// A process taken from a pool, which is given back at the end of the scope.
class Lent {
 public:
  explicit Lent(const WorkerPool& pool) : pool_(pool), pid_(pool.take()) {}
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;
  ~Lent();
  Pid pid() const { return pid_; }
  /// Gives it back when the call has ended, not at the end of the scope.
  void until_settled(const CorePointer& core);

 private:
  WorkerPool pool_;
  Pid pid_;
};

/// Starts a call on a process lent from a caching pool: its function stays there for the next one.
template <class F, class... A>
CorePointer start_with_kept(const CachingPool& pool, Pid pid, Returns returns, const F& f, A&&... arguments) {
  if constexpr (travels_along<F>) {
    return start(pid, returns, f, std::forward<A>(arguments)...);
  } else {
    check_call<F, A...>();
    Payload payload;
    OutputArchive archive(payload);
    write_kept_id(archive, keep_cached(*pool.function_cache(), pid, &keep<F>, encoded_function(f)));
    encode_arguments(arrivals_t<F, const A&...>{}, archive, arguments...);
    return start_call(pid, kept_thunk<F>(arrivals_t<F, A...>{}), std::move(payload), returns);
  }
}

template <class F, class... A>
CorePointer start_in(const WorkerPool& /*pool*/, Pid pid, Returns returns, const F& f, A&&... arguments) {
  return start(pid, returns, f, std::forward<A>(arguments)...);
}
template <class F, class... A>
CorePointer start_in(const CachingPool& pool, Pid pid, Returns returns, const F& f, A&&... arguments) {
  return start_with_kept(pool, pid, returns, f, std::forward<A>(arguments)...);
}

template <class Pool>
concept worker_pool = std::is_base_of_v<WorkerPool, Pool>;

}  // namespace detail

/// remotecall on a process of the pool, which is given back when the call has ended.
template <class F, detail::worker_pool Pool, class... A>
auto remotecall(F f, const Pool& pool, A&&... arguments) {
  detail::Lent lent(pool);
  Future<detail::call_result_t<F, A...>> future(
      detail::start_in(pool, lent.pid(), detail::Returns::small, f, std::forward<A>(arguments)...));
  lent.until_settled(future.core());
  detail::note_for_sync(future.core());
  return future;
}

/// remotecall_fetch on a process of the pool.
template <class F, detail::worker_pool Pool, class... A>
auto remotecall_fetch(F f, const Pool& pool, A&&... arguments) -> detail::call_result_t<F, A...> {
  const detail::Lent lent(pool);
  const auto core = detail::start_in(pool, lent.pid(), detail::Returns::value, f, std::forward<A>(arguments)...);
  detail::wait_or_cancel(core, [&] { detail::require_value(core, {}); });
  if constexpr (!std::is_void_v<detail::call_result_t<F, A...>>)
    return detail::take_value<detail::call_result_t<F, A...>>(core);
}

/// remotecall_wait on a process of the pool.
template <class F, detail::worker_pool Pool, class... A>
auto remotecall_wait(F f, const Pool& pool, A&&... arguments) {
  const detail::Lent lent(pool);
  Future<detail::call_result_t<F, A...>> future(
      detail::start_in(pool, lent.pid(), detail::Returns::stays, f, std::forward<A>(arguments)...));
  detail::wait_or_cancel(future.core(), [&] { future.wait(); });
  return future;
}

/// remote_do on a process of the pool, which is given back at once: nobody hears of the end of the call.
template <class F, detail::worker_pool Pool, class... A>
void remote_do(F f, const Pool& pool, A&&... arguments) {
  const detail::Lent lent(pool);
  (void)detail::start_in(pool, lent.pid(), detail::Returns::nothing, f, std::forward<A>(arguments)...);
}

/// What `remote` makes. It travels wherever F does.
template <class F>
struct RemoteFunction {
  F function;  ///< what each call runs

  /// As remotecall_fetch(function, default_worker_pool(), arguments...).
  template <class... A>
  auto operator()(A&&... arguments) const -> detail::call_result_t<F, A...> {
    return remotecall_fetch(function, default_worker_pool(), std::forward<A>(arguments)...);
  }
};

/// A callable that runs f on a process of the default pool, as remotecall_fetch does, whenever it is called.
template <class F>
auto remote(F f) {
  detail::check_callable<F>();
  return RemoteFunction<F>{std::move(f)};
}

}  // namespace muster
