/// @file
/// Calls in flight and their results; the tasks that others asked for; and what goes back and forth about values that
/// live elsewhere. The hub of a process: what it knows of peers are links and pids, of functions their addresses.
#pragma once

#include "runtime/base/recycled_memory.hpp"
#include "runtime/base/serial_thread.hpp"
#include "runtime/base/shared_table.hpp"
#include "runtime/calls/awaited_calls.hpp"
#include "runtime/calls/module_exchange.hpp"
#include "runtime/calls/placement.hpp"
#include "runtime/calls/router.hpp"
#include "runtime/calls/unconfirmed_puts.hpp"
#include "runtime/exec/executor.hpp"
#include "runtime/refs/channel_queue.hpp"
#include "runtime/refs/value_store.hpp"
#include "runtime/transport/transport.hpp"

#include <muster/detail/call.hpp>
#include <muster/detail/channel_core.hpp>
#include <muster/detail/future_core.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace muster::runtime {

class CallJob;
struct LinkCodes;

/// Threads: every function from any, unless it says otherwise.
class Calls : private ModuleSource {
 public:
  Calls(Pid self, Transport& transport, Executor& executor, Router& router);
  ~Calls() override;

  Pid self() const { return self_; }
  /// A worker learns its pid in the handshake, before its first call.
  void set_self(Pid self);
  Executor& executor() { return executor_; }
  const std::shared_ptr<detail::Anchor>& anchor() const { return anchor_; }
  /// Calls of these are run by the receiving thread, whether a slot is free or not. They must not block. To be called
  /// before anything is received.
  void set_quick(std::vector<detail::Thunk> thunks) { quick_ = std::move(thunks); }
  std::uint64_t next_number() { return last_number_.fetch_add(1, std::memory_order_relaxed) + 1; }

  // -- calls of this process ------------------------------------------------------------------------------------------
  /// @see detail::start_call
  /// @param hurry whether the caller wants the answer as soon as it is there; else it may come together with those of
  /// the next calls where the callee has some, a millisecond or two later at most
  enum class Hurry : bool { no, yes };
  detail::CorePointer start(Pid pid, detail::Thunk thunk, detail::Payload&& arguments, detail::Returns returns,
                            Hurry hurry = Hurry::yes);
  /// Calls another process, and waits for the value as long as this thread's task and deadline allow.
  /// @see detail::fetch_call
  detail::Payload fetch(Pid pid, detail::Thunk thunk, detail::Payload&& arguments);
  /// @see detail::throw_loss_of
  [[noreturn]] void throw_loss_of(Pid pid);
  /// Runs the call in this thread.
  detail::Payload call_here(detail::Thunk thunk, detail::Payload&& arguments);
  bool cancel(const detail::CorePointer& core);
  /// Takes a call of this process back if it has not started, which then fails with CancelledError. The core that is
  /// returned is settled with one byte for yes, none for no; after the call's, where it is yes.
  detail::CorePointer withdraw(const detail::CorePointer& core);
  /// Asks another process to interrupt its tasks.
  void interrupt(Pid pid);
  /// Requests stop of every task that runs here.
  void interrupt_here();
  std::size_t calls_in_flight() const;
  /// Calls of this process that wait for that one.
  std::size_t calls_in_flight(Pid pid) const;

  // -- values ---------------------------------------------------------------------------------------------------------
  detail::CorePointer make_promise(Pid where);
  detail::CorePointer make_core(Pid owner, detail::FutureCore::State state);
  /// Sees to it that the core gets settled: asks its owner where need be.
  void pursue(const detail::CorePointer& core, bool needs_value);
  /// Asks the owner where this process does not know.
  bool is_ready(const detail::CorePointer& core);
  void fulfil(const detail::CorePointer& core, detail::Payload&& value);
  /// A core is about to go.
  void release(detail::FutureCore& core) noexcept;
  /// What was encoded for one message, with these handles, has been sent, and nobody keeps it to send it again.
  void sent_once(const std::vector<std::shared_ptr<detail::Handle>>& handles);
  std::size_t values_owned() const;
  /// How much is kept here for whatever is under way: for tests, which see that nothing is left in the end.
  struct Kept {
    std::size_t values = 0;     ///< owned, for whoever holds them
    std::size_t held = 0;       ///< references counted at their owners
    std::size_t handles = 0;    ///< sent or received
    std::size_t retaining = 0;  ///< kept until their owner says what it did: sent on, or cancelled
    std::size_t calls = 0, tasks = 0;
    bool operator==(const Kept&) const = default;
  };
  Kept kept() const;
  /// Sends the notes about references that wait. The receiving thread does so after each batch.
  void flush_notes();
  /// Whether the message received last was an item for a place of its own: others most likely follow. The receiving
  /// thread's.
  bool take_item_came() { return std::exchange(item_came_, false); }
  bool notes_waiting() const { return notes_waiting_.load(std::memory_order_relaxed); }

