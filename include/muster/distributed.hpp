/// @file
/// Reductions and loops over ranges, split over the workers: Julia's distributed loop.
///
/// A range is sized and has random access. It is split as `splitrange` does into one part for each of `workers()`; the
/// k-th part is one call on the k-th worker. Index ranges (IndexRange, std::views::iota of integers) travel as two
/// numbers, every other range as the elements of each part. Functions are checked and travel as those of spawn do, once
/// for each part.
#pragma once

#include <muster/ranges.hpp>
#include <muster/spawn.hpp>

#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <stop_token>
#include <type_traits>
#include <utility>
#include <vector>

namespace muster {

namespace detail {

// -- parts of ranges, as they travel ----------------------------------------------------------------------------------

/// A part of std::views::iota.
template <class T>
struct IotaPart {
  T first{};
  std::size_t count = 0;

  auto elements() const {
    using Wrapping = std::make_unsigned_t<T>;
    return std::views::iota(std::size_t{0}, count) | std::views::transform([from = first](std::size_t i) {
             return static_cast<T>(static_cast<Wrapping>(static_cast<Wrapping>(from) + static_cast<Wrapping>(i)));
           });
  }
};

template <class R>
inline constexpr bool is_iota = false;
template <class T, class Bound>
inline constexpr bool is_iota<std::ranges::iota_view<T, Bound>> = std::is_integral_v<T>;

template <class R>
concept splittable = std::ranges::random_access_range<R> && std::ranges::sized_range<R>;

template <class R>
using element_t = sent_t<std::ranges::range_value_t<R>>;

/// What a part of a range arrives as.
template <class R>
struct PartType {
  using type = std::vector<element_t<R>>;
};
template <class R>
  requires std::is_same_v<std::remove_cv_t<R>, IndexRange>
struct PartType<R> {
  using type = IndexRange;
};
template <class R>
  requires is_iota<std::remove_cv_t<R>>
struct PartType<R> {
  using type = IotaPart<std::ranges::range_value_t<R>>;
};
template <class R>
using part_t = typename PartType<std::remove_reference_t<R>>::type;

/// Writes a part of a range that stays where it is until the message is sent: in the format of part_t, without copying
/// elements where they have it.
template <class R>
void write_part(OutputArchive& archive, R& range, IndexRange indexes) {
  using Slice = part_t<R>;
  using Element = element_t<R>;
  using Reference = std::ranges::range_reference_t<R>;
  constexpr bool in_place =
      std::is_lvalue_reference_v<Reference> && std::is_same_v<std::remove_cvref_t<Reference>, Element>;
  const auto first = std::ranges::begin(range) + static_cast<std::ranges::range_difference_t<R>>(indexes.first);
  const auto last = first + static_cast<std::ranges::range_difference_t<R>>(indexes.size());
  if constexpr (std::is_same_v<Slice, IndexRange>) {
    archive.write(IndexRange{range.first + indexes.first, range.first + indexes.last});
  } else if constexpr (!std::is_same_v<Slice, std::vector<Element>>) {
    archive.write(Slice{*first, indexes.size()});
  } else if constexpr (std::ranges::contiguous_range<R> && in_place && plain<Element>) {
    archive.write_count(indexes.size());
    archive.write_block(std::to_address(first), indexes.size() * sizeof(Element));
  } else if constexpr (plain<Element> || !in_place) {
    Slice elements;
    elements.reserve(indexes.size());
    for (auto it = first; it != last; ++it) elements.emplace_back(*it);
    archive.write_temporary(elements);
  } else {
    const Nesting nesting(archive.depth());
    archive.write_count(indexes.size());
    for (auto it = first; it != last; ++it) archive.write(*it);
  }
}

/// Calls `each(element)` for the elements of a part, as rvalues, until this task is asked to stop.
template <class Slice, class Each>
void for_each_in(Slice& part, Each&& each) {
  const std::stop_token stop = this_task::stop_token();
  const auto walk = [&](auto&& elements) {
    using Elements = decltype(elements);
    using Element = std::ranges::range_value_t<Elements>;
    for (auto&& element : elements) {
      if (stop.stop_requested()) this_task::check();
      if constexpr (std::is_lvalue_reference_v<std::ranges::range_reference_t<Elements>>)
        each(std::move(element));
      else
        each(static_cast<Element>(element));
    }
  };
  if constexpr (requires { part.elements(); })
    walk(part.elements());
  else
    walk(part);
}

// -- what runs on a worker --------------------------------------------------------------------------------------------

/// The type a part is folded in when nothing else is said: what f gives, or what op makes of two such numbers (so that
/// counting booleans with std::plus counts).
template <class Op, class F, class Element>
struct FoldType {
  using Value = std::decay_t<std::invoke_result_t<F&, Element>>;
  using Combined = std::decay_t<std::invoke_result_t<Op&, Value, Value>>;
  static constexpr bool widens = std::is_arithmetic_v<Value> && std::is_arithmetic_v<Combined>;
  using type = std::conditional_t<widens || !std::is_convertible_v<Combined, Value>, Combined, Value>;
};

template <class Result, class Op>
void fold_into(Result& result, Op& op, auto&& value) {
  result = static_cast<Result>(std::invoke(op, std::move(result), std::forward<decltype(value)>(value)));
}

/// Folds one part, left to right.
template <class Result>
struct FoldPart {
  template <class Op, class F, class Slice>
  Result operator()(Op op, F f, Slice part) const {
    std::optional<Result> result;
    // NOLINTBEGIN(bugprone-move-forwarding-reference): the part is this call's own
    for_each_in(part, [&](auto&& element) {
      if (result)
        fold_into(*result, op, std::invoke(f, std::move(element)));
      else
        result.emplace(static_cast<Result>(std::invoke(f, std::move(element))));
    });
    // NOLINTEND(bugprone-move-forwarding-reference)
    return std::move(*result);  // no part is empty
  }
};

/// Runs a loop's body on one part.
struct RunPart {
  template <class F, class Slice>
  void operator()(F f, Slice part) const {
    // NOLINTNEXTLINE(bugprone-move-forwarding-reference): as above
    for_each_in(part, [&](auto&& element) { std::invoke(f, std::move(element)); });
  }
};

// -- what the caller keeps --------------------------------------------------------------------------------------------

/// The calls of one reduction or loop: one for each part. One thread; what ends them may be any.
class PartCalls {
 public:
  /// @param name of the operation, for messages
  PartCalls(const char* name, std::size_t elements);
  /// Cancels what still runs, unless it was let go.
  ~PartCalls();
  PartCalls(const PartCalls&) = delete;
  PartCalls& operator=(const PartCalls&) = delete;

