/// @file
/// How a type travels: which of the ways of writing it applies, and how few bytes it can take.
#pragma once

#include <muster/detail/aggregate.hpp>

#include <cereal/cereal.hpp>

#include <concepts>
#include <functional>

namespace muster::detail {

class OutputArchive;
class InputArchive;

/// How a standard type (or one that muster knows by name) travels. A specialization has
/// `static void save(OutputArchive&, const T&)`, `static void load(InputArchive&, T&)` or `static T
/// make(InputArchive&)`, `using Elements = TypeList<...>` (what is written along) and `static constexpr std::size_t
/// least_bytes`.
template <class T>
struct Codec;

template <class T>
concept has_codec = requires { typename Codec<T>::Elements; };

// --- users' own cereal functions ---

template <class C, class R, class... A>
std::type_identity<C> class_of(R (C::*)(A...));
template <class C, class R, class... A>
std::type_identity<C> class_of(R (C::*)(A...) const);

/// Converts to T& and to no base of it.
template <class T>
struct ExactReference {
  template <std::same_as<T> U>
  operator U&() const noexcept;  // NOLINT(google-explicit-constructor)
};

/// T's member function serialize or save is that of a base, which knows nothing of T's own members.
template <class T>
concept inherits_member_function =
    (requires { class_of(&T::template serialize<OutputArchive>); } &&
     !requires {
       { class_of(&T::template serialize<OutputArchive>) } -> std::same_as<std::type_identity<T>>;
     }) ||
    (requires { class_of(&T::template save<OutputArchive>); } && !requires {
      { class_of(&T::template save<OutputArchive>) } -> std::same_as<std::type_identity<T>>;
    });

template <class T>
concept has_free_function = requires(OutputArchive& archive, const ExactReference<T>& value) {
  serialize(archive, value);
} || requires(OutputArchive& archive, const ExactReference<const T>& value) { save(archive, value); };

template <class T, class... Base>
constexpr bool inherits_free_function(TypeList<Base...>) {
  return !has_free_function<T> && (has_free_function<Base> || ...);
}

/// Whether the user gave T cereal functions. Those of a base don't count for an aggregate: its members would be lost.
template <class T>
constexpr bool find_user_functions() {
  if constexpr (!std::is_class_v<T> && !std::is_union_v<T>) {  // NOLINT(bugprone-branch-clone)
    return false;
  } else if constexpr (cereal::traits::detail::count_output_serializers<T, OutputArchive>::value == 0 &&
                       cereal::traits::detail::count_input_serializers<T, InputArchive>::value == 0) {
    return false;
  } else if constexpr (std::is_aggregate_v<T>) {
    if constexpr (DirectBases<T>::size == 0) {
      return true;
    } else {
      return !inherits_member_function<T> && !inherits_free_function<T>(DirectBases<T>{});
    }
  } else {
    return true;
  }
}

template <class T>
inline constexpr bool has_user_functions = find_user_functions<T>();

// --- closures and function objects ---

struct CallOperatorProbe {
  void operator()();
};
template <class T>
struct CallOperatorOf : T, CallOperatorProbe {};

/// Whether a class has a call operator, overloaded ones and templates included: a second one then makes the name
/// ambiguous.
template <class T>
constexpr bool find_call_operator() {
  if constexpr (!std::is_class_v<T>) {
    return false;
  } else if constexpr (std::is_final_v<T>) {
    return requires { &T::operator(); };
  } else {
    return !requires { &CallOperatorOf<T>::operator(); };
  }
}

template <class T>
concept has_call_operator = find_call_operator<T>();

/// An object that is copied by copying its bytes. (Not std::is_trivially_copyable: GCC 12 denies it to a closure once
/// somebody has asked whether the closure can be assigned.)
template <class T>
concept trivial_bytes = std::is_trivially_copy_constructible_v<T> && std::is_trivially_move_constructible_v<T> &&
                        std::is_trivially_destructible_v<T>;

template <std::size_t Size>
struct RawBytes {
  std::byte bytes[Size];
};

/// Whether bytes can be made into a T in a constant expression: they can't if it has pointers or references.
template <class T>
concept bit_castable =
    requires { typename std::bool_constant<(static_cast<void>(__builtin_bit_cast(T, RawBytes<sizeof(T)>{})), true)>; };

/// A closure with a reference in it is never standard-layout and never bit-castable; one that captures values is one of
/// both. (Captured pointers pass: they are found when the closure is sent.)
template <class T>
concept captures_values = std::is_empty_v<T> || std::is_standard_layout_v<T> || bit_castable<T>;

template <class T>
inline constexpr bool is_reference_wrapper = false;
template <class T>
inline constexpr bool is_reference_wrapper<std::reference_wrapper<T>> = true;

template <class T>
concept function_pointer = std::is_pointer_v<T> && std::is_function_v<std::remove_pointer_t<T>>;

// --- forms ---

enum class Form {
  number,       ///< arithmetic but bool
  boolean,      ///< one byte, 0 or 1
  enumeration,  ///< as its underlying type
  array,        ///< C array
  codec,        ///< a standard type
  user,         ///< by the user's cereal functions
  function,     ///< function pointer
  method,       ///< pointer to a member function
  member,       ///< pointer to a data member
  bytes,        ///< closure or other function object that is plain bytes
  aggregate,    ///< member by member
  none          ///< does not travel
};

template <class T>
constexpr Form find_form() {
  if constexpr (std::is_same_v<T, bool>) {
    return Form::boolean;
  } else if constexpr (std::is_arithmetic_v<T>) {
    return Form::number;
  } else if constexpr (std::is_enum_v<T>) {
    return Form::enumeration;
  } else if constexpr (std::is_bounded_array_v<T>) {
    return Form::array;
  } else if constexpr (has_codec<T>) {
    return Form::codec;
  } else if constexpr (function_pointer<T>) {
    return Form::function;
  } else if constexpr (std::is_member_function_pointer_v<T>) {
    return Form::method;
  } else if constexpr (std::is_member_object_pointer_v<T>) {
    return Form::member;
  } else if constexpr (has_user_functions<T>) {
    return Form::user;
  } else if constexpr (plain_aggregate<T>) {
    return Form::aggregate;
  } else if constexpr (std::is_class_v<T> && trivial_bytes<T>) {
    return has_call_operator<T> && captures_values<T> && !is_reference_wrapper<T> ? Form::bytes : Form::none;
  } else {
    return Form::none;
  }
}

template <class T>
inline constexpr Form form_of = find_form<std::remove_cv_t<T>>();

// --- plain elements ---

template <class T>
constexpr bool find_plain();

template <class... T>
constexpr bool any_const(TypeList<T...>) {
  return (std::is_const_v<T> || ...);
}

template <class... T>
constexpr bool all_plain(TypeList<T...>) {
  return (find_plain<std::remove_cv_t<T>>() && ...);
}

/// Specialized where a codec's type is nothing but its bytes.
template <class T>
inline constexpr bool plain_codec = false;

template <class T>
constexpr bool find_plain() {
  if constexpr (std::is_bounded_array_v<T>) {
    return find_plain<std::remove_cv_t<std::remove_all_extents_t<T>>>();
  } else if constexpr (!std::is_trivially_copyable_v<T>) {  // NOLINT(bugprone-branch-clone)
    return false;
  } else if constexpr (form_of<T> == Form::number || form_of<T> == Form::boolean || form_of<T> == Form::enumeration) {
    return true;
  } else if constexpr (form_of<T> == Form::codec) {
    return plain_codec<T>;
  } else if constexpr (form_of<T> == Form::aggregate) {
    return !std::is_empty_v<T> && !any_const(FieldTypes<T>{}) && all_plain(FieldTypes<T>{});
  } else {
    return false;
  }
}

/// An object that is nothing but its bytes: numbers, enumerations, complex numbers, and arrays and aggregates of such.
/// Many of them in a row travel as one block.
template <class T>
concept plain = find_plain<std::remove_cv_t<T>>();

template <class T>
constexpr bool find_bools();

template <class... T>
constexpr bool any_bools(TypeList<T...>) {
  return (find_bools<std::remove_cv_t<T>>() || ...);
}

/// Whether a plain type holds a bool anywhere, whose byte must be 0 or 1.
template <class T>
constexpr bool find_bools() {
  if constexpr (std::is_array_v<T>) {
    return find_bools<std::remove_cv_t<std::remove_all_extents_t<T>>>();
  } else if constexpr (form_of<T> == Form::boolean) {
    return true;
  } else if constexpr (form_of<T> == Form::codec) {
    return any_bools(typename Codec<T>::Elements{});
  } else if constexpr (form_of<T> == Form::aggregate) {
    return any_bools(FieldTypes<T>{});
  } else {
    return false;
  }
}

// --- sizes ---

template <class T>
constexpr std::size_t find_least_bytes();

template <class... T>
constexpr std::size_t sum_least_bytes(TypeList<T...>) {
  return (std::size_t{0} + ... + find_least_bytes<std::remove_cv_t<T>>());
}

/// The fewest bytes a T can take in a message.
template <class T>
constexpr std::size_t find_least_bytes() {
  constexpr Form form = form_of<T>;
  if constexpr (plain<T>) {
    return sizeof(T) < 4096 ? sizeof(T) : 1;  // a part's index
  } else if constexpr (form == Form::array) {
    return std::extent_v<T> * find_least_bytes<std::remove_cv_t<std::remove_extent_t<T>>>();
  } else if constexpr (form == Form::codec) {
    return Codec<T>::least_bytes;
  } else if constexpr (form == Form::function || form == Form::method) {
    return 16;
  } else if constexpr (form == Form::member) {
    return sizeof(T);
  } else if constexpr (form == Form::bytes) {
    return std::is_empty_v<T> ? 0 : sizeof(T) < 4096 ? sizeof(T) : 1;
  } else if constexpr (form == Form::aggregate) {
    return sum_least_bytes(FieldTypes<T>{});
  } else {
    return 0;
  }
}

template <class T>
inline constexpr std::size_t least_bytes_of = find_least_bytes<std::remove_cv_t<T>>();

// --- whether it travels ---

template <class T, class... Above>
constexpr bool find_serializable();

template <class... T, class... Above>
constexpr bool all_serializable(TypeList<T...>, TypeList<Above...>) {
  return (find_serializable<std::remove_cv_t<T>, Above...>() && ...);
}

/// Above are the types whose members or elements are being looked at: a type may contain itself through a container.
template <class T, class... Above>
constexpr bool find_serializable() {
  if constexpr ((std::is_same_v<T, Above> || ...)) {
    return true;
  } else if constexpr (std::is_reference_v<T> || std::is_void_v<T> || std::is_function_v<T>) {
    return false;
  } else if constexpr (form_of<T> == Form::array) {
    return find_serializable<std::remove_cv_t<std::remove_extent_t<T>>, Above...>();
  } else if constexpr (form_of<T> == Form::codec) {
    return all_serializable(typename Codec<T>::Elements{}, TypeList<T, Above...>{});
  } else if constexpr (form_of<T> == Form::aggregate) {
    return all_serializable(FieldTypes<T>{}, TypeList<T, Above...>{});
  } else {
    return form_of<T> != Form::none;
  }
}

}  // namespace muster::detail