  // -- channels -------------------------------------------------------------------------------------------------------
  /// Asks the process where it shall live, and waits until it is there.
  detail::ChannelPointer make_channel(std::size_t capacity, Pid where);
  /// Over a user's store, in this process.
  detail::ChannelPointer make_channel(std::unique_ptr<detail::ItemStore> store);
  /// Asks its owner, and waits for the reply as long as this thread's task and deadline allow.
  /// @param at_once put and take: not longer than it takes to ask
  /// @param item of a put
  /// @returns what is given back; nothing for no
  /// @throws what the channel's operations throw
  std::optional<detail::Payload> ask_channel(const detail::ChannelPointer& channel, ChannelOperation operation,
                                             bool at_once = false, detail::Payload&& item = {});
  /// A handle is about to go.
  void release(detail::ChannelCore& channel) noexcept;

  // -- code -----------------------------------------------------------------------------------------------------------
  /// Gets modules for find_code, whose thread waits as long as its task and deadline allow.
  ModuleSource& module_source() { return *this; }

  // -- what happens ---------------------------------------------------------------------------------------------------
  /// A message of a kind from define_code on arrived. Receiving thread; does not block.
  void on_message(Incoming&& message);
  /// Whether those go to on_plain.
  static bool takes_plain(MessageKind kind) { return kind == MessageKind::call || kind == MessageKind::reply_value; }
  /// As on_message, of such a kind.
  void on_plain(PlainMessage& message);
  void worker_joined(Pid pid);
  /// Of those workers, the one for the next call. 0 where calls may be given to none of them.
  Pid choose_among(std::span<const Pid> workers);
  /// Whether something that a process has left is still to be received.
  enum class Rest : bool { none, comes };
  /// Fails every call that waits for it, and frees what it held.
  /// @param rest comes: nothing_more_from() will be called
  void process_gone(const WorkerExit& exit, Rest rest = Rest::none);
  /// All that the dead process has left was received.
  void nothing_more_from(Pid pid);
  /// Fails every call that waits for it: nothing can be had from it, though it lives.
  void process_unreachable(Pid pid, const std::string& why);
  /// The session ends: everything still waiting fails with that.
  void fail_everything(const std::exception_ptr& failure);

  /// Blocks the calling thread until the core is settled. @returns false at the deadline. Throws as API for a stopped
  /// task.
  bool block_until_settled(const detail::CorePointer& core, bool needs_value,
                           std::optional<Clock::time_point> deadline);

 private:
  friend class CallJob;

  /// By the number that the answer names.
  struct PendingKeys {
    using Key = std::uint64_t;
    static Key of(const detail::FutureCore& core) { return core.id().number; }
    static std::uint64_t hash(Key number) { return number; }
  };
  /// Questions about values as well as tasks, which differ in `task`.
  using PendingTable = SharedTable<detail::FutureCore, PendingKeys>;
  /// By the name of the task's result.
  struct TaskKeys {
    using Key = RemoteRefId;
    static Key of(const CallJob& job);
    static std::uint64_t hash(const Key& name) {
      return name.number + (static_cast<std::uint64_t>(static_cast<std::uint32_t>(name.creator)) << 32);
    }
  };

  // sending
  /// How long a sender may be held up by a link that is being made, or has no credit.
  enum class Waits : std::uint8_t {
    no,        ///< not at all: the message is kept until it can go
    heedful,   ///< until its task must stop or its time is over
    stubborn,  ///< as long as it takes: others wait for what is sent, though the task is over
  };
  /// @throws where it is not sent: what Router::link_to throws, SerializationError, and what ends a heedful sender's
  /// waiting.
  void transmit(Pid pid, Header header, detail::Thunk thunk, detail::Payload&& payload, Waits waits,
                Transport::Urgency urgency = Transport::Urgency::now);
  void transmit_over(Link& link, const Header& header, const detail::Payload& payload, Waits waits,
                     Transport::Urgency urgency);
  /// Sends, or keeps until there is a link.
  void post(Pid pid, const std::shared_ptr<Link>& link, const Header& header, detail::Payload&& payload);
  void unsent(Pid pid, const Header& header, const detail::Payload& payload);
  std::shared_ptr<Link> wait_for_link(Pid pid, Waits waits);
  static void check_waited(Executor::Woken woken, const std::string& what);
  std::uint32_t code_on(Link& link, detail::Thunk thunk);
  void check_is_ours(const detail::Handle& handle) const;
  void announce_handles(const detail::Payload& payload, Pid receiver);
  void retract_handles(const detail::Payload& payload, Pid receiver);
  /// As transmit without waiting; nothing happens where the receiver is gone.
  /// @throws SerializationError
  void send_control(Pid pid, const Header& header, detail::Payload&& payload);

