// Calls whose code is not here yet: they wait for its module, in order, and so do those behind them.

#include "runtime/calls/call_job.hpp"
#include "runtime/calls/calls.hpp"
#include "runtime/calls/link_codes.hpp"
#include "runtime/code/modules.hpp"

#include <algorithm>

namespace muster::runtime {

using detail::HandleKind;

/// Receiving thread.
void Calls::hold_call(const std::shared_ptr<Link>& link, std::uint32_t code, std::shared_ptr<CallJob> job) {
  auto& codes = link->companion<LinkCodes>();
  auto& function = codes.received[code];
  HeldCall call;
  call.reference = function.reference;
  if (function.address == nullptr) {
    const auto module = function.reference.module;
    if (modules().has(module)) {
      try {
        function.address = find_code_here(function.reference);
      } catch (const Error&) {  // NOLINT(bugprone-empty-catch): it says so when its turn comes
      }
    } else {
      modules_.want(module, {link->peer});
      call.modules.push_back(module);
    }
  }
  call.address = function.address;
  for (const auto& handle : job->arguments().handles)  // wanted already, where they are not here
    if (handle->kind() == HandleKind::module) call.modules.push_back(handle->id().number);
  job->held = true;
  know_task(job);  // it can be cancelled while it waits
  call.job = std::move(job);
  // The module may come over this link, and must not wait for the calls that wait for it: their arguments count as
  // consumed. Said without the lock.
  Receipt consumed;
  const std::lock_guard lock(held_mutex_);
  codes.held.push_back(std::move(call));
  if (!codes.holds.exchange(true)) holding_.push_back(link);
  release_held(codes);
  if (!codes.held.empty()) consumed = codes.held.back().job->take_receipt();
  if (!codes.holds) std::erase(holding_, link);
}

/// With held_mutex_.
void Calls::release_held(LinkCodes& codes) {
  const auto waits = [&](const HeldCall& call) {
    return std::any_of(call.modules.begin(), call.modules.end(), [&](auto module) { return modules_.coming(module); });
  };
  while (!codes.held.empty() && !waits(codes.held.front())) {
    HeldCall call = std::move(codes.held.front());
    codes.held.pop_front();
    if (!call.job->held.exchange(false)) continue;  // somebody has taken it back
    std::exception_ptr failure;
    try {
      if (call.address == nullptr && !modules().has(call.reference.module))
        throw Error("Process " + std::to_string(self_) +
                    " does not have the function: " + modules_.why_missing(call.reference.module));
      call.job->set_code(call.address != nullptr ? call.address : find_code_here(call.reference));
      executor_.submit(std::move(call.job));
    } catch (const Error&) {
      failure = std::current_exception();
    }
    // Elsewhere: what a failure's answer does may come back here.
    if (failure) modules_.run([job = std::move(call.job), failure = std::move(failure)] { job->fail(failure); });
  }
  codes.holds.store(!codes.held.empty(), std::memory_order_release);
}

void Calls::release_all_held() {
  const std::lock_guard lock(held_mutex_);
  for (const auto& link : holding_) release_held(link->companion<LinkCodes>());
  std::erase_if(holding_, [](const auto& link) { return !link->template companion<LinkCodes>().holds; });
}

void Calls::require(std::uint64_t module) {
  if (Executor::receiving_here()) return;  // it must not wait
  modules_.want(module, {});
  const auto wakeup = std::make_shared<Wakeup>(executor_);
  modules_.when_settled(module, [wakeup] { wakeup->wake(); });
  const auto woken = executor_.block(*wakeup, current_deadline());
  if (woken != Executor::Woken::event) check_waited(woken, "code was being fetched from another process");
  if (const std::string why = modules_.why_missing(module); !why.empty())
    throw Error("Process " + std::to_string(self_) + " does not have the function: " + why);
}

}  // namespace muster::runtime
