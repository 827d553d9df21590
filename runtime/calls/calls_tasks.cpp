// Calls of other processes: what arrives, and the tasks that come of it.

#include "runtime/base/deadline.hpp"
#include "runtime/base/failure.hpp"
#include "runtime/base/log.hpp"
#include "runtime/calls/call_job.hpp"
#include "runtime/calls/calls.hpp"
#include "runtime/calls/link_codes.hpp"
#include "runtime/calls/message_contents.hpp"
#include "runtime/code/code.hpp"

#include <algorithm>

namespace muster::runtime {

using detail::Payload;
using detail::Returns;

namespace {

/// Results up to this size travel with their answer, in bytes.
constexpr std::size_t small_result = std::size_t{64} << 10;
/// A link defines at most this many functions.
constexpr std::size_t most_codes = std::size_t{1} << 20;

void define_code(const Incoming& message, const std::vector<detail::Thunk>& quick) {
  auto& received = message.link->companion<LinkCodes>().received;
  if (message.header.code != received.size() || received.size() == most_codes)
    throw SerializationError("A function was defined out of turn");
  FieldReader in(message.payload.bytes.bytes());
  CodeReference reference;
  reference.module = in.u64();
  reference.offset = in.u64();
  in.finish();
  // A module that is not here is asked for by the first call that needs it.
  const void* address = nullptr;
  try {
    address = find_code_here(reference);
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): the calls say so
  }
  LinkCodes::Received code{address, reference};
  code.quick = std::any_of(quick.begin(), quick.end(),
                           [&](detail::Thunk each) { return std::bit_cast<const void*>(each) == address; });
  received.push_back(code);
}

}  // namespace

void Calls::on_message(Incoming&& message) {
  // Of what the dead have left, only items in places of their own count.
  if (message.link->ending &&
      (message.header.kind != MessageKind::channel_request || message.header.flags != put_in_place_flag))
    return;
  const Pid peer = message.link->peer;
  receive_handles(message, peer);
  const auto number = message.header.number;
  switch (message.header.kind) {
    case MessageKind::define_code: define_code(message, quick_); break;
    case MessageKind::call: on_call(message, peer); break;
    case MessageKind::reply_value: on_value(number, peer, std::move(message.payload)); break;
    case MessageKind::reply_stored: on_stored(number, peer); break;
    case MessageKind::reply_failure: {
      const auto bytes = message.payload.bytes.bytes();
      on_failure(number, peer, {bytes.begin(), bytes.end()});
      break;
    }
    case MessageKind::cancel: (void)on_cancel(peer, number); break;
    case MessageKind::interrupt: interrupt_here(); break;
    case MessageKind::module_request: modules_.on_request(number, peer); break;
    case MessageKind::module: modules_.on_module(number, peer, message.header.flags, message.payload); break;
    case MessageKind::reference_request: on_reference_request(message, peer); break;
    case MessageKind::reference_notes:
    case MessageKind::reference_question: on_notes(message, peer); break;
    case MessageKind::retain: {
      FieldReader in(message.payload.bytes.bytes());
      on_retain(peer, number, in.i32());
      break;
    }
    case MessageKind::retained: on_retained({self_, number}, peer, message.header.flags != 0); break;
    case MessageKind::fill: on_fill(message, peer); break;
    case MessageKind::channel_request: on_channel_request(message, peer); break;
    case MessageKind::channel_word: on_channel_word(message, peer); break;
    case MessageKind::channel_notice: on_channel_notice(message, peer); break;
    default:
      throw SerializationError("A message of kind " + std::to_string(static_cast<int>(message.header.kind)) +
                               " is not for processes that joined");
  }
}

// -- tasks ------------------------------------------------------------------------------------------------------------

void Calls::on_call(Incoming& message, Pid caller) {
  const auto& handles = message.payload.handles;
  const bool names_modules =
      std::ranges::any_of(handles, [](const auto& handle) { return handle->kind() == detail::HandleKind::module; });
  take_call(message.link, message.header, caller, std::move(message.payload), std::move(message.receipt),
            names_modules);
}

