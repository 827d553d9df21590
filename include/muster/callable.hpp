/// @file
/// Callables that travel: `bind_front` for those that need values, `trust` for those that muster should not look into.
#pragma once

#include <muster/detail/sendable.hpp>

#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace muster {

/// What `bind_front` makes: a function together with its first arguments.
template <class F, class... Captured>
class BoundFront {
 public:
  /// For bind_front.
  template <class G, class... A>
    requires(sizeof...(A) == sizeof...(Captured) && std::is_constructible_v<F, G> &&
             (std::is_constructible_v<Captured, A> && ...))
  constexpr BoundFront(std::in_place_t, G&& function, A&&... captured)
      : function_(std::forward<G>(function)), captured_(std::forward<A>(captured)...) {}

  /// Calls the function with the captured values, then with these.
  template <class... A>
    requires std::is_invocable_v<F&, Captured&..., A...>
  constexpr decltype(auto) operator()(A&&... arguments) & {
    return call(*this, std::forward<A>(arguments)...);
  }
  /// The same, as this object's constness and value category have it.
  template <class... A>
    requires std::is_invocable_v<const F&, const Captured&..., A...>
  constexpr decltype(auto) operator()(A&&... arguments) const& {
    return call(*this, std::forward<A>(arguments)...);
  }
  /// The same, as this object's constness and value category have it.
  template <class... A>
    requires std::is_invocable_v<F, Captured..., A...>
  constexpr decltype(auto) operator()(A&&... arguments) && {
    return call(std::move(*this), std::forward<A>(arguments)...);
  }
  /// The same, as this object's constness and value category have it.
  template <class... A>
    requires std::is_invocable_v<const F, const Captured..., A...>
  constexpr decltype(auto) operator()(A&&... arguments) const&& {
    return call(std::move(*this), std::forward<A>(arguments)...);
  }

 private:
  friend struct detail::Codec<BoundFront>;

  template <class Self, class... A>
  static constexpr decltype(auto) call(Self&& self, A&&... arguments) {
    return std::apply(
        [&](auto&&... captured) -> decltype(auto) {
          return std::invoke(std::forward<Self>(self).function_, std::forward<decltype(captured)>(captured)...,
                             std::forward<A>(arguments)...);
        },
        std::forward<Self>(self).captured_);
  }

  F function_;
  std::tuple<Captured...> captured_;
};

namespace detail {

struct BindFront {
  template <class F, class... A>
  constexpr auto operator()(F&& function, A&&... captured) const {
    using Bound = BoundFront<std::decay_t<F>, sent_t<A>...>;
    return Bound(std::in_place, std::forward<F>(function), std::forward<A>(captured)...);
  }
};

template <class F, class... Captured>
struct Codec<BoundFront<F, Captured...>> {
  using Bound = BoundFront<F, Captured...>;
  using Elements = TypeList<F, Captured...>;
  static constexpr std::size_t least_bytes = least_bytes_of<F> + (std::size_t{0} + ... + least_bytes_of<Captured>);
  static void save(OutputArchive& archive, const Bound& bound) {
    archive.write(bound.function_);
    archive.write(bound.captured_);
  }
  static Bound make(InputArchive& archive) {
    F function = archive.make<F>();
    return std::apply(
        [&](Captured&&... captured) {
          return Bound(std::in_place, std::move(function), std::forward<Captured>(captured)...);
        },
        archive.make<std::tuple<Captured...>>());
  }
};

}  // namespace detail

/// `bind_front(f, captured...)` is a callable that holds `f` and values for its first parameters, and travels wherever
/// each of them travels: the way to send along strings, vectors, futures and other functions. Arguments are decayed and
/// copied or moved in; a string literal becomes a std::string. Calling it is calling `f(captured..., arguments...)`,
/// with the captured values const, or moved from when the callable itself is an rvalue, as in `std::bind_front`. A
/// function object, so that it is never confused with `std::bind_front` by argument-dependent lookup.
/// @code
/// auto greet = muster::bind_front([](const std::string& hello, int n) { return hello + std::to_string(n); }, "hello
/// ");
/// @endcode
inline constexpr detail::BindFront bind_front{};

/// What `trust` makes.
template <class F>
class Trusted {
 public:
  /// For trust.
  constexpr explicit Trusted(F function) : function_(std::move(function)) {}

  /// Calls the function.
  template <class... A>
    requires std::is_invocable_v<F&, A...>
  constexpr decltype(auto) operator()(A&&... arguments) {
    return std::invoke(function_, std::forward<A>(arguments)...);
  }
  /// Calls the function.
  template <class... A>
    requires std::is_invocable_v<const F&, A...>
  constexpr decltype(auto) operator()(A&&... arguments) const {
    return std::invoke(function_, std::forward<A>(arguments)...);
  }

 private:
  friend struct detail::Codec<Trusted>;

  F function_;
};

/// Wraps a closure or function object that is plain bytes so that they are sent as they are: muster does not look for
/// addresses among them. For numbers that happen to look like addresses, and for pointers that mean the same in every
/// process (into memory mapped at one place everywhere).
template <class F>
constexpr auto trust(F function) {
  static_assert(detail::trivial_bytes<F>,
                "trust only takes closures that are plain bytes (trivially copyable): pass other values with "
                "muster::bind_front(f, captured...)");
  return Trusted<F>(std::move(function));
}

namespace detail {

template <class F>
struct Codec<Trusted<F>> {
  using Elements = TypeList<>;
  static constexpr bool is_code = function_pointer<F> || std::is_member_function_pointer_v<F>;
  static constexpr std::size_t least_bytes = is_code ? least_bytes_of<F> : std::is_empty_v<F> ? 0 : 1;
  static void save(OutputArchive& archive, const Trusted<F>& trusted) {
    if constexpr (is_code) {
      archive.write(trusted.function_);
    } else if constexpr (!std::is_empty_v<F>) {
      archive.write_block(std::addressof(trusted.function_), sizeof(F));
    }
  }
  static Trusted<F> make(InputArchive& archive) {
    if constexpr (is_code) {
      return Trusted<F>(archive.make<F>());
    } else {
      return Trusted<F>(archive.make_from_bytes<F>());
    }
  }
};

}  // namespace detail

}  // namespace muster
