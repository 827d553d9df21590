// Values that live elsewhere: what goes back and forth about them.

#include "runtime/base/failure.hpp"
#include "runtime/base/log.hpp"
#include "runtime/calls/call_job.hpp"
#include "runtime/calls/calls.hpp"
#include "runtime/calls/message_contents.hpp"
#include "runtime/refs/channel_queue.hpp"

#include <future>

namespace muster::runtime {

using detail::CorePointer;
using detail::FutureCore;
using detail::Handle;
using detail::HandleKind;
using detail::Payload;

namespace {

std::shared_ptr<StoredResult> stored_value(Payload&& value) {
  value.own();
  auto stored = std::make_shared<StoredResult>();
  stored->value = std::move(value);
  return stored;
}

Payload one_byte() {
  Payload payload;
  FieldWriter(payload.bytes).u8(1);
  return payload;
}

}  // namespace

// -- handles of this process ------------------------------------------------------------------------------------------

CorePointer Calls::make_promise(Pid where) { return make_core(where, FutureCore::State::elsewhere); }

void Calls::touch(FutureCore& core) {
  const std::lock_guard lock(references_mutex_);
  if (core.counted) return;
  core.counted = true;
  held_.created(core.id(), core.owner());
}

/// With references_mutex_.
void Calls::drop_count(FutureCore& core) {
  // A question that the owner hears after the release would make a slot there that nobody lets go.
  // Nor may a handle go out of something encoded before whose value its owner has freed.
  if (!core.counted || core.questions > 0 || core.stands_encoded > 0) return;
  core.counted = false;
  held_.dropped(core.id());
  note_waiting();
}

void Calls::let_go(FutureCore& core) {
  if (!core.counted) return;  // most never are
  const std::lock_guard lock(references_mutex_);
  drop_count(core);
}

void Calls::answered(FutureCore& core) {
  const std::lock_guard lock(references_mutex_);
  --core.questions;
  if (core.settled(true)) drop_count(core);
}

void Calls::sent_once(const std::vector<std::shared_ptr<Handle>>& handles) {
  for (const auto& handle : handles) {
    auto* const core = dynamic_cast<FutureCore*>(handle.get());
    if (core == nullptr) continue;
    const std::lock_guard lock(references_mutex_);
    if (core->stands_encoded > 0 && --core->stands_encoded == 0 && core->settled(true)) drop_count(*core);
  }
}

void Calls::note_waiting() {
  if (!notes_waiting_.exchange(true)) transport_.kick();  // whoever receives sends them
}

void Calls::release(FutureCore& core) noexcept {
  try {
    // A message may have brought the reference again since the last handle went: that core has taken over the count.
    std::shared_ptr<Handle> successor;  // destroyed without the lock
    const std::lock_guard lock(references_mutex_);
    if (const auto found = handles_.find(core.id()); found != handles_.end()) {
      successor = found->second.lock();
      if (!successor) handles_.erase(found);
    }
    const auto* const next = dynamic_cast<const FutureCore*>(successor.get());
    if (core.counted && (next == nullptr || !next->counted)) {
      held_.dropped(core.id());
      note_waiting();
    }
  } catch (const std::exception& error) {
    log::error(std::string("Cannot release a reference: ") + error.what());
  }
}

/// @throws NoSession for a handle of another session: its number names something else in this one
void Calls::check_is_ours(const detail::Handle& handle) const {
  const detail::Anchor* anchor = nullptr;
  switch (handle.kind()) {
    case HandleKind::future: anchor = &static_cast<const FutureCore&>(handle).anchor(); break;
    case HandleKind::channel: anchor = &static_cast<const detail::ChannelCore&>(handle).anchor(); break;
    case HandleKind::pool:
    case HandleKind::module: return;
  }
  if (anchor != anchor_.get()) throw NoSession("A handle of a session that has ended can't be sent");
}

void Calls::announce_handles(const Payload& payload, Pid receiver) {
  for (const auto& handle : payload.handles) check_is_ours(*handle);
  for (const auto& handle : payload.handles) {
    if (handle->kind() == HandleKind::module) continue;
    if (handle->kind() == HandleKind::channel) {
      announce_channel(std::static_pointer_cast<detail::ChannelCore>(handle), receiver);
      continue;
    }
    auto core = std::static_pointer_cast<FutureCore>(handle);
    bool retain = false;
    {
      const std::lock_guard lock(references_mutex_);
      handles_[core->id()] = core;
      core->known = true;
      if (core->task && core->id().creator == self_ && !core->counted) {
        retain = true;  // the owner does not know yet that its result will be wanted there
        retaining_[core->id()] = core;
        ++core->questions;
      }
      if (!core->counted) {
        core->counted = true;
        held_.created(core->id(), core->owner());
      }
      if (!retain) {
        held_.sending(core->id(), receiver);
        notes_waiting_ = true;
      }
    }
    if (!retain) continue;
    if (core->owner() == self_) {
      on_retained(core->id(), self_, retain_here(core->id(), receiver, self_));
    } else {
      Payload out;
      FieldWriter(out.bytes).i32(receiver);
      const Header header{.kind = MessageKind::retain, .number = core->id().number};
      try {
        transmit(core->owner(), header, nullptr, std::move(out), Waits::no);
      } catch (const std::exception&) {  // it is gone, which whoever gets the handle will hear
        unsent(core->owner(), header, {});
      }
    }
  }
}

void Calls::retract_handles(const Payload& payload, Pid receiver) {
  if (payload.handles.empty()) return;
  const std::lock_guard lock(references_mutex_);
  for (const auto& handle : payload.handles)
    if (handle->kind() != HandleKind::module) held_.not_sent(handle->id(), handle->owner(), receiver);
  note_waiting();
}

std::shared_ptr<Handle> Calls::handle_of(const HandleRecord& record) {
  if (record.kind == HandleKind::pool) throw SerializationError("A message names a handle of an unknown kind");
  auto& known = handles_[record.id];
  if (auto handle = known.lock()) {
    if (handle->kind() != record.kind) throw SerializationError("A message names a handle of another kind than it has");
    return handle;
  }
  if (record.kind == HandleKind::channel) {
    auto channel = std::make_shared<detail::ChannelCore>(anchor_, record.id, record.owner,
                                                         record.owner == self_ ? store_.channel(record.id) : nullptr);
    channel->counted = true;
    known = channel;
    return channel;
  }
  auto core = std::make_shared<FutureCore>(anchor_, record.id, record.owner, FutureCore::State::elsewhere);
  core->known = true;
  known = core;
  return core;
}

void Calls::receive_handles(Incoming& message, Pid sender) {
  const bool is_kept = message.header.kind != MessageKind::call;  // arguments are decoded, and never sent again
  for (const HandleRecord& record : message.handles) {
    if (record.kind == HandleKind::module) {
      // Who asks this process for it in turn, where it never was, is told by that whom to ask.
      const Pid holder = record.owner == 0 ? sender : record.owner;
      message.payload.handles.push_back(std::make_shared<Handle>(HandleKind::module, record.id, holder));
      modules_.want(record.id.number, {sender, holder});
      continue;
    }
    if (record.owner != self_) router_.heard_of(record.owner);
    const std::lock_guard lock(references_mutex_);
    auto handle = handle_of(record);
    held_.received(record.id, handle->owner(), sender);
    if (auto* core = dynamic_cast<FutureCore*>(handle.get())) {
      core->counted = true;
      if (is_kept) ++core->stands_encoded;
      if (core->settled(true)) drop_count(*core);  // what it names is here
    }
    message.payload.handles.push_back(std::move(handle));
  }
}

// -- asking the owner -------------------------------------------------------------------------------------------------

CorePointer Calls::request(const FutureCore& core, ReferenceOperation operation, Payload&& put) {
  const Pid owner = core.owner();
  auto answer = make_core(owner, FutureCore::State::pending);
  const auto number = answer->id().number;
  {
    const std::lock_guard lock(pending_mutex_);
    pending_.insert(answer);
  }
  try {
    if (owner == self_) {
      ask_here({self_, number}, operation, core.id(), std::move(put), core.task);
    } else {
      append_reference(put, core.id());
      const Header header{.kind = MessageKind::reference_request,
                          .flags = static_cast<std::uint8_t>(core.task ? 1 : 0),
                          .code = static_cast<std::uint32_t>(operation),
                          .number = number};
      // Others may wait for the answer, longer than this task has time: only large values are held back.
      transmit(owner, header, nullptr, std::move(put),
               operation == ReferenceOperation::put ? Waits::heedful : Waits::no);
    }
  } catch (...) {
    if (take_pending(number))
      answer->set_failure(encode_failure(std::current_exception(), self_), std::current_exception());
  }
  return answer;
}

CorePointer Calls::ask_about(const CorePointer& core, ReferenceOperation operation, Payload&& put) {
  {
    const std::lock_guard lock(references_mutex_);
    if (core->settled(true)) return nullptr;
    ++core->questions;
  }
  touch(*core);  // the question makes a slot there, which its first holder has to let go
  auto answer = request(*core, operation, std::move(put));
  answer->when_settled(false, [this, asking = std::weak_ptr(core)] {
    if (const auto asker = asking.lock()) answered(*asker);
  });
  return answer;
}

bool Calls::is_ready(const CorePointer& core) {
  if (core->settled(false)) return true;
  if (core->state() == FutureCore::State::pending) return false;
  const auto answer = ask_about(core, ReferenceOperation::is_ready, {});
  if (!answer) return true;
  detail::require_value(answer, {});
  return answer->take_payload().bytes.size() == 1;
}

void Calls::pursue(const CorePointer& core, bool needs_value) {
  if (needs_value) core->value_wanted = true;
  // What is pending comes by itself; should it then turn out to stay with its owner, on_stored sees that it is wanted.
  if (core->settled(needs_value) || core->state() == FutureCore::State::pending) return;
  if (needs_value ? core->value_requested.exchange(true) : core->wait_requested.exchange(true)) return;
  const auto answer = ask_about(core, needs_value ? ReferenceOperation::fetch : ReferenceOperation::wait, {});
  if (!answer) return;
  // Who gave up waiting may drop the handle: the question does not keep it.
  answer->when_settled(false, [this, asking = std::weak_ptr(core), answer = answer.get()] {
    const auto asker = asking.lock();
    if (!asker) return;
    switch (answer->state()) {
      case FutureCore::State::here:
        asker->set_value(answer->take_payload());
        let_go(*asker);
        break;
      case FutureCore::State::failed:
        asker->set_failure(answer->encoded_failure(), answer->failure());
        let_go(*asker);
        break;
      default: asker->set_remote();
    }
  });
}

void Calls::fulfil(const CorePointer& core, Payload&& value) {
  const auto already = [] { throw std::future_error(std::future_errc::promise_already_satisfied); };
  if (!core->task && core->state() == FutureCore::State::failed) core->throw_failure();  // its owner is gone
  if (core->task || core->settled(false)) already();
  settle_puts(core->owner(), Waits::heedful);
  Payload own = value;
  own.own();
  const auto answer = ask_about(core, ReferenceOperation::put, std::move(value));
  if (!answer) already();
  detail::require_value(answer, {});
  if (answer->take_payload().bytes.empty()) already();
  core->set_value(std::move(own));
  let_go(*core);
}

std::size_t Calls::values_owned() const {
  const std::lock_guard lock(references_mutex_);
  return store_.size();
}

Calls::Kept Calls::kept() const {
  Kept kept;
  kept.calls = calls_in_flight();
  {
    const std::lock_guard lock(tasks_mutex_);
    kept.tasks = tasks_.size();
  }
  const std::lock_guard lock(references_mutex_);
  kept.values = store_.size();
  kept.held = held_.size();
  kept.handles = handles_.size();
  kept.retaining = retaining_.size() + cancelled_.size();
  return kept;
}

// -- as owner ---------------------------------------------------------------------------------------------------------

void Calls::on_reference_request(Incoming& message, Pid sender) {
  const auto ref = strip_reference(message.payload);
  const auto operation = static_cast<ReferenceOperation>(message.header.code);
  if (operation < ReferenceOperation::fetch || operation > ReferenceOperation::withdraw)
    throw SerializationError("An unknown request about a reference");
  ask_here({sender, message.header.number}, operation, ref, std::move(message.payload), message.header.flags != 0);
}

void Calls::ask_here(Asker asker, ReferenceOperation operation, RemoteRefId ref, Payload&& put, bool task) {
  std::vector<Answer> answers;
  ValueStore::Freed freed;
  if (operation == ReferenceOperation::withdraw) {
    const auto job = take_unstarted(ref.creator, ref.number);
    send_answer({asker, job ? Answer::What::yes : Answer::What::no, nullptr});
    // After the answer: should this process die between the two, nobody takes the withdrawal for the task's own
    // failure.
    if (job) job->fail(std::make_exception_ptr(CancelledError("The task was withdrawn before it started")));
    return;
  }
  if (operation == ReferenceOperation::cancel && on_cancel(ref.creator, ref.number)) {
    answers.push_back({asker, Answer::What::yes, nullptr});
  } else {
    const auto stored = stored_value(std::move(put));
    const std::lock_guard lock(references_mutex_);
    store_.request(asker, operation, ref, stored, answers, task);
    freed = store_.collect(answers);  // what nobody holds any more has no other occasion to say so
  }
  send_answers(answers);
  discard(freed);
}

void Calls::send_answers(std::vector<Answer>& answers) {
  for (const Answer& answer : std::exchange(answers, {})) send_answer(answer);
}

void Calls::send_answer(const Answer& answer) {
  Header header{.kind = MessageKind::reply_value, .number = answer.to.number};
  Payload payload;
  switch (answer.what) {
    case Answer::What::value: payload = answer.result->value; break;
    case Answer::What::ready: header.kind = MessageKind::reply_stored; break;
    case Answer::What::yes: payload = one_byte(); break;
    case Answer::What::no:
    case Answer::What::already_set: break;
    case Answer::What::failure:
      header.kind = MessageKind::reply_failure;
      payload = failure_payload(answer.result->failure);
      break;
    case Answer::What::gone:
      header.kind = MessageKind::reply_failure;
      payload = failure_payload(encode_failure(
          std::make_exception_ptr(Error("Process " + std::to_string(self_) + " does not keep that value any more")),
          self_));
      break;
  }
  answer_to(answer.to.pid, header, std::move(payload));
}

void Calls::answer_to(Pid asker, Header header, Payload&& payload) {
  if (asker != self_) {
    try {
      send_control(asker, header, std::move(payload));
    } catch (const SerializationError&) {  // the value is too large to be sent
      header.kind = MessageKind::reply_failure;
      send_control(asker, header, failure_payload(encode_failure(std::current_exception(), self_)));
    }
  } else if (header.kind == MessageKind::reply_value) {
    on_value(header.number, self_, std::move(payload));
  } else if (header.kind == MessageKind::reply_stored) {
    on_stored(header.number, self_);
  } else {
    const auto bytes = payload.bytes.bytes();
    on_failure(header.number, self_, {bytes.begin(), bytes.end()});
  }
}

bool Calls::retain_here(RemoteRefId ref, Pid receiver, Pid sender) {
  // In one step: should the creator die meanwhile, the receiver's count is there or its message was not heard.
  const std::lock_guard tasks(tasks_mutex_);
  const std::lock_guard references(references_mutex_);
  CallJob* const running = tasks_.find(ref);
  if (running != nullptr) {
    running->keep = true;
    store_.expect(ref);
  }
  const bool kept = store_.retain(ref) || running != nullptr;
  store_.apply({.kind = RefNote::Kind::add, .ref = ref, .holder = receiver, .count = 1, .sender = sender});
  return kept;
}

void Calls::on_retain(Pid creator, std::uint64_t number, Pid receiver) {
  const bool kept = retain_here({creator, number}, receiver, creator);
  send_control(
      creator,
      Header{.kind = MessageKind::retained, .flags = static_cast<std::uint8_t>(kept ? 1 : 0), .number = number}, {});
}

void Calls::on_retained(RemoteRefId ref, Pid owner, bool kept) {
  CorePointer core;
  {
    const std::lock_guard lock(references_mutex_);
    const auto found = retaining_.find(ref);
    if (found == retaining_.end()) return;
    if (found->second->owner() != owner) throw SerializationError("It answers for a value that it does not own");
    core = std::move(found->second);
    retaining_.erase(found);
  }
  // Where it was not kept, the answer came before the owner heard that others want it: it is here, and goes back.
  if (!kept) {
    core->when_settled(false, [this, core, ref] {
      if (core->state() == FutureCore::State::failed)
        give_back(core->owner(), ref, failure_payload(core->encoded_failure()), true);
      else if (core->state() == FutureCore::State::here)
        give_back(core->owner(), ref, core->encoded_value(), false);
      // Otherwise the owner was about to keep it.
    });
  }
  answered(*core);
}

void Calls::give_back(Pid owner, RemoteRefId ref, Payload&& payload, bool failed) {
  append_reference(payload, ref);
  if (owner == self_) {
    fill_here(ref, std::move(payload), failed);
    return;
  }
  const Header header{.kind = MessageKind::fill, .flags = static_cast<std::uint8_t>(failed ? 1 : 0)};
  try {
    send_control(owner, header, std::move(payload));
  } catch (const SerializationError&) {  // too large to be sent
    give_back(owner, ref, failure_payload(encode_failure(std::current_exception(), self_)), true);
  }
}

void Calls::on_fill(Incoming& message, Pid sender) {
  Payload& payload = message.payload;
  const auto ref = FieldReader(payload.bytes.bytes().last(std::min(payload.bytes.size(), reference_size))).reference();
  if (ref.creator != sender) throw SerializationError("A value was filled in by a process that did not start its task");
  fill_here(ref, std::move(payload), message.header.flags != 0);
}

void Calls::fill_here(RemoteRefId ref, Payload&& payload, bool failed) {
  (void)strip_reference(payload);
  auto stored = std::make_shared<StoredResult>();
  stored->failed = failed;
  if (failed) {
    const auto bytes = payload.bytes.bytes();
    stored->failure.assign(bytes.begin(), bytes.end());
  } else {
    payload.own();
    stored->value = std::move(payload);
  }
  std::vector<Answer> answers;
  {
    const std::lock_guard lock(references_mutex_);
    if (store_.contains(ref)) store_.store(ref, stored, answers);
  }
  send_answers(answers);
}

}  // namespace muster::runtime
