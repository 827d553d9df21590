#include "runtime/session/background_handout.hpp"

#include <utility>

namespace muster::runtime {

using detail::CorePointer;
using detail::Payload;

std::shared_ptr<BackgroundHandout> BackgroundHandout::begin(Process& process, const Payload& arguments,
                                                            std::vector<Pid> to, detail::Thunk thunk,
                                                            Listener listener) {
  std::shared_ptr<BackgroundHandout> self(new BackgroundHandout(process, thunk, std::move(listener)));
  const auto tell = [weak = std::weak_ptr(self)] {
    if (const auto there = weak.lock()) there->post(&BackgroundHandout::go_on);
  };
  self->handout_.emplace(process.calls(), arguments, tell);
  process.steward().post([weak = std::weak_ptr(self), to = std::move(to)] {
    const auto there = weak.lock();
    if (!there) return;
    const Executor::ReceivingScope must_not_wait;
    const std::lock_guard lock(there->mutex_);
    if (!there->handout_) return;
    there->handout_->begin(
        to, [raw = there.get()](Pid pid) { raw->call(pid); },
        [raw = there.get()](Pid pid, const std::exception_ptr& /*failure*/) { raw->listener_.failed(pid); });
    there->look_again_later();
  });
  return self;
}

void BackgroundHandout::end() {
  const std::lock_guard lock(mutex_);
  handout_.reset();
}

void BackgroundHandout::post(void (BackgroundHandout::*step)()) {
  process_.steward().post([weak = weak_from_this(), step] {
    if (const auto self = weak.lock()) (self.get()->*step)();
  });
}

void BackgroundHandout::go_on() {
  const Executor::ReceivingScope must_not_wait;
  const std::lock_guard lock(mutex_);
  if (handout_ && handout_->take_in() && running_ == 0) handout_.reset();
}

void BackgroundHandout::help_late_ones() {
  const Executor::ReceivingScope must_not_wait;
  const std::lock_guard lock(mutex_);
  if (!handout_) return;
  handout_->help_late_ones();
  (void)handout_->take_in();
  look_again_later();
}

void BackgroundHandout::look_again_later() {
  process_.steward().after(Handout::patience, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->help_late_ones();
  });
}

/// With the mutex.
void BackgroundHandout::call(Pid pid) {
  try {
    const CorePointer call = handout_->call(pid, thunk_);
    ++running_;
    call->when_settled(true, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->post(&BackgroundHandout::call_ended);
    });
    listener_.called(pid, call);
  } catch (const std::exception&) {  // it is gone
    listener_.failed(pid);
  }
}

void BackgroundHandout::call_ended() {
  {
    const std::lock_guard lock(mutex_);
    --running_;
  }
  go_on();
}

}  // namespace muster::runtime
