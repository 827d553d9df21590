/// @file
/// Whether a value can really be copied.
#pragma once

#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace muster::detail {

/// As std::is_copy_constructible, which says yes for every container: a vector of unique_ptr only fails once its copy
/// is compiled. This looks at what is in it,
/// as far as the standard library's types show.
template <class T>
struct is_copyable : std::is_copy_constructible<T> {};

/// A container of the standard library's kind.
template <class T>
  requires requires {
    typename T::allocator_type;
    typename T::value_type;
  } && (!std::is_same_v<typename T::value_type, T>)
struct is_copyable<T>
    : std::bool_constant<std::is_copy_constructible_v<T> && is_copyable<typename T::value_type>::value> {};
template <class T>
struct is_copyable<std::optional<T>> : is_copyable<T> {};
template <class A, class B>
struct is_copyable<std::pair<A, B>> : std::bool_constant<is_copyable<A>::value && is_copyable<B>::value> {};
template <class... T>
struct is_copyable<std::tuple<T...>> : std::bool_constant<(is_copyable<T>::value && ...)> {};
template <class... T>
struct is_copyable<std::variant<T...>> : std::bool_constant<(is_copyable<T>::value && ...)> {};

template <class T>
inline constexpr bool is_copyable_v = is_copyable<T>::value;

}  // namespace muster::detail
