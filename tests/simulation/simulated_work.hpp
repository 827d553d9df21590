/// @file
/// What the processes of a simulated cluster do: they call each other, keep and pass on what comes of it, and fetch it.
/// A ledger knows of each call what must come of it, and of each wait whether it has ended.
#pragma once

#include "tests/simulation/simulated_cluster.hpp"

#include <muster/detail/call.hpp>
#include <muster/detail/future_core.hpp>

#include <deque>
#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace muster::simulation {

using detail::CorePointer;
using detail::FutureCore;
using detail::Payload;
using detail::Returns;
using CallId = std::uint64_t;

/// Names what comes of a call. Where its value has come already, it is here.
struct Reference {
  CallId of = 0;
  CorePointer core;
};

/// A value with the references in it: arguments and results.
struct Carried {
  std::uint64_t value = 0;
  std::vector<Reference> references;
};

/// As Future does it: where the value is here it travels itself, else its handle.
inline Payload encode(const Carried& carried, std::size_t filler) {
  Payload payload;
  runtime::FieldWriter out(payload.bytes);
  out.u64(carried.value);
  std::vector<const Reference*> sent;
  for (const Reference& reference : carried.references)
    if (const auto state = reference.core->prepare_to_send();
        state != FutureCore::State::here && state != FutureCore::State::failed)
      sent.push_back(&reference);
  out.u32(static_cast<std::uint32_t>(sent.size()));
  for (const Reference* reference : sent) {
    out.u64(reference->of);
    out.u8(reference->core->task ? 1 : 0);
    payload.handles.push_back(reference->core);
  }
  for (; filler > 0; --filler) out.u8(0);
  return payload;
}

inline Carried decode(const Payload& payload) {
  runtime::FieldReader in(payload.bytes.bytes());
  Carried carried;
  carried.value = in.u64();
  const std::size_t count = in.u32();
  for (std::size_t i = 0; i < count; ++i) {
    Reference reference;
    reference.of = in.u64();
    const bool task = in.u8() != 0;
    reference.core = std::dynamic_pointer_cast<FutureCore>(payload.handles.at(i));
    if (!reference.core) throw SerializationError("A handle of another kind");
    if (task) reference.core->task = true;
    carried.references.push_back(std::move(reference));
  }
  return carried;
}

/// What a task does. Those that end take their time before it.
enum class Behaviour {
  answer,   ///< gives its value, and with it some of the references it got
  fail,     ///< throws
  relay,    ///< calls another process, and answers when that has
  forward,  ///< answers with the future of a call that it has just made
  fetch,    ///< fetches what its arguments name, then answers
  keep,     ///< keeps what its arguments name when it answers
  die,      ///< ends its process
};

class SimulatedWork : public SimulatedCluster {
 public:
  explicit SimulatedWork(const Options& options) : SimulatedCluster(options) { current() = this; }
  ~SimulatedWork() override {
    end();
    pockets_.clear();
    current() = nullptr;
  }

  struct Plan {
    Behaviour behaviour = Behaviour::answer;
    Returns returns = Returns::small;
    std::vector<Reference> arguments = {};
    std::size_t result_size = 0;  ///< bytes beyond the value
    Nanoseconds duration{0};
    bool nested = false;  ///< by a task, which waits for it: nothing is done with its result
  };
  /// How a call ended, to whoever made it: null, or why it failed.
  using Then = std::function<void(const Reference&, const std::exception_ptr&)>;

