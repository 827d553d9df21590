/// @file
/// Functions that are sent to a process once, and kept there for the calls that use them.
#pragma once

#include <muster/detail/call.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace muster::detail {

/// Names a function kept at a process: who sent it there, and its number.
using KeptId = RemoteRefId;

/// Functions that are no more than a few bytes are not kept: they travel along with each call.
template <class F>
inline constexpr bool travels_along =
    form_of<F> == Form::function || form_of<F> == Form::method || form_of<F> == Form::member ||
    (form_of<F> == Form::bytes && sizeof(F) <= 256) || (form_of<F> == Form::aggregate && std::is_empty_v<F>);

// -- where it is kept -------------------------------------------------------------------------------------------------

/// The function is here.
void keep_function(KeptId id, std::shared_ptr<const void> function);
/// It could not be read: who waits for it gets that.
void fail_kept_function(KeptId id, const std::exception_ptr& failure);
/// The function; waits until it is here.
std::shared_ptr<const void> kept_function(KeptId id);

inline void write_kept_id(OutputArchive& archive, KeptId id) {
  archive.write_number(id.creator);
  archive.write_number(id.number);
}
inline KeptId read_kept_id(InputArchive& archive) {
  KeptId id;
  archive.read_number(id.creator);
  archive.read_number(id.number);
  return id;
}

/// Takes in a function to be kept.
template <class F>
void keep(TaskRun& run) {
  InputArchive archive(run.arguments());
  const KeptId id = read_kept_id(archive);
  try {
    auto function = std::make_shared<const F>(decode_callable<F>(archive));
    archive.finish();
    keep_function(id, std::move(function));
  } catch (...) {
    fail_kept_function(id, std::current_exception());
    throw;
  }
  run.complete(Payload{});
}

/// Calls a function that is used many times over. Where it takes itself only as something to be changed or used up, a
/// copy is.
template <class F, class... A>
decltype(auto) call_kept(const F& f, A&&... arguments) {
  if constexpr (std::is_invocable_v<const F&, A...>) {
    return std::invoke(f, std::forward<A>(arguments)...);
  } else {
    F copy(f);
    if constexpr (std::is_invocable_v<F&, A...>)
      return std::decay_t<std::invoke_result_t<F&, A...>>(std::invoke(copy, std::forward<A>(arguments)...));
    else
      return std::decay_t<std::invoke_result_t<F, A...>>(std::invoke(std::move(copy), std::forward<A>(arguments)...));
  }
}

/// A function that many calls use, as something to call: one that is kept at this process, or came along.
template <class F>
struct KeptCall {
  std::conditional_t<travels_along<F>, F, std::shared_ptr<const F>> function;
  template <class... A>
    requires(std::is_invocable_v<const F&, A...> || std::is_invocable_v<F&, A...> || std::is_invocable_v<F, A...>)
  decltype(auto) operator()(A&&... arguments) const {
    if constexpr (travels_along<F>)
      return call_kept(function, std::forward<A>(arguments)...);
    else
      return call_kept(*function, std::forward<A>(arguments)...);
  }
};

/// As invoke, with a function that is kept here.
template <class F, class... A>
void invoke_kept(TaskRun& run) {
  using Call = DecodedCall<KeptCall<F>, A...>;
  InputArchive archive(run.arguments());
  const KeptId id = read_kept_id(archive);
  std::tuple<A...> arguments{decode<A>(archive)...};
  archive.finish();
  run.arguments_done();
  auto function = std::static_pointer_cast<const F>(kept_function(id));
  run_call(run, Call{{std::move(function)}, std::move(arguments)});
}

template <class F, class... A>
constexpr Thunk kept_thunk(TypeList<A...>) {
  return &invoke_kept<F, A...>;
}

// -- who sends it -----------------------------------------------------------------------------------------------------

/// What a function looks like in a message.
template <class F>
Payload encoded_function(const F& f) {
  Payload payload;
  OutputArchive archive(payload);
  encode_callable(archive, f);
  return payload;
}

/// The functions of a CachingPool. Any thread.
class FunctionCache;
std::shared_ptr<FunctionCache> make_function_cache();
/// Sends the function to that process unless it is there. @returns its name there
KeptId keep_cached(FunctionCache& cache, Pid pid, Thunk keep, Payload&& encoded);
void clear_cache(FunctionCache& cache);

}  // namespace muster::detail
