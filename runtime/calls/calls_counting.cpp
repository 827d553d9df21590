// Who holds a handle to what: notes about references, and questions that they raise.

#include "runtime/base/log.hpp"
#include "runtime/calls/calls.hpp"
#include "runtime/calls/message_contents.hpp"

namespace muster::runtime {

using detail::Payload;

void Calls::flush_notes() {
  ValueStore::Freed freed;  // destroyed without any lock
  std::vector<Answer> answers;
  flush_notes_to(freed, answers);
  send_answers(answers);
  discard(freed);
}

void Calls::flush_notes_to(ValueStore::Freed& freed, std::vector<Answer>& answers) {
  const std::lock_guard in_order(flush_mutex_);
  notes_waiting_ = false;
  std::vector<std::pair<Pid, std::vector<RefNote>>> batches;
  {
    const std::lock_guard lock(references_mutex_);
    for (const Pid owner : held_.notes().owners()) {
      auto notes = held_.notes().take(owner);
      if (owner == self_) {
        for (const RefNote& note : notes) store_.apply(note);
        freed = store_.collect(answers);
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
    try {
      post(owner, router_.link_to(owner),
           Header{.kind = MessageKind::reference_notes, .code = static_cast<std::uint32_t>(notes.size())},
           std::move(payload));
    } catch (const std::exception& error) {
      log::debug("Notes for process " + std::to_string(owner) + " were dropped: " + error.what());
    }
  }
}

void Calls::on_notes(Incoming& message, Pid sender) {
  FieldReader in(message.payload.bytes.bytes());
  if (message.header.kind == MessageKind::reference_question) {
    const Pid about = in.i32();
    const std::lock_guard lock(references_mutex_);
    held_.question(sender, about);
    note_waiting();
    return;
  }
  ValueStore::Freed freed;
  std::vector<Answer> answers;
  {
    const std::lock_guard lock(references_mutex_);
    for (std::uint32_t i = 0; i < message.header.code; ++i) {
      RefNote note;
      const auto kind = in.u8();
      if (kind > static_cast<std::uint8_t>(RefNote::Kind::settle))
        throw SerializationError("An unknown note about a reference");
      note.kind = static_cast<RefNote::Kind>(kind);
      note.ref = in.reference();
      note.holder = in.i32();
      note.sender = in.i32();
      note.count = in.u32();
      store_.apply(note);
    }
    in.finish();
    freed = store_.collect(answers);
  }
  send_answers(answers);
  discard(freed);
  ask_questions();
}

void Calls::ask_questions() {
  std::vector<RefQuestion> questions;
  {
    const std::lock_guard lock(references_mutex_);
    questions = store_.take_questions();
    for (const RefQuestion& question : questions)
      if (question.holder == self_) held_.question(self_, question.sender);
    if (!questions.empty()) note_waiting();
  }
  for (const RefQuestion& question : questions) {
    if (question.holder == self_) continue;
    Payload payload;
    FieldWriter(payload.bytes).i32(question.sender);
    send_control(question.holder, Header{.kind = MessageKind::reference_question}, std::move(payload));
  }
}

}  // namespace muster::runtime
