/// @file
/// The hosts of the cluster: which processes share one, and calls to whichever worker of a host is free.
#pragma once

#include <muster/spawn.hpp>

#include <string>
#include <utility>
#include <vector>

namespace muster {

/// A host, and the processes of the cluster that run on it.
struct Host {
  std::string name;                              ///< as it calls itself
  std::vector<Pid> pids;                         ///< sorted; never empty
  bool operator==(const Host&) const = default;  ///< same name, same processes
};

/// All hosts, those with the lowest pids first: the master's is the first one. Hosts are told apart by what they are,
/// not by name. Costs O(processes).
std::vector<Host> hosts();

/// Where a process stands among those of its host, and its host among all. Numbers count from 0, in the order of pids,
/// and change when processes come or go.
struct HostRank {
  int rank = 0;                                      ///< of the process among those of its host
  int size = 1;                                      ///< how many processes its host has
  int host = 0;                                      ///< the index of its host in hosts()
  int hosts = 1;                                     ///< how many hosts there are
  bool operator==(const HostRank&) const = default;  ///< all the same
};

/// The rank of a process on its host. Costs O(processes). @throws std::invalid_argument for one that is not there
HostRank host_rank(Pid pid);
/// The rank of this process on its host.
HostRank host_rank();

/// A place for a call: any worker of a host. Made by any_on.
class AnyOn {
 public:
  /// @param name of the host, as `Host::name`
  explicit AnyOn(std::string name) : name_(std::move(name)) {}
  /// @param pids some of the processes that the host has
  explicit AnyOn(std::vector<Pid> pids) : pids_(std::move(pids)) {}
  /// The worker there with the fewest calls of this process outstanding; of several, the one chosen longest ago. Where
  /// the host has no worker, the master, if it runs there. Workers that were asked to leave are not chosen.
  /// @throws std::invalid_argument where there is none, naming the hosts there are
  Pid choose() const;

 private:
  std::string name_;       ///< empty: by pids_
  std::vector<Pid> pids_;  ///< those that have gone since are passed over
};

/// Any worker of that host: `spawnat(any_on(host), f)`.
inline AnyOn any_on(const Host& host) { return AnyOn(host.pids); }
/// Any worker of the hosts of that name, with or without their domain: `spawnat(any_on("node1"), f)`.
inline AnyOn any_on(std::string name) { return AnyOn(std::move(name)); }
/// Any worker of the host of that process, itself included.
inline AnyOn any_on(Pid pid) { return AnyOn(procs(pid)); }

/// spawnat on any worker of a host.
template <class F, class... A>
auto spawnat(const AnyOn& place, F f, A&&... arguments) {
  return spawnat(place.choose(), std::move(f), std::forward<A>(arguments)...);
}

/// remotecall on any worker of a host.
template <class F, class... A>
auto remotecall(F f, const AnyOn& place, A&&... arguments) {
  return spawnat(place.choose(), std::move(f), std::forward<A>(arguments)...);
}

/// remotecall_fetch on any worker of a host.
template <class F, class... A>
auto remotecall_fetch(F f, const AnyOn& place, A&&... arguments) -> detail::call_result_t<F, A...> {
  return remotecall_fetch(std::move(f), place.choose(), std::forward<A>(arguments)...);
}

/// remotecall_wait on any worker of a host.
template <class F, class... A>
auto remotecall_wait(F f, const AnyOn& place, A&&... arguments) {
  return remotecall_wait(std::move(f), place.choose(), std::forward<A>(arguments)...);
}

/// remote_do on any worker of a host.
template <class F, class... A>
void remote_do(F f, const AnyOn& place, A&&... arguments) {
  remote_do(std::move(f), place.choose(), std::forward<A>(arguments)...);
}

}  // namespace muster
