#include "runtime/session/handouts.hpp"

#include "runtime/code/code.hpp"
#include "runtime/session/process.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <string_view>

namespace muster::runtime {

using detail::CorePointer;
using detail::FutureCore;
using detail::InputArchive;
using detail::KeptId;
using detail::OutputArchive;
using detail::Payload;
using detail::Returns;
using detail::TaskRun;
using detail::Thunk;

namespace {

/// Smaller ones are sent to each by who calls: to wait for others would take longer.
constexpr std::size_t least_bytes = std::size_t{1} << 18;
constexpr std::size_t fewest_processes = 4;

Payload naming(KeptId id) {
  Payload payload;
  OutputArchive archive(payload);
  detail::write_kept_id(archive, id);
  return payload;
}

Payload behind(KeptId id, const Payload& arguments) {
  Payload payload = naming(id);
  payload.bytes.append(arguments.bytes.data(), arguments.bytes.size());
  payload.parts = arguments.parts;
  return payload;
}

// -- what is called there ---------------------------------------------------------------------------------------------

/// Keeps what comes behind the name.
void keep_handout(TaskRun& run) {
  auto kept = std::make_shared<Payload>();
  InputArchive archive(run.arguments());
  const KeptId id = detail::read_kept_id(archive);
  const auto bytes = run.arguments().bytes.bytes().subspan(naming(id).bytes.size());
  kept->bytes.append(bytes.data(), bytes.size());
  kept->parts = run.arguments().parts;
  kept->await();
  run.arguments_done();
  current_process().handouts().keep(id, std::move(kept));
  run.complete(Payload{});
}

void drop_handout(TaskRun& run) {
  InputArchive archive(run.arguments());
  const KeptId id = detail::read_kept_id(archive);
  archive.finish();
  current_process().handouts().drop(id);
  run.complete(Payload{});
}

/// Gives what is kept here to another process, and completes the call when it is there. On the steward: neither the
/// receiving thread nor a task has to wait for the link, or to copy.
void hand_on(const std::shared_ptr<TaskRun>& run, KeptId id, const std::shared_ptr<const Payload>& arguments, Pid to) {
  try {
    Process& process = current_process();
    process.cluster().heard_of(to);
    if (process.cluster().link_to(to) == nullptr) {
      // Told also as this process ends, when it is the session's no more.
      process.cluster().when_linked(
          to, [=, &process](const auto&) { process.steward().post([=] { hand_on(run, id, arguments, to); }); });
      return;
    }
    const Executor::ReceivingScope must_not_wait;
    const auto arrival = process.calls().start(to, &keep_handout, behind(id, *arguments), Returns::value);
    arrival->when_settled(true, [run, core = arrival.get()] {
      if (core->state() == FutureCore::State::failed)
        run->fail(core->failure());
      else
        run->complete(Payload{});
    });
  } catch (...) {
    run->fail(std::current_exception());
  }
}

void pass_handout(TaskRun& run) {
  InputArchive archive(run.arguments());
  const KeptId id = detail::read_kept_id(archive);
  Pid to = 0;
  archive.read_number(to);
  archive.finish();
  run.arguments_done();
  Process& process = current_process();
  auto arguments = process.handouts().find(id);
  if (!arguments) throw CancelledError("The arguments to be handed on are not here any more");
  process.steward().post(
      [run = run.shared_from_this(), id, arguments = std::move(arguments), to] { hand_on(run, id, arguments, to); });
}

/// The call itself, with arguments that came another way.
class HandedRun final : public TaskRun {
 public:
  HandedRun(std::shared_ptr<TaskRun> run, std::shared_ptr<const Payload> arguments)
      : run_(std::move(run)), arguments_(std::move(arguments)) {}
  const Payload& arguments() override { return *arguments_; }
  void arguments_done() override {}
  void complete(Payload&& result) override { run_->complete(std::move(result)); }
  void fail(const std::exception_ptr& failure) override { run_->fail(failure); }

