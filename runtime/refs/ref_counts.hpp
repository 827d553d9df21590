/// @file
/// Distributed reference counting: who still holds a handle to which value. State machines without I/O, threads or
/// clocks.
///
/// A value lives at its *owner* O; any process may hold handles to it. Notes travel in order on each link, in any order
/// between links. The protocol:
///
/// 1. *Send.* When S, holding a handle, sends it in a message to R, it counts R's mention at the owner: `add(R, from
/// S)` goes
///    to O on the link S->O before any later note of S on that link (at best before the message leaves: what has not
///    left when S dies is lost).
/// 2. *Receive.* R has one handle object per value, and counts in it each mention received, by sender.
/// 3. *Drop.* When that object dies, R releases what it counted: `release(R, from S, n)` on the link R->O.
/// 4. *Free.* O keeps a signed count for each pair (holder, sender); a release may overtake its add. Zero everywhere:
/// freed.
///
/// Why nothing is freed too early: take the mention in flight whose add was sent first of those that have not arrived.
/// Its sender S held a handle; the adds of what S had received by then were sent earlier, so they have arrived, and S's
/// release is on the link behind the add that has not. So a count of S is positive. Counts must be kept by pair: if R's
/// mentions were counted in one sum, a release for an add that was lost with its dead sender would eat an add of
/// somebody living.
///
/// Deaths. All that a process held is released when it dies, and what its dead link loses is settled: adds that were
/// lost leave negative pairs, which end with their sender. Positive pairs of a dead sender may be real or belong to
/// messages that were lost; O asks each such holder (take_questions), who, once it will accept nothing more of the
/// dead, re-counts what it really holds as `add(R, from R)` and ends the pair with `settle(R, from S)`. A value may be
/// freed though a living process has a handle to it only when that handle's add was lost with its sender.
#pragma once

#include <muster/ids.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace muster::runtime {

/// What a process tells the owner of a value.
struct RefNote {
  enum class Kind : std::uint8_t {
    add,      ///< `sender` has put `count` handles for `holder` into messages
    release,  ///< `holder` dropped `count` mentions that it had received from `sender`
    settle,   ///< `holder` has no mention from `sender`, which is dead, and gets none any more; `ref` means nothing
  };
  Kind kind = Kind::add;
  RemoteRefId ref;
  Pid holder = 0;
  std::uint32_t count = 1;
  Pid sender = 0;  ///< who put the handle into a message; the holder itself for what it created

  bool operator==(const RefNote&) const = default;
};

/// Owner asks a living holder: what do you really hold of what this dead process sent you?
struct RefQuestion {
  Pid holder = 0;  ///< whom to ask
  Pid sender = 0;  ///< about whom

  bool operator==(const RefQuestion&) const = default;
};

/// The owner's side: counts of the handles to values that live here. One per process; not thread-safe.
class RefCounts {
 public:
  /// A value, or the slot of one to come, exists for a handle that first_holder has, counted as its own. Nothing
  /// happens when it is known already. O(1).
  void create(RemoteRefId ref, Pid first_holder);
  /// Whether somebody holds it, as far as is known here.
  bool contains(RemoteRefId ref) const { return refs_.contains(ref); }
  /// How many values are held.
  std::size_t size() const { return refs_.size(); }

  /// A note arrived. A reference not heard of before (its creator's notes may be slower) is created as held by its
  /// creator, if that lives. Notes of or for dead processes change nothing they should not. O(log holders of the
  /// value), plus moving the list of its holders; settle: O(values here).
  void apply(const RefNote& note);
  /// A process died, and what its link to here had still to deliver has been applied. O(values here). Pids are never
  /// reused.
  void process_died(Pid pid);

  /// What nobody holds any more, since the last call. To be asked after each batch of notes, create and process_died.
  std::vector<RemoteRefId> take_freed();
  /// Whom to ask since the last call, after deaths. Each answers with notes (HeldRefs::question).
  std::vector<RefQuestion> take_questions();

