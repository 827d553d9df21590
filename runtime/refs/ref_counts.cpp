#include "runtime/refs/ref_counts.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace muster::runtime {

void RefCounts::create(RemoteRefId ref, Pid first_holder) {
  if (buried_.contains(ref)) {
    freed_.push_back(ref);
    return;
  }
  auto [entry, added] = refs_.try_emplace(ref);
  if (!added) return;
  if (!dead_.contains(first_holder)) entry->second.counts.push_back({first_holder, first_holder, 1});
  free_if_unheld(entry);
}

void RefCounts::apply(const RefNote& note) {
  if (note.kind == RefNote::Kind::settle) {
    settle(note.holder, note.sender);
    return;
  }
  if (buried_.contains(note.ref)) return;
  const bool dead_holder = dead_.contains(note.holder);
  const bool dead_sender = dead_.contains(note.sender);
  auto entry = refs_.find(note.ref);
  if (entry == refs_.end()) {
    if (dead_sender || (dead_holder && dead_.contains(note.ref.creator))) return;
    entry = known_or_created(note.ref);
  }
  if (dead_holder) {
    entry->second.touched_by_dead = true;
  } else if (!dead_sender || note.kind == RefNote::Kind::release) {
    change(entry->second, note);
  }
  free_if_unheld(entry);
}

RefCounts::Table::iterator RefCounts::known_or_created(RemoteRefId ref) {
  auto [entry, added] = refs_.try_emplace(ref);
  if (added && !dead_.contains(ref.creator)) entry->second.counts.push_back({ref.creator, ref.creator, 1});
  return entry;
}

void RefCounts::change(Entry& entry, const RefNote& note) {
  auto& counts = entry.counts;
  const auto place = std::lower_bound(counts.begin(), counts.end(), note, [](const Count& a, const RefNote& b) {
    return std::tie(a.holder, a.sender) < std::tie(b.holder, b.sender);
  });
  const bool known = place != counts.end() && place->holder == note.holder && place->sender == note.sender;
  std::int64_t balance = known ? place->balance : 0;
  balance += note.kind == RefNote::Kind::add ? std::int64_t{note.count} : -std::int64_t{note.count};
  // A dead sender's missing adds never come: what is released beyond those that came is no debt.
  if (balance < 0 && dead_.contains(note.sender)) balance = 0;
  if (balance == 0) {
    if (known) counts.erase(place);
  } else if (known) {
    place->balance = balance;
  } else {
    counts.insert(place, {note.holder, note.sender, balance});
  }
}

void RefCounts::free_if_unheld(Table::iterator entry) {
  if (!entry->second.counts.empty()) return;
  const RemoteRefId ref = entry->first;
  // Without its creator a reference is never created as held by it, so late notes for it cancel out by themselves.
  if (entry->second.touched_by_dead && !dead_.contains(ref.creator)) buried_.insert(ref);
  refs_.erase(entry);
  freed_.push_back(ref);
}

template <class Predicate>
void RefCounts::drop_counts(Predicate unwanted) {
  for (auto entry = refs_.begin(); entry != refs_.end();) {
    const auto current = entry++;
    std::erase_if(current->second.counts, [&](const Count& count) { return unwanted(current->second, count); });
    free_if_unheld(current);
  }
}

void RefCounts::process_died(Pid pid) {
  if (!dead_.insert(pid).second) return;
  std::vector<Pid> doubtful;
  drop_counts([&](Entry& entry, const Count& count) {
    if (count.holder == pid) {
      entry.touched_by_dead = true;
      return true;
    }
    if (count.sender != pid) return false;
    if (count.balance < 0) return true;
    doubtful.push_back(count.holder);
    return false;
  });
  std::sort(doubtful.begin(), doubtful.end());
  doubtful.erase(std::unique(doubtful.begin(), doubtful.end()), doubtful.end());
  for (const Pid holder : doubtful) questions_.push_back({holder, pid});
}

void RefCounts::settle(Pid holder, Pid sender) {
  drop_counts([&](const Entry&, const Count& count) { return count.holder == holder && count.sender == sender; });
}

std::vector<RemoteRefId> RefCounts::take_freed() {
  // Nobody has acted on it yet, so what somebody holds again is as if never freed.
  std::erase_if(freed_, [this](const RemoteRefId& ref) { return contains(ref); });
  return std::exchange(freed_, {});
}

