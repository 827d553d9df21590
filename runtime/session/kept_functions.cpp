#include "runtime/session/kept_functions.hpp"

#include "runtime/base/log.hpp"
#include "runtime/session/background_handout.hpp"
#include "runtime/session/process.hpp"

#include <muster/spawn.hpp>

#include <algorithm>
#include <list>
#include <span>

namespace muster::runtime {

using detail::CorePointer;
using detail::KeptId;
using detail::Payload;

// -- where it is kept -------------------------------------------------------------------------------------------------

void KeptFunctions::keep(KeptId id, std::shared_ptr<const void> function) {
  CorePointer arrival;
  {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[id];
    entry.function = std::move(function);
    arrival = std::move(entry.arrival);
  }
  if (arrival) arrival->set_value({});
}

void KeptFunctions::drop(KeptId id, const std::exception_ptr& failure) {
  CorePointer arrival;
  std::shared_ptr<const void> dropped;  // destroyed without the lock
  {
    const std::lock_guard lock(mutex_);
    auto found = entries_.extract(id);
    if (found.empty()) return;
    arrival = std::move(found.mapped().arrival);
    dropped = std::move(found.mapped().function);
  }
  if (arrival) detail::fail_local(arrival, failure);
}

void KeptFunctions::fail(KeptId id, const std::exception_ptr& failure) { drop(id, failure); }

void KeptFunctions::release(KeptId id) {
  drop(id, std::make_exception_ptr(CancelledError("The function of this call did not arrive, or was withdrawn")));
}

void KeptFunctions::process_gone(Pid pid) {
  std::vector<KeptId> ids;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, entry] : entries_)
      if (id.creator == pid) ids.push_back(id);
  }
  for (const KeptId& id : ids) release(id);
}

std::shared_ptr<const void> KeptFunctions::wait_for(KeptId id) {
  CorePointer arrival;
  {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[id];
    if (entry.function) return entry.function;
    if (!entry.arrival) entry.arrival = detail::make_local_core();
    arrival = entry.arrival;
    ++entry.waiting;
  }
  const auto leave = [&](bool arrived) -> std::shared_ptr<const void> {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(id);
    if (found == entries_.end()) return nullptr;
    --found->second.waiting;
    if (arrived) return found->second.function;
    // The last that gives up leaves nothing behind: the function may never come.
    if (!found->second.function && found->second.waiting == 0) entries_.erase(found);
    return nullptr;
  };
  try {
    detail::require_value(arrival, {});
  } catch (...) {
    (void)leave(false);
    throw;
  }
  if (auto function = leave(true)) return function;
  throw CancelledError("The function of this call was withdrawn");
}

std::size_t KeptFunctions::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

// -- who sends it -----------------------------------------------------------------------------------------------------

namespace {

void release_kept(Pid creator, std::uint64_t number) { current_process().kept_functions().release({creator, number}); }

void release_at(Pid pid, KeptId id) {
  try {
    remote_do(&release_kept, pid, id.creator, id.number);
  } catch (const std::exception& error) {  // it is gone, and the function with it
    log::debug("A function kept at process " + std::to_string(pid) + " is not freed: " + error.what());
  }
}

}  // namespace

SentFunction::~SentFunction() {
  for (const auto& handout : handouts_) handout->end();  // which call nobody from here on
  if (current_process_or_null() == nullptr) return;
  // Stopping the task that ends here must not keep it from cleaning up.
  const auto deadline = exchange_scope_deadline(std::nullopt);
  const TaskScope scope(nullptr, false);
  std::unordered_map<Pid, KeptId> ids;
  {
    const std::lock_guard lock(places_->mutex);
    ids.swap(places_->ids);
  }
  for (const auto& [pid, id] : ids) release_at(pid, id);
  (void)exchange_scope_deadline(deadline);
}

KeptId SentFunction::at(Pid pid) {
  if (const auto known = places_->name_at(pid)) return *known;
  const std::lock_guard sending(sending_);
  if (const auto known = places_->name_at(pid)) return *known;
  Calls& calls = current_process().calls();
  const KeptId id{calls.self(), calls.next_number()};
  Payload payload;
  write_(payload, id);
  const auto arrival = detail::start_call(pid, keep_, std::move(payload), detail::Returns::value);
  {
    const std::lock_guard lock(places_->mutex);
    places_->ids[pid] = id;
  }
  follow(places_, arrival, pid, id);
  return id;
}

/// Where it does not arrive it will be sent again.
void SentFunction::follow(const std::shared_ptr<Places>& places, const CorePointer& arrival, Pid pid, KeptId id) {
  arrival->when_settled(false, [weak = std::weak_ptr(places), core = arrival.get(), pid, id] {
    if (core->state() != detail::FutureCore::State::failed) return;
    detail::run_here([weak, pid, id] {
      const auto there = weak.lock();
      if (!there) return;
      {
        const std::lock_guard lock(there->mutex);
        const auto found = there->ids.find(pid);
        if (found == there->ids.end() || found->second != id) return;
        there->ids.erase(found);
      }
      release_at(pid, id);
    });
  });
}

// -- to many ----------------------------------------------------------------------------------------------------------

