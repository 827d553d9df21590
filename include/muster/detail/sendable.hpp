/// @file
/// What may be sent to another process, said at compile time: traits, and refusals that tell what to write instead.
#pragma once

#include <muster/detail/archive.hpp>

#include <functional>
#include <ranges>
#include <string>

namespace muster::detail {

/// A type whose values travel as arguments, results, captured values and elements.
template <class T>
concept serializable = find_serializable<std::remove_cv_t<T>>();

template <class T>
struct SentType {
  using type = std::decay_t<T>;
};
template <class C, std::size_t N>
  requires(std::is_same_v<C, char> || std::is_same_v<C, wchar_t> || std::is_same_v<C, char8_t> ||
           std::is_same_v<C, char16_t> || std::is_same_v<C, char32_t>)
struct SentType<const C (&)[N]> {
  using type = std::basic_string<C>;
};

/// What an argument of type A arrives as: decayed; a string literal as a string.
template <class A>
using sent_t = typename SentType<A>::type;

template <class T>
inline constexpr bool is_std_function = false;
template <class T>
inline constexpr bool is_std_function<std::function<T>> = true;
template <class T>
inline constexpr bool is_array_pointer = false;
template <class T, class D>
inline constexpr bool is_array_pointer<std::unique_ptr<T[], D>> = true;

/// False once T is known, so that a static_assert fires for that T only.
template <class T>
inline constexpr bool never = false;

template <class T, class... Above>
constexpr void check_value_within();

template <class... T, class... Above>
constexpr void check_all(TypeList<T...>, TypeList<Above...>) {
  (check_value_within<std::remove_cv_t<T>, Above...>(), ...);
}

/// Says why a class has no form to travel in.
template <class T>
constexpr void refuse_class() {
  constexpr AggregateLayout layout = aggregate_layout<T>;
  if constexpr (is_std_function<T>) {
    static_assert(
        never<T>,
        "a std::function can't be sent to another process, because nobody can tell what it holds: send a lambda, a "
        "function pointer or muster::bind_front(f, captured...)");
  } else if constexpr (is_reference_wrapper<T>) {
    static_assert(never<T>, "a std::reference_wrapper can't be sent to another process: send the value itself");
  } else if constexpr (is_array_pointer<T>) {
    static_assert(never<T>,
                  "a unique_ptr to an array can't be sent to another process, since it does not know its size: send a "
                  "std::vector");
  } else if constexpr (std::ranges::enable_view<T>) {
    static_assert(
        never<T>,
        "a view (string_view, span, a range adaptor) can't be sent to another process: it borrows from memory of "
        "this one. Send what it looks at: a std::string or a std::vector; or let the function take a muster::View, "
        "which "
        "a std::span is sent to");
  } else if constexpr (has_call_operator<T> && trivial_bytes<T>) {
    static_assert(
        never<T>,
        "this closure captures by reference, which means nothing in another process (or by value something like a "
        "std::tuple, which is not plain bytes): capture plain values, or pass the values with "
        "muster::bind_front(f, values...)");
  } else if constexpr (has_call_operator<T> && layout == AggregateLayout::none) {
    static_assert(
        never<T>,
        "this closure captures by value something that is not plain bytes (for example a std::string or a "
        "std::vector), which can't be taken apart: pass it with muster::bind_front(f, captured...), where f takes "
        "the captured values as its first parameters");
  } else if constexpr (layout == AggregateLayout::too_large) {
    static_assert(never<T>,
                  "an aggregate with more than 32 members can't be sent as it is: give it template<class Archive> void "
                  "serialize(Archive&)");
  } else if constexpr (layout == AggregateLayout::unreachable) {
    static_assert(
        never<T>,
        "the members of this aggregate can't be told apart, because it has data in a base class and a bit-field, an "
        "array of more than 256 elements or a member whose type converts from anything: give it "
        "template<class Archive> void serialize(Archive&)");
  } else if constexpr (std::is_union_v<T>) {
    static_assert(never<T>, "a union can't be sent to another process: send a std::variant");
  } else {
    static_assert(never<T>,
                  "a class that is neither an aggregate nor serializable can't be sent to another process: give it "
                  "template<class Archive> void serialize(Archive&)");
  }
}

template <class T, class... Above>
constexpr void check_value_within() {
  if constexpr ((std::is_same_v<T, Above> || ...)) {
    return;  // it contains itself through a container; being checked already
  } else if constexpr (std::is_reference_v<T>) {
    static_assert(never<T>, "a reference can't be sent to another process: send the value");
  } else if constexpr (std::is_pointer_v<T> && !function_pointer<T>) {
    static_assert(never<T>,
                  "a raw pointer can't be sent to another process: send the value, a std::string or a std::vector");
  } else if constexpr (std::is_void_v<T>) {
    static_assert(
        never<T>,
        "a set or map that is ordered or hashed by a function pointer can't be sent to another process: use a "
        "function object's class");
  } else if constexpr (form_of<T> == Form::array) {
    check_value_within<std::remove_cv_t<std::remove_all_extents_t<T>>, Above...>();
  } else if constexpr (form_of<T> == Form::codec) {
    check_all(typename Codec<T>::Elements{}, TypeList<T, Above...>{});
  } else if constexpr (form_of<T> == Form::aggregate) {
    check_all(FieldTypes<T>{}, TypeList<T, Above...>{});
  } else if constexpr (form_of<T> == Form::none) {
    refuse_class<T>();
  }
}

/// Refuses, with a sentence that says what to do, a type whose values can't be sent. T is what arrives: sent_t of an
/// argument.
template <class T>
constexpr void check_value() {
  check_value_within<std::remove_cv_t<T>>();
}

/// Refuses a callable that can't be sent. F is decayed.
template <class F>
constexpr void check_callable() {
  static_assert(!std::is_reference_v<F>, "a callable is checked without its reference");
  check_value_within<std::remove_cv_t<F>>();
}

/// Writes a callable: a function pointer as a code reference, a closure as its bytes (none, if it captures nothing),
/// bound and user-serialized function objects as the values they are.
/// @throws UnsafeCapture when a closure's bytes hold an address of this process's memory
template <class F>
void encode_callable(OutputArchive& archive, const F& callable) {
  encode(archive, callable);
}

/// Reads it back.
template <class F>
F decode_callable(InputArchive& archive) {
  return decode<F>(archive);
}

}  // namespace muster::detail
