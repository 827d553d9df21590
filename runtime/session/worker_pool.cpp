#include "runtime/base/deadline.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/random.hpp"
#include "runtime/session/process.hpp"
#include "runtime/session/worker_pools.hpp"

#include <muster/detail/local_event.hpp>
#include <muster/worker_pool.hpp>

#include <algorithm>
#include <span>

namespace muster {

namespace detail {

using runtime::current_process;

namespace {

bool contains(const std::vector<Pid>& pids, Pid pid) { return std::find(pids.begin(), pids.end(), pid) != pids.end(); }

[[noreturn]] void throw_no_worker() {
  throw Error(
      "No active worker available in pool: every process in it has ended or was removed. Add one with push, or make a "
      "new "
      "pool.");
}

}  // namespace

PoolState::PoolState(std::uint64_t number, const std::vector<Pid>& members, bool is_default)
    : number_(number), is_default_(is_default) {
  for (const Pid pid : members)
    if (!contains(members_, pid)) members_.push_back(pid);
  free_.assign(members_.begin(), members_.end());
}

/// Drops members that are gone or leave, takes in new workers (default pool), and takes back what the dead had
/// borrowed.
void PoolState::refresh() {
  const auto procs = current_process().cluster().procs_staying();
  const auto gone = [&](Pid pid) { return !std::binary_search(procs.begin(), procs.end(), pid); };
  std::erase_if(members_, gone);
  std::erase_if(free_, gone);
  for (auto loan = lent_.begin(); loan != lent_.end();) {
    const auto [member, borrower] = *loan;
    if (!gone(member) && !gone(borrower.pid)) {
      ++loan;
      continue;
    }
    if (!gone(member)) free_.push_back(member);
    loan = lent_.erase(loan);
  }
  if (!is_default_) return;
  std::vector<Pid> known = members_;
  std::sort(known.begin(), known.end());
  for (const Pid pid : procs) {
    if (pid == 1 || std::binary_search(known.begin(), known.end(), pid)) continue;
    members_.push_back(pid);
    free_.push_back(pid);
  }
}

bool PoolState::available() {
  if (members_.empty() && !is_default_) throw_no_worker();
  return !free_.empty() || members_.empty();
}

Pid PoolState::lend(Borrower borrower) {
  if (members_.empty()) return 1;  // the default pool without workers
  const Pid pid = free_.front();
  free_.pop_front();
  lent_[pid] = borrower;
  return pid;
}

void PoolState::take_back(Pid pid, Borrower borrower) {
  const auto found = lent_.find(pid);
  if (found == lent_.end() || found->second != borrower) return;  // it was forgone meanwhile
  lent_.erase(found);
  free_.push_front(pid);
  serve();
}

/// Serves those that wait, oldest first; all of them where no member is left.
void PoolState::serve() {
  const bool hopeless = members_.empty();
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    Waiter& waiter = **it;
    if (!hopeless) {
      if (free_.empty()) return;
      waiter.given = waiter.takes ? lend(waiter.borrower) : free_.front();
    }
    it = waiters_.erase(it);
    waiter.wakeup->wake();
  }
}

Pid PoolState::wait_for_one(Borrower borrower, bool takes, std::optional<Time> deadline) {
  auto& executor = current_process().executor();
  deadline = runtime::earlier(deadline, runtime::current_deadline());
  for (;;) {
    runtime::Wakeup wakeup(executor);
    Waiter self{&wakeup, borrower, takes};
    {
      const std::lock_guard lock(mutex_);
      check_stop();  // nothing is lent to who was cancelled: see forgo
      refresh();
      serve();  // what the dead had borrowed goes to those that waited before
      if (available()) return takes ? lend(borrower) : 1;
      waiters_.push_back(&self);
    }
    // Who gives up says so at once, though its slot may be another's for long.
    std::optional<runtime::Executor::WithoutSlot> waiting(std::in_place, executor);
    const auto woken = executor.block(wakeup, deadline);
    {
      const std::lock_guard lock(mutex_);
      waiters_.remove(&self);
      if (woken != runtime::Executor::Woken::event && takes) take_back(std::exchange(self.given, 0), borrower);
    }
    {
      const runtime::StopAction stopping(takes ? runtime::current_task() : nullptr, [&] {
        const std::lock_guard lock(mutex_);
        take_back(std::exchange(self.given, 0), borrower);
      });
      waiting.reset();
    }
    check_stop();
    if (woken == runtime::Executor::Woken::event) {
      if (self.given != 0) return self.given;
      continue;  // nobody is left
    }
    if (executor.stopped()) throw NoSession("The session ended while a worker of a pool was waited for");
    throw TimeoutError("No worker of the pool became free in time");
  }
}

Pid PoolState::take(Borrower borrower, std::optional<Time> deadline) { return wait_for_one(borrower, true, deadline); }

void PoolState::forgo(Borrower borrower) {
  const std::lock_guard lock(mutex_);
  const auto loan = std::find_if(lent_.begin(), lent_.end(), [&](const auto& lent) { return lent.second == borrower; });
  if (loan == lent_.end()) return;
  const Pid pid = loan->first;
  take_back(pid, borrower);
}

void PoolState::wait(std::optional<Time> deadline) { (void)wait_for_one({}, false, deadline); }

void PoolState::put(Pid pid) {
  const std::lock_guard lock(mutex_);
  refresh();
  if (!contains(members_, pid) || std::find(free_.begin(), free_.end(), pid) != free_.end()) return;
  lent_.erase(pid);
  free_.push_back(pid);
  serve();
}

void PoolState::push(Pid pid) {
  const std::lock_guard lock(mutex_);
  refresh();
  if (contains(members_, pid)) return;
  members_.push_back(pid);
  free_.push_back(pid);
  refresh();
  serve();
}

bool PoolState::isready() {
  const std::lock_guard lock(mutex_);
  refresh();
  return !free_.empty() || (is_default_ && members_.empty());
}

std::vector<Pid> PoolState::workers() {
  const std::lock_guard lock(mutex_);
  refresh();
  if (!is_default_) return members_;
  if (members_.empty()) return {1};
  auto all = members_;  // in the order they came in
  std::sort(all.begin(), all.end());
  return all;
}

void PoolState::members_changed() {
  const std::lock_guard lock(mutex_);
  refresh();
  serve();
}

}  // namespace detail