void SentFunction::hand_out(const std::vector<Pid>& to) {
  Process& process = current_process();
  const Pid self = process.pid();
  const std::lock_guard sending(sending_);
  std::vector<Pid> others = Handout::others_in(to, self, Handout::served_directly(process.cluster(), self));
  {
    const std::lock_guard lock(places_->mutex);
    std::erase_if(others, [this](Pid pid) { return places_->ids.contains(pid) || places_->on_the_way.contains(pid); });
  }
  if (!Handout::enough(process.cluster(), others.size())) return;
  const KeptId id{self, process.calls().next_number()};
  Payload payload;
  try {
    write_(payload, id);
  } catch (const std::exception&) {  // at() says so to whoever needs it
    return;
  }
  if (!Handout::pays(process.cluster(), payload, others.size())) return;
  payload.own();
  {
    const std::lock_guard lock(places_->mutex);
    places_->on_the_way.insert(others.begin(), others.end());
  }
  BackgroundHandout::Listener listener;
  listener.called = [places = places_, id](Pid pid, const CorePointer& call) {
    {
      const std::lock_guard lock(places->mutex);
      places->ids[pid] = id;
    }
    follow(places, call, pid, id);
    places->settled(pid);
  };
  listener.failed = [places = places_](Pid pid) { places->settled(pid); };
  handouts_.push_back(BackgroundHandout::begin(process, payload, std::move(others), keep_, std::move(listener)));
}

std::optional<KeptId> SentFunction::Places::name_at(Pid pid) const {
  const std::lock_guard lock(mutex);
  const auto found = ids.find(pid);
  return found == ids.end() ? std::nullopt : std::optional(found->second);
}

void SentFunction::Places::settled(Pid pid) {
  std::vector<std::weak_ptr<Listener>> told;
  {
    const std::lock_guard lock(mutex);
    on_the_way.erase(pid);
    told = listeners;
  }
  for (const auto& each : told)
    if (const auto listener = each.lock()) (*listener)();
}

void SentFunction::tell(const std::shared_ptr<Listener>& listener) {
  const std::lock_guard lock(places_->mutex);
  std::erase_if(places_->listeners, [](const auto& each) { return each.expired(); });
  places_->listeners.push_back(listener);
}

bool SentFunction::on_its_way(Pid pid) const {
  const std::lock_guard lock(places_->mutex);
  return places_->on_the_way.contains(pid);
}

bool SentFunction::on_its_way() const {
  const std::lock_guard lock(places_->mutex);
  return !places_->on_the_way.empty();
}

}  // namespace muster::runtime

namespace muster::detail {

void keep_function(KeptId id, std::shared_ptr<const void> function) {
  runtime::current_process().kept_functions().keep(id, std::move(function));
}

void fail_kept_function(KeptId id, const std::exception_ptr& failure) {
  runtime::current_process().kept_functions().fail(id, failure);
}

std::shared_ptr<const void> kept_function(KeptId id) {
  return runtime::current_process().kept_functions().wait_for(id);
}

// -- caching pools ----------------------------------------------------------------------------------------------------

namespace {

bool same_bytes(const Payload& a, const Payload& b) {
  if (a.has_references() || b.has_references() || a.parts.size() != b.parts.size()) return false;
  if (!std::ranges::equal(a.bytes.bytes(), b.bytes.bytes())) return false;
  return std::ranges::equal(a.parts, b.parts, [](const Part& x, const Part& y) {
    return std::ranges::equal(std::span(x.data, x.size), std::span(y.data, y.size));
  });
}

/// A name, and behind it what was encoded by itself.
Payload behind(KeptId id, const Payload& encoded) {
  Payload payload;
  OutputArchive archive(payload);
  write_kept_id(archive, id);
  payload.bytes.append(encoded.bytes.data(), encoded.bytes.size());
  payload.parts = encoded.parts;
  payload.handles = encoded.handles;
  return payload;
}

}  // namespace

class FunctionCache {
 public:
  std::shared_ptr<runtime::SentFunction> find_or_add(Thunk keep, Payload&& encoded) {
    const std::lock_guard lock(mutex_);
    for (const Entry& entry : entries_)
      if (entry.keep == keep && same_bytes(*entry.encoded, encoded)) return entry.sent;
    encoded.own();
    auto kept = std::make_shared<const Payload>(std::move(encoded));
    auto sent = std::make_shared<runtime::SentFunction>(
        keep, [kept](Payload& payload, KeptId id) { payload = behind(id, *kept); });
    entries_.push_back({keep, std::move(kept), sent});
    return sent;
  }
  void clear() {
    std::list<Entry> dropped;
    const std::lock_guard lock(mutex_);
    dropped.swap(entries_);
  }

 private:
  struct Entry {
    Thunk keep;
    std::shared_ptr<const Payload> encoded;
    std::shared_ptr<runtime::SentFunction> sent;
  };
  std::mutex mutex_;  ///< guards entries_
  std::list<Entry> entries_;
};

std::shared_ptr<FunctionCache> make_function_cache() { return std::make_shared<FunctionCache>(); }

KeptId keep_cached(FunctionCache& cache, Pid pid, Thunk keep, Payload&& encoded) {
  return cache.find_or_add(keep, std::move(encoded))->at(pid);
}

std::shared_ptr<runtime::SentFunction> cached_function(FunctionCache& cache, Thunk keep, Payload&& encoded) {
  return cache.find_or_add(keep, std::move(encoded));
}

void clear_cache(FunctionCache& cache) { cache.clear(); }

}  // namespace muster::detail
