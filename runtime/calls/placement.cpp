#include "runtime/calls/placement.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace muster::runtime {

std::size_t Placement::place_of(Pid worker) const {
  const auto found = std::lower_bound(workers_.begin(), workers_.end(), worker);
  return found != workers_.end() && *found == worker ? static_cast<std::size_t>(found - workers_.begin()) : none;
}

void Placement::build(const std::vector<std::size_t>& loads) {
  leaves_ = std::bit_ceil(loads.size());
  least_.assign(2 * leaves_, none);
  std::copy(loads.begin(), loads.end(), least_.begin() + static_cast<std::ptrdiff_t>(leaves_));
  for (std::size_t at = leaves_ - 1; at > 0; --at) least_[at] = std::min(least_[2 * at], least_[2 * at + 1]);
}

void Placement::set_load(std::size_t place, std::size_t load) {
  load_at(place) = load;
  for (std::size_t at = (leaves_ + place) / 2; at > 0; at /= 2) {
    const std::size_t least = std::min(least_[2 * at], least_[2 * at + 1]);
    if (std::exchange(least_[at], least) == least) return;
  }
}

void Placement::joined(Pid worker) {
  const auto next = std::lower_bound(workers_.begin(), workers_.end(), worker);
  if (next != workers_.end() && *next == worker) return;
  const auto place = static_cast<std::size_t>(next - workers_.begin());
  workers_.insert(next, worker);
  if (place + 1 == workers_.size() && place < leaves_) {
    set_load(place, 0);
    return;
  }
  std::vector<std::size_t> loads;
  for (std::size_t i = 0; i < workers_.size(); ++i) loads.push_back(i == place ? 0 : load_at(i < place ? i : i - 1));
  build(loads);
}

void Placement::left(Pid worker) {
  const std::size_t place = place_of(worker);
  if (place == none) return;
  std::vector<std::size_t> loads;
  for (std::size_t i = 0; i < workers_.size(); ++i)
    if (i != place) loads.push_back(load_at(i));
  workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(place));
  build(loads);
  turns_.erase(worker);
}

std::size_t Placement::next_with(std::size_t least, std::size_t place) const {
  if (place >= leaves_) return none;
  std::size_t at = leaves_ + place;
  while (least_[at] != least) {
    while (at % 2 == 1) at /= 2;  // nothing more in this part
    if (at == 0) return none;
    ++at;
  }
  while (at < leaves_) {
    at *= 2;
    if (least_[at] != least) ++at;
  }
  return at - leaves_;
}

Pid Placement::choose() {
  if (workers_.empty()) return 1;
  const std::size_t least = least_[1];
  const auto after_last = std::upper_bound(workers_.begin(), workers_.end(), last_chosen_) - workers_.begin();
  std::size_t next = next_with(least, static_cast<std::size_t>(after_last));
  if (next == none) next = next_with(least, 0);
  last_chosen_ = workers_[next];
  return last_chosen_;
}

Pid Placement::choose_among(std::span<const Pid> workers) {
  Pid chosen = 0;
  std::pair<std::size_t, std::uint64_t> least;
  for (const Pid worker : workers) {
    const std::size_t place = place_of(worker);
    if (place == none) continue;
    const auto turn = turns_.find(worker);
    const std::pair here(load_at(place), turn == turns_.end() ? 0 : turn->second);
    if (chosen != 0 && here >= least) continue;
    chosen = worker;
    least = here;
  }
  if (chosen != 0) turns_[chosen] = ++last_turn_;
  return chosen;
}

void Placement::sent(Pid worker) {
  if (const std::size_t place = place_of(worker); place != none) set_load(place, load_at(place) + 1);
}

void Placement::finished(Pid worker) {
  const std::size_t place = place_of(worker);
  if (place != none && load_at(place) != 0) set_load(place, load_at(place) - 1);
}

std::size_t Placement::outstanding(Pid worker) const {
  const std::size_t place = place_of(worker);
  return place == none ? 0 : load_at(place);
}

}  // namespace muster::runtime