 private:
  const std::shared_ptr<TaskRun> run_;
  const std::shared_ptr<const Payload> arguments_;
};

void run_handed(TaskRun& run) {
  InputArchive archive(run.arguments());
  const KeptId id = detail::read_kept_id(archive);
  CodeReference code;
  archive.read_number(code.module);
  archive.read_number(code.offset);
  archive.finish();
  run.arguments_done();
  auto arguments = current_process().handouts().find(id);
  if (!arguments) throw CancelledError("The arguments of this call were withdrawn");
  const auto handed = std::make_shared<HandedRun>(run.shared_from_this(), std::move(arguments));
  std::bit_cast<Thunk>(find_code(code))(*handed);
}

}  // namespace

// -- where they are kept ----------------------------------------------------------------------------------------------

// NOLINTNEXTLINE(performance-unnecessary-value-param): it is moved from
void Handouts::keep(KeptId id, std::shared_ptr<const Payload> arguments) {
  const std::lock_guard lock(mutex_);
  if (std::find(dropped_.begin(), dropped_.end(), id) == dropped_.end()) kept_.try_emplace(id, std::move(arguments));
}

std::shared_ptr<const Payload> Handouts::find(KeptId id) const {
  const std::lock_guard lock(mutex_);
  const auto found = kept_.find(id);
  return found == kept_.end() ? nullptr : found->second;
}

void Handouts::drop(KeptId id) {
  std::shared_ptr<const Payload> dropped;  // freed without the lock
  const std::lock_guard lock(mutex_);
  if (auto found = kept_.extract(id); !found.empty()) dropped = std::move(found.mapped());
  dropped_.push_back(id);
  if (dropped_.size() > most_dropped) dropped_.pop_front();
}

void Handouts::process_gone(Pid pid) {
  const std::lock_guard lock(mutex_);
  std::erase_if(kept_, [pid](const auto& entry) { return entry.first.creator == pid; });
}

std::size_t Handouts::size() const {
  const std::lock_guard lock(mutex_);
  return kept_.size();
}

std::vector<Thunk> Handouts::quick_calls() { return {&keep_handout, &pass_handout, &drop_handout}; }

// -- who hands out ----------------------------------------------------------------------------------------------------

std::vector<Pid> Handout::served_directly(const Cluster& cluster, Pid self) {
  const char* const chosen = std::getenv("MUSTER_BROADCAST");
  if (chosen != nullptr && std::string_view(chosen) == "tree") return {};
  return cluster.procs_on_host_of(self);
}

std::vector<Pid> Handout::others_in(const std::vector<Pid>& pids, Pid self, const std::vector<Pid>& but) {
  std::vector<Pid> others;
  std::unordered_set<Pid> seen{self};
  for (const Pid pid : pids)
    if (seen.insert(pid).second && !std::binary_search(but.begin(), but.end(), pid)) others.push_back(pid);
  return others;
}

bool Handout::enough(const Cluster& cluster, std::size_t processes) {
  return processes >= fewest_processes && cluster.topology() == Topology::all_to_all;
}

bool Handout::pays(const Cluster& cluster, const Payload& arguments, std::size_t processes) {
  return enough(cluster, processes) && arguments.handles.empty() && arguments.total_size() >= least_bytes;
}

Handout::Handout(Calls& calls, const Payload& arguments, std::function<void()> tell)
    : calls_(calls),
      anchor_(calls.anchor()),
      id_{calls.self(), calls.next_number()},
      arguments_(std::make_shared<const Payload>(arguments)) {
  ended_->tell = std::move(tell);
}

Handout::~Handout() {
  // Stopping the task that ends here must not keep it from cleaning up.
  const auto deadline = exchange_scope_deadline(std::nullopt);
  const TaskScope scope(nullptr, false);
  anchor_->with([this](Calls& calls) {
    const Executor::ReceivingScope must_not_wait;
    for (const Pid pid : given_to_) {
      try {
        (void)calls.start(pid, &drop_handout, naming(id_), Returns::nothing);
      } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): it is gone, and what it had with it
      }
    }
  });
  (void)exchange_scope_deadline(deadline);
}

CorePointer Handout::call(Pid pid, Thunk thunk) {
  const CodeReference code = name_code(std::bit_cast<const void*>(thunk));
  Payload payload = naming(id_);
  OutputArchive archive(payload);
  archive.write_number(code.module);
  archive.write_number(code.offset);
  return calls_.start(pid, &run_handed, std::move(payload), Returns::value);
}