namespace runtime {

using detail::PoolState;

std::shared_ptr<PoolState> WorkerPools::make(const std::vector<Pid>& members) {
  // A random number: a handle that outlives its session does not name another pool in the next.
  std::uint64_t number = 0;
  random_bytes(std::as_writable_bytes(std::span(&number, 1)));
  auto pool = std::make_shared<PoolState>(number, members, false);
  const std::lock_guard lock(mutex_);
  std::erase_if(pools_, [](const auto& entry) { return entry.second.expired(); });
  pools_.emplace(number, pool);
  return pool;
}

void WorkerPools::pin(const std::shared_ptr<PoolState>& pool) {
  const std::lock_guard lock(mutex_);
  if (std::find(pinned_.begin(), pinned_.end(), pool) == pinned_.end()) pinned_.push_back(pool);
}

std::shared_ptr<PoolState> WorkerPools::find(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  if (const auto found = pools_.find(number); found != pools_.end())
    if (auto pool = found->second.lock()) return pool;
  if (number != 0) {
    throw Error(
        "The pool that this handle names is gone: the process that made it dropped its last handle before another one "
        "arrived, or the handle is of another session.");
  }
  auto pool = std::make_shared<PoolState>(0, std::vector<Pid>{}, true);
  pools_[0] = pool;
  pinned_.push_back(pool);
  return pool;
}

void WorkerPools::members_changed() {
  std::vector<std::shared_ptr<PoolState>> pools;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [number, pool] : pools_)
      if (auto living = pool.lock()) pools.push_back(std::move(living));
  }
  for (const auto& pool : pools) pool->members_changed();
}

}  // namespace runtime

