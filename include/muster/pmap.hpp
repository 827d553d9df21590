/// @file
/// Parallel maps: a function applied to every element of some ranges, on all workers.
///
/// Elements are read one after the other by the calling thread, a bounded number ahead of the results, and sent to
/// workers that each have the next ones waiting. How many wait is learned: about half a millisecond of work. So a
/// trivial element costs about what its message costs, and a slow one holds back one worker only. What waits behind a
/// slow one at the end is fetched back and runs elsewhere. Captured values of the function go to each worker once.
#pragma once

#include <muster/backoff.hpp>
#include <muster/detail/map.hpp>
#include <muster/pmap_options.hpp>

#include <deque>
#include <functional>
#include <iterator>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace muster {

namespace detail {

template <class T>
inline constexpr bool is_pmap_options = false;
template <class OnError, class RetryCheck>
inline constexpr bool is_pmap_options<PmapOptions<OnError, RetryCheck>> = true;

/// Whether a handler does nothing: a std::function may be empty.
template <class H>
bool absent(const H& handler) {
  if constexpr (std::is_same_v<H, NoHandler> || std::is_same_v<H, NoCheck>)
    return true;
  else if constexpr (requires { handler == nullptr; })
    return handler == nullptr;
  else
    return false;
}

/// A range as a view; an lvalue that can't be copied is referred to, even when it is a view.
template <class R>
auto map_view(R&& range) {
  if constexpr (std::ranges::viewable_range<R>)
    return std::views::all(std::forward<R>(range));
  else
    return std::ranges::ref_view(range);
}
template <class R>
using map_view_t = decltype(map_view(std::declval<R>()));

template <class V>
using map_element_t = sent_t<std::ranges::range_value_t<V>>;

/// An element that stays where it is in its range is not copied.
template <class V>
inline constexpr bool stays_in_place =
    std::ranges::forward_range<V> && std::is_lvalue_reference_v<std::ranges::range_reference_t<V>> &&
    std::is_same_v<std::remove_cvref_t<std::ranges::range_reference_t<V>>, map_element_t<V>>;

/// An element that was read and has no result yet.
template <class V>
class HeldElement {
  using Element = map_element_t<V>;

 public:
  explicit HeldElement(std::ranges::range_reference_t<V>&& reference)
      : held_(make(std::forward<std::ranges::range_reference_t<V>>(reference))) {}
  const Element& get() const {
    if constexpr (stays_in_place<V>)
      return *held_;
    else
      return held_;
  }

 private:
  using Held = std::conditional_t<stays_in_place<V>, const Element*, Element>;
  static Held make(std::ranges::range_reference_t<V>&& reference) {
    if constexpr (stays_in_place<V>)
      return std::addressof(reference);
    else
      return static_cast<Element>(std::forward<std::ranges::range_reference_t<V>>(reference));
  }
  Held held_;
};

/// The ranges of a map, read in step; ends with the shortest.
template <class... V>
class ZippedInput {
 public:
  explicit ZippedInput(V... views) : views_(std::move(views)...) {}
  using Held = std::tuple<HeldElement<V>...>;

  /// The next elements, or nothing at the end.
  std::optional<Held> next() {
    if (!at_)
      at_.emplace(std::apply([](auto&... view) { return Iterators(std::ranges::begin(view)...); }, views_));
    else if (!ended_)
      std::apply([](auto&... it) { (static_cast<void>(++it), ...); }, *at_);
    ended_ = ended_ || any_at_end(std::index_sequence_for<V...>{});
    if (ended_) return std::nullopt;
    return std::apply([](auto&... it) { return Held(HeldElement<V>(*it)...); }, *at_);
  }

  /// How many there are, where all ranges know.
  std::optional<std::size_t> size() {
    if constexpr ((std::ranges::sized_range<V> && ...)) {
      return std::apply([](auto&... view) { return std::min({static_cast<std::size_t>(std::ranges::size(view))...}); },
                        views_);
    } else {
      return std::nullopt;
    }
  }

 private:
  using Iterators = std::tuple<std::ranges::iterator_t<V>...>;
  template <std::size_t... I>
  bool any_at_end(std::index_sequence<I...> /*which*/) {
    return ((std::get<I>(*at_) == std::ranges::end(std::get<I>(views_))) || ...);
  }

