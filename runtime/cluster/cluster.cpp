#include "runtime/cluster/cluster.hpp"

#include "runtime/base/log.hpp"

#include <unistd.h>

namespace muster::runtime {

namespace {

/// How long the master's word that a worker is gone may lag behind the loss of the link to it.
constexpr auto word_patience = std::chrono::seconds(1);

/// The same where that worker has said that it leaves, and is only to end yet: on a machine with much other work that
/// takes a while.
constexpr auto end_patience = std::chrono::seconds(30);

std::string process(Pid pid) { return "process " + std::to_string(pid); }

}  // namespace

Cluster::Cluster(ClusterSettings settings, Transport& transport, Timers& timers, Events events)
    : settings_(std::move(settings)),
      transport_(transport),
      timers_(timers),
      events_(std::move(events)),
      self_pid_(settings_.self.pid) {
  if (settings_.self.pid != 0) membership_.add(settings_.self);
}

void Cluster::stop() {
  std::unordered_map<Pid, Connecting> connecting;
  {
    const std::lock_guard lock(mutex_);
    connecting.swap(connecting_);
  }
  for (const auto& [pid, given_up] : connecting)
    for (const auto& tell : given_up.waiting) tell(nullptr);
}

// -- messages ---------------------------------------------------------------------------------------------------------

void Cluster::on_message(Incoming message) {
  const bool from_master = message.link->peer == 1;
  switch (message.header.kind) {
    case MessageKind::hello: on_hello(message); return;
    case MessageKind::welcome: on_welcome(message); return;
    case MessageKind::refuse: on_refuse(message); return;
    case MessageKind::knock: on_knock(message); return;
    case MessageKind::program_request: on_program_request(message); return;
    case MessageKind::dial: on_dial(message); return;
    case MessageKind::goodbye: on_goodbye(message.link); return;
    default: break;
  }
  if (!from_master) throw SerializationError("Only the master may send that");
  switch (message.header.kind) {
    case MessageKind::news: on_news(decode_news(message.payload.bytes.bytes(), message.header.code)); break;
    case MessageKind::exit: events_.asked_to_exit(); break;
    default: throw SerializationError("An unexpected message");
  }
}

void Cluster::on_news(const std::vector<MemberNews>& news) {
  std::vector<Pid> eager;
  for (const MemberNews& one : news) {
    if (const auto* const exit = std::get_if<WorkerExit>(&one)) {
      if (exit->pid == self_pid_) continue;  // given up, but not ended: the link's end will tell
      std::erase(eager, exit->pid);
      on_member_removed(*exit);
    } else if (const auto& member = std::get<Member>(one); on_member_added(member)) {
      eager.push_back(member.pid);
    }
  }
  if (events_.changed) events_.changed(0);
  for (const Pid pid : eager) connect(pid);
}

bool Cluster::on_member_added(const Member& member) {
  bool reachable = false, eager = false, ours = false;
  std::uint64_t attempt = 0;  // to connect to it, from before it was known
  {
    const std::lock_guard lock(mutex_);
    if (!membership_.add(member)) return false;
    heard_of_.erase(member.pid);
    ours = dials(member_here(), member);
    reachable = membership_.may_talk(self_pid_, member.pid);
    eager = reachable && !membership_.lazy() && member.pid < self_pid_;
    if (const auto found = connecting_.find(member.pid); found != connecting_.end()) attempt = found->second.attempt;
  }
  if (attempt != 0 && !reachable) give_up(member.pid, attempt, "the topology keeps the two apart");
  if (attempt != 0 && reachable && ours) dial(member.pid, attempt);
  if (reachable) calls_->worker_joined(member.pid);  // it may be chosen for calls
  if (events_.heard_added) events_.heard_added(member.pid);
  return eager;
}

void Cluster::on_member_removed(const WorkerExit& exit) {
  removed(exit);
  if (events_.heard_removed) events_.heard_removed(exit);
}

void Cluster::on_hello(Incoming& message) {
  try {
    const Hello hello = decode_hello(message.payload.bytes.bytes());
    verify(hello, settings_.cookie);
    if (hello.joins)
      join(hello, message);
    else
      accept_peer(hello, message);
  } catch (const std::exception& error) {
    log::warning(std::string("A connection was refused: ") + error.what());
    refuse(message.link, error);
  }
}

void Cluster::join(const Hello& hello, const Incoming& message) {
  if (self_pid_ != 0) throw HandshakeError("This process belongs to a cluster already");
  Member self = settings_.self;
  self.pid = hello.to;
  self.ident = hello.facts.ident;
  self.connect_idents = hello.facts.connect_idents;
  self.threads = hello.facts.threads;
  {
    const std::lock_guard lock(mutex_);
    membership_ = Membership(hello.facts.topology, hello.facts.lazy);
    for (const Member& member : hello.facts.members) membership_.add(member);
    membership_.add(self);
    self_pid_ = hello.to;
    set_link(1, message.link);
  }
  transport_.admit(*message.link, 1);
  calls_->set_self(hello.to);
  events_.joined(hello.facts);
  Welcome welcome;
  welcome.self = self;
  welcome.os_pid = getpid();
  seal(welcome, hello.nonce, settings_.cookie);
  transport_.send(*message.link, Header{.kind = MessageKind::welcome}, encode(welcome));
}

void Cluster::accept_peer(const Hello& hello, const Incoming& message) {
  const Pid pid = hello.from.pid;
  Member self;
  {
    const std::lock_guard lock(mutex_);
    if (hello.to != self_pid_)
      throw HandshakeError("This is process " + std::to_string(self_pid_) + ", not " + std::to_string(hello.to));
    if (self_pid_ == 1) throw HandshakeError("It is the master that connects to workers");
    if (membership_.exit_of(pid) != nullptr) throw HandshakeError(process(pid) + " was removed from the cluster");
    self = member_here();
    // As it says itself: the master's word that it joined may still be on the way.
    if (!membership_.may_talk(self, hello.from)) throw HandshakeError("The topology keeps the two processes apart");
    if (links_.contains(pid)) throw HandshakeError(process(pid) + " is connected already");
  }
  transport_.admit(*message.link, pid);
  Welcome welcome;
  welcome.self = std::move(self);
  welcome.os_pid = getpid();
  seal(welcome, hello.nonce, settings_.cookie);
  transport_.send(*message.link, Header{.kind = MessageKind::welcome}, encode(welcome));
  established(pid, message.link);
}

/// What is known of a link that was dialed; pid 0 for any other.
Cluster::Dialed Cluster::take_dialed(LinkId link) {
  const std::lock_guard lock(mutex_);
  const auto found = dialed_.extract(link);
  return found.empty() ? Dialed{} : found.mapped();
}

void Cluster::on_welcome(Incoming& message) {
  const Dialed dialed = take_dialed(message.link->id);
  if (dialed.pid == 0) {
    if (!events_.master_handshake) throw SerializationError("A welcome that nobody asked for");
    events_.master_handshake(message);
    return;
  }
  try {
    const Welcome welcome = decode_welcome(message.payload.bytes.bytes());
    verify(welcome, dialed.nonce, settings_.cookie);
    if (welcome.self.pid != dialed.pid)
      throw HandshakeError("Process " + std::to_string(welcome.self.pid) + " answered there");
  } catch (const std::exception& error) {
    give_up(dialed.pid, dialed.attempt, error.what());
    throw;
  }
  transport_.admit(*message.link, dialed.pid);
  established(dialed.pid, message.link);
}

void Cluster::on_refuse(Incoming& message) {
  const Dialed dialed = take_dialed(message.link->id);
  if (dialed.pid == 0 && knocked_by(*message.link)) {
    events_.turned_away(decode_refuse(message.payload.bytes.bytes()).text);
    return;
  }
  if (dialed.pid == 0) {
    if (!events_.master_handshake) throw SerializationError("A refusal that nobody asked for");
    events_.master_handshake(message);
    return;
  }
  give_up(dialed.pid, dialed.attempt, decode_refuse(message.payload.bytes.bytes()).text);
  transport_.close(message.link);
}

void Cluster::knock(const std::string& endpoint, Knock knock) {
  seal(knock, settings_.cookie);
  std::shared_ptr<Link> link;
  {
    const std::lock_guard lock(mutex_);  // its loss may be heard of at once
    link = transport_.dial(endpoint);
    knocking_ = link->id;
  }
  transport_.send(*link, Header{.kind = MessageKind::knock}, encode(knock));
}

bool Cluster::knocked_by(const Link& link) const {
  const std::lock_guard lock(mutex_);
  return knocking_ != 0 && knocking_ == link.id;
}

void Cluster::on_knock(Incoming& message) {
  try {
    Knock knock = decode_knock(message.payload.bytes.bytes());
    verify(knock, settings_.cookie);
    if (!events_.knocked) throw HandshakeError("Only the master takes workers in");
    events_.knocked(message.link, std::move(knock));
  } catch (const std::exception& error) {
    log::warning(std::string("A worker was turned away: ") + error.what());
    refuse(message.link, error);
  }
}

void Cluster::on_program_request(Incoming& message) {
  try {
    ProgramRequest request = decode_program_request(message.payload.bytes.bytes());
    verify(request, settings_.cookie);
    if (!events_.program_asked) throw HandshakeError("Only the master gives the program away");
    events_.program_asked(message.link, std::move(request));
  } catch (const std::exception& error) {
    log::warning(std::string("The program was not given to who asked for it: ") + error.what());
    refuse(message.link, error);
  }
}

void Cluster::refuse(const std::shared_ptr<Link>& link, const std::exception& error) {
  transport_.send(*link, Header{.kind = MessageKind::refuse}, encode(refusal_of(error)));
  // Closed a little later, so that the refusal arrives.
  timers_.after(std::chrono::milliseconds(500), [this, link, why = std::string(error.what())] {
    transport_.close(link);
    if (knocked_by(*link)) events_.turned_away(why);
  });
}

void Cluster::on_lost(const std::shared_ptr<Link>& link, const std::string& reason) {
  ended(link, reason, word_patience);
}

/// @param patience until the master has said what became of the other
void Cluster::ended(const std::shared_ptr<Link>& link, const std::string& reason, std::chrono::nanoseconds patience) {
  const Pid peer = link->peer;
  const Dialed dialed = take_dialed(link->id);
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = links_.find(peer); found != links_.end() && found->second == link) (void)take_link(peer);
  }
  if (dialed.pid != 0)  // it may be dead: then that is to be told, which the master will
    timers_.after(patience, [this, dialed, reason] { give_up(dialed.pid, dialed.attempt, reason); });
  else if (peer == 0)
    handshake_lost(link, reason);
  else if (peer == 1)
    events_.master_lost(reason);
  else if (self_pid_ == 1)
    events_.worker_lost(peer, reason);
  else
    peer_lost(peer, reason, patience);
}