// -- handles ----------------------------------------------------------------------------------------------------------

namespace {

using runtime::current_process;

/// What is asked of a pool's owner by other processes.
struct PoolRequests {
  static constexpr std::chrono::nanoseconds no_limit{-1};

  static std::optional<runtime::Clock::time_point> deadline_of(std::chrono::nanoseconds timeout) {
    if (timeout == no_limit) return std::nullopt;
    return runtime::deadline_after(timeout);
  }
  static std::shared_ptr<detail::PoolState> find(std::uint64_t number) {
    return current_process().pools().find(number);
  }

  static Pid take(std::uint64_t number, Pid borrower, std::uint64_t loan, std::chrono::nanoseconds timeout) {
    return find(number)->take({borrower, loan}, deadline_of(timeout));
  }
  static void forgo(std::uint64_t number, Pid borrower, std::uint64_t loan) { find(number)->forgo({borrower, loan}); }
  static void wait(std::uint64_t number, std::chrono::nanoseconds timeout) { find(number)->wait(deadline_of(timeout)); }
  static void put(std::uint64_t number, Pid pid) { find(number)->put(pid); }
  static void push(std::uint64_t number, Pid pid) {
    find(number)->push(pid);
    current_process().changes().tell();
  }
  static bool isready(std::uint64_t number) { return find(number)->isready(); }
  static std::vector<Pid> workers(std::uint64_t number) { return find(number)->workers(); }
};

/// An owner that does not speak at all is waited for this much longer than it was given.
constexpr auto owners_grace = std::chrono::milliseconds(250);

/// Waits for what the pool's owner was asked to do within `timeout`.
void wait_for_owner(const detail::CorePointer& core, std::chrono::nanoseconds timeout) {
  detail::Timeout limit;
  if (timeout != PoolRequests::no_limit)
    limit = std::min(timeout, std::chrono::nanoseconds::max() - owners_grace) + owners_grace;
  detail::require_value(core, limit);
}

/// Calls a request at the pool's owner. Where this task must stop meanwhile, so must the request.
template <class Request, class... A>
auto ask(detail::PoolName pool, std::chrono::nanoseconds timeout, Request request, const A&... arguments) {
  using R = std::invoke_result_t<Request, std::uint64_t, A...>;
  const auto core = detail::start(pool.owner, detail::Returns::value, request, pool.number, arguments...);
  try {
    wait_for_owner(core, timeout);
  } catch (...) {
    if (!core->settled(true)) (void)detail::cancel(core);
    throw;
  }
  if constexpr (!std::is_void_v<R>) return detail::take_value<R>(core);
}

/// As ask, but a pool of this process is asked directly.
template <class Request, class... A>
auto ask_wherever(const WorkerPool& pool, Request request, const A&... arguments) {
  if (pool.name().owner == current_process().pid()) return request(pool.name().number, arguments...);
  return ask(pool.name(), PoolRequests::no_limit, request, arguments...);
}

/// Sends a request to the pool's owner without waiting for it to be done, whatever the state of this task.
template <class Request, class... A>
void tell(detail::PoolName pool, Request request, const A&... arguments) {
  const runtime::TaskScope scope(nullptr, false);
  (void)detail::start(pool.owner, detail::Returns::nothing, request, pool.number, arguments...);
}

/// Whoever gives up may have been lent a process, which it did not hear of: that goes back.
Pid take_from(const WorkerPool& pool, std::chrono::nanoseconds timeout) {
  auto& process = current_process();
  const auto [owner, number] = pool.name();
  if (owner == process.pid()) return PoolRequests::take(number, owner, 0, timeout);
  const std::uint64_t loan = process.calls().next_number();
  const auto core =
      detail::start(owner, detail::Returns::value, &PoolRequests::take, number, process.pid(), loan, timeout);
  try {
    wait_for_owner(core, timeout);
    detail::check_stop();
    return detail::take_value<Pid>(core);
  } catch (...) {
    const bool settled = core->settled(true);
    if (settled && core->state() == detail::FutureCore::State::failed) throw;
    if (!settled) (void)detail::cancel(core);
    try {
      tell(pool.name(), &PoolRequests::forgo, process.pid(), loan);
    } catch (const std::exception& error) {
      runtime::log::debug(std::string("A pool's owner can't be told of a take that was given up: ") + error.what());
    }
    throw;
  }
}

void check_timeout(std::chrono::nanoseconds& timeout) {
  if (timeout.count() < 0) timeout = std::chrono::nanoseconds(0);
}

}  // namespace