  void fail_pending(Pid pid, const std::exception_ptr& failure);

  // calls that are waited for on the spot
  bool begin(AwaitedCall& call, detail::Thunk thunk, detail::Payload& arguments);
  detail::Payload fetch_by_future(Pid pid, detail::Thunk thunk, detail::Payload&& arguments);
  bool stop_awaiting(AwaitedCall& call, const detail::CorePointer& successor);
  void give_up(AwaitedCall& call, Executor::Woken why);
  AnsweredCall take_awaited(std::uint64_t number, Pid from);

  // answers to calls of this process
  /// The call that waits for that answer; null: none does any more.
  detail::CorePointer take_pending(std::uint64_t number);
  /// @throws SerializationError when the answer is not from whom was asked.
  detail::CorePointer take_answered(std::uint64_t number, Pid from);
  void no_longer_pending(const detail::FutureCore& core);
  void on_value(std::uint64_t number, Pid from, detail::Payload&& value);
  void on_stored(std::uint64_t number, Pid from);
  void on_failure(std::uint64_t number, Pid from, std::vector<std::byte> encoded);
  /// The task of a call that was cancelled ended all the same. @param stored its result is kept there
  void cancelled_ended(std::uint64_t number, Pid from, bool stored);

  // calls of others
  void on_call(Incoming& message, Pid caller);
  /// @param arguments a Payload&&, or their bytes
  template <class Arguments>
  void take_call(const std::shared_ptr<Link>& link, const Header& header, Pid caller, Arguments&& arguments,
                 Receipt&& receipt, bool names_modules);
  bool on_cancel(Pid caller, std::uint64_t number);
  std::shared_ptr<CallJob> take_unstarted(Pid caller, std::uint64_t number);
  bool withdraw_job(CallJob& job);
  void submit_job(std::shared_ptr<CallJob> job);
  void know_task(const std::shared_ptr<CallJob>& job);
  void hold_call(const std::shared_ptr<Link>& link, std::uint32_t code, std::shared_ptr<CallJob> job);
  void release_held(LinkCodes& codes);
  void release_all_held();
  void require(std::uint64_t module) override;
  void store_result(RemoteRefId ref, std::shared_ptr<const StoredResult> result);
  void answer(const CallJob& job, const Header& header, detail::Payload&& payload, Transport::Urgency urgency);
  void finish(CallJob& job, detail::Payload&& result);
  void finish_failed(CallJob& job, const std::exception_ptr& failure);
  bool forget_task(const CallJob& job);