  /// @param to 0: chosen by the process's own placement (the master's only: it has links to all)
  void call(SimulatedProcess& from, Pid to, Plan plan, Then then = {}) {
    const CallId id = calls_.size() + 1;
    calls_.push_back({from.pid(), to, plan.behaviour, plan.returns, plan.result_size, plan.duration});
    trace().say(from.pid(), "makes call ", id, " (", text_of(plan.behaviour), ", ", text_of(plan.returns), ", ",
                plan.arguments.size(), " references) of process ", to);
    if (plan.returns != Returns::nothing) calls_.back().wait = begin_wait(from.pid(), "call " + std::to_string(id));
    start(from, id, std::make_shared<Plan>(std::move(plan)), std::make_shared<Then>(std::move(then)));
  }
  /// Fetches, and then lets it go.
  void fetch(SimulatedProcess& at, const Reference& reference, Then then = {}) {
    const std::size_t wait = begin_wait(at.pid(), "what comes of call " + std::to_string(reference.of));
    const auto& core = reference.core;
    at.calls().pursue(core, true);
    // As a waiting thread does, the wait keeps the handle.
    core->when_settled(true, [this, &at, reference, wait, then = std::move(then)] {
      if (over_) return;
      end_wait(wait);
      trace().say(at.pid(), "has fetched what comes of call ", reference.of);
      const auto failure = check_settled(at, reference, true);
      if (then) then(reference, failure);
    });
  }

  std::vector<Reference>& pocket(Pid pid) { return pockets_[pid]; }
  /// Everything that processes hold.
  void empty_pockets() {
    for (const auto& [pid, process] : processes())
      process->enter([this, owner = pid] { drop(std::exchange(pockets_[owner], {})); });
  }
  void drop(std::vector<Reference> references) { references.clear(); }
  void cancel(SimulatedProcess& at, const Reference& reference) {
    if (reference.core->state() != FutureCore::State::pending) return;
    trace().say(at.pid(), "cancels call ", reference.of);
    calls_.at(reference.of - 1).cancelled = true;
    (void)at.calls().cancel(reference.core);
  }

  std::size_t calls_made() const { return calls_.size(); }
  std::size_t calls_failed() const { return failed_; }
  std::size_t references_fetched() const { return fetched_; }

 protected:
  struct Call {
    Pid caller = 0, target = 0;
    Behaviour behaviour{};
    Returns returns{};
    std::size_t result_size = 0;
    Nanoseconds duration{0};
    std::size_t wait = 0;
    bool cancelled = false;
    int started = 0, completed = 0, settled = 0;
    bool threw = false;
  };

  /// At the end, when nothing happens any more.
  void check_waits() {
    for (const Wait& wait : waits_)
      if (!wait.ended && find(wait.who)->alive()) fail("process ", wait.who, " still waits for ", wait.what);
    for (CallId id = 1; id <= calls_.size(); ++id) {
      const Call& call = calls_[id - 1];
      if (call.started > 1) fail("call ", id, " ran ", call.started, " times");
      if (call.settled > 1) fail("call ", id, " ended ", call.settled, " times");
    }
  }
  /// After everything was let go.
  void check_nothing_kept() {
    for (const auto& [pid, process] : processes()) {
      if (!process->alive()) continue;
      const auto kept = process->calls().kept();
      if (kept != runtime::Calls::Kept{})
        fail("process ", pid, " still keeps ", kept.values, " values, ", kept.held, " counts, ", kept.handles,
             " handles, ", kept.retaining, " retained, ", kept.calls, " calls, ", kept.tasks, " tasks");
    }
  }
  static std::uint64_t value_of(CallId id) { return id * 0x9e3779b97f4a7c15u; }
  bool over() const { return over_; }
  /// Nothing happens any more, whatever is settled now.
  void end() {
    over_ = true;
    time().clear();
    for (const auto& [pid, process] : processes()) process->end();
    time().clear();
  }

  std::size_t begin_wait(Pid who, std::string what) {
    waits_.push_back({who, std::move(what), false});
    return waits_.size() - 1;
  }
  void end_wait(std::size_t wait) {
    if (std::exchange(waits_.at(wait).ended, true)) fail(waits_.at(wait).what, " ended twice");
  }

