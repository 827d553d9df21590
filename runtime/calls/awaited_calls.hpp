/// @file
/// Calls whose callers wait for the answer on the spot. They need no future: each stands on its caller's stack.
#pragma once

#include "runtime/exec/executor.hpp"

#include <muster/detail/payload.hpp>
#include <muster/ids.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>
#include <vector>

namespace muster::runtime {

/// One of them.
struct AwaitedCall {
  AwaitedCall(Executor& executor, Pid to) : callee(to), wakeup(executor) {}

  const Pid callee;
  std::uint64_t number = 0;  ///< by which its answer finds it
  detail::Payload value;
  std::exception_ptr failure;
  Wakeup wakeup;  ///< who has taken it is between the halves of wake(), and sets the two above meanwhile
};

/// A call for which there is an answer, to be set by who has this; then its caller is woken.
class AnsweredCall {
 public:
  AnsweredCall() = default;
  /// With the lock under which it was found.
  explicit AnsweredCall(AwaitedCall& call) : call_(&call) { call.wakeup.begin_wake(); }
  AnsweredCall(AnsweredCall&& other) noexcept : call_(std::exchange(other.call_, nullptr)) {}
  AnsweredCall& operator=(AnsweredCall&&) = delete;
  ~AnsweredCall() {
    if (call_ != nullptr) call_->wakeup.finish_wake();
  }

  explicit operator bool() const { return call_ != nullptr; }
  AwaitedCall* operator->() const { return call_; }

 private:
  AwaitedCall* call_ = nullptr;
};

/// Those under way. Not thread-safe. Everything but for_each and take_if is O(1), and nothing allocates.
class AwaitedCalls {
 public:
  /// Threads that wait at the same time; more have to do with futures.
  static constexpr std::size_t most = 256;

  /// Whether a call of that number is one of these: all others' numbers are small.
  static bool numbers(std::uint64_t number) { return (number & mark) != 0; }

  /// Numbers it. @returns false when there is no place
  bool add(AwaitedCall& call) {
    if (free_ == none) return false;
    const std::size_t place = free_;
    free_ = next_free_[place];
    call.number = mark | (++last_ * most) | place;
    calls_[place] = &call;
    ++size_;
    return true;
  }
  /// Null where it is not there any more.
  AwaitedCall* find(std::uint64_t number) const {
    AwaitedCall* const call = calls_[number % most];
    return call != nullptr && call->number == number ? call : nullptr;
  }
  void remove(const AwaitedCall& call) {
    const std::size_t place = call.number % most;
    calls_[place] = nullptr;
    next_free_[place] = free_;
    free_ = place;
    --size_;
  }
  std::size_t size() const { return size_; }
  template <class F>
  void for_each(F&& f) const {
    for (AwaitedCall* const call : calls_)
      if (call != nullptr) f(*call);
  }
  /// Removes those.
  template <class Which>
  std::vector<AnsweredCall> take_if(Which&& which) {
    std::vector<AnsweredCall> taken;
    for (AwaitedCall* const call : calls_) {
      if (call == nullptr || !which(std::as_const(*call))) continue;
      taken.emplace_back(*call);
      remove(*call);
    }
    return taken;
  }

 private:
  static constexpr std::uint64_t mark = std::uint64_t{1} << 63;
  static constexpr std::size_t none = most;
  static constexpr std::array<std::size_t, most> each_next() {
    std::array<std::size_t, most> next{};
    for (std::size_t i = 0; i < most; ++i) next[i] = i + 1;
    return next;
  }

  std::array<AwaitedCall*, most> calls_{};
  std::array<std::size_t, most> next_free_ = each_next();
  std::size_t free_ = 0, size_ = 0;
  std::uint64_t last_ = 0;
};

}  // namespace muster::runtime