  std::tuple<V...> views_;
  std::optional<Iterators> at_;
  bool ended_ = false;
};

/// Elements of the input from when they were read until their results are there, which come in nearly the same order.
template <class Held>
class HeldElements {
 public:
  void push(Held&& element) { elements_.emplace_back(std::move(element)); }
  const Held& at(std::size_t number) const { return *elements_[number - dropped_]; }
  void drop(std::size_t number) {
    elements_[number - dropped_].reset();
    for (; !elements_.empty() && !elements_.front(); ++dropped_) elements_.pop_front();
  }

 private:
  std::deque<std::optional<Held>> elements_;  ///< null: dropped
  std::size_t dropped_ = 0;                   ///< before the first
};

/// Results in the order of the input.
template <class R>
class OrderedResults {
 public:
  void add(std::size_t element, R&& value) {
    if (element >= values_.size()) values_.resize(element + 1);
    values_[element].emplace(std::move(value));
  }
  std::vector<R> all() {
    std::vector<R> all;
    all.reserve(values_.size());
    for (auto& value : values_) all.push_back(std::move(*value));
    return all;
  }

 private:
  std::vector<std::optional<R>> values_;
};
template <>
class OrderedResults<void> {
 public:
  void add(std::size_t /*element*/) {}
  void all() {}
};

/// Results as they come.
template <class R>
class UnorderedResults {
 public:
  using value_type = std::pair<std::size_t, R>;
  void add(std::size_t element, R&& value) { ready_.emplace_back(element, std::move(value)); }
  std::deque<value_type>& ready() { return ready_; }

 private:
  std::deque<value_type> ready_;
};
template <>
class UnorderedResults<void> {
 public:
  using value_type = std::size_t;
  void add(std::size_t element) { ready_.push_back(element); }
  std::deque<value_type>& ready() { return ready_; }

 private:
  std::deque<value_type> ready_;
};

template <class F, template <class> class Results, class OnError, class RetryCheck, class... V>
class TypedMap final : public MapWork {
 public:
  using Arrivals = arrivals_t<F, map_element_t<V>...>;
  using R = typename MapCall<F, Arrivals>::Result;

  TypedMap(F f, OnError on_error, RetryCheck retry_check, V... views)
      : f_(std::move(f)),
        on_error_(std::move(on_error)),
        retry_check_(std::move(retry_check)),
        input_(std::move(views)...) {}

  std::optional<std::size_t> size() { return input_.size(); }
  Results<R>& results() { return results_; }

  MapCode code() const override {
    MapCode code = MapCall<F, Arrivals>::code();
    if constexpr (!travels_along<F>) code.keep = &detail::keep<F>;
    return code;
  }
  bool read() override {
    auto next = input_.next();
    if (!next) return false;
    held_.push(std::move(*next));
    return true;
  }
  void write_function(OutputArchive& archive) const override { encode_callable(archive, f_); }
  void write_element(OutputArchive& archive, std::size_t element) const override {
    std::apply([&](const auto&... each) { encode_arguments(Arrivals{}, archive, each.get()...); }, held_.at(element));
  }
  Payload encode_alone(std::size_t element) const override {
    return std::apply([&](const auto&... each) { return encode_call_as(Arrivals{}, f_, each.get()...); },
                      held_.at(element));
  }
  void deliver(std::size_t element, InputArchive& archive) override {
    if constexpr (std::is_void_v<R>)
      results_.add(element);
    else
      results_.add(element, decode<R>(archive));
    held_.drop(element);
  }
  void deliver_alone(std::size_t element, const Payload& result) override {
    if constexpr (std::is_void_v<R>)
      results_.add(element);
    else
      results_.add(element, from_payload<R>(result));
    held_.drop(element);
  }
  bool retries(int attempt, const std::exception_ptr& failure) override {
    if (absent(retry_check_)) return true;
    if constexpr (std::is_same_v<RetryCheck, NoCheck>)
      return true;
    else
      return static_cast<bool>(std::invoke(retry_check_, attempt, failure));
  }
  bool replaces() const override { return !absent(on_error_); }
  bool replace(std::size_t element, const std::exception_ptr& failure) override {
    if (!replaces()) return false;
    if constexpr (!std::is_same_v<OnError, NoHandler>) {
      if constexpr (std::is_void_v<R>) {
        static_cast<void>(std::invoke(on_error_, failure));
        results_.add(element);
      } else {
        results_.add(element, static_cast<R>(std::invoke(on_error_, failure)));
      }
      held_.drop(element);
    }
    return true;
  }