  /// Makes sure that there is a link, as a thread that calls waits for it; then `go`, or with what ends the waiting.
  void with_link(SimulatedProcess& from, Pid to, std::function<void(const std::exception_ptr&)> go) {
    std::exception_ptr failure;
    try {
      if (to != 0 && to != from.pid() && !from.cluster().link_to(to)) {
        from.cluster().when_linked(to, [this, &from, to, go](const auto&) {
          from.enter_after(Nanoseconds(0), [this, &from, to, go] { with_link(from, to, go); });
        });
        return;
      }
    } catch (const std::exception&) {
      failure = std::current_exception();
    }
    go(failure);
  }

  /// Whether a failure that some wait about that call ended with is right. @returns why not
  std::string objection(CallId id, const std::exception_ptr& failure) {
    const Call& call = calls_.at(id - 1);
    try {
      std::rethrow_exception(failure);
    } catch (const ProcessExitedException& error) {
      return ending(error.pid()) ? "" : "it names process " + std::to_string(error.pid()) + ", which lives";
    } catch (const CancelledError&) {
      return call.cancelled || call.threw ? "" : "nobody cancelled it";
    } catch (const RemoteException& error) {
      if (call.threw || (error.is<InterruptedError>() && ending(error.pid()))) return "";
      return of_the_runtime(error.message()) ? "" : "its task threw nothing, and it says: " + std::string(error.what());
    } catch (const Error& error) {
      return of_the_runtime(error.what()) ? "" : "it says: " + std::string(error.what());
    } catch (const std::exception& error) {
      return "it is no error of muster's: " + std::string(error.what());
    }
  }

 private:
  /// Whether what the runtime says may be: links between living workers that break take along what was on them, and the
  /// dead the handles that they had sent and not counted.
  bool of_the_runtime(const std::string& text) const {
    if (deaths() > 0 && text.find("does not keep that value") != std::string::npos) return true;
    return cuts() > 0 &&
           (text.find("was lost") != std::string::npos || text.find("can't be reached") != std::string::npos ||
            text.find("does not keep that value") != std::string::npos);
  }

  struct Wait {
    Pid who;
    std::string what;
    bool ended;
  };

  static SimulatedWork*& current() {
    static thread_local SimulatedWork* current = nullptr;
    return current;
  }
  static const char* text_of(Behaviour behaviour) {
    switch (behaviour) {
      case Behaviour::answer: return "answers";
      case Behaviour::fail: return "fails";
      case Behaviour::relay: return "relays";
      case Behaviour::forward: return "forwards";
      case Behaviour::fetch: return "fetches";
      case Behaviour::keep: return "keeps";
      case Behaviour::die: return "dies";
    }
    return "?";
  }
  static const char* text_of(Returns returns) {
    switch (returns) {
      case Returns::small: return "value if small";
      case Returns::value: return "value";
      case Returns::stays: return "value stays";
      case Returns::nothing: return "no answer";
    }
    return "?";
  }

