/// @file
/// Parallel maps without their types: what pmap.hpp's templates hand to the runtime.
#pragma once

#include <muster/detail/kept_function.hpp>
#include <muster/worker_pool.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace muster::runtime {
class MapDriver;
}

namespace muster::detail {

/// The options of a map whose types do not vary.
struct MapSettings {
  const WorkerPool* pool = nullptr;
  std::size_t batch_size = 1;  ///< 0: chosen as it goes
  bool distributed = true;
  std::vector<std::chrono::nanoseconds> retry_delays = {};
  int max_restarts = 3;
  std::optional<std::chrono::nanoseconds> timeout = {};
  std::optional<std::string> progress = {};  ///< label of the bar
  std::optional<std::size_t> total = {};     ///< elements, where known
  std::size_t max_tasks = 0;                 ///< 0: no limit
};

/// Code that a map runs on workers.
struct MapCode {
  Thunk element;         ///< one element
  Thunk batch;           ///< several, one after the other
  Thunk keep = nullptr;  ///< takes in the function before anything else; null where it travels along
};

/// The half of a map that knows types: elements, function and results. Used by one thread, the caller's.
class MapWork {
 public:
  MapWork() = default;
  MapWork(const MapWork&) = delete;
  MapWork& operator=(const MapWork&) = delete;
  virtual ~MapWork() = default;

  virtual MapCode code() const = 0;
  /// Reads the next element of the input and keeps it. @returns false at the end
  virtual bool read() = 0;
  virtual void write_function(OutputArchive& archive) const = 0;
  virtual void write_element(OutputArchive& archive, std::size_t element) const = 0;
  /// Arguments of a call for one element with a function that travels along.
  virtual Payload encode_alone(std::size_t element) const = 0;
  /// Reads the result of an element, which is not needed any more, out of its batch.
  virtual void deliver(std::size_t element, InputArchive& archive) = 0;
  /// As deliver, of one that was called alone.
  virtual void deliver_alone(std::size_t element, const Payload& result) = 0;
  /// Whether to try again. @param attempt that failed, from 1
  virtual bool retries(int attempt, const std::exception_ptr& failure) = 0;
  /// Whether replace does anything.
  virtual bool replaces() const = 0;
  /// Asks the user for a result in place of one that failed. @returns false where the user has not said how
  virtual bool replace(std::size_t element, const std::exception_ptr& failure) = 0;
};

/// Runs a map. One thread.
class MapRun {
 public:
  /// Sends the first elements. `work` outlives it.
  /// @throws std::invalid_argument, and as next
  MapRun(MapWork& work, MapSettings settings);
  /// Cancels what is left.
  ~MapRun();
  MapRun(const MapRun&) = delete;
  MapRun& operator=(const MapRun&) = delete;

  /// Goes on until more results were delivered. @returns false when all are. What it throws ends the map.
  bool next();
  /// Sends what can be sent, and takes in what came, without waiting.
  void go_on();

 private:
  std::unique_ptr<runtime::MapDriver> driver_;
};

/// @throws std::invalid_argument below 1
std::size_t checked_batch_size(int size);
/// @throws std::invalid_argument below 0
std::size_t checked_max_tasks(int tasks);

// -- what runs on a worker --------------------------------------------------------------------------------------------

/// An exception that left an element, as bytes.
std::vector<std::byte> encode_element_failure(const std::exception_ptr& failure);

template <class F, class... E>
void run_element(TaskRun& run) {
  if constexpr (travels_along<F>) {
    auto call = decode_call<F, E...>(run);
    run_call(run, DecodedCall<KeptCall<F>, E...>{{std::move(call.f)}, std::move(call.arguments)});
  } else {
    invoke_kept<F, E...>(run);
  }
}

/// The function of a map as it arrives with a batch.
template <class F>
class MapFunction {
 public:
  explicit MapFunction(InputArchive& archive) : came_(read(archive)) {}
  /// Waits until it is here.
  KeptCall<F> call() {
    if constexpr (travels_along<F>)
      return {std::move(came_)};
    else
      return {std::static_pointer_cast<const F>(kept_function(came_))};
  }

