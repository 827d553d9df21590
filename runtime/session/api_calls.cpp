// The public face of calls, futures and tasks, for the session's process.

#include "runtime/base/backtrace.hpp"
#include "runtime/base/deadline.hpp"
#include "runtime/base/failure.hpp"
#include "runtime/base/log.hpp"
#include "runtime/session/process.hpp"

#include <muster/spawn.hpp>

#include <deque>

namespace muster::detail {

namespace {

using runtime::current_process;

/// A call given to process 1 to be registered there: workers may call everywhere_always too.
struct AlwaysCall {
  Thunk thunk = nullptr;
  std::vector<std::byte> bytes;
  std::vector<std::vector<std::byte>> parts;
  std::vector<std::uint64_t> modules;  ///< that the bytes name, with the caller of them as who has them
  Pid caller = 0;
};

void always_on_master(const AlwaysCall& call) {
  Payload arguments;
  arguments.bytes.append(call.bytes.data(), call.bytes.size());
  for (const auto& part : call.parts) {
    const auto kept = std::make_shared<std::vector<std::byte>>(part);
    arguments.parts.push_back({kept->data(), kept->size(), kept});
  }
  for (const std::uint64_t module : call.modules)
    arguments.handles.push_back(std::make_shared<Handle>(HandleKind::module, RemoteRefId{0, module}, call.caller));
  auto& process = current_process();
  process.everywhere().always(process.calls(), process.cluster(), call.thunk, std::move(arguments));
}

AlwaysCall always_call(Thunk thunk, const Payload& arguments) {
  if (arguments.has_references())
    throw SerializationError(
        "muster: everywhere_always can't be given futures or channels by a worker. Call it on process 1.");
  AlwaysCall call;
  call.thunk = thunk;
  const auto bytes = arguments.bytes.bytes();
  call.bytes.assign(bytes.begin(), bytes.end());
  for (const Part& part : arguments.parts) call.parts.emplace_back(part.data, part.data + part.size);
  for (const auto& handle : arguments.handles) call.modules.push_back(handle->id().number);
  call.caller = current_process().pid();
  return call;
}

void always_through_master(const AlwaysCall& call) {
  try {
    remotecall_fetch(&always_on_master, 1, call);
  } catch (const RemoteException& error) {
    if (error.is<CompositeException>()) error.rethrow_cause();
    throw;
  }
}

thread_local SyncScope* innermost_sync = nullptr;

}  // namespace

/// Goes on once, by whichever comes first: the future, its task's stop, or the deadline; but not before all three are
/// watched.
class Suspension : public std::enable_shared_from_this<Suspension> {
 public:
  Suspension(std::shared_ptr<runtime::TaskState> task, std::function<void(std::shared_ptr<Suspension>)> go_on)
      : task_(std::move(task)), go_on_(std::move(go_on)) {}

  const std::shared_ptr<runtime::TaskState>& task() const { return task_; }

  void watch(const CorePointer& core) {
    const auto self = shared_from_this();
    if (const auto deadline = runtime::current_deadline())
      timer_ = current_process().steward().after(*deadline - runtime::Clock::now(), [self] { self->happened(); });
    if (task_) stop_watch_ = task_->on_stop([self] { self->happened(); });
    on_settled(core, true, [self] { self->happened(); });
    State watching = State::preparing;
    if (!state_.compare_exchange_strong(watching, State::watching)) go_on();
  }

  void happened() {
    if (state_.exchange(State::gone_on) == State::watching) go_on();
  }

  void end() {
    std::unique_lock gone(going_on_);
    gone.unlock();
    if (task_) task_->clear_on_stop(stop_watch_);
    if (timer_ == runtime::TimerId{}) return;
    if (runtime::Process* process = runtime::current_process_or_null()) process->steward().cancel(timer_);
  }

 private:
  enum class State { preparing, watching, gone_on };

  void go_on() {
    const std::lock_guard going(going_on_);
    const auto call = std::exchange(go_on_, nullptr);
    call(shared_from_this());
  }

  const std::shared_ptr<runtime::TaskState> task_;
  std::mutex going_on_;  ///< held while go_on_ is called and destroyed
  std::function<void(std::shared_ptr<Suspension>)> go_on_;
  runtime::TaskState::StopWatch stop_watch_ = 0;
  runtime::TimerId timer_{};
  std::atomic<State> state_{State::preparing};
};

namespace {

/// The rest of a coroutine task, until it awaits again or ends.
class CoroutineJob final : public runtime::Job {
 public:
  CoroutineJob(std::shared_ptr<Suspension> suspension, std::coroutine_handle<> coroutine,
               std::optional<runtime::Clock::time_point> scope_deadline)
      : suspension_(std::move(suspension)), coroutine_(coroutine), scope_deadline_(scope_deadline) {}

