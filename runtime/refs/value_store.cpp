#include "runtime/refs/value_store.hpp"

#include <utility>

namespace muster::runtime {

ValueStore::Slot& ValueStore::slot(RemoteRefId ref) {
  const auto [found, made] = slots_.try_emplace(ref);
  if (made) counts_.create(ref, ref.creator);
  return found->second;
}

void ValueStore::expect(RemoteRefId ref) {
  Slot& expected = slot(ref);
  expected.task = true;
  expected.expected = true;
}

void ValueStore::store(RemoteRefId ref, std::shared_ptr<const StoredResult> result, std::vector<Answer>& answers) {
  Slot& stored = slot(ref);
  stored.task = true;
  stored.expected = false;
  if (!stored.result) fill(stored, std::move(result), answers);
}

void ValueStore::request(Asker asker, ReferenceOperation operation, RemoteRefId ref,
                         std::shared_ptr<const StoredResult> put, std::vector<Answer>& answers, bool task) {
  Slot& asked = slot(ref);
  if (task && !asked.result) {
    asked.task = true;
    const auto exit = exits_.find(ref.creator);
    if (exit != exits_.end() && !asked.expected) fill(asked, exit->second(), answers);
  }
  switch (operation) {
    case ReferenceOperation::fetch:
    case ReferenceOperation::wait: {
      const Waiting waiting{asker, operation == ReferenceOperation::fetch};
      if (asked.result)
        answer(asked, waiting, answers);
      else
        asked.waiting.push_back(waiting);
      break;
    }
    case ReferenceOperation::is_ready:
      answers.push_back({asker, asked.result ? Answer::What::yes : Answer::What::no, nullptr});
      break;
    case ReferenceOperation::put:
      if (asked.result || asked.task) {
        answers.push_back({asker, Answer::What::already_set, nullptr});
        break;
      }
      answers.push_back({asker, Answer::What::yes, nullptr});
      fill(asked, std::move(put), answers);
      break;
    case ReferenceOperation::cancel:
    case ReferenceOperation::withdraw: answers.push_back({asker, Answer::What::no, nullptr}); break;
  }
}

bool ValueStore::retain(RemoteRefId ref) {
  const auto found = slots_.find(ref);
  if (found != slots_.end() && (found->second.result || found->second.expected)) return true;
  slot(ref).task = true;
  return false;
}

void ValueStore::add_channel(RemoteRefId ref, std::shared_ptr<OwnedChannel> channel) {
  slot(ref).channel = std::move(channel);
}

std::shared_ptr<OwnedChannel> ValueStore::channel(RemoteRefId ref) const {
  const auto found = slots_.find(ref);
  return found == slots_.end() ? nullptr : found->second.channel;
}

std::vector<std::shared_ptr<OwnedChannel>> ValueStore::channels() const {
  std::vector<std::shared_ptr<OwnedChannel>> all;
  for (const auto& [ref, slot] : slots_)
    if (slot.channel) all.push_back(slot.channel);
  return all;
}

void ValueStore::apply(const RefNote& note) {
  counts_.apply(note);
  if (note.kind == RefNote::Kind::add && counts_.contains(note.ref)) slots_.try_emplace(note.ref);
}

void ValueStore::creator_lost(Pid pid, const FailedResult& failure, std::vector<Answer>& answers) {
  for (auto& [ref, slot] : slots_)
    if (ref.creator == pid && slot.task && !slot.expected && !slot.result) fill(slot, failure(), answers);
}

void ValueStore::process_died(Pid pid, const FailedResult& exited, std::vector<Answer>& answers) {
  exits_.try_emplace(pid, exited);
  creator_lost(pid, exited, answers);
  counts_.process_died(pid);
}

ValueStore::Freed ValueStore::collect(std::vector<Answer>& answers) {
  Freed freed;
  for (const RemoteRefId& ref : counts_.take_freed()) {
    const auto found = slots_.find(ref);
    if (found == slots_.end()) continue;
    for (const Waiting& waiting : found->second.waiting)
      answers.push_back({waiting.asker, Answer::What::gone, nullptr});
    freed.results.push_back(std::move(found->second.result));
    if (found->second.channel) freed.channels.push_back(std::move(found->second.channel));
    slots_.erase(found);
  }
  return freed;
}

void ValueStore::answer(const Slot& slot, Waiting waiting, std::vector<Answer>& answers) {
  if (slot.result->failed)
    answers.push_back({waiting.asker, Answer::What::failure, slot.result});
  else if (waiting.wants_value)
    answers.push_back({waiting.asker, Answer::What::value, slot.result});
  else
    answers.push_back({waiting.asker, Answer::What::ready, nullptr});
}

void ValueStore::fill(Slot& slot, std::shared_ptr<const StoredResult> result, std::vector<Answer>& answers) {
  slot.result = std::move(result);
  for (const Waiting& waiting : std::exchange(slot.waiting, {})) answer(slot, waiting, answers);
}

}  // namespace muster::runtime