void Handout::give(const std::vector<Pid>& to, Served served, Failed failed) {
  begin(to, std::move(served), std::move(failed));
  while (!take_in()) wait();
}

void Handout::begin(const std::vector<Pid>& to, Served served, Failed failed) {
  served_ = std::move(served);
  failed_ = std::move(failed);
  to_serve_.assign(to.begin(), to.end());
  given_to_ = to;
  assign();
}

bool Handout::take_in() {
  std::vector<std::uint64_t> now;
  {
    const std::lock_guard lock(ended_->mutex);
    now.swap(ended_->transfers);
  }
  for (const std::uint64_t number : now) {
    const auto node = under_way_.extract(number);
    conclude(node.mapped());
  }
  assign();
  return under_way_.empty() || done_.size() == given_to_.size();
}

void Handout::assign() {
  const auto next_of = [](std::deque<Pid>& queue) {
    const Pid pid = queue.front();
    queue.pop_front();
    return pid;
  };
  while (!idle_.empty() && !to_serve_.empty()) {
    const Pid from = next_of(idle_);
    start(from, next_of(to_serve_));
  }
  while (we_are_idle_ && (!by_us_.empty() || !to_serve_.empty())) {
    const Pid to = next_of(by_us_.empty() ? to_serve_ : by_us_);
    if (!done_.contains(to)) start(calls_.self(), to);
  }
}

void Handout::start(Pid from, Pid to) {
  const bool by_us = from == calls_.self();
  Transfer transfer{from, to, Clock::now(), nullptr};
  try {
    if (by_us) {
      transfer.core = calls_.start(to, &keep_handout, behind(id_, *arguments_), Returns::value);
    } else {
      Payload payload = naming(id_);
      OutputArchive archive(payload);
      archive.write_number(to);
      transfer.core = calls_.start(from, &pass_handout, std::move(payload), Returns::value);
    }
  } catch (...) {
    if (const TaskState* task = current_task()) task->check();
    conclude_failed(transfer, std::current_exception());
    return;
  }
  if (by_us) we_are_idle_ = false;
  const std::uint64_t number = ++last_transfer_;
  under_way_[number] = transfer;
  transfer.core->when_settled(true, [ended = ended_, number] {
    CorePointer event;
    {
      const std::lock_guard lock(ended->mutex);
      ended->transfers.push_back(number);
      event = std::exchange(ended->event, nullptr);
    }
    if (event) event->set_value({});
    if (ended->tell) ended->tell();
  });
}

/// For something to end.
void Handout::wait() {
  CorePointer event;
  {
    const std::lock_guard lock(ended_->mutex);
    if (ended_->transfers.empty()) event = ended_->event = detail::make_local_core();
  }
  if (event && !detail::wait_settled_for(event, patience)) help_late_ones();
}

void Handout::conclude(const Transfer& transfer) {
  const bool by_us = transfer.from == calls_.self();
  if (by_us) we_are_idle_ = true;
  if (transfer.core->state() == FutureCore::State::failed) {
    conclude_failed(transfer, transfer.core->failure());
    return;
  }
  if (!by_us) idle_.push_back(transfer.from);
  if (!done_.insert(transfer.to).second) return;
  idle_.push_back(transfer.to);
  served_(transfer.to);
}

void Handout::conclude_failed(const Transfer& transfer, const std::exception_ptr& failure) {
  if (done_.contains(transfer.to)) return;
  if (transfer.from != calls_.self()) {
    by_us_.push_back(transfer.to);
    return;
  }
  done_.insert(transfer.to);
  failed_(transfer.to, failure);
}

/// Whoever gives may be slow, or may not get through to the other; and who is given something by us may stand still.
void Handout::help_late_ones() {
  for (auto& [number, transfer] : under_way_) {
    const bool by_us = transfer.from == calls_.self();
    const bool is_late = !done_.contains(transfer.to) && Clock::now() - transfer.begun >= patience;
    if (!is_late || !(by_us || we_are_idle_)) continue;
    transfer.begun = Clock::time_point::max();  // once
    if (by_us)
      we_are_idle_ = true;  // for others
    else
      by_us_.push_back(transfer.to);
    return;
  }
}

}  // namespace muster::runtime