  // -- the caller's side
  void start(SimulatedProcess& from, CallId id, const std::shared_ptr<Plan>& plan, const std::shared_ptr<Then>& then) {
    const Pid to = calls_.at(id - 1).target;
    with_link(from, to, [this, &from, id, plan, then, to](std::exception_ptr failure) {
      CorePointer core;
      if (!failure) {
        try {
          Payload arguments = encode({id, plan->arguments}, 0);
          const auto handles = arguments.handles;
          core = from.calls().start(to == 0 ? detail::any_process : to, &SimulatedWork::perform, std::move(arguments),
                                    plan->returns);
          from.calls().sent_once(handles);
        } catch (const std::exception& error) {
          failure = std::current_exception();
          if (to == 0 && std::string(error.what()).find("still being connected") != std::string::npos) {
            // The worker chosen is dead, which is not known yet: a thread would wait for that.
            from.enter_after(std::chrono::milliseconds(50),
                             [this, &from, id, plan, then] { start(from, id, plan, then); });
            return;
          }
        }
      }
      plan->arguments.clear();
      if (plan->returns == Returns::nothing) return;
      if (failure) {
        call_ended(from, {id, nullptr}, failure, *then);
        return;
      }
      if (calls_.at(id - 1).target == 0) calls_.at(id - 1).target = core->owner();
      if (!plan->nested) pockets_[from.pid()].push_back({id, core});
      // Until it is settled, the calls room keeps it.
      core->when_settled(false, [this, &from, id, weak = std::weak_ptr(core), then] {
        if (over_) return;
        const Reference reference{id, weak.lock()};
        call_ended(from, reference, check_settled(from, reference, false), *then);
      });
    });
  }
  void call_ended(SimulatedProcess& from, const Reference& reference, const std::exception_ptr& failure,
                  const Then& then) {
    const CallId id = reference.of;
    ++calls_.at(id - 1).settled;
    end_wait(calls_.at(id - 1).wait);
    if (failure && !reference.core) {
      ++failed_;
      if (const auto wrong = objection(id, failure); !wrong.empty()) fail("call ", id, " failed wrongly: ", wrong);
    }
    trace().say(from.pid(), "has the end of call ", id, failure ? ": a failure" : "");
    if (then) then(reference, failure);
  }
  /// Looks whether what came of a call is what must. @returns the failure, where it is one
  std::exception_ptr check_settled(SimulatedProcess& at, const Reference& reference, bool needs_value) {
    const CallId id = reference.of;
    const Call& call = calls_.at(id - 1);
    switch (reference.core->state()) {
      case FutureCore::State::failed: {
        ++failed_;
        const auto failure = reference.core->failure();
        if (const auto wrong = objection(id, failure); !wrong.empty())
          fail("what comes of call ", id, " failed wrongly at process ", at.pid(), ": ", wrong);
        return failure;
      }
      case FutureCore::State::here: {
        if (needs_value) ++fetched_;
        const auto carried = std::static_pointer_cast<Carried>(
            reference.core->decoded([](const Payload& payload) -> std::shared_ptr<void> {
              return std::make_shared<Carried>(decode(payload));
            }));
        if (carried->value != value_of(id)) fail("process ", at.pid(), " has a wrong value of call ", id);
        if (call.completed == 0 || call.threw)
          fail("process ", at.pid(), " has a value of call ", id, ", which gave none");
        auto& pocket = pockets_[at.pid()];
        for (const Reference& brought : std::exchange(carried->references, {})) pocket.push_back(brought);
        return nullptr;
      }
      case FutureCore::State::remote:
        if (needs_value) fail("process ", at.pid(), " was to have the value of call ", id, ", and has only word of it");
        return nullptr;
      default: fail("what comes of call ", id, " is not settled though it was said to be"); return nullptr;
    }
  }