/// What it says from now on is only that its tasks were stopped.
void Cluster::on_goodbye(const std::shared_ptr<Link>& link) {
  if (link->peer == 0) throw SerializationError("A goodbye from nobody");
  transport_.close(link);
  ended(link, "it leaves", end_patience);
}

void Cluster::leave() {
  for (const auto& link : all_links()) transport_.send(*link, Header{.kind = MessageKind::goodbye}, {});
}

void Cluster::handshake_lost(const std::shared_ptr<Link>& link, const std::string& reason) {
  if (events_.handshake_lost && (self_pid_ == 1 || knocked_by(*link))) events_.handshake_lost(link, reason);
}

/// The master says whether a worker is gone. Where it is not, only the connection is; what waited for it can't be
/// saved. Until that is known no new one is made: what waited for the old one must not be taken for what waits for the
/// new one.
void Cluster::peer_lost(Pid peer, const std::string& reason, std::chrono::nanoseconds patience) {
  std::uint64_t attempt = 0;
  {
    const std::lock_guard lock(mutex_);
    attempt = ++last_attempt_;
    connecting_.try_emplace(peer, Connecting{attempt});
  }
  timers_.after(patience, [this, peer, attempt, reason] {
    Waiting waiting;
    {
      const std::lock_guard lock(mutex_);
      if (membership_.find(peer) == nullptr) return;
      waiting = take_waiting(peer, attempt);
    }
    calls_->process_unreachable(peer, "The connection to process " + std::to_string(peer) + " was lost: " + reason);
    for (const auto& tell : waiting) tell(nullptr);
  });
}

