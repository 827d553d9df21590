// The members of a cluster: what a process knows of them, and how the master lists, tells and removes them.

#include "runtime/cluster/cluster.hpp"

#include <algorithm>

namespace muster::runtime {

namespace {

/// How long news of a member may wait for others, for each process that is to be told: to tell one costs about a tenth
/// of it. And in all, as calls to who is gone wait for them.
constexpr std::chrono::nanoseconds news_patience_each = std::chrono::microseconds(250);
constexpr std::chrono::nanoseconds most_news_patience = std::chrono::milliseconds(250);

/// Told in one message: few kilobytes, which go through a ring of shared memory.
constexpr std::size_t news_at_once = 256;

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
    std::vector<MemberNews> others;
    for (Member& member : membership_.members())
      if (member.pid != 1) others.emplace_back(std::move(member));
    send_news(*link, others);
    link->news = news_.size();
    set_link(pid, link);
    joining_[pid] = joining;
  }
  established(pid, link);
}

void Cluster::list(const Member& member) {
  std::optional<std::chrono::nanoseconds> patience;
  {
    const std::lock_guard lock(mutex_);
    membership_.add(member);
    joining_.erase(member.pid);
    patience = enter(member);
  }
  calls_->worker_joined(member.pid);
  if (events_.changed) events_.changed(0);
  tell_after(patience);
}

std::optional<std::chrono::nanoseconds> Cluster::enter(MemberNews news) {
  const std::lock_guard telling(news_mutex_);
  news_.push_back(std::move(news));
  transport_.set_news(news_.size());
  if (std::exchange(telling_soon_, true)) return std::nullopt;
  return std::min<std::chrono::nanoseconds>(news_patience_each * links_.size(), most_news_patience);
}

void Cluster::tell_after(std::optional<std::chrono::nanoseconds> patience) {
  if (patience) timers_.after(*patience, [this] { tell_news(); });
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
  if (known >= news_.size()) return;
  send_news(link, std::span(news_).subspan(known));
  link.news = news_.size();
}

void Cluster::send_news(Link& link, std::span<const MemberNews> news) {
  while (!news.empty()) {
    const auto some = news.first(std::min(news.size(), news_at_once));
    transport_.send(link, Header{.kind = MessageKind::news, .code = static_cast<std::uint32_t>(some.size())},
                    encode(some));
    news = news.subspan(some.size());
  }
}

void Cluster::set_leaving(Pid pid) {
  {
    const std::lock_guard lock(mutex_);
    membership_.set_leaving(pid);
  }
  if (events_.changed) events_.changed(0);
}

void Cluster::remove(const WorkerExit& exit) {
  std::optional<std::chrono::nanoseconds> patience;
  {
    const std::lock_guard lock(mutex_);
    joining_.erase(exit.pid);
    if (membership_.remove(exit)) patience = enter(exit);
  }
  removed(exit);
  tell_after(patience);
}

void Cluster::removed(const WorkerExit& exit) {
  std::shared_ptr<Link> link;
  Waiting waiting;
  {
    const std::lock_guard lock(mutex_);
    (void)membership_.remove(exit);
    heard_of_.erase(exit.pid);
    link = take_link(exit.pid);
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

}  // namespace muster::runtime