void Calls::on_plain(PlainMessage& message) {
  const Header& header = message.header();
  const Pid peer = message.link()->peer;
  if (header.kind == MessageKind::call) {
    take_call(message.link(), header, peer, message.bytes(), message.take_receipt(), false);
    return;
  }
  const auto bytes = message.bytes();
  if (const auto call = take_awaited(header.number, peer)) {
    call->value.bytes.append(bytes.data(), bytes.size());
    return;
  }
  Payload value;
  value.bytes.append(bytes.data(), bytes.size());
  on_value(header.number, peer, std::move(value));
}

template <class Arguments>
void Calls::take_call(const std::shared_ptr<Link>& link, const Header& header, Pid caller, Arguments&& arguments,
                      Receipt&& receipt, bool names_modules) {
  auto& codes = link->companion<LinkCodes>();
  const auto returns = static_cast<std::uint8_t>(header.flags & ~(unhurried_call | read_as_it_comes));
  if (header.code >= codes.received.size() || returns > static_cast<std::uint8_t>(Returns::nothing))
    throw SerializationError("A call names a function that was not defined");
  const LinkCodes::Received& code = codes.received[header.code];
  std::optional<Clock::time_point> deadline;
  if (header.deadline > 0) deadline = deadline_after(std::chrono::nanoseconds(header.deadline));
  const bool ready = code.address != nullptr && !codes.holds.load(std::memory_order_acquire) && !names_modules;
  auto job = std::allocate_shared<CallJob>(job_memory_, *this, caller, header.number, static_cast<Returns>(returns),
                                           code.address, std::move(receipt), deadline);
  job->set_arguments(std::forward<Arguments>(arguments));
  job->unhurried = (header.flags & unhurried_call) != 0;
  if (ready && code.quick)
    job->run();
  else if (ready)
    submit_job(std::move(job));
  else
    hold_call(link, header.code, std::move(job));
}

void Calls::know_task(const std::shared_ptr<CallJob>& job) {
  const std::lock_guard lock(tasks_mutex_);
  tasks_.insert(job);
}

void Calls::submit_job(std::shared_ptr<CallJob> job) {
  know_task(job);
  executor_.submit(std::move(job));
}

bool Calls::forget_task(const CallJob& job) {
  const std::lock_guard lock(tasks_mutex_);
  (void)tasks_.take(job.reference());
  return job.keep;
}

void Calls::store_result(RemoteRefId ref, std::shared_ptr<const StoredResult> result) {
  std::vector<Answer> answers;
  ValueStore::Freed freed;  // at once, where all who wanted it are dead
  {
    const std::lock_guard lock(references_mutex_);
    store_.store(ref, std::move(result), answers);
    freed = store_.collect(answers);
  }
  send_answers(answers);
  discard(freed);
}

/// Over the link that the call came by, which need not be looked for.
void Calls::answer(const CallJob& job, const Header& header, Payload&& payload, Transport::Urgency urgency) {
  const auto& link = job.link();
  if (!link || link->gone || !payload.handles.empty() || Executor::receiving_here()) {
    transmit(job.caller(), header, nullptr, std::move(payload), Waits::stubborn, urgency);
    return;
  }
  if (notes_waiting_.load(std::memory_order_relaxed)) flush_notes();
  transmit_over(*link, header, payload, Waits::stubborn, urgency);
}