// -- links ------------------------------------------------------------------------------------------------------------

std::shared_ptr<Link> Cluster::link_to(Pid pid) {
  if (auto link = recent_links_.find(pid)) return link;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = links_.find(pid); found != links_.end()) {
      recent_links_.remember(pid, found->second);
      return found->second;
    }
    if (const WorkerExit* exit = membership_.exit_of(pid)) throw ProcessExitedException(*exit);
    const bool known = membership_.find(pid) != nullptr;
    if (!known && !heard_of_.contains(pid))
      throw std::invalid_argument("muster: there is no process " + std::to_string(pid) +
                                  " in this cluster. muster::procs() lists those there are.");
    if (known) membership_.check_may_talk(self_pid_, pid);
    if (pid == 1) throw Error("The connection to the master is gone: this worker is about to end");
    if (const auto why = unreachable_.extract(pid); !why.empty())
      throw Error("Process " + std::to_string(pid) + " can't be reached from process " + std::to_string(self_pid_) +
                  ": " + why.mapped());
  }
  connect(pid);
  return nullptr;
}

void Cluster::heard_of(Pid pid) {
  const std::lock_guard lock(mutex_);
  if (membership_.find(pid) == nullptr && membership_.exit_of(pid) == nullptr) heard_of_.insert(pid);
}

