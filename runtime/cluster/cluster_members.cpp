// The members of a cluster: what a process knows of them, and how the master lists, tells and removes them.

#include "runtime/cluster/cluster.hpp"

#include <algorithm>

namespace muster::runtime {

namespace {

/// How long the word of a new member may wait for others, for each process that is to be told: to tell one costs about
/// a tenth of it.
constexpr auto news_patience_each = std::chrono::microseconds(250);

/// Members told in one message: few kilobytes, which go through a ring of shared memory.
constexpr std::size_t members_at_once = 256;

}  // namespace

// -- lists ------------------------------------------------------------------------------------------------------------

Member Cluster::self_member() const {
  const std::lock_guard lock(mutex_);
  return member_here();
}

/// With the names its manager gave it.
Member Cluster::member_here() const {
  const Member* known = membership_.find(self_pid_);
  return known != nullptr ? *known : settings_.self;
}

std::vector<Pid> Cluster::procs() const {
  const std::lock_guard lock(mutex_);
  return membership_.pids();
}

std::vector<Pid> Cluster::procs_staying() const {
  const std::lock_guard lock(mutex_);
  return membership_.pids_staying();
}

std::vector<Pid> Cluster::procs_on_host_of(Pid pid) const {
  const std::lock_guard lock(mutex_);
  return membership_.pids_on_host_of(pid);
}

bool Cluster::one_host(const std::vector<Pid>& pids) const {
  const std::lock_guard lock(mutex_);
  return membership_.one_host(pids);
}

std::string Cluster::host_of(Pid pid) const {
  const std::lock_guard lock(mutex_);
  const Member* member = membership_.find(pid);
  return member != nullptr ? member->host : std::string();
}

std::vector<Cluster::HostMembers> Cluster::hosts() const {
  std::vector<HostMembers> found;
  std::unordered_map<std::string, std::size_t> index;
  const std::lock_guard lock(mutex_);
  const std::vector<Pid> staying = membership_.pids_staying();
  for (const Member& member : membership_.members()) {
    const auto [known, is_new] = index.try_emplace(member.host_identity, found.size());
    if (is_new) found.push_back({member.host, {}, {}});
    HostMembers& host = found[known->second];
    host.pids.push_back(member.pid);
    if (std::binary_search(staying.begin(), staying.end(), member.pid)) host.staying.push_back(member.pid);
  }
  return found;
}

std::size_t Cluster::threads_of(Pid pid) const {
  const std::lock_guard lock(mutex_);
  const Member* member = membership_.find(pid);
  return member != nullptr && member->threads > 1 ? static_cast<std::size_t>(member->threads) : 1;
}

std::vector<Member> Cluster::members() const {
  const std::lock_guard lock(mutex_);
  return membership_.members();
}

Topology Cluster::topology() const {
  const std::lock_guard lock(mutex_);
  return membership_.topology();
}

bool Cluster::lazy() const {
  const std::lock_guard lock(mutex_);
  return membership_.lazy();
}

// -- the master's -----------------------------------------------------------------------------------------------------

void Cluster::set_topology(Topology topology, bool lazy) {
  const std::lock_guard lock(mutex_);
  membership_.set_topology(topology, lazy);
}

/// A member, or one that is about to be.
const Member* Cluster::find_member(Pid pid) const {
  if (const Member* const member = membership_.find(pid)) return member;
  const auto found = joining_.find(pid);
  return found == joining_.end() ? nullptr : &found->second;
}

void Cluster::linked(const Member& joining, const std::shared_ptr<Link>& link) {
  const Pid pid = joining.pid;
  transport_.admit(*link, pid);
  {
    const std::lock_guard lock(mutex_);
    const std::lock_guard telling(news_mutex_);
    // From here on it is told with everybody else.
    std::vector<Member> others = membership_.members();
    std::erase_if(others, [](const Member& member) { return member.pid == 1; });
    send_members(*link, others);
    link->news = listed_.size();
    links_[pid] = link;
    joining_[pid] = joining;
  }
  established(pid, link);
}

void Cluster::list(const Member& member) {
  std::optional<std::chrono::nanoseconds> tell_after;
  {
    const std::lock_guard lock(mutex_);
    const std::lock_guard telling(news_mutex_);
    membership_.add(member);
    joining_.erase(member.pid);
    listed_.push_back(member);
    transport_.set_news(listed_.size());
    if (!std::exchange(telling_soon_, true)) tell_after = news_patience_each * links_.size();
  }
  calls_->worker_joined(member.pid);
  if (events_.changed) events_.changed(0);
  if (tell_after) timers_.after(*tell_after, [this] { tell_news(); });
}

void Cluster::tell_news() {
  {
    const std::lock_guard lock(mutex_);
    telling_soon_ = false;
  }
  for (const auto& link : all_links()) tell_news(*link);
}

void Cluster::tell_news(Link& link) {
  const std::lock_guard telling(news_mutex_);
  const std::size_t known = link.news;
  if (known >= listed_.size()) return;
  send_members(link, std::span(listed_).subspan(known));
  link.news = listed_.size();
}

void Cluster::send_members(Link& link, std::span<const Member> members) {
  while (!members.empty()) {
    const auto some = members.first(std::min(members.size(), members_at_once));
    transport_.send(link, Header{.kind = MessageKind::members_added, .code = static_cast<std::uint32_t>(some.size())},
                    encode(some));
    members = members.subspan(some.size());
  }
}

void Cluster::set_leaving(Pid pid) {
  {
    const std::lock_guard lock(mutex_);
    membership_.set_leaving(pid);
  }
  if (events_.changed) events_.changed(0);
}

bool Cluster::remove(const WorkerExit& exit) {
  bool listed = false;
  {
    const std::lock_guard lock(mutex_);
    listed = membership_.find(exit.pid) != nullptr;
    joining_.erase(exit.pid);
  }
  if (listed) tell_news();  // that it came, before that it is gone
  removed(exit);
  if (listed) broadcast(MessageKind::member_removed, encode(exit), exit.pid);
  return listed;
}

void Cluster::removed(const WorkerExit& exit) {
  std::shared_ptr<Link> link;
  Waiting waiting;
  {
    const std::lock_guard lock(mutex_);
    (void)membership_.remove(exit);
    heard_of_.erase(exit.pid);
    if (auto found = links_.extract(exit.pid); !found.empty()) link = std::move(found.mapped());
    if (auto found = connecting_.extract(exit.pid); !found.empty()) waiting = std::move(found.mapped().waiting);
  }
  for (const auto& tell : waiting) tell(nullptr);
  // What it had put into channels is in, though it is dead: that comes first, where some of it is still on its way.
  calls_->process_gone(exit, link ? Calls::Rest::comes : Calls::Rest::none);
  if (link) transport_.finish(link, [this, pid = exit.pid] { calls_->nothing_more_from(pid); });
  if (events_.changed) events_.changed(exit.pid);
}

void Cluster::send(Pid pid, MessageKind kind, detail::Payload&& payload) {
  std::shared_ptr<Link> link;
  {
    const std::lock_guard lock(mutex_);
    const auto found = links_.find(pid);
    if (found == links_.end()) return;
    link = found->second;
  }
  transport_.send(*link, Header{.kind = kind}, std::move(payload));
}

std::vector<std::shared_ptr<Link>> Cluster::all_links() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Link>> links;
  links.reserve(links_.size());
  for (const auto& [pid, link] : links_) links.push_back(link);
  return links;
}

void Cluster::broadcast(MessageKind kind, const detail::Payload& payload, Pid but) {
  for (const auto& link : all_links()) {
    if (link->peer == but) continue;
    detail::Payload copy = payload;
    transport_.send(*link, Header{.kind = kind}, std::move(copy));
  }
}

}  // namespace muster::runtime
