/// @file
/// Several futures at once: all of them, the first that is ready, one after the other as they complete, or all that a
/// block makes. Comes with muster/future.hpp.
#pragma once

#include <muster/future.hpp>

#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace muster {

namespace detail {

/// Counts futures down for when_all.
class Countdown {
 public:
  explicit Countdown(std::size_t n) : left_(n) {}
  /// @returns true for the last one.
  bool one_less() { return left_.fetch_sub(1, std::memory_order_acq_rel) == 1; }

 private:
  std::atomic<std::size_t> left_;
};

template <class T>
auto value_or_monostate(const CorePointer& core) {
  if constexpr (std::is_void_v<T>)
    return std::monostate{};
  else
    return copy_or_take<T>(core);
}

template <class T>
using value_or_monostate_t = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

/// Completes `result` with what collect() returns, as a task, when every core is settled with its value; or with the
/// first failure in their order, when all are.
template <class F>
void when_all_settled(const std::vector<CorePointer>& cores, const CorePointer& result, F collect) {
  if (cores.empty()) {
    complete_with(result, collect);
    return;
  }
  struct All {
    All(const std::vector<CorePointer>& all, CorePointer to, F&& f)
        : countdown(all.size()), cores(all), result(std::move(to)), collect(std::move(f)) {}
    Countdown countdown;
    std::vector<CorePointer> cores;
    CorePointer result;
    F collect;
  };
  const auto all = std::make_shared<All>(cores, result, std::move(collect));
  for (const auto& core : cores) {
    on_settled(core, true, [all] {
      if (!all->countdown.one_less()) return;
      for (const auto& one : all->cores) {
        if (one->state() != FutureCore::State::failed) continue;
        pass_failure_of(all->result, *one);
        return;
      }
      run_here([all] { complete_with(all->result, all->collect); });
    });
  }
}

/// Futures in their order of completion, for as_completed.
class CompletionQueue;
std::shared_ptr<CompletionQueue> make_completion_queue(const std::vector<CorePointer>& cores);
/// Index of the next one that completed; blocks.
std::size_t next_completed(CompletionQueue& queue);

}  // namespace detail

/// A future of all values, void contributing std::monostate. Fails with the first failure, in order of the arguments.
template <class... T>
Future<std::tuple<detail::value_or_monostate_t<T>...>> when_all(Future<T>... futures) {
  auto result = detail::make_local_core();
  const std::vector<detail::CorePointer> cores{futures.core()...};
  detail::when_all_settled(cores, result, [futures...] {
    return std::tuple<detail::value_or_monostate_t<T>...>{detail::value_or_monostate<T>(futures.core())...};
  });
  return Future<std::tuple<detail::value_or_monostate_t<T>...>>(std::move(result));
}

/// A future of all values, in order. Of futures without a value: a future without one.
template <class T>
auto when_all(std::vector<Future<T>> futures) {
  using R = std::conditional_t<std::is_void_v<T>, void, std::vector<detail::value_or_monostate_t<T>>>;
  auto result = detail::make_local_core();
  std::vector<detail::CorePointer> cores;
  for (const auto& future : futures) cores.push_back(future.core());
  detail::when_all_settled(cores, result, [cores]() -> R {
    if constexpr (!std::is_void_v<T>) {
      std::vector<T> values;
      values.reserve(cores.size());
      for (const auto& core : cores) values.push_back(detail::copy_or_take<T>(core));
      return values;
    }
  });
  return Future<R>(std::move(result));
}

/// A future of the index of the first that is ready; a failed one counts as ready.
/// @throws std::invalid_argument for none.
template <class T>
Future<std::size_t> when_any(std::vector<Future<T>> futures) {
  if (futures.empty()) throw std::invalid_argument("muster: when_any needs at least one future");
  auto result = detail::make_local_core();
  struct Contest {
    std::vector<Future<T>> futures;  // kept until it is decided, and no longer: others may never be ready
    std::atomic<bool> decided{false};
  };
  const auto contest = std::make_shared<Contest>();
  contest->futures = futures;
  for (std::size_t i = 0; i < futures.size(); ++i) {
    detail::on_settled(futures[i].core(), false, [result, contest, i] {
      if (contest->decided.exchange(true)) return;
      const auto let_go = std::exchange(contest->futures, {});
      detail::complete_local(result, detail::to_payload(i));
    });
  }
  return Future<std::size_t>(std::move(result));
}

/// Input range of futures in their order of completion. @see as_completed
template <class T>
class Completed {
 public:
  /// Of these, whose completion it watches from now on.
  explicit Completed(std::vector<Future<T>> futures) : futures_(std::move(futures)) {
    std::vector<detail::CorePointer> cores;
    for (const auto& future : futures_) cores.push_back(future.core());
    queue_ = detail::make_completion_queue(cores);
  }
  /// Single pass; to increment it waits for the next to complete.
  class iterator {
   public:
    /// @cond
    using value_type = Future<T>;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;
    iterator() = default;
    explicit iterator(Completed* range) : range_(range) { ++*this; }
    const Future<T>& operator*() const { return range_->futures_[current_]; }
    iterator& operator++() {
      if (range_->given_ == range_->futures_.size()) {
        range_ = nullptr;
      } else {
        current_ = detail::next_completed(*range_->queue_);
        ++range_->given_;
      }
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& it, std::default_sentinel_t) { return it.range_ == nullptr; }
    /// @endcond

   private:
    Completed* range_ = nullptr;
    std::size_t current_ = 0;
  };
  /// Waits for the first to complete. To be called once.
  iterator begin() { return iterator(this); }
  /// Reached when all were handed out.
  std::default_sentinel_t end() const { return {}; }

 private:
  std::vector<Future<T>> futures_;
  std::shared_ptr<detail::CompletionQueue> queue_;
  std::size_t given_ = 0;
};

/// The futures in their order of completion; failed ones too. `for (auto& future : as_completed(futures)) …`
template <class T>
auto as_completed(std::vector<Future<T>> futures) {
  return Completed<T>(std::move(futures));
}

namespace detail {
/// Collects the futures made by this thread, for sync.
class SyncScope {
 public:
  SyncScope();
  ~SyncScope();
  SyncScope(const SyncScope&) = delete;
  SyncScope& operator=(const SyncScope&) = delete;
  /// Waits for all; throws CompositeException for any failure. @param first thrown by the block itself, or null
  void finish(std::exception_ptr first);

 private:
  friend void note_for_sync(const CorePointer& core);
  SyncScope* outer_;
  std::vector<CorePointer> cores_;
};
/// Adds to the innermost sync of this thread, if there is one.
void note_for_sync(const CorePointer& core);
}  // namespace detail

/// Runs block, then waits for every future made in it, on this thread, by spawn, spawnat, remotecall and
/// distributed_for.
/// @returns block's value
/// @throws CompositeException of all failures in order of start; where block itself throws, that comes first.
template <class F>
auto sync(F block) {
  detail::SyncScope scope;
  if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
    try {
      block();
    } catch (...) {
      scope.finish(std::current_exception());
    }
    scope.finish(nullptr);
  } else {
    std::optional<std::decay_t<std::invoke_result_t<F>>> value;
    try {
      value.emplace(block());
    } catch (...) {
      scope.finish(std::current_exception());
    }
    scope.finish(nullptr);
    return std::move(*value);
  }
}

}  // namespace muster