std::vector<RefQuestion> RefCounts::take_questions() { return std::exchange(questions_, {}); }

void RefNotes::append(Pid owner, const RefNote& note) {
  auto& notes = waiting_[owner];
  if (!notes.empty()) {
    RefNote& last = notes.back();
    const bool same =
        last.kind == note.kind && last.ref == note.ref && last.holder == note.holder && last.sender == note.sender;
    if (same && note.count <= UINT32_MAX - last.count) {
      last.count += note.count;
      return;
    }
  }
  notes.push_back(note);
}

void RefNotes::add(Pid owner, RemoteRefId ref, Pid holder, Pid sender, std::uint32_t count) {
  append(owner, {RefNote::Kind::add, ref, holder, count, sender});
}

void RefNotes::release(Pid owner, RemoteRefId ref, Pid holder, std::uint32_t count, Pid sender) {
  append(owner, {RefNote::Kind::release, ref, holder, count, sender});
}

void RefNotes::settle(Pid owner, Pid holder, Pid sender) {
  append(owner, {RefNote::Kind::settle, {}, holder, 1, sender});
}

std::vector<RefNote> RefNotes::take(Pid owner) {
  auto taken = waiting_.extract(owner);
  return taken.empty() ? std::vector<RefNote>{} : std::move(taken.mapped());
}

std::vector<Pid> RefNotes::owners() const {
  std::vector<Pid> owners;
  owners.reserve(waiting_.size());
  for (const auto& [owner, notes] : waiting_) owners.push_back(owner);
  return owners;
}

void HeldRefs::count(Held& held, Pid sender, std::uint32_t mentions) {
  const auto known = std::find_if(held.mentions.begin(), held.mentions.end(),
                                  [&](const Mentions& counted) { return counted.sender == sender; });
  if (known != held.mentions.end()) {
    known->count += mentions;
  } else {
    held.mentions.push_back({sender, mentions});
  }
}

void HeldRefs::created(RemoteRefId ref, Pid owner) { received(ref, owner, self_); }

void HeldRefs::received(RemoteRefId ref, Pid owner, Pid sender) {
  count(held_.try_emplace(ref, Held{owner, {}}).first->second, sender, 1);
}

void HeldRefs::sending(RemoteRefId ref, Pid receiver) {
  const auto held = held_.find(ref);
  if (held == held_.end() || dead_.contains(held->second.owner)) return;
  notes_.add(held->second.owner, ref, receiver, self_);
}

void HeldRefs::not_sent(RemoteRefId ref, Pid owner, Pid receiver) {
  if (!dead_.contains(owner)) notes_.release(owner, ref, receiver, 1, self_);
}

void HeldRefs::dropped(RemoteRefId ref) {
  const auto held = held_.extract(ref);
  if (held.empty() || dead_.contains(held.mapped().owner)) return;
  for (const auto& [sender, mentions] : held.mapped().mentions) {
    notes_.release(held.mapped().owner, ref, self_, mentions, sender);
  }
}

void HeldRefs::question(Pid owner, Pid sender) {
  if (dead_.contains(sender)) {
    answer(owner, sender);
  } else {
    early_.push_back({owner, sender});
  }
}

void HeldRefs::answer(Pid owner, Pid sender) {
  for (auto& [ref, held] : held_) {
    if (held.owner != owner) continue;
    const auto counted = std::find_if(held.mentions.begin(), held.mentions.end(),
                                      [&](const Mentions& mentions) { return mentions.sender == sender; });
    if (counted == held.mentions.end()) continue;
    const std::uint32_t mentions = counted->count;
    held.mentions.erase(counted);
    count(held, self_, mentions);
    notes_.add(owner, ref, self_, self_, mentions);
  }
  notes_.settle(owner, self_, sender);
}

void HeldRefs::process_died(Pid pid) {
  dead_.insert(pid);
  notes_.take(pid);
  std::erase_if(early_, [&](const RefQuestion& question) {
    if (question.sender == pid && !dead_.contains(question.holder)) answer(question.holder, pid);
    return question.sender == pid || question.holder == pid;
  });
}

}  // namespace muster::runtime