  // references
  void receive_handles(Incoming& message, Pid sender);
  std::shared_ptr<detail::Handle> handle_of(const HandleRecord& record);
  /// Asks the owner of a reference. The answer settles the core that is returned: null where the value is here already.
  detail::CorePointer ask_about(const detail::CorePointer& core, ReferenceOperation operation, detail::Payload&& put);
  detail::CorePointer request(const detail::FutureCore& core, ReferenceOperation operation, detail::Payload&& put);
  void on_reference_request(Incoming& message, Pid sender);
  /// @param task the reference names a task's result
  void ask_here(Asker asker, ReferenceOperation operation, RemoteRefId ref, detail::Payload&& put, bool task);
  void on_notes(Incoming& message, Pid sender);
  void on_retain(Pid creator, std::uint64_t number, Pid receiver);
  void on_retained(RemoteRefId ref, Pid owner, bool kept);
  void give_back(Pid owner, RemoteRefId ref, detail::Payload&& payload, bool failed);
  void on_fill(Incoming& message, Pid sender);
  void fill_here(RemoteRefId ref, detail::Payload&& payload, bool failed);
  bool retain_here(RemoteRefId ref, Pid receiver, Pid sender);
  void send_answers(std::vector<Answer>& answers);
  void send_answer(const Answer& answer);
  void answer_to(Pid asker, Header header, detail::Payload&& payload);
  void flush_notes_to(ValueStore::Freed& freed, std::vector<Answer>& answers);
  void ask_questions();
  void note_waiting();
  // channels
  struct ChannelQuestion {
    const detail::ChannelPointer& channel;
    ChannelOperation operation;
    bool at_once;
    std::uint64_t number;
  };
  detail::ChannelPointer new_channel(Pid owner, std::shared_ptr<OwnedChannel> owned);
  void announce_channel(const detail::ChannelPointer& channel, Pid receiver);
  detail::CorePointer expect_answer(std::uint64_t number, Pid owner);
  std::optional<detail::Payload> ask_channel_here(const ChannelQuestion& question, detail::Payload&& item);
  detail::CorePointer ask_channel_there(const ChannelQuestion& question, detail::Payload&& item);
  std::optional<detail::Payload> await_reply(const ChannelQuestion& question, const detail::CorePointer& answer);
  Executor::Woken wait_for_reply(detail::FutureCore& answer, std::optional<Clock::time_point> deadline,
                                 Executor::Stops stops);
  void tell_channel(const detail::ChannelPointer& channel, ChannelWord word, std::uint64_t number);
  void on_channel_request(Incoming& message, Pid sender);
  void on_channel_word(Incoming& message, Pid sender);
  void create_channel(RemoteRefId ref, Asker creator, const detail::Payload& capacity);
  template <class F>
  void at_channel(const std::shared_ptr<OwnedChannel>& channel, F&& f);
  void tell_of_death(const std::vector<std::shared_ptr<OwnedChannel>>& channels, Pid pid);
  void hear(const std::shared_ptr<OwnedChannel>& channel, ChannelWord word, Asker asker);
  void send_replies(OwnedChannel& channel, ChannelQueue::Replies&& replies);
  void send_reply(const RemoteRefId& channel, ChannelQueue::Reply&& reply);
  void put_in_place(const RemoteRefId& ref, Incoming& message, Pid sender);
  void on_channel_notice(Incoming& message, Pid sender);
  bool put_unasked(const detail::ChannelPointer& channel, detail::Payload& item);
  void places_lost(Pid pid);
  void give_places_back(Pid owner, const RemoteRefId& channel);
  std::optional<detail::Payload> operate_here(OwnedChannel& owned, ChannelOperation operation, detail::Payload& item);
  std::shared_ptr<OwnedChannel> owned_channel(const RemoteRefId& ref);
  /// Before something leaves that may tell others of the puts of this process: waits until the channels' owners have
  /// them, but for the receiver, who gets it behind them.
  /// @param receiver self(): it may be seen by anybody
  /// @throws heedful: as transmit
  void settle_puts(Pid receiver, Waits waits) {
    if (unconfirmed_.elsewhere(receiver)) settle_puts_now(receiver, waits);
  }
  void settle_puts_now(Pid receiver, Waits waits);
  void confirm_puts(const std::vector<UnconfirmedPuts::Mark>& marks, Waits waits);
  /// Users' stores are destroyed on their thread.
  void discard(ValueStore::Freed& freed);

  void touch(detail::FutureCore& core);
  void let_go(detail::FutureCore& core);
  void answered(detail::FutureCore& core);
  void drop_count(detail::FutureCore& core);

  std::atomic<Pid> self_;
  Transport& transport_;
  Executor& executor_;
  Router& router_;
  std::shared_ptr<detail::Anchor> anchor_;
  std::atomic<std::uint64_t> last_number_{0};
  UnconfirmedPuts unconfirmed_;
  bool item_came_ = false;  ///< the receiving thread's
  const RecycledMemory::Owner core_blocks_ = RecycledMemory::make(), job_blocks_ = RecycledMemory::make();
  const RecyclingAllocator<detail::FutureCore> core_memory_{core_blocks_};
  const RecyclingAllocator<CallJob> job_memory_{job_blocks_};

  std::vector<detail::Thunk> quick_;
  mutable detail::SmallMutex pending_mutex_;  ///< guards pending_, awaited_ and placement_
  PendingTable pending_;
  AwaitedCalls awaited_;
  Placement placement_;

  mutable detail::SmallMutex tasks_mutex_;  ///< guards tasks_
  SharedTable<CallJob, TaskKeys> tasks_;

  std::mutex held_mutex_;  ///< guards holding_ and what their LinkCodes hold; taken before modules_' own
  std::vector<std::shared_ptr<Link>> holding_;  ///< links with calls that wait for code

  std::mutex flush_mutex_;  ///< held while notes are taken and sent, so that they leave in order; taken before
                            ///< references_mutex_
  /// Guards all down to cancelled_. Whatever may hold handles is destroyed without it.
  mutable std::mutex references_mutex_;
  ValueStore store_;
  HeldRefs held_;
  std::unordered_map<RemoteRefId, std::weak_ptr<detail::Handle>> handles_;  ///< sent or received
  std::unordered_map<RemoteRefId, detail::CorePointer>
      retaining_;  ///< sent before their answer came: until the owner has them
  /// Until the end of their tasks is heard of, which others may have handles of: so long this process stays their
  /// holder, since an owner that has freed the slot would make it anew for the result.
  std::unordered_map<std::uint64_t, detail::CorePointer> cancelled_;
  std::atomic<bool> notes_waiting_{false};

  ModuleExchange modules_;
  SerialThread stores_thread_{"muster-stores"};  ///< runs users' stores for other processes; ends before all else goes
};

}  // namespace muster::runtime
