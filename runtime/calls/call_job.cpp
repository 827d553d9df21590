#include "runtime/calls/call_job.hpp"

#include "runtime/base/backtrace.hpp"

#include <bit>

namespace muster::runtime {

CallJob::CallJob(Calls& calls, Pid caller, std::uint64_t number, detail::Returns returns, const void* code,
                 Receipt&& receipt, std::optional<Clock::time_point> deadline)
    : TaskState(deadline),
      calls_(calls),
      caller_(caller),
      number_(number),
      returns_(returns),
      code_(code),
      receipt_(std::move(receipt)) {}

CallJob::~CallJob() = default;

void CallJob::run() noexcept {
  const BacktraceScope backtraces;
  try {
    check();
    if (const auto limit = deadline(); limit && Clock::now() >= *limit)
      throw TimeoutError("The task's deadline ended before it started");
    std::bit_cast<detail::Thunk>(code_)(*this);
  } catch (...) {
    fail(std::current_exception());
  }
}

void CallJob::arguments_done() {
  arguments_.clear();
  receipt_.give();
}

void CallJob::complete(detail::Payload&& result) {
  if (ended_.exchange(true)) return;
  try {
    calls_.finish(*this, std::move(result));
  } catch (...) {  // too large to be sent
    calls_.finish_failed(*this, std::current_exception());
  }
}

void CallJob::fail(const std::exception_ptr& failure) {
  if (ended_.exchange(true)) return;
  calls_.finish_failed(*this, failure);
}

}  // namespace muster::runtime
