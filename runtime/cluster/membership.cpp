#include "runtime/cluster/membership.hpp"

#include "runtime/base/address.hpp"
#include "runtime/cluster/host_identity.hpp"

#include <algorithm>
#include <stdexcept>

namespace muster::runtime {

namespace {

bool is_hidden(const Member& member) { return is_loopback(host_in(member.endpoint)); }

}  // namespace

bool dials(const Member& from, const Member& to) {
  if (from.host_identity != to.host_identity && is_hidden(from) != is_hidden(to)) return is_hidden(from);
  return from.pid > to.pid;
}

bool hidden_from_each_other(const Member& a, const Member& b) {
  const auto network_a = network_identity(a.host_identity), network_b = network_identity(b.host_identity);
  return is_hidden(a) && is_hidden(b) && !network_a.empty() && !network_b.empty() && network_a != network_b;
}

const char* name_of(Topology topology) {
  switch (topology) {
    case Topology::all_to_all: return "all_to_all";
    case Topology::master_worker: return "master_worker";
    case Topology::custom: return "custom";
  }
  return "unknown";
}

void Membership::set_topology(Topology topology, bool lazy) {
  if (members_.size() > 1 && topology != topology_) {
    throw std::invalid_argument(std::string("muster: workers with topology ") + name_of(topology_) +
                                " exist already; the requested topology " + name_of(topology) +
                                " can't be set. Remove them first, or ask for the same topology.");
  }
  if (members_.size() > 1 && lazy != lazy_) {
    throw std::invalid_argument(std::string("muster: workers with lazy=") + (lazy_ ? "true" : "false") +
                                " exist already; lazy=" + (lazy ? "true" : "false") +
                                " can't be set. Remove them first, or ask for the same.");
  }
  topology_ = topology;
  lazy_ = lazy;
}

bool Membership::add(Member member) {            // NOLINT(performance-unnecessary-value-param): it is moved from
  if (gone_.contains(member.pid)) return false;  // its end was heard of first
  const Pid pid = member.pid;
  return members_.try_emplace(pid, std::move(member)).second;
}

bool Membership::remove(const WorkerExit& exit) {
  const bool was_there = members_.erase(exit.pid) != 0;
  leaving_.erase(exit.pid);
  gone_.try_emplace(exit.pid, exit);
  return was_there;
}

void Membership::set_leaving(Pid pid) {
  if (members_.contains(pid)) leaving_.insert(pid);
}

const Member* Membership::find(Pid pid) const {
  const auto found = members_.find(pid);
  return found == members_.end() ? nullptr : &found->second;
}

const WorkerExit* Membership::exit_of(Pid pid) const {
  const auto found = gone_.find(pid);
  return found == gone_.end() ? nullptr : &found->second;
}

std::vector<Pid> Membership::pids() const {
  std::vector<Pid> all;
  all.reserve(members_.size());
  for (const auto& [pid, member] : members_) all.push_back(pid);
  return all;
}

std::vector<Pid> Membership::pids_staying() const {
  std::vector<Pid> all = pids();
  std::erase_if(all, [this](Pid pid) { return leaving_.contains(pid); });
  return all;
}

std::vector<Pid> Membership::pids_on_host_of(Pid pid) const {
  const Member* known = find(pid);
  if (known == nullptr) throw std::invalid_argument("muster: there is no process " + std::to_string(pid));
  std::vector<Pid> same;
  for (const auto& [other, member] : members_)
    if (other == pid || member.host_identity == known->host_identity) same.push_back(other);
  return same;
}

bool Membership::one_host(const std::vector<Pid>& pids) const {
  if (pids.empty()) return true;
  const auto same = pids_on_host_of(pids.front());
  return std::all_of(pids.begin(), pids.end(), [&](Pid pid) {
    if (find(pid) == nullptr) throw std::invalid_argument("muster: there is no process " + std::to_string(pid));
    return std::binary_search(same.begin(), same.end(), pid);
  });
}

std::vector<Member> Membership::members() const {
  std::vector<Member> all;
  all.reserve(members_.size());
  for (const auto& [pid, member] : members_) all.push_back(member);
  return all;
}

bool Membership::may_talk(const Member& a, const Member& b) const {
  if (a.pid == b.pid || a.pid == 1 || b.pid == 1 || topology_ == Topology::all_to_all) return true;
  if (topology_ == Topology::master_worker) return false;
  const auto names = [](const Member& one, const Member& other) {
    return !other.ident.empty() &&
           std::find(one.connect_idents.begin(), one.connect_idents.end(), other.ident) != one.connect_idents.end();
  };
  return names(a, b) || names(b, a);
}

bool Membership::may_talk(Pid a, Pid b) const {
  const auto known = [this](Pid pid) {
    const Member* member = find(pid);
    if (member != nullptr) return *member;
    Member unknown;
    unknown.pid = pid;
    return unknown;
  };
  return may_talk(known(a), known(b));
}

void Membership::check_may_talk(Pid a, Pid b) const {
  if (!may_talk(a, b)) {
    throw Error("Process " + std::to_string(a) + " can't call process " + std::to_string(b) + ": the topology " +
                name_of(topology_) +
                " does not connect them. Send the call by way of process 1, or add the workers with "
                "Topology::all_to_all.");
  }
}

}  // namespace muster::runtime