void Cluster::when_linked(Pid pid, std::function<void(const std::shared_ptr<Link>&)> f) {
  std::shared_ptr<Link> link;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = links_.find(pid); found != links_.end()) {
      link = found->second;
    } else if (const auto waiting = connecting_.find(pid); waiting != connecting_.end()) {
      waiting->second.waiting.push_back(std::move(f));
      return;
    }
  }
  f(link);
}

/// One of the two dials (see dials). The other one asks the master to have itself dialed. So does who has only heard of
/// the other: the master's word that it joined is on its way then, and comes first, or it is gone, which is the answer.
void Cluster::connect(Pid pid) {
  std::uint64_t attempt = 0;
  bool ours = false, hidden = false;
  {
    const std::lock_guard lock(mutex_);
    if (links_.contains(pid) || !connecting_.try_emplace(pid, Connecting{last_attempt_ + 1}).second) return;
    attempt = ++last_attempt_;
    const Member* const other = membership_.find(pid);
    ours = other != nullptr && dials(member_here(), *other);
    hidden = other != nullptr && hidden_from_each_other(member_here(), *other);
  }
  if (hidden) {
    give_up(pid, attempt,
            "both are behind SSH tunnels (SshOptions::tunnel) of different hosts, and so listen on their own host's "
            "loopback only. They reach the master, and workers of their own host: let the master fetch the value and "
            "pass it on, or add at least one of the two hosts without a tunnel, with its workers' ports open to the "
            "other");
    return;
  }
  if (ours) {
    dial(pid, attempt);
  } else {
    detail::Payload payload;
    FieldWriter(payload.bytes).i32(pid);
    send(1, MessageKind::dial, std::move(payload));
  }
  timers_.after(settings_.connect_timeout, [this, pid, attempt] {
    give_up(pid, attempt,
            "no answer within " +
                std::to_string(std::chrono::duration_cast<std::chrono::seconds>(settings_.connect_timeout).count()) +
                " s");
  });
}