void Calls::finish(CallJob& job, Payload&& result) {
  if (job.caller() != self_) settle_puts(job.caller(), Waits::stubborn);
  const bool keep = forget_task(job);
  if (keep) settle_puts(self_, Waits::stubborn);
  if (job.returns() == Returns::nothing) return;
  const bool local = job.caller() == self_;
  const std::size_t size = result.total_size();
  const bool stays =
      job.returns() == Returns::stays || (job.returns() == Returns::small && !local && size > small_result);
  if (keep || stays) {
    result.own();
    auto stored = std::make_shared<StoredResult>();
    stored->value = stays ? std::exchange(result, Payload{}) : result;
    store_result(job.reference(), std::move(stored));
  }
  if (local) {
    if (stays) {
      on_stored(job.number(), self_);
    } else {
      result.own();
      on_value(job.number(), self_, std::move(result));
    }
    return;
  }
  const auto kind = stays ? MessageKind::reply_stored : MessageKind::reply_value;
  const auto urgency = job.unhurried && executor_.any_queued() ? Transport::Urgency::soon : Transport::Urgency::now;
  try {
    // Who waits on the spot reads it at once, and once; a future may be sent on.
    const std::uint8_t flags = AwaitedCalls::numbers(job.number()) ? read_as_it_comes : 0;
    answer(job, Header{.kind = kind, .flags = flags, .number = job.number()}, stays ? Payload{} : std::move(result),
           urgency);
  } catch (const SerializationError&) {
    throw;
  } catch (const NoSession&) {  // it holds a handle of another session
    throw;
  } catch (const std::exception& error) {
    log::debug("An answer to process " + std::to_string(job.caller()) + " was dropped: " + error.what());
  }
}

void Calls::finish_failed(CallJob& job, const std::exception_ptr& failure) {
  if (job.caller() != self_) settle_puts(job.caller(), Waits::stubborn);
  const bool keep = forget_task(job);
  if (keep) settle_puts(self_, Waits::stubborn);
  if (job.returns() == Returns::nothing) {
    log::error("A remote_do of process " + std::to_string(job.caller()) + " failed: " + message_of(failure));
    return;
  }
  auto encoded = encode_failure(failure, self_, FailureOrigin::task);
  if (keep) {
    auto stored = std::make_shared<StoredResult>();
    stored->failed = true;
    stored->failure = encoded;
    store_result(job.reference(), std::move(stored));
  }
  if (job.caller() == self_) {
    on_failure(job.number(), self_, std::move(encoded));
    return;
  }
  const auto send = [&](const std::vector<std::byte>& bytes) {
    Payload payload;
    payload.bytes.append(bytes.data(), bytes.size());
    send_control(job.caller(), Header{.kind = MessageKind::reply_failure, .number = job.number()}, std::move(payload));
  };
  try {
    send(encoded);
  } catch (const SerializationError& too_large) {
    constexpr std::size_t most = 200;
    const Error shorter("The task failed, and its failure can't be sent (" + std::string(too_large.what()) +
                        "). It begins with: " + message_of(failure).substr(0, most));
    send(encode_failure(std::make_exception_ptr(shorter), self_, FailureOrigin::task));
  }
}

bool Calls::on_cancel(Pid caller, std::uint64_t number) {
  std::shared_ptr<CallJob> job;
  {
    const std::lock_guard lock(tasks_mutex_);
    job = tasks_.share({caller, number});
    if (!job) return false;
  }
  if (withdraw_job(*job)) {
    job->fail(std::make_exception_ptr(CancelledError("The task was cancelled before it started")));
    return true;
  }
  job->request_stop(StopReason::cancelled);
  // Whoever waits for it hears now; how it ends does not matter any more.
  job->fail(std::make_exception_ptr(CancelledError("The task was cancelled")));
  return true;
}

bool Calls::withdraw_job(CallJob& job) { return job.held.exchange(false) || executor_.withdraw(&job); }

/// Takes back a task that has not started. @returns null: it has, or is not here
std::shared_ptr<CallJob> Calls::take_unstarted(Pid caller, std::uint64_t number) {
  std::shared_ptr<CallJob> job;
  {
    const std::lock_guard lock(tasks_mutex_);
    job = tasks_.share({caller, number});
  }
  return job && withdraw_job(*job) ? job : nullptr;
}

void Calls::interrupt_here() {
  std::vector<std::shared_ptr<CallJob>> jobs;
  {
    const std::lock_guard lock(tasks_mutex_);
    tasks_.for_each([&](const auto& job) { jobs.push_back(job); });
  }
  for (const auto& job : jobs) {
    if (withdraw_job(*job))
      job->fail(std::make_exception_ptr(InterruptedError("The task was interrupted before it started")));
    else
      job->request_stop(StopReason::interrupted);
  }
}

}  // namespace muster::runtime
