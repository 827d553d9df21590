/// @file
/// Who belongs to the cluster, and who may call whom. A state machine without I/O; every process has one. Not
/// thread-safe.
#pragma once

#include "runtime/cluster/handshake.hpp"

#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

namespace muster::runtime {

class Membership {
 public:
  explicit Membership(Topology topology = Topology::all_to_all, bool lazy = true) : topology_(topology), lazy_(lazy) {}

  Topology topology() const { return topology_; }
  bool lazy() const { return lazy_; }
  /// @throws std::invalid_argument when workers live under another topology or laziness.
  void set_topology(Topology topology, bool lazy);

  /// @returns false when it is known already, or gone
  bool add(Member member);
  /// It is gone for good; its exit is remembered. @returns false when it was gone already, or never there
  bool remove(const WorkerExit& exit);
  /// It was asked to leave: a member until it is gone. Of no effect on others.
  void set_leaving(Pid pid);
  const Member* find(Pid pid) const;
  /// How it ended, where it did.
  const WorkerExit* exit_of(Pid pid) const;

  std::vector<Pid> pids() const;
  /// Members but for those that were asked to leave.
  std::vector<Pid> pids_staying() const;
  std::vector<Pid> pids_on_host_of(Pid pid) const;
  bool one_host(const std::vector<Pid>& pids) const;
  std::vector<Member> members() const;

  /// @throws Error naming both pids and the topology when the two may not talk to each other.
  void check_may_talk(Pid a, Pid b) const;
  bool may_talk(Pid a, Pid b) const;
  /// The same of processes that need not be members yet.
  bool may_talk(const Member& a, const Member& b) const;

 private:
  Topology topology_;
  bool lazy_;
  std::map<Pid, Member> members_;
  std::set<Pid> leaving_;
  std::unordered_map<Pid, WorkerExit> gone_;
};

/// Which of two workers connects to the other: the one with the higher pid, so that two first calls that cross make one
/// connection; but where only one of them can be reached from the other's host, the other one.
bool dials(const Member& from, const Member& to);

/// Whether each of the two listens on a loopback that is certainly not the other's.
bool hidden_from_each_other(const Member& a, const Member& b);

/// As API.md spells it.
const char* name_of(Topology topology);

}  // namespace muster::runtime