 private:
  struct Count {
    Pid holder, sender;
    std::int64_t balance;  ///< adds minus releases; never 0
  };
  struct Entry {
    std::vector<Count> counts;     ///< sorted by holder and sender: nearly always one or two
    bool touched_by_dead = false;  ///< a process that died held it, and may have passed it on uncounted
  };
  using Table = std::unordered_map<RemoteRefId, Entry>;

  Table::iterator known_or_created(RemoteRefId ref);
  void change(Entry& entry, const RefNote& note);
  void settle(Pid holder, Pid sender);
  void free_if_unheld(Table::iterator entry);
  template <class Predicate>
  void drop_counts(Predicate unwanted);

  Table refs_;
  std::unordered_set<Pid> dead_;
  /// Freed, while uncounted handles may be left over from dead processes: their notes must not bring it to life again.
  /// Only values that somebody held who died, so few; kept for good.
  std::unordered_set<RemoteRefId> buried_;
  std::vector<RemoteRefId> freed_;
  std::vector<RefQuestion> questions_;
};

/// Notes waiting to be sent, per owner, in order; equal neighbours are one note with a higher count. Not thread-safe.
class RefNotes {
 public:
  /// Sender has put a handle for `holder` into a message.
  void add(Pid owner, RemoteRefId ref, Pid holder, Pid sender, std::uint32_t count = 1);
  /// Holder drops `count` mentions which it got from `sender`.
  void release(Pid owner, RemoteRefId ref, Pid holder, std::uint32_t count, Pid sender);
  /// Holder has nothing from the dead sender any more.
  void settle(Pid owner, Pid holder, Pid sender);

  /// What is to be sent to that owner, in this order; empty afterwards.
  std::vector<RefNote> take(Pid owner);
  /// Owners that notes wait for, sorted.
  std::vector<Pid> owners() const;
  bool empty() const { return waiting_.empty(); }

 private:
  void append(Pid owner, const RefNote& note);

  std::map<Pid, std::vector<RefNote>> waiting_;
};

/// The holder's side: the handles this process has, one per value, with the mentions each has counted. Not thread-safe.
/// The driver sends `notes` to the owners (its own applied to its own RefCounts), and nothing of an owner past a death.
class HeldRefs {
 public:
  explicit HeldRefs(Pid self) : self_(self) {}

  /// This process made the reference, and has its first handle.
  void created(RemoteRefId ref, Pid owner);
  /// A message brought a handle. Messages of a sender after its process_died must not be read.
  void received(RemoteRefId ref, Pid owner, Pid sender);
  /// A message for `receiver` mentions a handle held here: counts it at the owner. A message to itself counts as well.
  void sending(RemoteRefId ref, Pid receiver);
  /// That message was not sent after all.
  void not_sent(RemoteRefId ref, Pid owner, Pid receiver);
  /// The handle object died.
  void dropped(RemoteRefId ref);
  bool holds(RemoteRefId ref) const { return held_.contains(ref); }
  std::size_t size() const { return held_.size(); }

  /// An owner asks about a dead sender. Answered at once, or as soon as this process has heard of that death itself.
  /// O(handles here).
  void question(Pid owner, Pid sender);
  /// A process died, and nothing of what it sent will be read from now on. What it owned needs no notes any more.
  void process_died(Pid pid);

  RefNotes& notes() { return notes_; }

 private:
  struct Mentions {
    Pid sender;
    std::uint32_t count;
  };
  struct Held {
    Pid owner;
    std::vector<Mentions> mentions;
  };

  static void count(Held& held, Pid sender, std::uint32_t mentions);
  void answer(Pid owner, Pid sender);

  Pid self_;
  std::unordered_map<RemoteRefId, Held> held_;
  RefNotes notes_;
  std::unordered_set<Pid> dead_;
  std::vector<RefQuestion> early_;  ///< questions (their `holder` is who asks) about deaths not heard of here yet
};

}  // namespace muster::runtime