  void run() noexcept override {
    const runtime::BacktraceScope backtraces;
    suspension_->end();
    (void)runtime::exchange_scope_deadline(
        scope_deadline_);  // a DeadlineScope of the coroutine goes where the coroutine goes
    coroutine_.resume();
  }
  runtime::TaskState* task() override { return suspension_->task().get(); }

 private:
  std::shared_ptr<Suspension> suspension_;
  std::coroutine_handle<> coroutine_;
  std::optional<runtime::Clock::time_point> scope_deadline_;
};

void check_is_pid(Pid pid) {
  if (pid <= 0) throw std::invalid_argument("muster: there is no process " + std::to_string(pid));
}

/// No sync of this thread collects what is started in it.
class OutsideSync {
 public:
  OutsideSync() : sync_(std::exchange(innermost_sync, nullptr)) {}
  ~OutsideSync() { innermost_sync = sync_; }
  OutsideSync(const OutsideSync&) = delete;
  OutsideSync& operator=(const OutsideSync&) = delete;

 private:
  SyncScope* sync_;
};

}  // namespace

// -- calls ------------------------------------------------------------------------------------------------------------

CorePointer start_call(Pid pid, Thunk thunk, Payload&& arguments, Returns returns) {
  if (pid != any_process) check_is_pid(pid);
  auto& calls = current_process().calls();
  const auto handles = arguments.handles;
  auto core = calls.start(pid, thunk, std::move(arguments), returns);
  calls.sent_once(handles);
  return core;
}

Payload fetch_call(Pid pid, Thunk thunk, Payload&& arguments) {
  check_is_pid(pid);
  return current_process().calls().fetch(pid, thunk, std::move(arguments));
}

void throw_loss_of(Pid pid) { current_process().calls().throw_loss_of(pid); }

void call_everywhere(const std::vector<Pid>& pids, Thunk thunk, Payload&& arguments) {
  auto& process = current_process();
  process.everywhere().call(process.calls(), process.cluster(), pids, thunk, std::move(arguments));
}

void call_everywhere_always(Thunk thunk, Payload&& arguments) {
  auto& process = current_process();
  if (process.is_master())
    process.everywhere().always(process.calls(), process.cluster(), thunk, std::move(arguments));
  else
    always_through_master(always_call(thunk, arguments));
}

Payload call_here(Thunk thunk, Payload&& arguments) {
  this_task::check();           // as a call to another process, it does not outlast its deadline
  const OutsideSync elsewhere;  // what it starts is its own, as on any other process
  return current_process().calls().call_here(thunk, std::move(arguments));
}

bool is_here(Pid pid) { return current_process().pid() == pid; }

// -- futures ----------------------------------------------------------------------------------------------------------

CorePointer make_promise(Pid where) {
  auto& calls = current_process().calls();
  if (where == any_process) return calls.make_promise(calls.self());
  check_is_pid(where);
  return calls.make_promise(where);
}

CorePointer make_local_core() {
  auto& calls = current_process().calls();
  auto core = calls.make_core(calls.self(), FutureCore::State::pending);
  core->task = true;
  return core;
}

CorePointer make_settled_core(RemoteRefId id, Pid owner, Payload&& value) {
  auto core = std::make_shared<FutureCore>(current_process().calls().anchor(), id, owner, FutureCore::State::elsewhere);
  core->set_value(std::move(value));
  return core;
}

CorePointer make_failed_core(RemoteRefId id, Pid owner, std::vector<std::byte> encoded_failure) {
  auto core = std::make_shared<FutureCore>(current_process().calls().anchor(), id, owner, FutureCore::State::elsewhere);
  auto failure = runtime::decode_failure(encoded_failure);
  core->set_failure(std::move(encoded_failure), std::move(failure));
  return core;
}

void run_here(std::function<void()> f) {
  class FunctionJob final : public runtime::Job,
                            public runtime::TaskState,
                            public std::enable_shared_from_this<FunctionJob> {
   public:
    explicit FunctionJob(std::function<void()> function) : f_(std::move(function)) {}
    std::shared_ptr<runtime::TaskState> shared_state() override { return shared_from_this(); }
    void run() noexcept override {
      const runtime::BacktraceScope backtraces;
      try {
        f_();
      } catch (const std::exception& error) {
        runtime::log::error(std::string("A continuation threw: ") + error.what());
      }
    }
    runtime::TaskState* task() override { return this; }

   private:
    std::function<void()> f_;
  };
  current_process().executor().submit(std::make_shared<FunctionJob>(std::move(f)));
}

// -- completion in order ----------------------------------------------------------------------------------------------

class CompletionQueue {
 public:
  void completed(std::size_t index) {
    CorePointer waiter;
    {
      const std::lock_guard lock(mutex_);
      ready_.push_back(index);
      waiter = std::move(waiter_);
    }
    if (waiter) waiter->set_value({});
  }
  std::size_t next() {
    for (;;) {
      CorePointer waiter;
      {
        const std::lock_guard lock(mutex_);
        if (!ready_.empty()) {
          const std::size_t index = ready_.front();
          ready_.pop_front();
          return index;
        }
        waiter = waiter_ = make_local_core();
      }
      wait_settled(waiter, true, {});
    }
  }