 private:
  F f_;
  OnError on_error_;
  RetryCheck retry_check_;
  ZippedInput<V...> input_;
  HeldElements<typename ZippedInput<V...>::Held> held_;
  Results<R> results_;
};

template <class Options>
MapSettings map_settings(const Options& options, std::optional<std::size_t> total) {
  return {.pool = options.pool,
          .batch_size = options.batch_size.automatic() ? 0 : checked_batch_size(options.batch_size.value()),
          .distributed = options.distributed,
          .retry_delays = options.retry_delays,
          .max_restarts = options.max_restarts,
          .timeout = options.timeout,
          .progress = options.progress.label(),
          .total = total,
          .max_tasks = checked_max_tasks(options.max_tasks)};
}

/// Says what is wrong with a map's arguments.
template <class F, class OnError, class RetryCheck, class... R>
constexpr void check_map() {
  static_assert(sizeof...(R) > 0, "muster: pmap needs at least one range: pmap(f, range)");
  static_assert((std::ranges::input_range<R> && ...),
                "muster: pmap takes a function, then ranges, then at most one PmapOptions");
  check_callable<F>();
  if constexpr ((std::ranges::input_range<R> && ...)) {
    using Arrivals = arrivals_t<F, map_element_t<R>...>;
    check_values(Arrivals{});
    static_assert(takes_arrivals<KeptCall<F>, Arrivals>,
                  "muster: the function can't be called with these elements. It is called with decayed rvalues, one of "
                  "each range: "
                  "take parameters by value or by const reference, not by lvalue reference.");
    using Result = typename MapCall<F, Arrivals>::Result;
    if constexpr (!std::is_void_v<Result>) check_value<Result>();
    if constexpr (!std::is_same_v<OnError, NoHandler>) {
      static_assert(std::is_invocable_v<OnError&, std::exception_ptr>,
                    "muster: on_error is called with a std::exception_ptr");
      if constexpr (!std::is_void_v<Result>)
        static_assert(std::is_convertible_v<std::invoke_result_t<OnError&, std::exception_ptr>, Result>,
                      "muster: on_error must give something that converts to the function's result");
    }
    if constexpr (!std::is_same_v<RetryCheck, NoCheck>)
      static_assert(std::is_invocable_r_v<bool, RetryCheck&, int, std::exception_ptr>,
                    "muster: retry_check is called with an int and a std::exception_ptr, and gives a bool");
  }
}

/// Calls make(f, options, ranges...), with the options taken from the end of the arguments where they are.
template <class Make, class F, class... A>
decltype(auto) with_map_options(Make&& make, F&& f, A&&... arguments) {
  auto all = std::forward_as_tuple(std::forward<A>(arguments)...);
  constexpr std::size_t last = sizeof...(A) - 1;
  const auto call = [&]<std::size_t... I>(std::index_sequence<I...> /*ranges*/, auto options) -> decltype(auto) {
    return make(std::forward<F>(f), std::move(options), std::get<I>(std::move(all))...);
  };
  if constexpr (is_pmap_options<std::remove_cvref_t<std::tuple_element_t<last, std::tuple<A...>>>>)
    return call(std::make_index_sequence<last>{}, std::get<last>(std::move(all)));
  else
    return call(std::index_sequence_for<A...>{}, PmapOptions<>{});
}

}  // namespace detail

