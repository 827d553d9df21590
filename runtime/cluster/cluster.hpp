/// @file
/// The cluster as one process sees it: its members, and the links to them. The master's part, which starts and removes
/// workers, is Launcher (launcher.hpp).
#pragma once

#include "runtime/base/timers.hpp"
#include "runtime/calls/calls.hpp"
#include "runtime/calls/router.hpp"
#include "runtime/cluster/membership.hpp"
#include "runtime/cluster/news.hpp"
#include "runtime/cluster/program_messages.hpp"
#include "runtime/cluster/recent_links.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace muster::runtime {

/// What the composition root tells a process's cluster about its surroundings.
struct ClusterSettings {
  std::string cookie;
  Member self;                                                          ///< the pid of a worker is 0 until it joined
  std::chrono::nanoseconds connect_timeout = std::chrono::seconds(10);  ///< for another worker to answer
};

/// Threads: every function from any, but on_message (the receiving thread).
class Cluster final : public Router {
 public:
  /// What the rest of the process does when something happens. Called without locks.
  struct Events {
    std::function<void(const ClusterFacts&)> joined;      ///< this worker was taken in
    std::function<void(const std::string&)> master_lost;  ///< reason
    std::function<void()> asked_to_exit;
    std::function<void(const Incoming&)> master_handshake;  ///< welcome or refuse from a starting worker
    /// A link without a peer is gone: at the master, one that a worker was greeted over or knocked at; at a worker, the
    /// one it knocked by; reason.
    std::function<void(const std::shared_ptr<Link>&, const std::string&)> handshake_lost;
    /// At a worker that knocked: it won't be taken in; reason.
    std::function<void(const std::string&)> turned_away;
    /// At the master: a worker connected by itself.
    std::function<void(const std::shared_ptr<Link>&, Knock&&)> knocked;
    /// At the master: somebody who was invited wants this program.
    std::function<void(const std::shared_ptr<Link>&, ProgramRequest&&)> program_asked;
    std::function<void(Pid, const std::string&)> worker_lost;  ///< at the master: its link is gone; reason
    /// At a worker: the master's word of other workers.
    std::function<void(Pid)> heard_added;
    std::function<void(const WorkerExit&)> heard_removed;
    std::function<void(Pid)> changed;  ///< the lists are others: that member is gone, or (0) one was added or leaves
  };

  Cluster(ClusterSettings settings, Transport& transport, Timers& timers, Events events);

  /// The calls room, made after this one.
  void set_calls(Calls& calls) { calls_ = &calls; }
  void on_message(Incoming message);
  void on_lost(const std::shared_ptr<Link>& link, const std::string& reason);
  /// Tells everybody that this process leaves: what it sends from now on is dropped there.
  void leave();
  /// Ends everything that waits for a link.
  void stop();
  /// Connects to the master, which then takes this worker in; or turned_away or handshake_lost tells why not.
  void knock(const std::string& endpoint, Knock knock);
  /// Says no to who has connected, and why.
  void refuse(const std::shared_ptr<Link>& link, const std::exception& error);

  // Router
  std::shared_ptr<Link> link_to(Pid pid) override;
  void heard_of(Pid pid) override;
  void when_linked(Pid pid, std::function<void(const std::shared_ptr<Link>&)> f) override;

  Pid self() const { return self_pid_; }
  const std::string& cookie() const { return settings_.cookie; }
  Member self_member() const;

  // -- lists ----------------------------------------------------------------------------------------------------------
  std::vector<Pid> procs() const;
  /// Those that may be given work: members but for those that were asked to leave, which only the master knows of.
  std::vector<Pid> procs_staying() const;
  std::vector<Pid> procs_on_host_of(Pid pid) const;
  bool one_host(const std::vector<Pid>& pids) const;
  /// Host of a member, for people.
  std::string host_of(Pid pid) const;
  std::vector<Member> members() const;
  /// Members by host, in the order of their lowest pids. Those that were asked to leave are in `pids` only.
  struct HostMembers {
    std::string name;
    std::vector<Pid> pids, staying;
  };
  std::vector<HostMembers> hosts() const;
  /// How many tasks a member runs at once.
  std::size_t threads_of(Pid pid) const;
  Topology topology() const;
  bool lazy() const;

