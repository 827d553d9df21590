// Calls of this process whose callers wait for the answer on the spot.

#include "runtime/calls/calls.hpp"

namespace muster::runtime {

using detail::CorePointer;
using detail::FutureCore;
using detail::Payload;
using detail::Returns;

Payload Calls::fetch(Pid pid, detail::Thunk thunk, Payload&& arguments) {
  if (const TaskState* task = current_task()) task->check();
  AwaitedCall call(executor_, pid);
  if (!begin(call, thunk, arguments)) return fetch_by_future(pid, thunk, std::move(arguments));
  const auto woken = executor_.block(call.wakeup, current_deadline());
  if (woken != Executor::Woken::event) give_up(call, woken);
  if (call.failure) std::rethrow_exception(call.failure);
  return std::move(call.value);
}

/// @param arguments which it takes
/// @returns false where there is no place for the call: then nothing was done
bool Calls::begin(AwaitedCall& call, detail::Thunk thunk, Payload& arguments) {
  {
    const std::lock_guard lock(pending_mutex_);
    if (!awaited_.add(call)) return false;
    placement_.sent(call.callee);
  }
  const Header header{.kind = MessageKind::call,
                      .flags = static_cast<std::uint8_t>(Returns::value) | read_as_it_comes,
                      .number = call.number};
  const auto handles = arguments.handles;
  try {
    settle_puts(call.callee, Waits::heedful);
    transmit(call.callee, header, thunk, std::move(arguments), Waits::heedful);
    sent_once(handles);
  } catch (...) {
    (void)stop_awaiting(call, nullptr);
    throw;
  }
  return true;
}

Payload Calls::fetch_by_future(Pid pid, detail::Thunk thunk, Payload&& arguments) {
  const auto handles = arguments.handles;
  const auto core = start(pid, thunk, std::move(arguments), Returns::value);
  sent_once(handles);
  detail::wait_or_cancel(core, [&] { detail::require_value(core, {}); });
  return core->take_payload();
}

void Calls::throw_loss_of(Pid pid) {
  // Whoever asks it anything now hears how it ended.
  (void)fetch_by_future(pid, +[](detail::TaskRun& run) { run.complete({}); }, {});
  throw Error("The connection to process " + std::to_string(pid) +
              " broke while it sent an answer, and it could be reached again. Call once more.");
}

/// @param successor what waits for the answer from now on, if anything
/// @returns false when it is answered already
bool Calls::stop_awaiting(AwaitedCall& call, const CorePointer& successor) {
  {
    const std::lock_guard lock(pending_mutex_);
    if (awaited_.find(call.number) != nullptr) {
      awaited_.remove(call);
      if (successor)
        pending_.insert(successor);
      else
        placement_.finished(call.callee);
      return true;
    }
  }
  call.wakeup.await_wakers();  // whoever answers it is done with it then
  return false;
}

/// Its caller can't wait any longer: cancels it and throws why. Returns where it is answered all the same.
void Calls::give_up(AwaitedCall& call, Executor::Woken why) {
  if (why == Executor::Woken::ended) {
    if (!stop_awaiting(call, nullptr)) return;
    throw NoSession("The session ended while the answer of a call was being waited for");
  }
  const auto core = std::allocate_shared<FutureCore>(core_memory_, anchor_, RemoteRefId{self_, call.number},
                                                     call.callee, FutureCore::State::pending);
  core->task = true;
  if (!stop_awaiting(call, core)) return;
  (void)cancel(core);
  if (const TaskState* task = current_task()) task->check();
  throw TimeoutError("Waited in vain for the answer of process " + std::to_string(call.callee) +
                     ": the deadline ended. Give it more time, or see what keeps the process busy.");
}

/// The call that waits for that answer; nothing where none does any more.
/// @throws SerializationError when the answer is not from whom was asked
AnsweredCall Calls::take_awaited(std::uint64_t number, Pid from) {
  if (!AwaitedCalls::numbers(number)) return {};
  const std::lock_guard lock(pending_mutex_);
  AwaitedCall* const call = awaited_.find(number);
  if (call == nullptr) return {};
  if (call->callee != from)
    throw SerializationError("It answers a call that was made to process " + std::to_string(call->callee));
  awaited_.remove(*call);
  placement_.finished(from);
  return AnsweredCall(*call);
}

}  // namespace muster::runtime