/// Applies f to every element of a range, or to the elements of several ranges in step until the shortest ends, on all
/// workers; the last argument may be PmapOptions. Blocks. Without workers it runs in this process.
///
/// The first failure is thrown as fetch would throw it, unless the options say otherwise; elements not started then
/// never start, and those that run are cancelled. An element whose workers died too often fails with a
/// ProcessExitedException that names it and them; with no worker left, elements fail with Error "No active worker
/// available in pool".
/// @returns the results in order of the input; nothing where f returns nothing
/// @throws std::invalid_argument for a batch size below 1; TimeoutError; what on_error, retry_check and the ranges
/// throw
template <class F, class... RangesThenMaybeOptions>
auto pmap(F f, RangesThenMaybeOptions&&... ranges_then_maybe_options) {
  return detail::with_map_options(
      []<class... R>(F function, auto options, R&&... ranges) {
        using OnError = decltype(options.on_error);
        using RetryCheck = decltype(options.retry_check);
        detail::check_map<F, OnError, RetryCheck, R...>();
        using Map = detail::TypedMap<F, detail::OrderedResults, OnError, RetryCheck, detail::map_view_t<R>...>;
        Map map(std::move(function), std::move(options.on_error), std::move(options.retry_check),
                detail::map_view(std::forward<R>(ranges))...);
        {
          detail::MapRun run(map, detail::map_settings(options, map.size()));
          while (run.next()) {
          }
        }
        return map.results().all();
      },
      std::move(f), std::forward<RangesThenMaybeOptions>(ranges_then_maybe_options)...);
}

/// What pmap_unordered returns: an input range of the results as they come. Movable. Destroying it cancels what is
/// left.
/// @par Thread safety
/// One thread at a time.
template <class Map>
class UnorderedMap {
  struct State;

  using Value = typename std::remove_cvref_t<decltype(std::declval<Map&>().results())>::value_type;

 public:
  /// (For muster's own use: pmap_unordered makes it.)
  template <class Options>
  UnorderedMap(std::unique_ptr<Map> map, const Options& options)
      : state_(std::make_unique<State>(std::move(map), options)) {}

  /// Single pass; to increment it waits for the next result.
  class iterator {
   public:
    /// @cond
    using value_type = Value;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;
    iterator() = default;
    value_type& operator*() const { return state_->ready().front(); }
    value_type* operator->() const { return &state_->ready().front(); }
    iterator& operator++() {
      state_->ready().pop_front();
      state_->wait();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& it, std::default_sentinel_t) { return it.state_->ready().empty(); }
    /// @endcond

   private:
    friend class UnorderedMap;
    explicit iterator(State* state) : state_(state) {}
    State* state_ = nullptr;
  };

  /// Waits for the first result. To be called once.
  iterator begin() {
    state_->wait();
    return iterator(state_.get());
  }
  /// Reached when there are no more results.
  std::default_sentinel_t end() const { return {}; }

 private:
  /// Results that may wait for their reader while more are asked for.
  static constexpr std::size_t most_ready = 1024;

  struct State {
    template <class Options>
    State(std::unique_ptr<Map> typed, const Options& options)
        : map(std::move(typed)), run(std::in_place, *map, detail::map_settings(options, map->size())) {}
    std::deque<Value>& ready() { return map->results().ready(); }
    void wait() {
      if (!run) return;
      try {
        if (ready().empty()) {
          while (ready().empty() && run->next()) {
          }
        } else if (ready().size() < most_ready) {
          run->go_on();
        }
      } catch (...) {
        run.reset();
        ready().clear();
        throw;
      }
      if (ready().empty()) run.reset();
    }
    std::unique_ptr<Map> map;
    std::optional<detail::MapRun> run;
  };
  std::unique_ptr<State> state_;
};

/// pmap that gives each result when it is there: a range of `std::pair<std::size_t, Result>`, the number of the element
/// and its result; of numbers where f returns nothing. The first elements are sent at once; further ones are read while
/// the range is walked through, so the input may be infinite. What pmap throws, walking throws. Ranges given as lvalues
/// must outlive it.
template <class F, class... RangesThenMaybeOptions>
auto pmap_unordered(F f, RangesThenMaybeOptions&&... ranges_then_maybe_options) {
  return detail::with_map_options(
      []<class... R>(F function, auto options, R&&... ranges) {
        using OnError = decltype(options.on_error);
        using RetryCheck = decltype(options.retry_check);
        detail::check_map<F, OnError, RetryCheck, R...>();
        using Map = detail::TypedMap<F, detail::UnorderedResults, OnError, RetryCheck, detail::map_view_t<R>...>;
        auto map = std::make_unique<Map>(std::move(function), std::move(options.on_error),
                                         std::move(options.retry_check), detail::map_view(std::forward<R>(ranges))...);
        return UnorderedMap<Map>(std::move(map), options);
      },
      std::move(f), std::forward<RangesThenMaybeOptions>(ranges_then_maybe_options)...);
}

}  // namespace muster
