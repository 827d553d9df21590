#include "runtime/calls/placement.hpp"

#include <utility>

namespace muster::runtime {

void Placement::joined(Pid worker) {
  if (workers_.contains(worker)) return;
  workers_.emplace(worker, slots_.insert({0, worker}).first);
}

void Placement::left(Pid worker) {
  const auto known = workers_.find(worker);
  if (known == workers_.end()) return;
  slots_.erase(known->second);
  workers_.erase(known);
  turns_.erase(worker);
}

Pid Placement::choose() {
  if (slots_.empty()) return 1;
  const std::size_t least = slots_.begin()->outstanding;
  auto next = slots_.upper_bound({least, last_chosen_});
  if (next == slots_.end() || next->outstanding != least) next = slots_.begin();
  last_chosen_ = next->worker;
  return last_chosen_;
}

Pid Placement::choose_among(std::span<const Pid> workers) {
  Pid chosen = 0;
  std::pair<std::size_t, std::uint64_t> least;
  for (const Pid worker : workers) {
    const auto known = workers_.find(worker);
    if (known == workers_.end()) continue;
    const auto turn = turns_.find(worker);
    const std::pair here(known->second->outstanding, turn == turns_.end() ? 0 : turn->second);
    if (chosen != 0 && here >= least) continue;
    chosen = worker;
    least = here;
  }
  if (chosen != 0) turns_[chosen] = ++last_turn_;
  return chosen;
}

void Placement::change(Pid worker, bool more) {
  const auto known = workers_.find(worker);
  if (known == workers_.end()) return;
  const std::size_t outstanding = known->second->outstanding;
  if (!more && outstanding == 0) return;
  auto slot = slots_.extract(known->second);
  slot.value().outstanding = more ? outstanding + 1 : outstanding - 1;
  known->second = slots_.insert(std::move(slot)).position;
}

void Placement::sent(Pid worker) { change(worker, true); }

void Placement::finished(Pid worker) { change(worker, false); }

std::size_t Placement::outstanding(Pid worker) const {
  const auto known = workers_.find(worker);
  return known == workers_.end() ? 0 : known->second->outstanding;
}

}  // namespace muster::runtime
