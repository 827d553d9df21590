// Reductions and loops over split ranges: what is the same for all types.

#include "runtime/base/failure.hpp"
#include "runtime/base/log.hpp"

#include <muster/distributed.hpp>

namespace muster::detail {

namespace {

bool session_ended(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const NoSession&) {
    return true;
  } catch (...) {
    return false;
  }
}

/// Those that have not ended.
void cancel_all(const char* name, const std::vector<CorePointer>& calls) noexcept {
  for (const auto& call : calls) {
    try {
      if (!call->settled(false)) (void)cancel(call);
    } catch (const std::exception& error) {
      runtime::log::debug(std::string(name) + ": a part can't be cancelled: " + error.what());
    }
  }
}

/// A loop that runs by itself, and the future of its end. The handle that users hold keeps it; so do the calls until
/// they end.
class Loop {
 public:
  Loop(const char* name, std::vector<IndexRange> parts, std::vector<Pid> workers, std::vector<CorePointer> calls)
      : done(make_local_core()),
        name_(name),
        parts_(std::move(parts)),
        workers_(std::move(workers)),
        calls_(std::move(calls)),
        left_(calls_.size()) {}
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop() {
    if (done->state() == FutureCore::State::failed && !done->failure_seen()) log_failures();
  }

  const CorePointer done;

  void part_ended() {
    if (!left_.one_less()) return;
    for (const auto& call : calls_) {
      if (call->state() != FutureCore::State::failed) continue;
      done->set_failure(call->encoded_failure(), call->failure());
      return;
    }
    complete_local(done, {});
  }
  const std::vector<CorePointer>& calls() const { return calls_; }

 private:
  void log_failures() const {
    for (std::size_t k = 0; k < calls_.size(); ++k) {
      if (calls_[k]->state() != FutureCore::State::failed || session_ended(calls_[k]->failure())) continue;
      runtime::log::error(std::string(name_) + ": the part with indexes " + std::to_string(parts_[k].first) + " to " +
                          std::to_string(parts_[k].last - 1) + " failed on process " + std::to_string(workers_[k]) +
                          ", and nobody waited for it: " + runtime::message_of(calls_[k]->failure()));
    }
  }

  const char* const name_;
  const std::vector<IndexRange> parts_;
  const std::vector<Pid> workers_;
  const std::vector<CorePointer> calls_;
  Countdown left_;
};

}  // namespace

PartCalls::PartCalls(const char* name, std::size_t elements)
    : name_(name), elements_(elements), workers_(muster::workers()) {
  parts_ = splitrange(elements_, static_cast<int>(workers_.size()));
  calls_.reserve(parts_.size());
}

PartCalls::~PartCalls() { cancel_all(name_, calls_); }

void PartCalls::throw_first_failure() const {
  for (const auto& call : calls_)
    if (call->state() == FutureCore::State::failed) call->throw_failure();
}

void PartCalls::wait() {
  const auto queue = make_completion_queue(calls_);
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    const std::size_t k = next_completed(*queue);
    if (calls_[k]->state() == FutureCore::State::failed) throw_first_failure();
  }
}

CorePointer PartCalls::let_go() {
  const auto loop = std::make_shared<Loop>(name_, std::move(parts_), std::move(workers_), std::exchange(calls_, {}));
  if (loop->calls().empty()) complete_local(loop->done, {});
  for (const auto& call : loop->calls()) on_settled(call, false, [loop] { loop->part_ended(); });
  // Cancelled, it takes its parts along.
  loop->done->when_settled(false, [name = name_, calls = loop->calls()] { cancel_all(name, calls); });
  return {loop, loop->done.get()};
}

void throw_empty_reduction() {
  throw std::invalid_argument(
      "muster: distributed_reduce of an empty range has no value. Give it one to start with: distributed_reduce(op, "
      "init, range, f).");
}

}  // namespace muster::detail
