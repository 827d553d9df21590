#include "runtime/transport/shm/shm_lane.hpp"

#include "runtime/base/log.hpp"

#include <muster/errors.hpp>

#include <fcntl.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <system_error>

namespace muster::runtime {

namespace {

/// Links that have more wait while one had so many messages.
constexpr int most_in_a_row = 16;

/// Shared memory in which nothing was for so long is given back.
constexpr auto idle_memory_limit = std::chrono::seconds(10);

/// So many rings are looked at without having to be told; to look at one takes as long as to look at the door's bits.
constexpr std::size_t most_watched = 4;

/// Who has sent that many messages is watched.
constexpr int told_to_watch = 16;

/// How many calls of receive pass between two looks at the sockets, which take a system call.
constexpr int calls_between_looks = 64;

/// What an epoll entry is, besides links.
enum class Watched : std::uint64_t { bell = 0, listener = 1, other = 2, unheard = 3 };

constexpr LinkId slot_bits = 16;
constexpr LinkId no_slot = (LinkId{1} << slot_bits) - 1;
std::uint32_t slot_of(LinkId link) { return static_cast<std::uint32_t>(link & no_slot); }

std::string socket_name(const std::string& endpoint) { return "muster/" + endpoint; }

UniqueFd make_epoll() {
  UniqueFd fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!fd) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  return fd;
}

/// @param limit how long to wait; null: for ever
int wait_for_events(const UniqueFd& epoll, std::span<epoll_event> events, const timespec* limit) {
  const int most = static_cast<int>(events.size());
  const int count = ::epoll_pwait2(epoll.get(), events.data(), most, limit, nullptr);
  if (count >= 0 || errno != ENOSYS) return count;
  // Before Linux 5.11: whole milliseconds, rather one too many than none.
  const std::int64_t milliseconds =
      limit == nullptr ? -1 : limit->tv_sec * 1000 + (limit->tv_nsec + 999'999) / 1'000'000;
  return ::epoll_wait(epoll.get(), events.data(), most,
                      static_cast<int>(std::min<std::int64_t>(milliseconds, INT_MAX)));
}

UniqueFd make_spare(const Door& door) { return UniqueFd(::fcntl(door.bell_fd(), F_DUPFD_CLOEXEC, 0)); }

}  // namespace

ShmLane::ShmLane(std::string endpoint, Refused refused, std::span<const int> watched)
    : endpoint_(std::move(endpoint)),
      refused_(std::move(refused)),
      epoll_(make_epoll()),
      listener_(listen_at(socket_name(endpoint_))),
      spare_(make_spare(door_)) {
  watch(door_.bell_fd(), EPOLLIN | EPOLLET, static_cast<std::uint64_t>(Watched::bell));
  watch(listener_.get(), EPOLLIN, static_cast<std::uint64_t>(Watched::listener));
  watch(unheard_.timer_fd(), EPOLLIN | EPOLLET, static_cast<std::uint64_t>(Watched::unheard));
  for (const int fd : watched) watch(fd, EPOLLIN, static_cast<std::uint64_t>(Watched::other));
}

void ShmLane::watch(int fd, std::uint32_t events, std::uint64_t what) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = what;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
    throw std::system_error(errno, std::generic_category(), "epoll_ctl");
}

ShmLane::~ShmLane() {
  // A goodbye still leaves; a peer that does not read holds us up for no longer than that.
  const auto deadline = Clock::now() + std::chrono::milliseconds(500);
  for (const PeerPointer& peer : peers_) {
    while (peer && !peer->is_closed() && !peer->flush() && Clock::now() < deadline) {
      wait(Clock::now() + std::chrono::milliseconds(5));
      if (peer->ended) break;
    }
  }
  for (const PeerPointer& peer : peers_)
    if (peer) peer->close();
}

std::chrono::nanoseconds ShmLane::spin() const { return std::chrono::microseconds(50); }

// -- links ------------------------------------------------------------------------------------------------------------

ShmLane::PeerPointer ShmLane::add(UniqueFd socket, const std::string& endpoint) {
  const auto slot = door_.take_slot();
  if (!slot) return nullptr;
  const std::unique_lock lock(mutex_);
  const LinkId id = link_bit | (++last_serial_ << slot_bits) | *slot;
  auto peer = std::make_shared<ShmPeer>(id, door_, unheard_, *slot, std::move(socket), endpoint);
  if (peers_.size() <= *slot) peers_.resize(*slot + 1);
  peers_[*slot] = peer;
  return peer;
}

/// Nothing more is heard of it.
void ShmLane::remove(const PeerPointer& peer) {
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, peer->socket().get(), nullptr);
  peer->close();
  const std::unique_lock lock(mutex_);
  if (peers_[peer->slot()] != peer) return;
  peers_[peer->slot()] = nullptr;
  door_.free_slot(peer->slot());
}

ShmLane::PeerPointer ShmLane::at(std::uint32_t slot) const {
  const std::shared_lock lock(mutex_);
  return slot < peers_.size() ? peers_[slot] : nullptr;
}