  // -- the side of the process called
  static void perform(detail::TaskRun& run) {
    SimulatedWork& work = *current();
    if (work.over_) return;
    Carried arguments = decode(run.arguments());
    run.arguments_done();
    work.perform_here(*SimulatedProcess::current(), run.shared_from_this(), std::move(arguments));
  }
  void perform_here(SimulatedProcess& here, std::shared_ptr<detail::TaskRun> run, Carried arguments) {
    const CallId id = arguments.value;
    Call& call = calls_.at(id - 1);
    ++call.started;
    trace().say(here.pid(), "runs call ", id, " (", text_of(call.behaviour), ")");
    auto mine = std::make_shared<std::vector<Reference>>(std::move(arguments.references));
    const auto later = [this, &here, id](auto f) { here.enter_after(calls_.at(id - 1).duration, f); };
    switch (call.behaviour) {
      case Behaviour::die: kill(here.pid()); return;
      case Behaviour::fail:
        later([this, id, run, mine] {
          mine->clear();
          finish(id, *run, std::make_exception_ptr(std::runtime_error("as it was told to")));
        });
        return;
      case Behaviour::answer:
        later([this, id, run, mine] {
          auto results = std::exchange(*mine, {});
          if (random().chance(50)) results.clear();
          finish(id, *run, std::move(results));
        });
        return;
      case Behaviour::keep:
        later([this, &here, id, run, mine] {
          for (auto& reference : std::exchange(*mine, {})) pockets_[here.pid()].push_back(std::move(reference));
          finish(id, *run, std::vector<Reference>{});
        });
        return;
      case Behaviour::fetch: fetch_all(here, id, run, mine); return;
      case Behaviour::relay: relay(here, id, run, std::exchange(*mine, {})); return;
      case Behaviour::forward: forward(here, id, run, std::exchange(*mine, {})); return;
    }
  }
  void fetch_all(SimulatedProcess& here, CallId id, const std::shared_ptr<detail::TaskRun>& run,
                 const std::shared_ptr<std::vector<Reference>>& rest) {
    if (rest->empty()) {
      finish(id, *run, std::vector<Reference>{});
      return;
    }
    const Reference next = rest->back();
    rest->pop_back();
    fetch(here, next, [this, &here, id, run, rest](const Reference&, const std::exception_ptr& failure) {
      if (failure)
        finish(id, *run, failure);
      else
        fetch_all(here, id, run, rest);
    });
  }
  Pid somebody(SimulatedProcess& here) {
    auto known = here.cluster().procs();
    return random().one_of(known);
  }
  void relay(SimulatedProcess& here, CallId id, const std::shared_ptr<detail::TaskRun>& run,
             std::vector<Reference> mine) {
    Plan plan{.behaviour = random().chance(80) ? Behaviour::answer : Behaviour::fail,
              .returns = random().chance(50) ? Returns::small : Returns::value,
              .arguments = std::move(mine),
              .duration = calls_.at(id - 1).duration,
              .nested = true};
    call(here, somebody(here), std::move(plan), [this, id, run](const Reference&, const std::exception_ptr& failure) {
      if (failure)
        finish(id, *run, failure);
      else
        finish(id, *run, std::vector<Reference>{});
    });
  }
  void forward(SimulatedProcess& here, CallId id, const std::shared_ptr<detail::TaskRun>& run,
               std::vector<Reference> mine) {
    Plan plan{.behaviour = random().chance(80) ? Behaviour::answer : Behaviour::fail,
              .returns = random().chance(70) ? Returns::stays : Returns::small,
              .arguments = std::move(mine),
              .duration = calls_.at(id - 1).duration};
    // The future goes on while its call is under way, or after.
    const Pid to = somebody(here);
    with_link(here, to, [this, &here, id, run, to, plan = std::move(plan)](const std::exception_ptr& failure) {
      if (failure) {
        finish(id, *run, failure);
        return;
      }
      call(here, to, plan);
      const auto future = pockets_[here.pid()].empty() ? Reference{} : pockets_[here.pid()].back();
      here.enter_after(random().chance(50) ? Nanoseconds(0) : plan.duration, [this, id, run, future] {
        finish(id, *run, future.core ? std::vector<Reference>{future} : std::vector<Reference>{});
      });
    });
  }
  void finish(CallId id, detail::TaskRun& run, std::vector<Reference> results) {
    Call& call = calls_.at(id - 1);
    ++call.completed;
    run.complete(encode({value_of(id), results}, call.result_size));
  }
  void finish(CallId id, detail::TaskRun& run, const std::exception_ptr& failure) {
    Call& call = calls_.at(id - 1);
    ++call.completed;
    call.threw = true;
    run.fail(failure);
  }

  bool over_ = false;
  std::deque<Call> calls_;
  std::vector<Wait> waits_;
  std::map<Pid, std::vector<Reference>> pockets_;
  std::size_t failed_ = 0, fetched_ = 0;
};

}  // namespace muster::simulation