 private:
  std::mutex mutex_;  ///< guards ready_ and waiter_
  std::deque<std::size_t> ready_;
  CorePointer waiter_;  ///< settled by the next completion
};

std::shared_ptr<CompletionQueue> make_completion_queue(const std::vector<CorePointer>& cores) {
  auto queue = std::make_shared<CompletionQueue>();
  for (std::size_t i = 0; i < cores.size(); ++i) on_settled(cores[i], false, [queue, i] { queue->completed(i); });
  return queue;
}

std::size_t next_completed(CompletionQueue& queue) { return queue.next(); }

// -- sync -------------------------------------------------------------------------------------------------------------

SyncScope::SyncScope() : outer_(std::exchange(innermost_sync, this)) {}

SyncScope::~SyncScope() { innermost_sync = outer_; }

void SyncScope::finish(std::exception_ptr first) {
  std::vector<std::exception_ptr> failures;
  if (first) failures.push_back(std::move(first));
  for (const auto& core : std::exchange(cores_, {})) {
    wait_settled(core, false, {});  // throws where this task must stop, or its time is over
    if (core->state() == FutureCore::State::failed) failures.push_back(core->failure());
  }
  if (failures.empty()) return;
  this_task::check();  // what failed since is of its own making
  throw CompositeException(std::move(failures));
}

void note_for_sync(const CorePointer& core) {
  if (innermost_sync != nullptr) innermost_sync->cores_.push_back(core);
}

// -- coroutines -------------------------------------------------------------------------------------------------------

std::shared_ptr<Suspension> make_suspension(std::function<void(std::shared_ptr<Suspension>)> go_on) {
  std::shared_ptr<runtime::TaskState> task;
  if (runtime::TaskState* current = runtime::current_task()) task = current->shared_state();
  return std::make_shared<Suspension>(std::move(task), std::move(go_on));
}

void start_suspension(Suspension& suspension, const CorePointer& core) { suspension.watch(core); }

void cut_suspension_short(Suspension& suspension) { suspension.happened(); }

void end_suspension(Suspension& suspension) { suspension.end(); }

void resume_when_settled(const CorePointer& core, std::coroutine_handle<> coroutine) {
  runtime::Executor& executor = current_process().executor();
  const auto scope_deadline = runtime::exchange_scope_deadline(std::nullopt);
  (void)runtime::exchange_scope_deadline(scope_deadline);
  const auto suspension = make_suspension([&executor, coroutine, scope_deadline](std::shared_ptr<Suspension> ready) {
    executor.submit(std::make_shared<CoroutineJob>(std::move(ready), coroutine, scope_deadline));
  });
  suspension->watch(core);  // at its end the coroutine may run on another thread, and end
}

void check_resumed(const CorePointer& core) {
  if (!core->settled(true)) {
    this_task::check();
    throw TimeoutError("The task's deadline ended while it awaited a future");
  }
  if (core->state() == FutureCore::State::failed) core->throw_failure();
}

}  // namespace muster::detail

namespace muster {

namespace this_task {

std::stop_token stop_token() {
  runtime::TaskState* const task = runtime::current_task();
  return task != nullptr ? task->stop_token() : std::stop_token();
}

void check() {
  if (const runtime::TaskState* task = runtime::current_task()) task->check();
  if (const auto until = runtime::current_deadline(); until && runtime::Clock::now() >= *until)
    throw TimeoutError("The deadline of this task or scope has passed");
}

void sleep_for(std::chrono::nanoseconds duration) {
  check();
  const auto until = runtime::deadline_after(duration);
  const auto limit = runtime::current_deadline();
  runtime::Process* const process = runtime::current_process_or_null();
  if (process == nullptr) {
    std::this_thread::sleep_until(limit ? std::min(*limit, until) : until);
  } else {
    runtime::Wakeup never(process->executor());
    const auto woken = process->executor().block(never, runtime::earlier(limit, until));
    if (woken == runtime::Executor::Woken::ended && runtime::current_task() == nullptr)
      std::this_thread::sleep_until(limit ? std::min(*limit, until) : until);  // no task's business
  }
  check();
}

std::optional<std::chrono::steady_clock::time_point> deadline() { return runtime::current_deadline(); }

}  // namespace this_task

DeadlineScope::DeadlineScope(std::chrono::nanoseconds duration) {
  before_ = runtime::exchange_scope_deadline(std::nullopt);
  (void)runtime::exchange_scope_deadline(runtime::earlier(before_, runtime::deadline_after(duration)));
}

DeadlineScope::~DeadlineScope() { (void)runtime::exchange_scope_deadline(before_); }

}  // namespace muster