/// The peer at that slot, or null. The same one is looked at many times in a row.
const ShmLane::PeerPointer& ShmLane::reading_from(std::uint32_t slot) {
  if (!current_ || current_->slot() != slot || current_->is_closed()) current_ = at(slot);
  return current_;
}

ShmLane::PeerPointer ShmLane::find(LinkId link) const {
  PeerPointer peer = at(slot_of(link));
  if (peer && peer->id() != link) peer.reset();
  return peer;
}

LinkId ShmLane::try_dial(const std::string& endpoint, std::string& why) {
  UniqueFd socket = connect_to(socket_name(endpoint));
  if (!socket) {
    if (errno != ECONNREFUSED) why = std::generic_category().message(errno);
    return 0;
  }
  if (!is_same_user(socket)) {
    why = "it is another user's";
    return 0;
  }
  const PeerPointer peer = add(std::move(socket), endpoint);
  if (!peer) {
    why = "there are too many links";
    return 0;
  }
  try {
    peer->greet();
    watch(peer->socket().get(), EPOLLIN | EPOLLRDHUP, peer->id());
    return peer->id();
  } catch (const std::exception& error) {
    why = error.what();
    remove(peer);
    return 0;
  }
}

LinkId ShmLane::dial(const std::string& endpoint) {
  std::string why;
  if (const LinkId link = try_dial(endpoint, why); link != 0) return link;
  const std::unique_lock lock(mutex_);
  const LinkId link = link_bit | (++last_serial_ << slot_bits) | no_slot;
  lost_.push_back({LaneEvent::Kind::lost, link, {}, "nobody listens at " + endpoint + (why.empty() ? "" : ": " + why)});
  any_lost_ = true;
  kick();
  return link;
}

bool ShmLane::try_send(LinkId link, const Header& header, const detail::Payload& payload, Urgency urgency) {
  const PeerPointer peer = find(link);
  return peer && peer->send(header, payload, urgency);
}

bool ShmLane::handed_over(LinkId link) const {
  const PeerPointer peer = find(link);
  return peer && peer->all_written();
}

bool ShmLane::finish(LinkId link) {
  if (!find(link)) return false;
  {
    const std::unique_lock lock(mutex_);
    finished_.push_back(link);
    any_finished_ = true;
  }
  kick();
  return true;
}

/// Their rings are read to the end, which then is the end of their links.
void ShmLane::take_finished() {
  std::vector<LinkId> finished;
  {
    const std::unique_lock lock(mutex_);
    finished.swap(finished_);
    any_finished_ = false;
  }
  for (const LinkId link : finished) {
    const PeerPointer peer = find(link);
    if (!peer) continue;
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, peer->socket().get(), nullptr);
    peer->ended = true;
    ready_.push_back(peer->slot());
  }
}

void ShmLane::close(LinkId link) {
  if (const PeerPointer peer = find(link)) remove(peer);
}

void ShmLane::upkeep(Clock::time_point silent_since) {
  std::vector<PeerPointer> peers;
  {
    const std::shared_lock lock(mutex_);
    peers = peers_;
  }
  for (const PeerPointer& peer : peers) {
    if (!peer) continue;
    if (peer->is_open())
      peer->trim(Clock::now() - idle_memory_limit);
    else if (peer->endpoint().empty() && peer->since() < silent_since)
      remove(peer);
  }
}

// -- sleeping ---------------------------------------------------------------------------------------------------------

void ShmLane::kick() {
  kicked_ = true;
  door_.ring();
}

/// What was sent with Wake::later is told at last.
void ShmLane::wake_peers() {
  if (!unheard_.take()) return;
  const std::shared_lock lock(mutex_);
  for (const PeerPointer& peer : peers_)
    if (peer) peer->wake();
}

void ShmLane::wait(Clock::time_point until) {
  wake_peers();
  if (current_ && current_->is_closed()) current_ = nullptr;
  door_.begin_sleep();
  if (!kicked_ && !anything()) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(until - Clock::now()).count();
    timespec limit{};
    if (left > 0) limit = {left / 1'000'000'000, left % 1'000'000'000};
    look(until == Clock::time_point::max() ? nullptr : &limit);
  }
  door_.end_sleep();
  kicked_ = false;
}

void ShmLane::look(const timespec* limit) {
  since_look_ = 0;
  std::array<epoll_event, 64> events{};
  const int count = wait_for_events(epoll_, events, limit);
  for (int i = 0; i < count; ++i) {
    const std::uint64_t what = events[static_cast<std::size_t>(i)].data.u64;
    if (what == static_cast<std::uint64_t>(Watched::listener)) {
      accept_all();
    } else if (what == static_cast<std::uint64_t>(Watched::other)) {
      watched_ready_ = true;
    } else if (what == static_cast<std::uint64_t>(Watched::unheard)) {
      unheard_.timer_ended();  // they are told of it before the next sleep
    } else if (what != static_cast<std::uint64_t>(Watched::bell)) {
      if (const PeerPointer peer = find(what)) look_at(peer);
    }
  }
}