void Cluster::dial(Pid pid, std::uint64_t attempt) {
  Hello hello;
  std::string endpoint;
  {
    const std::lock_guard lock(mutex_);
    if (const Member* member = membership_.find(pid)) endpoint = member->endpoint;
  }
  if (endpoint.empty()) {
    give_up(pid, attempt, "it is gone");
    return;
  }
  hello.from = self_member();
  hello.to = pid;
  seal(hello, settings_.cookie);
  const auto link = transport_.dial(endpoint);
  {
    const std::lock_guard lock(mutex_);
    dialed_[link->id] = {pid, attempt, hello.nonce};
  }
  transport_.send(*link, Header{.kind = MessageKind::hello}, encode(hello));
}

void Cluster::on_dial(Incoming& message) {
  FieldReader in(message.payload.bytes.bytes());
  const Pid pid = in.i32();
  in.finish();
  if (self_pid_ == 1) {
    const Pid asking = message.link->peer;
    tell_news(*message.link);  // for which it may wait, where it has only heard of the other
    std::optional<WorkerExit> gone;
    bool pass_on = asking < pid;
    {
      const std::lock_guard lock(mutex_);
      if (const WorkerExit* exit = membership_.exit_of(pid)) gone = *exit;
      const Member *const from = find_member(pid), *const to = find_member(asking);
      if (from != nullptr && to != nullptr) pass_on = dials(*from, *to);
    }
    if (gone) {
      const MemberNews news(*gone);
      send_news(*message.link, {&news, 1});
    } else if (pass_on) {  // passed on to whom it is about; otherwise the asking one dials when it knows it
      detail::Payload payload;
      FieldWriter(payload.bytes).i32(asking);
      send(pid, MessageKind::dial, std::move(payload));
    }
  } else if (message.link->peer == 1 && pid != self_pid_) {
    connect(pid);
  } else {
    throw SerializationError("A request to connect that is not the master's");
  }
}

void Cluster::established(Pid pid, const std::shared_ptr<Link>& link) {
  const std::lock_guard lock(mutex_);
  unreachable_.erase(pid);
  // Before others see the link, so that nothing sent directly overtakes what waited.
  if (const auto found = connecting_.extract(pid); !found.empty())
    for (const auto& tell : found.mapped().waiting) tell(link);
  set_link(pid, link);
}

/// With mutex_, as take_link.
void Cluster::set_link(Pid pid, const std::shared_ptr<Link>& link) {
  links_[pid] = link;
  recent_links_.forget(pid);
}

/// @returns null where there is none
std::shared_ptr<Link> Cluster::take_link(Pid pid) {
  recent_links_.forget(pid);
  auto found = links_.extract(pid);
  return found.empty() ? nullptr : std::move(found.mapped());
}

/// Ends that attempt; with mutex_. @returns who waited for it
Cluster::Waiting Cluster::take_waiting(Pid pid, std::uint64_t attempt) {
  const auto found = connecting_.find(pid);
  if (found == connecting_.end() || found->second.attempt != attempt) return {};
  Waiting waiting = std::move(found->second.waiting);
  connecting_.erase(found);
  return waiting;
}

void Cluster::give_up(Pid pid, std::uint64_t attempt, const std::string& why) {
  Waiting waiting;
  {
    const std::lock_guard lock(mutex_);
    const auto found = connecting_.find(pid);
    if (found == connecting_.end() || found->second.attempt != attempt) return;
    waiting = take_waiting(pid, attempt);
    unreachable_[pid] = why;
  }
  log::warning("Process " + std::to_string(pid) + " can't be connected: " + why);
  for (const auto& tell : waiting) tell(nullptr);
}

}  // namespace muster::runtime
