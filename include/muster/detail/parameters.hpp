/// @file
/// What a function's arguments arrive as: mostly as what they are, but an array as a View where that is what the
/// function takes.
#pragma once

#include <muster/callable.hpp>
#include <muster/detail/sendable.hpp>
#include <muster/view.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace muster::detail {

// --- a callable's parameters ---

template <class R, class... P>
TypeList<P...> parameters_of(R (*)(P...));
template <class C, class R, class... P>
TypeList<P...> parameters_of(R (C::*)(P...));
template <class C, class R, class... P>
TypeList<P...> parameters_of(R (C::*)(P...) const);
template <class C, class R, class... P>
TypeList<P...> parameters_of(R (C::*)(P...) &);
template <class C, class R, class... P>
TypeList<P...> parameters_of(R (C::*)(P...) const&);
template <class C, class R, class... P>
TypeList<P...> parameters_of(R (C::*)(P...) &&);

/// The types of a callable's parameters, as far as they can be told: none of a template's, of several
/// overloads' or where any number may follow.
template <class F>
struct Parameters {
  using type = TypeList<>;
};
template <class F>
  requires std::is_class_v<F> && requires { parameters_of(&F::operator()); }
struct Parameters<F> {
  using type = decltype(parameters_of(&F::operator()));
};
template <function_pointer F>
  requires requires { parameters_of(F{}); }
struct Parameters<F> {
  using type = decltype(parameters_of(F{}));
};
template <class M, class C>
  requires std::is_function_v<M> && requires(M C::* method) { parameters_of(method); }
struct Parameters<M C::*> {
  template <class... P>
  static TypeList<C, P...> behind_object(TypeList<P...>);
  using type = decltype(behind_object(parameters_of(static_cast<M C::*>(nullptr))));
};
template <class F>
struct Parameters<Trusted<F>> : Parameters<F> {};

template <std::size_t I, class List>
struct TypeAt {
  using type = void;
};
template <class First, class... Rest>
struct TypeAt<0, TypeList<First, Rest...>> {
  using type = std::remove_cvref_t<First>;
};
template <std::size_t I, class First, class... Rest>
  requires(I > 0)
struct TypeAt<I, TypeList<First, Rest...>> : TypeAt<I - 1, TypeList<Rest...>> {};

/// The parameter at that place, without const and reference; void where it can't be told.
template <class F, std::size_t I>
struct Parameter : TypeAt<I, typename Parameters<F>::type> {};
template <class F, class... Captured, std::size_t I>
struct Parameter<BoundFront<F, Captured...>, I> : Parameter<F, I + sizeof...(Captured)> {};

// --- what arguments arrive as ---

/// The elements of an array that can travel as a View; void for all other types.
template <class A>
struct ViewableElement {
  using type = void;
};
template <class T, class Allocator>
  requires(plain<T> && !std::is_same_v<T, bool>)
struct ViewableElement<std::vector<T, Allocator>> {
  using type = T;
};
template <class T, std::size_t N>
  requires plain<T>
struct ViewableElement<std::array<T, N>> {
  using type = T;
};
template <class T, std::size_t N>
  requires plain<T>
struct ViewableElement<std::span<T, N>> {
  using type = std::remove_cv_t<T>;
};
template <class T>
struct ViewableElement<View<T>> {
  using type = T;
};

/// An argument of type A for a parameter of type P.
template <class P, class A>
struct ArrivesAs {
  using type = A;
};
template <class T, class A>
  requires std::is_same_v<typename ViewableElement<A>::type, T>
struct ArrivesAs<View<T>, A> {
  using type = View<T>;
};
template <class T, class Allocator>
struct ArrivesAs<std::span<const T>, std::vector<T, Allocator>> {
  using type = std::conditional_t<plain<T> && !std::is_same_v<T, bool>, View<T>, std::vector<T, Allocator>>;
};
template <class T, std::size_t N>
  requires plain<T>
struct ArrivesAs<std::span<const T>, std::array<T, N>> {
  using type = View<T>;
};
template <class T, class Allocator>
struct ArrivesAs<std::vector<T, Allocator>, View<T>> {
  using type = std::vector<T, Allocator>;
};

template <class F, class... A, std::size_t... I>
auto find_arrivals(std::index_sequence<I...>)
    -> TypeList<typename ArrivesAs<typename Parameter<F, I>::type, sent_t<A>>::type...>;
/// What arguments of these types, as given, arrive as at a function F.
template <class F, class... A>
using arrivals_t = decltype(find_arrivals<F, A...>(std::index_sequence_for<A...>{}));

template <class F, class Arrivals>
inline constexpr bool takes_arrivals = false;
template <class F, class... A>
inline constexpr bool takes_arrivals<F, TypeList<A...>> = std::is_invocable_v<F, A...>;
/// Whether F can be called with arguments of these types, as given, once they arrived.
template <class F, class... A>
concept callable_with = takes_arrivals<F, arrivals_t<F, A...>>;

/// Writes an argument as what it arrives as: a string literal as a std::string, an array as a View.
template <class Arrival, class Writer, class A>
void encode_argument(Writer& archive, const A& argument) {
  using Element = typename ViewableElement<A>::type;
  if constexpr (std::is_same_v<Arrival, A> || is_view<A>)
    encode(archive, argument);  // a View is written as a vector is
  else if constexpr (is_view<Arrival>)
    encode(archive, View<Element>(std::span<const Element>(argument), nullptr));
  else
    encode(archive, static_cast<Arrival>(argument));
}

template <class... Arrival, class Writer, class... A>
void encode_arguments(TypeList<Arrival...> /*types*/, Writer& archive, const A&... arguments) {
  (encode_argument<Arrival>(archive, arguments), ...);
}

}  // namespace muster::detail