  // -- the master's ---------------------------------------------------------------------------------------------------
  void set_topology(Topology topology, bool lazy);
  /// Calls may be sent there from now on, though it is not listed. It is told of all members.
  void linked(const Member& joining, const std::shared_ptr<Link>& link);
  /// Lists it. Every other process is told a little later, together with others that come or go meanwhile, but before
  /// anything else is sent there; so what each of n workers costs does not grow with n.
  void list(const Member& member);
  /// Tells every process now of who came and went since.
  void tell_news();
  /// Tells that one, before something else is sent there (TransportSink::on_behind).
  void tell_news(Link& link);
  /// It was asked to leave; it is listed until it is gone.
  void set_leaving(Pid pid);
  /// Takes it off the lists and fails what waits for it. Every other process is told as of who comes (list).
  void remove(const WorkerExit& exit);
  void send(Pid pid, MessageKind kind, detail::Payload&& payload = {});

 private:
  using Waiting = std::vector<std::function<void(const std::shared_ptr<Link>&)>>;
  struct Connecting {
    std::uint64_t attempt = 0;
    Waiting waiting = {};
  };
  struct Dialed {
    Pid pid = 0;
    std::uint64_t attempt = 0;
    Nonce nonce{};
  };

  void on_hello(Incoming& message);
  void join(const Hello& hello, const Incoming& message);
  void accept_peer(const Hello& hello, const Incoming& message);
  void on_welcome(Incoming& message);
  void on_refuse(Incoming& message);
  void on_knock(Incoming& message);
  void on_program_request(Incoming& message);
  Dialed take_dialed(LinkId link);
  bool knocked_by(const Link& link) const;
  Member member_here() const;
  const Member* find_member(Pid pid) const;
  bool may_talk_to(Pid pid) const;
  void on_dial(Incoming& message);
  void on_news(const std::vector<MemberNews>& news);
  /// @returns whether to connect to it at once
  bool on_member_added(const Member& member);
  void on_member_removed(const WorkerExit& exit);
  void handshake_lost(const std::shared_ptr<Link>& link, const std::string& reason);
  void on_goodbye(const std::shared_ptr<Link>& link);
  void ended(const std::shared_ptr<Link>& link, const std::string& reason, std::chrono::nanoseconds patience);
  void peer_lost(Pid peer, const std::string& reason, std::chrono::nanoseconds patience);
  void dial(Pid pid, std::uint64_t attempt);
  void connect(Pid pid);
  void established(Pid pid, const std::shared_ptr<Link>& link);
  void set_link(Pid pid, const std::shared_ptr<Link>& link);
  std::shared_ptr<Link> take_link(Pid pid);
  Waiting take_waiting(Pid pid, std::uint64_t attempt);
  /// Nothing where that attempt to connect is over.
  void give_up(Pid pid, std::uint64_t attempt, const std::string& why);
  void removed(const WorkerExit& exit);
  /// Enters it among what every process is to be told; with mutex_. @returns how long that may wait, where nobody is
  /// about to tell anyway
  std::optional<std::chrono::nanoseconds> enter(MemberNews news);
  void tell_after(std::optional<std::chrono::nanoseconds> patience);
  void send_news(Link& link, std::span<const MemberNews> news);
  std::vector<std::shared_ptr<Link>> all_links() const;

  const ClusterSettings settings_;
  Transport& transport_;
  Timers& timers_;
  const Events events_;
  Calls* calls_ = nullptr;
  std::atomic<Pid> self_pid_;

  RecentLinks recent_links_;  ///< of links_, changed with mutex_
  mutable std::mutex mutex_;  ///< guards everything below
  Membership membership_;
  std::unordered_map<Pid, std::shared_ptr<Link>> links_;  ///< changed by set_link and take_link
  std::uint64_t last_attempt_ = 0;
  LinkId knocking_ = 0;  ///< the link this worker knocked by
  std::unordered_map<Pid, Connecting> connecting_;
  std::unordered_map<LinkId, Dialed> dialed_;         ///< until their welcome
  std::unordered_map<Pid, Member> joining_;           ///< master: linked, and not listed yet
  bool telling_soon_ = false;                         ///< master: tell_news will be called
  std::unordered_set<Pid> heard_of_;                  ///< neither members nor known to be gone
  std::unordered_map<Pid, std::string> unreachable_;  ///< why, until it was said once

  /// Guards the following; held while they are sent, so that nothing overtakes them. Taken after mutex_, or alone.
  std::mutex news_mutex_;
  std::vector<MemberNews> news_;  ///< master: all there ever were, in their order; Link::news counts into them
};

}  // namespace muster::runtime