void ShmLane::accept_all() {
  for (;;) {
    UniqueFd socket = accept_from(listener_);
    if (!socket) {
      if (errno != EMFILE && errno != ENFILE) return;
      spare_.reset();  // who dialed is to hear at once that it is not taken
      (void)accept_from(listener_);
      spare_ = make_spare(door_);
      return;
    }
    if (!is_same_user(socket)) {
      log::warning("A process of another user was not let in at " + endpoint_);
      continue;
    }
    const PeerPointer peer = add(std::move(socket), {});
    if (!peer) continue;
    try {
      watch(peer->socket().get(), EPOLLIN | EPOLLRDHUP, peer->id());
      look_at(peer);
    } catch (const std::system_error& error) {
      log::warning(std::string("A process of this host was not let in: ") + error.what());
      remove(peer);
    }
  }
}

void ShmLane::look_at(const PeerPointer& peer) {
  try {
    if (peer->take_packets()) {
      ready_.push_back(peer->slot());
      return;
    }
  } catch (const std::exception& error) {
    log::warning(std::string("A peer of this host is closed: ") + error.what());
  }
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, peer->socket().get(), nullptr);
  peer->ended = true;
  ready_.push_back(peer->slot());
}

// -- receiving --------------------------------------------------------------------------------------------------------

bool ShmLane::receive(LaneEvent& event) {
  if (++since_look_ >= calls_between_looks) {
    const timespec at_once{};
    look(&at_once);
  }
  if (any_finished_.load(std::memory_order_relaxed)) take_finished();
  for (;;) {
    if (next_ready_ == ready_.size()) {
      ready_.clear();
      next_ready_ = 0;
      in_a_row_ = 0;
      collect();
      if (ready_.empty()) return take_lost(event);
    }
    const PeerPointer& peer = reading_from(ready_[next_ready_]);
    if (peer && read(peer, event)) {
      if (!peer->watched && ++peer->told == told_to_watch) watch_ring(peer);
      if (++in_a_row_ >= most_in_a_row) pass_turn();
      return true;
    }
    ++next_ready_;
    in_a_row_ = 0;
  }
}

/// Appends the links that have something.
void ShmLane::collect() {
  bool any_closed = false;
  for (const PeerPointer& peer : watched_) {
    if (peer->is_closed())
      any_closed = true;  // its slot may be another's
    else if (peer->anything())
      ready_.push_back(peer->slot());
  }
  if (any_closed) std::erase_if(watched_, [](const PeerPointer& peer) { return peer->is_closed(); });
  door_.collect(ready_);
}

void ShmLane::watch_ring(const PeerPointer& peer) {
  peer->told = 0;
  const std::shared_lock lock(mutex_);  // so that the slot stays its own
  if (peers_[peer->slot()] != peer) return;
  if (watched_.size() == most_watched) {
    ShmPeer& oldest = *watched_.front();
    oldest.watched = false;
    if (!oldest.is_closed()) {
      door_.unwatch(oldest.slot());
      ready_.push_back(oldest.slot());  // it may have relied on being watched
    }
    watched_.erase(watched_.begin());
  }
  peer->watched = true;
  watched_.push_back(peer);
  door_.watch(peer->slot());
}

/// The link at the front goes behind all that have something.
void ShmLane::pass_turn() {
  const std::uint32_t slot = ready_[next_ready_];
  ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(next_ready_) + 1);
  next_ready_ = 0;
  in_a_row_ = 0;
  collect();
  std::erase(ready_, slot);
  ready_.push_back(slot);
}

bool ShmLane::read(const PeerPointer& peer, LaneEvent& event) {
  try {
    (void)peer->flush();
    if (peer->read(event, first_frame_)) return true;
  } catch (const std::exception& error) {
    log::warning(std::string("A peer of this host is closed: ") + error.what());
    return end(peer, std::string("it sent something invalid: ") + error.what(), event);
  }
  return peer->ended && end(peer, "the connection was closed", event);
}

/// @returns whether that is an event
bool ShmLane::end(const PeerPointer& peer, std::string reason, LaneEvent& event) {
  const bool was_link = peer->is_open() || !peer->endpoint().empty();
  const bool refused = !peer->is_open() && was_link;
  if (refused && refused_) refused_(*peer);
  remove(peer);
  if (!was_link || (refused && refused_)) return false;
  event = {LaneEvent::Kind::lost, peer->id(), {}, std::move(reason)};
  return true;
}

bool ShmLane::take_lost(LaneEvent& event) {
  if (!any_lost_) return false;
  const std::unique_lock lock(mutex_);
  if (lost_.empty()) return false;
  event = std::move(lost_.back());
  lost_.pop_back();
  any_lost_ = !lost_.empty();
  return true;
}

}  // namespace muster::runtime