  std::size_t count() const { return parts_.size(); }
  IndexRange part(std::size_t k) const { return parts_[k]; }
  Pid worker(std::size_t k) const { return workers_[k]; }
  void started(CorePointer call) { calls_.push_back(std::move(call)); }
  const CorePointer& call(std::size_t k) const { return calls_[k]; }

  /// Waits until all parts are done. The first that fails ends it: the others are cancelled, and the failure is thrown;
  /// of several that failed by then, that of the first part.
  void wait();
  /// Lets the parts run. The core that is returned is settled when all are done, with the first part's failure where
  /// several failed. If it goes without anybody having looked at its failure, that is logged.
  CorePointer let_go();

 private:
  void throw_first_failure() const;

  const char* name_;
  std::size_t elements_;
  std::vector<IndexRange> parts_;
  std::vector<Pid> workers_;
  std::vector<CorePointer> calls_;
};

[[noreturn]] void throw_empty_reduction();

template <class R>
constexpr bool check_splittable() {
  static_assert(
      splittable<R>,
      "muster: distributed_reduce and distributed_for take ranges that know their size and have random access, such as "
      "std::vector, IndexRange and std::views::iota(a, b): they are split over the workers. For others use pmap.");
  return splittable<R>;
}

/// Starts one part: task(functions..., elements of that part).
template <class Task, class R, class... Functions>
void start_part(PartCalls& calls, std::size_t k, R& range, const Functions&... functions) {
  Payload payload;
  OutputArchive archive(payload);
  encode_callable(archive, Task{});
  (encode_callable(archive, functions), ...);
  write_part(archive, range, calls.part(k));
  calls.started(
      start_call(calls.worker(k), &invoke<Task, Functions..., part_t<R>>, std::move(payload), Returns::value));
}

/// Folds the parts of a range that is not empty. `init` is folded first, where there is one.
template <class Result, class Op, class R, class F, class... Init>
Result reduce_parts(Op& op, R& range, F& f, Init&&... init) {
  check_callable<Op>();
  check_callable<F>();
  check_value<element_t<R>>();
  check_value<Result>();
  PartCalls calls("distributed_reduce", static_cast<std::size_t>(std::ranges::size(range)));
  for (std::size_t k = 0; k < calls.count(); ++k) start_part<FoldPart<Result>>(calls, k, range, op, f);
  calls.wait();
  std::optional<Result> result;
  (result.emplace(std::forward<Init>(init)), ...);
  for (std::size_t k = 0; k < calls.count(); ++k) {
    Result part = Future<Result>(calls.call(k)).take();
    if (result)
      fold_into(*result, op, std::move(part));
    else
      result.emplace(std::move(part));
  }
  return std::move(*result);
}

}  // namespace detail

/// Folds f(x) of all elements x of the range with op, on all workers; blocks. Each worker folds its part from left to
/// right, starting with its first value; the parts are then folded here in the order of the range. So the result is the
/// sequential fold where op is associative; op need not be commutative. With one element, op is not called.
/// @returns op's type where f and op give numbers, else f's
/// @throws std::invalid_argument for an empty range; what f or op threw as RemoteException, ProcessExitedException
/// where a worker died, and what the calls themselves throw. The parts that still run are then cancelled.
template <class Op, class R, class F>
auto distributed_reduce(Op op, R&& range, F f) {
  if constexpr (detail::check_splittable<R>()) {
    using Result = typename detail::FoldType<Op, F, detail::element_t<R>>::type;
    if (std::ranges::size(range) == 0) detail::throw_empty_reduction();
    return detail::reduce_parts<Result>(op, range, f);
  }
}

/// As above, with a value that is folded before the first part, once; it is the result for an empty range. Parts are
/// folded in its type where f's values convert to it.
template <class Op, class T, class R, class F>
T distributed_reduce(Op op, T init, R&& range, F f) {
  if constexpr (detail::check_splittable<R>()) {
    using Fold = detail::FoldType<Op, F, detail::element_t<R>>;
    if (std::ranges::size(range) == 0) return init;
    if constexpr (std::is_convertible_v<typename Fold::Value, T>) {
      return detail::reduce_parts<T>(op, range, f, std::move(init));
    } else {
      using Partial = typename Fold::type;
      return static_cast<T>(std::invoke(op, std::move(init), detail::reduce_parts<Partial>(op, range, f)));
    }
  }
}

/// Calls f for every element of the range, on all workers, and returns at once. The future is settled when all parts
/// are done; it fails with the failure of the first part in the order of the range that failed. `sync` waits for it. If
/// it is dropped and a part fails, that is logged with the worker's pid and the part's indexes.
/// @throws what the calls themselves throw
template <class R, class F>
Future<void> distributed_for(R&& range, F f) {
  if constexpr (detail::check_splittable<R>()) {
    detail::check_callable<F>();
    detail::check_value<detail::element_t<R>>();
    detail::PartCalls calls("distributed_for", static_cast<std::size_t>(std::ranges::size(range)));
    for (std::size_t k = 0; k < calls.count(); ++k) detail::start_part<detail::RunPart>(calls, k, range, f);
    Future<void> done(calls.let_go());
    detail::note_for_sync(done.core());
    return done;
  }
}

}  // namespace muster