// NOLINTNEXTLINE(performance-unnecessary-value-param): the interface says so
WorkerPool::WorkerPool(std::vector<Pid> pids) {
  auto& process = current_process();
  state_ = process.pools().make(pids);
  name_ = {process.pid(), state_->number()};
}

WorkerPool::WorkerPool(std::in_place_t, detail::PoolName name) : name_(name) {
  // The state is held by handles in its own process; the default pool is there anyway.
  if (name.number == 0) return;
  auto& process = current_process();
  if (process.pid() == name.owner) state_ = process.pools().find(name.number);
}

void WorkerPool::pin() const {
  if (state_) current_process().pools().pin(state_);
}

Pid WorkerPool::take() const { return take_from(*this, PoolRequests::no_limit); }

Pid WorkerPool::take(std::chrono::nanoseconds timeout) const {
  check_timeout(timeout);
  return take_from(*this, timeout);
}

void WorkerPool::put(Pid pid) const {
  const runtime::TaskScope scope(nullptr, false);  // also a task that must stop can give back what it took
  ask_wherever(*this, &PoolRequests::put, pid);
}

bool WorkerPool::isready() const { return ask_wherever(*this, &PoolRequests::isready); }

void WorkerPool::wait() const { ask_wherever(*this, &PoolRequests::wait, PoolRequests::no_limit); }

void WorkerPool::wait(std::chrono::nanoseconds timeout) const {
  check_timeout(timeout);
  if (name_.owner == current_process().pid())
    PoolRequests::wait(name_.number, timeout);
  else
    ask(name_, timeout, &PoolRequests::wait, timeout);
}

std::size_t WorkerPool::size() const { return workers().size(); }

std::vector<Pid> WorkerPool::workers() const { return ask_wherever(*this, &PoolRequests::workers); }

void WorkerPool::push(Pid pid) const { ask_wherever(*this, &PoolRequests::push, pid); }

CachingPool::CachingPool(std::vector<Pid> pids) : WorkerPool(std::move(pids)) {
  cache_ = detail::make_function_cache();
}

void CachingPool::clear() const { detail::clear_cache(*cache_); }

WorkerPool& default_worker_pool() {
  // A name and nothing else: it fits every session.
  static WorkerPool pool(std::in_place, detail::PoolName{1, 0});
  (void)current_process();
  return pool;
}

namespace detail {

namespace {

/// Gives a process back, whatever the state of the task that had it.
void give_back(const WorkerPool& pool, Pid pid) noexcept {
  try {
    auto& process = current_process();
    if (pool.name().owner == process.pid()) {
      process.pools().find(pool.name().number)->put(pid);
      return;
    }
    tell(pool.name(), &PoolRequests::put, pid);
  } catch (const std::exception& error) {
    runtime::log::debug("A process can't be given back to its pool: " + std::string(error.what()));
  }
}

}  // namespace

CorePointer ask_pool_members(const WorkerPool& pool) {
  return start(pool.name().owner, Returns::value, &PoolRequests::workers, pool.name().number);
}

Lent::~Lent() {
  if (pid_ != 0) give_back(pool_, pid_);
}

void Lent::until_settled(const CorePointer& core) {
  core->when_settled(false, [pool = pool_, pid = std::exchange(pid_, 0)] {
    if (runtime::current_process_or_null() == nullptr) return;
    if (pool.name().owner == current_process().pid())
      give_back(pool, pid);
    else
      run_here([pool, pid] { give_back(pool, pid); });  // sending may wait, and this thread must not
  });
}

}  // namespace detail

}  // namespace muster
