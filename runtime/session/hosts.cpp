// The public face of hosts, for the session's process.

#include "runtime/session/process.hpp"

#include <muster/hosts.hpp>

#include <algorithm>
#include <iterator>
#include <stdexcept>

namespace muster {

namespace {

using runtime::current_process;
using HostMembers = runtime::Cluster::HostMembers;

/// Whether they are the same but for a domain that one of the two has.
bool is_called(const std::string& host, const std::string& name) {
  if (host == name) return true;
  return host.starts_with(name + ".") || name.starts_with(host + ".");
}

std::string names_of(const std::vector<HostMembers>& hosts) {
  std::string names;
  for (const HostMembers& host : hosts) names += (names.empty() ? "" : ", ") + host.name;
  return names;
}

}  // namespace

std::vector<Host> hosts() {
  std::vector<Host> found;
  for (HostMembers& host : current_process().cluster().hosts())
    found.push_back({std::move(host.name), std::move(host.pids)});
  return found;
}

HostRank host_rank(Pid pid) {
  const auto all = current_process().cluster().hosts();
  for (std::size_t host = 0; host < all.size(); ++host) {
    const std::vector<Pid>& pids = all[host].pids;
    const auto found = std::lower_bound(pids.begin(), pids.end(), pid);
    if (found == pids.end() || *found != pid) continue;
    return {.rank = static_cast<int>(std::distance(pids.begin(), found)),
            .size = static_cast<int>(pids.size()),
            .host = static_cast<int>(host),
            .hosts = static_cast<int>(all.size())};
  }
  throw std::invalid_argument("muster: there is no process " + std::to_string(pid));
}

HostRank host_rank() { return host_rank(myid()); }

Pid AnyOn::choose() const {
  auto& process = current_process();
  const auto all = process.cluster().hosts();
  std::vector<Pid> candidates;
  for (const HostMembers& host : all) {
    if (name_.empty()) {
      std::copy_if(host.staying.begin(), host.staying.end(), std::back_inserter(candidates),
                   [this](Pid pid) { return std::find(pids_.begin(), pids_.end(), pid) != pids_.end(); });
    } else if (is_called(host.name, name_)) {
      candidates.insert(candidates.end(), host.staying.begin(), host.staying.end());
    }
  }
  if (const Pid chosen = process.calls().choose_among(candidates); chosen != 0) return chosen;
  if (!candidates.empty()) return candidates.front();  // the master, or one that the call will say can't be talked to
  throw std::invalid_argument(
      "muster: any_on: " + (name_.empty() ? "no process of that host is left" : "there is no host " + name_) +
      " in this cluster, whose hosts are " + names_of(all) + " (muster::hosts())");
}

}  // namespace muster
