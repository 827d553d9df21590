#include "runtime/code/module_arrivals.hpp"

#include <algorithm>
#include <utility>

namespace muster::runtime {

using Actions = ModuleArrivals::Actions;

Actions ModuleArrivals::want(Id module, std::span<const Pid> holders) {
  Actions actions;
  want(module, holders, actions);
  return actions;
}

void ModuleArrivals::want(Id module, std::span<const Pid> holders, Actions& actions) {
  if (here_(module)) {
    if (!coming(module)) entries_.erase(module);  // it had failed, and somebody has loaded it since
    return;
  }
  Entry& entry = entries_[module];
  if (entry.stage == Stage::waiting || entry.stage == Stage::loading) return;
  for (const Pid pid : holders) {
    const bool known = entry.stage == Stage::asked && entry.asked == pid;
    if (!known && std::find(entry.holders.begin(), entry.holders.end(), pid) == entry.holders.end())
      entry.holders.push_back(pid);
  }
  if (entry.stage == Stage::asked) return;
  entry.why.clear();
  if (entry.arrived)
    get_needs(module, entry, actions);
  else
    ask_next(module, entry, actions);
}

void ModuleArrivals::ask_next(Id module, Entry& entry, Actions& actions) {
  if (entry.holders.empty()) {
    settle(module, entry.why.empty() ? "no process is known to have it" : entry.why, actions);
    return;
  }
  entry.stage = Stage::asked;
  entry.asked = entry.holders.front();
  entry.holders.pop_front();
  actions.ask.push_back({module, entry.asked});
}

Actions ModuleArrivals::arrived(Id module, const std::vector<Id>& needs) {
  Actions actions;
  const auto found = entries_.find(module);
  if (found == entries_.end() || found->second.stage != Stage::asked) return actions;
  found->second.arrived = true;
  found->second.needs = needs;
  get_needs(module, found->second, actions);
  return actions;
}

/// Wants those that it needs from where it came, and loads it when they are settled. One that itself waits for this one
/// is left out: then they have no order.
void ModuleArrivals::get_needs(Id module, Entry& entry, Actions& actions) {
  entry.stage = Stage::waiting;
  entry.unsettled.clear();
  const std::vector<Pid> holders{entry.asked};
  for (const Id need : entry.needs) {
    if (need == module || here_(need) || waits_for(need, module)) continue;
    entry.unsettled.push_back(need);  // before it is wanted: it may turn out to need this one
    want(need, holders, actions);
    if (!coming(need)) entry.unsettled.pop_back();
  }
  if (!entry.unsettled.empty()) return;
  entry.stage = Stage::loading;
  actions.load.push_back(module);
}

bool ModuleArrivals::waits_for(Id module, Id other) const {
  const auto found = entries_.find(module);
  if (found == entries_.end() || found->second.stage != Stage::waiting) return false;
  const auto& next = found->second.unsettled;
  return std::any_of(next.begin(), next.end(), [&](Id each) { return each == other || waits_for(each, other); });
}

void ModuleArrivals::settle(Id module, const std::string& failure, Actions& actions) {
  if (failure.empty()) {
    entries_.erase(module);
  } else {
    Entry& entry = entries_[module];
    entry.stage = Stage::failed;
    entry.disappointed = true;
    entry.why = failure;
  }
  actions.settled.push_back({module, failure});
  // Those that need it are loaded even if it failed: whether they can do without it, the loader knows.
  for (auto& [waiting, entry] : entries_) {
    if (entry.stage != Stage::waiting || std::erase(entry.unsettled, module) == 0 || !entry.unsettled.empty()) continue;
    entry.stage = Stage::loading;
    actions.load.push_back(waiting);
  }
}

Actions ModuleArrivals::refused(Id module, Pid from, const std::string& why) {
  Actions actions;
  if (!expects(module, from)) return actions;
  Entry& entry = entries_.at(module);
  if (!entry.why.empty()) entry.why += "; ";
  entry.why += "process " + std::to_string(from) + ": " + why;
  entry.disappointed = true;
  if (here_(module))
    settle(module, {}, actions);
  else
    ask_next(module, entry, actions);
  return actions;
}

Actions ModuleArrivals::gone(Pid pid, const std::string& why) {
  Actions actions;
  std::vector<Id> asked;
  for (auto& [module, entry] : entries_) {
    std::erase(entry.holders, pid);
    if (entry.stage == Stage::asked && entry.asked == pid) asked.push_back(module);
  }
  for (const Id module : asked) {
    Actions next = refused(module, pid, why);
    actions.ask.insert(actions.ask.end(), next.ask.begin(), next.ask.end());
    actions.load.insert(actions.load.end(), next.load.begin(), next.load.end());
    actions.settled.insert(actions.settled.end(), std::make_move_iterator(next.settled.begin()),
                           std::make_move_iterator(next.settled.end()));
  }
  return actions;
}

Actions ModuleArrivals::loaded(Id module) {
  Actions actions;
  if (const auto found = entries_.find(module); found != entries_.end() && found->second.stage == Stage::loading)
    settle(module, {}, actions);
  return actions;
}

Actions ModuleArrivals::load_failed(Id module, const std::string& why) {
  Actions actions;
  if (const auto found = entries_.find(module); found != entries_.end() && found->second.stage == Stage::loading)
    settle(module, why, actions);
  return actions;
}

bool ModuleArrivals::expects(Id module, Pid from) const {
  const auto found = entries_.find(module);
  return found != entries_.end() && found->second.stage == Stage::asked && found->second.asked == from;
}

bool ModuleArrivals::coming(Id module) const {
  const auto found = entries_.find(module);
  return found != entries_.end() && found->second.stage != Stage::failed;
}

bool ModuleArrivals::worth_waiting_for(Id module) const {
  const auto found = entries_.find(module);
  return found != entries_.end() && found->second.stage != Stage::failed && !found->second.disappointed;
}

std::string ModuleArrivals::failure(Id module) const {
  const auto found = entries_.find(module);
  return found == entries_.end() || found->second.stage != Stage::failed ? std::string() : found->second.why;
}

}  // namespace muster::runtime