 private:
  using Came = std::conditional_t<travels_along<F>, F, KeptId>;
  static Came read(InputArchive& archive) {
    if constexpr (travels_along<F>)
      return decode_callable<F>(archive);
    else
      return read_kept_id(archive);
  }

  Came came_;
};

/// What f gives for an element.
template <class F, class... E>
using map_result_t = unwrap_task_t<std::invoke_result_t<KeptCall<F>, E...>>;

/// How one element of a batch ended.
template <class R>
struct Outcome {
  std::optional<value_or_monostate_t<R>> value = {};
  std::vector<std::byte> failure = {};
};

template <class R, class F, class Element>
Outcome<R> run_one(const KeptCall<F>& f, Element& element) {
  try {
    this_task::check();  // asked to stop: what has not started never starts
    const auto call = [&]() -> decltype(auto) {
      return std::apply([&](auto&... each) -> decltype(auto) { return f(std::move(each)...); }, element);
    };
    if constexpr (requires { call().run_and_wait(); }) {
      if constexpr (std::is_void_v<R>) {
        call().run_and_wait();
        return {std::monostate{}, {}};
      } else {
        return {call().run_and_wait(), {}};
      }
    } else if constexpr (std::is_void_v<R>) {
      call();
      return {std::monostate{}, {}};
    } else {
      return {R(call()), {}};
    }
  } catch (...) {
    return {std::nullopt, encode_element_failure(std::current_exception())};
  }
}

template <class R>
void write_outcome(OutputArchive& archive, const Outcome<R>& outcome) {
  encode(archive, outcome.value.has_value());
  if (!outcome.value) {
    encode(archive, outcome.failure);
  } else if constexpr (!std::is_void_v<R>) {
    encode(archive, *outcome.value);
  }
}

/// The results that can't be written become failures of their elements.
template <class R>
void fail_unwritable(std::deque<Outcome<R>>& outcomes) {
  for (auto& outcome : outcomes) {
    try {
      Payload trial;
      OutputArchive archive(trial);
      write_outcome(archive, outcome);
    } catch (...) {
      outcome = {std::nullopt, encode_element_failure(std::current_exception())};
    }
  }
}

template <class R>
Payload written(const std::shared_ptr<std::deque<Outcome<R>>>& outcomes) {
  Payload payload;
  OutputArchive archive(payload, outcomes);
  for (const auto& outcome : *outcomes) write_outcome(archive, outcome);
  return payload;
}

template <class F, class... E>
void run_batch(TaskRun& run) {
  using R = map_result_t<F, E...>;
  InputArchive archive(run.arguments());
  MapFunction<F> function(archive);
  const bool first_failure_ends = decode<bool>(archive);
  const std::size_t count = archive.read_size();
  std::deque<std::tuple<E...>> elements;
  for (std::size_t i = 0; i < count; ++i) elements.push_back(std::tuple<E...>{decode<E>(archive)...});
  archive.finish();
  run.arguments_done();
  const auto call = function.call();
  auto outcomes = std::make_shared<std::deque<Outcome<R>>>();
  for (; !elements.empty(); elements.pop_front()) {
    outcomes->push_back(run_one<R>(call, elements.front()));
    if (first_failure_ends && !outcomes->back().value) break;  // nobody wants the others
  }
  Payload result;
  try {
    result = written<R>(outcomes);
  } catch (const SerializationError&) {
    fail_unwritable<R>(*outcomes);
    result = written<R>(outcomes);
  }
  run.complete(std::move(result));
}

/// A map of F over elements that arrive as these.
template <class F, class Arrivals>
struct MapCall;
template <class F, class... E>
struct MapCall<F, TypeList<E...>> {
  using Result = map_result_t<F, E...>;
  static MapCode code() { return {&run_element<F, E...>, &run_batch<F, E...>}; }
};

}  // namespace muster::detail
