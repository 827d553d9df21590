// Values that live elsewhere: what goes back and forth about them.

#include "runtime/base/failure.hpp"
#include "runtime/base/log.hpp"
#include "runtime/calls/call_job.hpp"
#include "runtime/calls/calls.hpp"

#include <future>

namespace muster::runtime {

using detail::CorePointer;
using detail::FutureCore;
using detail::Handle;
using detail::HandleKind;
using detail::Payload;

namespace {

/// A reference behind the contents of a message.
constexpr std::size_t reference_size = sizeof(std::int32_t) + sizeof(std::uint64_t);

void append_reference(Payload& payload, const RemoteRefId& ref) { FieldWriter(payload.bytes).reference(ref); }

RemoteRefId strip_reference(Payload& payload) {
  if (payload.bytes.size() < reference_size) throw SerializationError("A message about a reference does not name it");
  const std::size_t rest = payload.bytes.size() - reference_size;
  const auto ref = FieldReader(payload.bytes.bytes().subspan(rest)).reference();
  payload.bytes.truncate(rest);
  return ref;
}

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

// -- handles of this process ---------------------------------------------------------------------------------------------

CorePointer Calls::make_promise(Pid where) {
  return make_core(where == 0 ? self_.load() : where, FutureCore::State::elsewhere);
}

void Calls::touch(FutureCore& core) {
  const std::lock_guard lock(references_mutex_);
  if (core.counted) return;
  core.counted = true;
  held_.created(core.id(), core.owner());
}

void Calls::let_go(FutureCore& core) {
  const std::lock_guard lock(references_mutex_);
  if (!core.counted) return;
  core.counted = false;
  held_.dropped(core.id());
  note_waiting();
}

void Calls::note_waiting() {
  if (!notes_waiting_.exchange(true)) transport_.kick();  // whoever receives sends them
}

void Calls::release(FutureCore& core) noexcept {
  try {
    const std::lock_guard lock(references_mutex_);
    if (core.counted) {
      held_.dropped(core.id());
      note_waiting();
    }
    if (const auto found = handles_.find(core.id()); found != handles_.end() && found->second.expired()) handles_.erase(found);
  } catch (const std::exception& error) {
    log::error(std::string("Cannot release a reference: ") + error.what());
  }
}

void Calls::announce_handles(const Payload& payload, Pid receiver) {
  for (const auto& handle : payload.handles) {
    auto core = std::dynamic_pointer_cast<FutureCore>(handle);
    if (!core) throw SerializationError("A handle of a kind that can't be sent");
    bool retain = false;
    {
      const std::lock_guard lock(references_mutex_);
      handles_[core->id()] = core;
      if (core->task && core->id().creator == self_ && !core->counted) {
        retain = true;  // the owner does not know yet that its result will be wanted there
        retaining_[core->id()] = core;
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
      send_control(core->owner(), Header{.kind = MessageKind::retain, .number = core->id().number}, std::move(out));
    }
  }
}

std::shared_ptr<Handle> Calls::handle_of(const HandleRecord& record) {
  auto& known = handles_[record.id];
  if (auto handle = known.lock()) return handle;
  if (record.kind != HandleKind::future) throw SerializationError("A message names a handle of an unknown kind");
  auto core = std::make_shared<FutureCore>(anchor_, record.id, record.owner, FutureCore::State::elsewhere);
  known = core;
  return core;
}

void Calls::receive_handles(Incoming& message, Pid sender) {
  for (const HandleRecord& record : message.handles) {
    const std::lock_guard lock(references_mutex_);
    auto handle = handle_of(record);
    held_.received(record.id, handle->owner(), sender);
    if (auto* core = dynamic_cast<FutureCore*>(handle.get())) core->counted = true;
    message.payload.handles.push_back(std::move(handle));
  }
}

// -- asking the owner ---------------------------------------------------------------------------------------------------------

CorePointer Calls::request(Pid owner, ReferenceOperation operation, RemoteRefId ref, Payload&& put) {
  auto answer = make_core(owner, FutureCore::State::pending);
  const auto number = answer->id().number;
  {
    const std::lock_guard lock(pending_mutex_);
    pending_.emplace(number, PendingCall{answer, owner, false, true});
  }
  try {
    if (owner == self_) {
      std::vector<Answer> answers;
      if (operation == ReferenceOperation::cancel && on_cancel(ref.creator, ref.number)) {
        answers.push_back({{self_, number}, Answer::What::yes, nullptr});
      } else {
        auto stored = stored_value(std::move(put));
        const std::lock_guard lock(references_mutex_);
        store_.request({self_, number}, operation, ref, std::move(stored), answers);
      }
      send_answers(answers);
    } else {
      append_reference(put, ref);
      transmit(owner,
               Header{.kind = MessageKind::reference_request, .code = static_cast<std::uint32_t>(operation), .number = number},
               nullptr, std::move(put), true);
    }
  } catch (...) {
    if (const auto call = take_pending(number))
      answer->set_failure(encode_failure(std::current_exception(), self_), std::current_exception());
  }
  return answer;
}

void Calls::pursue(const CorePointer& core, bool needs_value) {
  if (needs_value) core->value_wanted = true;
  // What is pending comes by itself; should it then turn out to stay with its owner, on_stored sees that it is wanted.
  if (core->settled(needs_value) || core->state() == FutureCore::State::pending) return;
  if (needs_value ? core->value_requested.exchange(true) : core->wait_requested.exchange(true)) return;
  touch(*core);
  const auto answer =
      request(core->owner(), needs_value ? ReferenceOperation::fetch : ReferenceOperation::wait, core->id(), {});
  answer->when_settled(false, [this, core, answer = answer.get()] {
    switch (answer->state()) {
      case FutureCore::State::here:
        core->set_value(answer->take_payload());
        let_go(*core);
        break;
      case FutureCore::State::failed:
        core->set_failure(answer->encoded_failure(), answer->failure());
        let_go(*core);
        break;
      default:
        core->set_remote();
    }
  });
}

void Calls::fulfil(const CorePointer& core, Payload&& value) {
  const auto already = [] { throw std::future_error(std::future_errc::promise_already_satisfied); };
  if (core->task || core->settled(false)) already();
  touch(*core);
  Payload own = value;
  own.own();
  const auto answer = request(core->owner(), ReferenceOperation::put, core->id(), std::move(value));
  detail::require_value(answer, {});
  if (answer->take_payload().bytes.empty()) already();
  core->set_value(std::move(own));
  let_go(*core);
}

std::size_t Calls::values_owned() const {
  const std::lock_guard lock(references_mutex_);
  return store_.size();
}

// -- as owner -------------------------------------------------------------------------------------------------------------------

void Calls::on_reference_request(Incoming& message, Pid sender) {
  const auto ref = strip_reference(message.payload);
  const auto operation = static_cast<ReferenceOperation>(message.header.code);
  if (operation < ReferenceOperation::fetch || operation > ReferenceOperation::cancel)
    throw SerializationError("An unknown request about a reference");
  const Asker asker{sender, message.header.number};
  std::vector<Answer> answers;
  if (operation == ReferenceOperation::cancel && on_cancel(ref.creator, ref.number)) {
    answers.push_back({asker, Answer::What::yes, nullptr});
  } else {
    auto stored = stored_value(std::move(message.payload));
    const std::lock_guard lock(references_mutex_);
    store_.request(asker, operation, ref, std::move(stored), answers);
  }
  send_answers(answers);
}

void Calls::send_answers(std::vector<Answer>& answers) {
  for (const Answer& answer : std::exchange(answers, {})) send_answer(answer);
}

void Calls::send_answer(const Answer& answer) {
  Header header{.kind = MessageKind::reply_value, .number = answer.to.number};
  Payload payload;
  switch (answer.what) {
    case Answer::What::value:
      payload = answer.result->value;
      break;
    case Answer::What::ready:
      header.kind = MessageKind::reply_stored;
      break;
    case Answer::What::yes:
      payload = one_byte();
      break;
    case Answer::What::no:
    case Answer::What::already_set:
      break;
    case Answer::What::failure:
      header.kind = MessageKind::reply_failure;
      payload.bytes.append(answer.result->failure.data(), answer.result->failure.size());
      break;
  }
  if (answer.to.pid != self_) {
    send_control(answer.to.pid, header, std::move(payload));
  } else if (header.kind == MessageKind::reply_value) {
    on_value(header.number, std::move(payload));
  } else if (header.kind == MessageKind::reply_stored) {
    on_stored(header.number, self_);
  } else {
    on_failure(header.number, answer.result->failure);
  }
}

bool Calls::retain_here(RemoteRefId ref, Pid receiver, Pid sender) {
  bool running = false;
  {
    const std::lock_guard lock(tasks_mutex_);
    if (const auto found = tasks_.find({ref.creator, ref.number}); found != tasks_.end()) {
      found->second->keep = true;
      running = true;
      const std::lock_guard references(references_mutex_);
      store_.expect(ref);
    }
  }
  const std::lock_guard lock(references_mutex_);
  const bool kept = store_.retain(ref) || running;
  store_.apply({.kind = RefNote::Kind::add, .ref = ref, .holder = receiver, .count = 1, .sender = sender});
  return kept;
}

void Calls::on_retain(Pid creator, std::uint64_t number, Pid receiver) {
  const bool kept = retain_here({creator, number}, receiver, creator);
  send_control(creator, Header{.kind = MessageKind::retained, .flags = static_cast<std::uint8_t>(kept ? 1 : 0), .number = number}, {});
}

void Calls::on_retained(RemoteRefId ref, Pid owner, bool kept) {
  CorePointer core;
  {
    const std::lock_guard lock(references_mutex_);
    const auto found = retaining_.find(ref);
    if (found == retaining_.end()) return;
    core = std::move(found->second);
    retaining_.erase(found);
  }
  if (kept) return;
  // The answer came before the owner heard that others want it: it is here, and goes back.
  core->when_settled(true, [this, core, owner, ref] {
    const bool failed = core->state() == FutureCore::State::failed;
    Payload payload;
    if (failed)
      payload.bytes.append(core->encoded_failure().data(), core->encoded_failure().size());
    else
      payload = core->encoded_value();
    append_reference(payload, ref);
    if (owner == self_) {
      fill_here(ref, std::move(payload), failed);
    } else {
      send_control(owner, Header{.kind = MessageKind::fill, .flags = static_cast<std::uint8_t>(failed ? 1 : 0)},
                   std::move(payload));
    }
  });
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
    if (store_.contains(ref)) store_.store(ref, std::move(stored), answers);
  }
  send_answers(answers);
}

// -- counting -------------------------------------------------------------------------------------------------------------------

void Calls::flush_notes() {
  notes_waiting_ = false;
  std::vector<std::pair<Pid, std::vector<RefNote>>> batches;
  std::vector<std::shared_ptr<const StoredResult>> freed;
  {
    const std::lock_guard lock(references_mutex_);
    for (const Pid owner : held_.notes().owners()) {
      auto notes = held_.notes().take(owner);
      if (owner == self_) {
        for (const RefNote& note : notes) store_.apply(note);
        freed = store_.collect();
      } else {
        batches.emplace_back(owner, std::move(notes));
      }
    }
  }
  for (auto& [owner, notes] : batches) {
    Payload payload;
    FieldWriter out(payload.bytes);
    for (const RefNote& note : notes) {
      out.u8(static_cast<std::uint8_t>(note.kind));
      out.reference(note.ref);
      out.i32(note.holder);
      out.i32(note.sender);
      out.u32(note.count);
    }
    send_control(owner, Header{.kind = MessageKind::reference_notes, .code = static_cast<std::uint32_t>(notes.size())},
                 std::move(payload));
  }
}

void Calls::on_notes(Incoming& message, Pid sender) {
  FieldReader in(message.payload.bytes.bytes());
  if (message.header.kind == MessageKind::reference_question) {
    const Pid about = in.i32();
    const std::lock_guard lock(references_mutex_);
    held_.question(sender, about);
    notes_waiting_ = true;
    return;
  }
  std::vector<std::shared_ptr<const StoredResult>> freed;
  {
    const std::lock_guard lock(references_mutex_);
    for (std::uint32_t i = 0; i < message.header.code; ++i) {
      RefNote note;
      const auto kind = in.u8();
      if (kind > static_cast<std::uint8_t>(RefNote::Kind::settle)) throw SerializationError("An unknown note about a reference");
      note.kind = static_cast<RefNote::Kind>(kind);
      note.ref = in.reference();
      note.holder = in.i32();
      note.sender = in.i32();
      note.count = in.u32();
      store_.apply(note);
    }
    in.finish();
    freed = store_.collect();
  }
  ask_questions();
}

void Calls::ask_questions() {
  std::vector<RefQuestion> questions;
  {
    const std::lock_guard lock(references_mutex_);
    questions = store_.take_questions();
    for (const RefQuestion& question : questions)
      if (question.holder == self_) held_.question(self_, question.sender);
    if (!questions.empty()) notes_waiting_ = true;
  }
  for (const RefQuestion& question : questions) {
    if (question.holder == self_) continue;
    Payload payload;
    FieldWriter(payload.bytes).i32(question.sender);
    send_control(question.holder, Header{.kind = MessageKind::reference_question}, std::move(payload));
  }
}

}  // namespace muster::runtime
