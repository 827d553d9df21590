// Calls of this process: sending them, and what their answers do.

#include "runtime/calls/calls.hpp"

#include "runtime/base/backtrace.hpp"
#include "runtime/base/failure.hpp"
#include "runtime/base/log.hpp"
#include "runtime/calls/call_job.hpp"
#include "runtime/calls/link_codes.hpp"
#include "runtime/calls/message_contents.hpp"
#include "runtime/code/code.hpp"

#include <bit>

namespace muster::runtime {

using detail::CorePointer;
using detail::FutureCore;
using detail::Payload;
using detail::Returns;

namespace {

FailedResult failed_result(std::exception_ptr failure, Pid self) {
  return [failure = std::move(failure), self]() -> std::shared_ptr<const StoredResult> {
    auto result = std::make_shared<StoredResult>();
    result->failed = true;
    result->failure = encode_failure(failure, self);
    return result;
  };
}

}  // namespace

Calls::Calls(Pid self, Transport& transport, Executor& executor, Router& router)
    : self_(self),
      transport_(transport),
      executor_(executor),
      router_(router),
      anchor_(std::make_shared<detail::Anchor>(*this)),
      held_(self),
      modules_({.send = [this](Pid to, const Header& header,
                               Payload&& payload) { transmit(to, header, nullptr, std::move(payload), Waits::no); },
                .settled = [this] { release_all_held(); },
                .self = [this] { return self_.load(); }}) {}

Calls::~Calls() {
  anchor_->release();
  modules_.stop();
  stores_thread_.stop();
}

void Calls::set_self(Pid self) {
  {
    const std::lock_guard lock(references_mutex_);
    self_ = self;
    held_ = HeldRefs(self);
  }
  worker_joined(self);  // a worker's spawn may choose itself
}

// -- starting calls ---------------------------------------------------------------------------------------------------

CorePointer Calls::make_core(Pid owner, FutureCore::State state) {
  return std::allocate_shared<FutureCore>(core_memory_, anchor_, RemoteRefId{self_, next_number()}, owner, state);
}

CorePointer Calls::start(Pid pid, detail::Thunk thunk, Payload&& arguments, Returns returns, Hurry hurry) {
  if (const TaskState* task = current_task()) task->check();
  const bool placed = pid == detail::any_process;
  for (;;) {
    CorePointer core;
    {
      const std::lock_guard lock(pending_mutex_);
      if (placed) pid = placement_.choose();
      core = make_core(pid, FutureCore::State::pending);
      core->task = true;
      if (returns != Returns::nothing) {
        pending_.insert(core);
        placement_.sent(pid);
      }
    }
    const Header header{.kind = MessageKind::call,
                        .flags = static_cast<std::uint8_t>(static_cast<std::uint8_t>(returns) | read_as_it_comes |
                                                           (hurry == Hurry::no ? unhurried_call : 0)),
                        .number = core->id().number};
    try {
      if (pid == self_) {
        arguments.own();
        auto job = std::allocate_shared<CallJob>(job_memory_, *this, self_, header.number, returns,
                                                 std::bit_cast<const void*>(thunk), Receipt{}, current_deadline());
        job->set_arguments(std::move(arguments));
        submit_job(std::move(job));
      } else {
        settle_puts(pid, Waits::heedful);
        transmit(pid, header, thunk, std::move(arguments), Waits::heedful);
      }
      return core;
    } catch (const ProcessExitedException&) {
      (void)take_pending(header.number);
      if (!placed || pid == 1) throw;
      const std::lock_guard lock(pending_mutex_);
      placement_.left(pid);  // it died since it was chosen: another takes the call
    } catch (...) {
      (void)take_pending(header.number);
      throw;
    }
  }
}

Payload Calls::call_here(detail::Thunk thunk, Payload&& arguments) {
  class Inline final : public detail::TaskRun {
   public:
    Inline(Payload&& arguments, CorePointer core) : arguments_(std::move(arguments)), core_(std::move(core)) {}
    const Payload& arguments() override { return arguments_; }
    void arguments_done() override {}
    void complete(Payload&& result) override { core_->set_value(std::move(result)); }
    void fail(const std::exception_ptr& failure) override {
      auto encoded = encode_failure(failure, core_->owner(), FailureOrigin::task);
      auto seen = decode_failure(encoded);
      core_->set_failure(std::move(encoded), std::move(seen));
    }

   private:
    Payload arguments_;
    CorePointer core_;
  };
  if (const TaskState* task = current_task()) task->check();
  const BacktraceScope backtraces;
  const auto core = make_core(self_, FutureCore::State::pending);
  const auto run = std::make_shared<Inline>(std::move(arguments), core);
  // A coroutine that is suspended inside a DeadlineScope takes it along.
  const auto scope_deadline = exchange_scope_deadline(std::nullopt);
  (void)exchange_scope_deadline(scope_deadline);
  try {
    thunk(*run);
  } catch (...) {
    run->fail(std::current_exception());
  }
  (void)exchange_scope_deadline(scope_deadline);
  detail::require_value(core, {});
  return core->take_payload();
}

// -- sending ----------------------------------------------------------------------------------------------------------

void Calls::check_waited(Executor::Woken woken, const std::string& what) {
  if (woken == Executor::Woken::ended) throw NoSession("The session ended while " + what);
  if (const TaskState* task = current_task()) task->check();
  throw TimeoutError("The deadline ended while " + what);
}

std::shared_ptr<Link> Calls::wait_for_link(Pid pid, Waits waits) {
  const bool heedful = waits == Waits::heedful;
  for (;;) {
    if (auto link = router_.link_to(pid)) return link;
    const auto wakeup = std::make_shared<Wakeup>(executor_);
    router_.when_linked(pid, [wakeup](const auto&) { wakeup->wake(); });
    const auto woken = executor_.block(*wakeup, heedful ? current_deadline() : std::nullopt,
                                       heedful ? Executor::Stops::heeded : Executor::Stops::ignored);
    if (woken != Executor::Woken::event) check_waited(woken, "process " + std::to_string(pid) + " was being connected");
  }
}

void Calls::transmit(Pid pid, Header header, detail::Thunk thunk, Payload&& payload, Waits waits,
                     Transport::Urgency urgency) {
  if (Executor::receiving_here()) waits = Waits::no;
  const auto link = waits == Waits::no ? router_.link_to(pid) : wait_for_link(pid, waits);
  if (thunk != nullptr) {
    if (!link) throw Error("Process " + std::to_string(pid) + " is still being connected");
    header.code = code_on(*link, thunk);
    if (const auto deadline = current_deadline())
      header.deadline = std::max<std::int64_t>(1, (*deadline - Clock::now()).count());
  }
  if (!payload.handles.empty()) announce_handles(payload, pid);
  if (notes_waiting_.load(std::memory_order_relaxed)) flush_notes();
  try {
    if (waits == Waits::no)
      post(pid, link, header, std::move(payload));
    else
      transmit_over(*link, header, payload, waits, urgency);
  } catch (...) {
    retract_handles(payload, pid);
    throw;
  }
}

void Calls::transmit_over(Link& link, const Header& header, const Payload& payload, Waits waits,
                          Transport::Urgency urgency) {
  const bool heedful = waits == Waits::heedful;
  Transport::Progress progress;
  while (!transport_.try_send(link, header, payload, progress, urgency)) {
    const auto wakeup = std::make_shared<Wakeup>(executor_);
    transport_.on_credit(link, [wakeup] { wakeup->wake(); });
    // Half a message can't be taken back: once begun, it is sent to its end.
    const bool may_give_up = heedful && !progress.started;
    const auto woken = executor_.block(*wakeup, may_give_up ? current_deadline() : std::nullopt,
                                       may_give_up ? Executor::Stops::heeded : Executor::Stops::ignored);
    if (woken != Executor::Woken::event)
      check_waited(woken,
                   "process " + std::to_string(link.peer) + " took no more data, and a message for it had to wait");
  }
}

void Calls::post(Pid pid, const std::shared_ptr<Link>& link, const Header& header, Payload&& payload) {
  if (link) {
    transport_.send(*link, header, std::move(payload));
    return;
  }
  payload.own();
  auto kept = std::make_shared<Payload>(std::move(payload));
  router_.when_linked(pid, [this, pid, header, kept](const std::shared_ptr<Link>& made) {
    try {
      if (made) {
        transport_.send(*made, header, std::move(*kept));
        return;
      }
    } catch (const SerializationError& error) {
      log::error("A message to process " + std::to_string(pid) + " can't be sent: " + error.what());
    }
    unsent(pid, header, *kept);
  });
}

void Calls::unsent(Pid pid, const Header& header, const Payload& payload) {
  retract_handles(payload, pid);
  if (header.kind == MessageKind::retain) on_retained({self_, header.number}, pid, true);  // as far as it can be
  if (header.kind == MessageKind::module_request) modules_.unsent(header.number, pid, "it can't be reached");
  if (header.kind != MessageKind::reference_request) return;
  const auto core = take_pending(header.number);
  if (!core) return;
  std::exception_ptr failure = std::make_exception_ptr(Error("Process " + std::to_string(pid) + " can't be reached"));
  try {
    (void)router_.link_to(pid);  // says why
  } catch (...) {
    failure = std::current_exception();
  }
  core->set_failure(encode_failure(failure, self_), failure);
}

void Calls::send_control(Pid pid, const Header& header, Payload&& payload) {
  try {
    transmit(pid, header, nullptr, std::move(payload), Waits::no);
  } catch (const SerializationError&) {
    throw;
  } catch (const Error&) {                  // NOLINT(bugprone-empty-catch): it is gone, and with it what this was about
  } catch (const std::invalid_argument&) {  // NOLINT(bugprone-empty-catch): likewise
  }
}

std::uint32_t Calls::code_on(Link& link, detail::Thunk thunk) {
  auto& codes = link.companion<LinkCodes>();
  const void* const address = std::bit_cast<const void*>(thunk);
  if (const auto* recent = codes.recent.load(std::memory_order_acquire); recent != nullptr && recent->first == address)
    return recent->second;
  const std::lock_guard lock(codes.mutex);  // held over the send: nobody may use the number before it is defined there
  const auto [found, is_new] = codes.sent.try_emplace(address, static_cast<std::uint32_t>(codes.sent.size()));
  if (is_new) {
    const CodeReference reference = name_code(address);
    Payload payload;
    FieldWriter out(payload.bytes);
    out.u64(reference.module);
    out.u64(reference.offset);
    transport_.send(link, Header{.kind = MessageKind::define_code, .code = found->second}, std::move(payload));
  }
  codes.recent.store(&*found, std::memory_order_release);
  return found->second;
}

// -- answers ----------------------------------------------------------------------------------------------------------

/// With pending_mutex_.
void Calls::no_longer_pending(const FutureCore& core) {
  if (core.task) placement_.finished(core.owner());
}

CorePointer Calls::take_pending(std::uint64_t number) {
  const std::lock_guard lock(pending_mutex_);
  auto core = pending_.take(number);
  if (core) no_longer_pending(*core);
  return core;
}

CorePointer Calls::take_answered(std::uint64_t number, Pid from) {
  const std::lock_guard lock(pending_mutex_);
  auto core = pending_.take(number);
  if (!core) return nullptr;
  if (const Pid asked = core->owner(); asked != from) {
    pending_.insert(std::move(core));
    throw SerializationError("It answers a call that was made to process " + std::to_string(asked));
  }
  no_longer_pending(*core);
  return core;
}

void Calls::on_value(std::uint64_t number, Pid from, Payload&& value) {
  if (const auto call = take_awaited(number, from)) {
    call->value = std::move(value);
  } else if (const auto core = take_answered(number, from)) {
    core->set_value(std::move(value));
    let_go(*core);
  } else {
    cancelled_ended(number, from, false);
  }
}

void Calls::on_stored(std::uint64_t number, Pid from) {
  if (const auto call = take_awaited(number, from)) {
    call->failure = std::make_exception_ptr(
        SerializationError("Process " + std::to_string(from) + " kept a value that its caller was waiting for"));
    return;
  }
  const auto core = take_answered(number, from);
  if (!core) {
    cancelled_ended(number, from, true);
    return;
  }
  if (core->task) touch(*core);
  core->set_remote();
  if (core->value_wanted) pursue(core, true);
}

void Calls::on_failure(std::uint64_t number, Pid from, std::vector<std::byte> encoded) {
  auto failure = decode_failure(encoded);
  if (const auto call = take_awaited(number, from)) {
    call->failure = std::move(failure);
    return;
  }
  const auto core = take_answered(number, from);
  if (!core) {
    cancelled_ended(number, from, false);
    return;
  }
  core->set_failure(std::move(encoded), std::move(failure));
  let_go(*core);
}

void Calls::cancelled_ended(std::uint64_t number, Pid from, bool stored) {
  CorePointer core;  // destroyed without the lock
  const std::lock_guard lock(references_mutex_);
  const auto found = cancelled_.find(number);
  if (found == cancelled_.end() || found->second->owner() != from) return;
  core = std::move(found->second);
  cancelled_.erase(found);
  --core->questions;
  if (stored && !core->counted) {  // it is kept there for us, who did not want it any more
    core->counted = true;
    held_.created(core->id(), from);
  }
  drop_count(*core);
}

bool Calls::cancel(const CorePointer& core) {
  if (core->settled(false)) return false;
  if (core->state() == FutureCore::State::elsewhere) {
    const auto answer = ask_about(core, ReferenceOperation::cancel, {});
    if (!answer) return false;
    detail::require_value(answer, {});
    return answer->take_payload().bytes.size() == 1;
  }
  const auto number = core->id().number;
  bool remembered = false;
  if (core->task) {  // a question about a value is just forgotten
    const std::lock_guard lock(references_mutex_);
    remembered = cancelled_.try_emplace(number, core).second;
    if (remembered) ++core->questions;
  }
  if (take_pending(number)) {
    if (core->owner() == self_)
      (void)on_cancel(self_, number);
    else
      send_control(core->owner(), Header{.kind = MessageKind::cancel, .number = number}, {});
  } else if (remembered) {
    cancelled_ended(number, core->owner(), false);  // it has just ended by itself
  }
  const auto failure = std::make_exception_ptr(CancelledError("The task was cancelled"));
  return core->set_failure(encode_failure(failure, self_), failure);
}

CorePointer Calls::withdraw(const CorePointer& core) { return request(*core, ReferenceOperation::withdraw, {}); }

void Calls::interrupt(Pid pid) {
  if (pid == self_)
    interrupt_here();
  else
    transmit(pid, Header{.kind = MessageKind::interrupt}, nullptr, {}, Waits::heedful);
}

bool Calls::block_until_settled(const CorePointer& core, bool needs_value, std::optional<Clock::time_point> deadline) {
  FutureCore::Waiter waiter{.needs_value = needs_value};
  Wakeup wakeup(executor_);
  waiter.wakeup = &wakeup;
  if (!core->add_waiter(waiter)) return true;
  const auto woken = executor_.block(wakeup, deadline);
  if (woken != Executor::Woken::event) core->remove_waiter(waiter);
  if (core->settled(needs_value)) return true;
  if (woken == Executor::Woken::ended) throw NoSession("The session ended while a future was being waited for");
  if (const TaskState* task = current_task()) task->check();
  return false;
}

std::size_t Calls::calls_in_flight() const {
  const std::lock_guard lock(pending_mutex_);
  return pending_.size() + awaited_.size();
}

std::size_t Calls::calls_in_flight(Pid pid) const {
  const std::lock_guard lock(pending_mutex_);
  std::size_t count = 0;
  pending_.for_each([&](const CorePointer& core) { count += core->owner() == pid ? 1 : 0; });
  awaited_.for_each([&](const AwaitedCall& call) { count += call.callee == pid ? 1 : 0; });
  return count;
}

// -- what happens -----------------------------------------------------------------------------------------------------

void Calls::worker_joined(Pid pid) {
  const std::lock_guard lock(pending_mutex_);
  placement_.joined(pid);
}

Pid Calls::choose_among(std::span<const Pid> workers) {
  const std::lock_guard lock(pending_mutex_);
  return placement_.choose_among(workers);
}

void Calls::fail_pending(Pid pid, const std::exception_ptr& failure) {
  std::vector<CorePointer> waiting;
  std::vector<AnsweredCall> awaited;
  {
    const std::lock_guard lock(pending_mutex_);
    awaited = awaited_.take_if([pid](const AwaitedCall& call) { return call.callee == pid; });
    for (std::size_t i = 0; i < awaited.size(); ++i) placement_.finished(pid);
    waiting = pending_.take_if([pid](const FutureCore& core) { return core.owner() == pid; });
    for (const auto& core : waiting) no_longer_pending(*core);
  }
  for (const auto& call : awaited) call->failure = failure;
  awaited.clear();
  if (waiting.empty()) return;
  const auto encoded = encode_failure(failure, self_);
  for (const auto& core : waiting) core->set_failure(encoded, failure);
}

void Calls::process_unreachable(Pid pid, const std::string& why) {
  const auto failure = std::make_exception_ptr(Error(why));
  fail_pending(pid, failure);
  modules_.gone(pid, why);
  places_lost(pid);
  // The result of a task whose answer had left already may have been on its way back to be kept here.
  std::vector<Answer> answers;
  {
    const std::lock_guard lock(references_mutex_);
    store_.creator_lost(pid, failed_result(failure, self_), answers);
  }
  send_answers(answers);
}

void Calls::process_gone(const WorkerExit& exit, Rest rest) {
  {
    const std::lock_guard lock(pending_mutex_);
    placement_.left(exit.pid);
  }
  WorkerExit told = exit;
  told.calls_in_flight = calls_in_flight(exit.pid);
  const auto failure = std::make_exception_ptr(ProcessExitedException(told));
  fail_pending(exit.pid, failure);
  modules_.gone(exit.pid, "it ended");

  std::vector<Answer> answers;
  ValueStore::Freed freed;
  std::vector<CorePointer> unanswered;
  std::vector<std::shared_ptr<OwnedChannel>> channels;
  {
    const std::lock_guard lock(references_mutex_);
    store_.process_died(exit.pid, failed_result(failure, self_), answers);
    held_.process_died(exit.pid);
    freed = store_.collect(answers);
    channels = store_.channels();
    for (auto retaining = retaining_.begin(); retaining != retaining_.end();) {
      const auto current = retaining++;
      if (current->second->owner() == exit.pid) unanswered.push_back(std::move(retaining_.extract(current).mapped()));
    }
    for (auto cancelled = cancelled_.begin(); cancelled != cancelled_.end();) {
      const auto current = cancelled++;
      if (current->second->owner() == exit.pid) unanswered.push_back(std::move(cancelled_.extract(current).mapped()));
    }
    note_waiting();
  }
  send_answers(answers);
  discard(freed);
  tell_of_death(channels, exit.pid);
  unconfirmed_.forget(exit.pid);
  if (rest == Rest::none) nothing_more_from(exit.pid);
  ask_questions();
}

void Calls::fail_everything(const std::exception_ptr& failure) {
  PendingTable pending;
  std::vector<AnsweredCall> awaited;
  {
    const std::lock_guard lock(pending_mutex_);
    std::swap(pending, pending_);
    awaited = awaited_.take_if([](const AwaitedCall&) { return true; });
  }
  for (const auto& call : awaited) call->failure = failure;
  awaited.clear();
  const auto encoded = encode_failure(failure, self_);
  pending.for_each([&](const CorePointer& core) { core->set_failure(encoded, failure); });
}

}  // namespace muster::runtime
