/// @file
/// Exception types of your own that keep their type when they cross processes.
#pragma once

#include <muster/detail/archive.hpp>
#include <muster/detail/exception_codec.hpp>
#include <muster/detail/payload.hpp>
#include <muster/detail/sendable.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <span>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace muster {
namespace detail {

template <class E>
concept MadeFromWhat = std::is_constructible_v<E, std::string> && requires(const E& error) {
  { error.what() } -> std::convertible_to<std::string>;
};

template <class E>
std::vector<std::byte> take_apart_exception(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const E& error) {
    if constexpr (serializable<E>) {
      Payload payload;
      OutputArchive archive(payload);
      encode(archive, error);
      return flattened(payload);
    } else {
      const std::string what = error.what();
      const auto bytes = std::as_bytes(std::span(what));
      return {bytes.begin(), bytes.end()};
    }
  }
}

template <class E>
std::exception_ptr put_together_exception(std::span<const std::byte> bytes) {
  if constexpr (serializable<E>) {
    const Payload payload = unflattened(bytes);
    InputArchive archive(payload);
    auto error = std::make_exception_ptr(decode<E>(archive));
    archive.finish();
    return error;
  } else {
    return std::make_exception_ptr(E(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())));
  }
}

}  // namespace detail

/// Lets RemoteException::rethrow_cause() throw an E again in other processes. Needs no session; any thread; a second
/// time does no harm. Every process runs the same program, so it is usually written beside the class:
/// @code
/// struct NoConvergence : std::runtime_error { using std::runtime_error::runtime_error; };
/// static const bool registered = muster::register_exception<NoConvergence>();
/// @endcode
/// @tparam E a class that can be serialized as an argument can (all its data travels), else one that is constructible
/// from
///   std::string and has what(): it is made again from the text. A constructor that adds to its text adds a second
///   time. What a std::nested_exception holds does not travel. A class derived from E is another type: register it too.
/// @returns true
template <class E>
bool register_exception() {
  static_assert(std::is_same_v<E, std::decay_t<E>>,
                "register_exception wants the type as it is thrown: no reference, no const");
  static_assert(
      detail::serializable<E> || detail::MadeFromWhat<E>,
      "an exception type that crosses processes is serializable (an aggregate, or a class with a cereal serialize), "
      "or has what() and a constructor from std::string");
  return detail::add_exception_codec(typeid(E), {&detail::take_apart_exception<E>, &detail::put_together_exception<E>});
}

}  // namespace muster
