/// @file
/// Members of plain aggregates without boilerplate: how many there are, of which types, and a visit of each.
///
/// Members are counted by initializing with empty braces (one pair for each base and member, whole arrays included) and
/// reached by structured bindings. Structured bindings stop at a class that has data both in a base and of its own;
/// there the types of bases and members are learnt from the conversions an initializer asks for, remembered through
/// friend functions (the "stateful friend injection" of CWG 2118), and the members' places follow from the ABI's layout
/// rules, which size checks hold to account. (Bit-fields in such a class are refused where they change its size, but
/// can't be told from other members where they don't.)
#pragma once

#include <muster/detail/aggregate_table.hpp>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace muster::detail {

template <class... T>
struct TypeList {
  static constexpr std::size_t size = sizeof...(T);
};

template <class List, class T>
struct Append;
template <class... T, class U>
struct Append<TypeList<T...>, U> {
  using type = TypeList<T..., U>;
};

template <class... T>
constexpr TypeList<T...> join_all(TypeList<T...>) {
  return {};
}
template <class... A, class... B, class... Rest>
constexpr auto join_all(TypeList<A...>, TypeList<B...>, Rest... rest) {
  return join_all(TypeList<A..., B...>{}, rest...);
}

template <class List>
struct FirstOf;
template <class T, class... Rest>
struct FirstOf<TypeList<T, Rest...>> {
  using type = T;
};
template <class List>
using First = typename FirstOf<List>::type;

// --- fields: how many ---

/// Initializes a field of any type but T itself. This and the next ones are only ever used unevaluated; they have
/// bodies because a type's constexpr constructors may be instantiated all the same.
template <class T>
struct AnyBut {
  template <class U>
    requires(!std::is_same_v<U, T>)
  operator U() const noexcept {  // NOLINT(google-explicit-constructor)
    std::abort();
  }
};

template <class T, std::size_t... I>
constexpr bool accepts_anything(std::index_sequence<I...>) {
  return requires { T{(static_cast<void>(I), AnyBut<T>{})...}; };
}

/// Number of bases and members of an aggregate; max_members + 1 stands for "more than max_members".
template <class T>
constexpr std::size_t count_fields() {
  if constexpr (accepts_braces<T,
                               0>()) {  // every field can be initialized from {}: N pairs are fine up to their number
    return []<std::size_t... I>(std::index_sequence<I...>) {
      std::size_t count = 0;
      static_cast<void>((... && (accepts_braces<T, I + 1>() && (count = I + 1) != 0)));
      return count;
    }(std::make_index_sequence<max_members + 1>{});
  } else {  // some field needs a value: only the full number of initializers fits
    return []<std::size_t... I>(std::index_sequence<I...>) {
      std::size_t count = 0;
      static_cast<void>((... || (accepts_anything<T>(std::make_index_sequence<max_members + 1 - I>{}) &&
                                 (count = max_members + 1 - I) != 0)));
      return count;
    }(std::make_index_sequence<max_members + 1>{});
  }
}

template <class T>
inline constexpr std::size_t field_count = count_fields<T>();

// --- fields: which types an initializer asks for ---

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-template-friend"  // one function for each slot is what is wanted
#endif
/// Place for the Number-th type that the initializer of field Field of T was converted to.
template <class T, std::size_t Field, std::size_t Number>
struct TypeSlot {
  friend constexpr auto recorded(TypeSlot<T, Field, Number>);
};
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

template <class Slot, class U>
struct RecordType {
  friend constexpr auto recorded(Slot) { return static_cast<std::type_identity<U>*>(nullptr); }
};

/// First slot that is free. Fresh makes each question a new one, since the answer changes.
template <class T, std::size_t Field, class Fresh, std::size_t Number = 0>
constexpr std::size_t free_slot() {
  if constexpr (requires { recorded(TypeSlot<T, Field, Number>{}); }) {
    return free_slot<T, Field, Fresh, Number + 1>();
  } else {
    return Number;
  }
}

/// Converts to bases of T and notes which.
template <class T, std::size_t Field>
struct BaseProbe {
  template <class U, class = std::enable_if_t<std::is_base_of_v<U, T> && !std::is_same_v<U, T>>,
            class = decltype(sizeof(RecordType<TypeSlot<T, Field, free_slot<T, Field, U>()>, U>))>
  operator U() const noexcept {  // NOLINT(google-explicit-constructor)
    std::abort();
  }
};

/// Converts to anything and notes to what. `Offset` keeps members' slots apart from bases' slots.
template <class T, std::size_t Field>
struct MemberProbe {
  static constexpr std::size_t slot = Field + 1000;
  template <class U, class = std::enable_if_t<!std::is_same_v<U, T> && !std::is_array_v<U>>,
            class = decltype(sizeof(RecordType<TypeSlot<T, slot, free_slot<T, slot, U>()>, U>))>
  operator U() const noexcept {  // NOLINT(google-explicit-constructor)
    std::abort();
  }
};

/// Converts to U and nothing else.
template <class U>
struct Only {
  operator U() const noexcept { std::abort(); }  // NOLINT(google-explicit-constructor)
};

template <class Pointer>
struct IdentityOf;
template <class U>
struct IdentityOf<std::type_identity<U>*> {
  using type = U;
};
template <class T, std::size_t Field, std::size_t Number>
using RecordedType = typename IdentityOf<decltype(recorded(TypeSlot<T, Field, Number>{}))>::type;

/// All types noted for a field, in order.
template <class T, std::size_t Field, class Fresh, class List = TypeList<>>
constexpr auto recorded_types() {
  if constexpr (requires { recorded(TypeSlot<T, Field, List::size>{}); }) {
    return recorded_types<T, Field, Fresh, typename Append<List, RecordedType<T, Field, List::size>>::type>();
  } else {
    return List{};
  }
}

/// Initializing the next field after those of the known types.
template <class T, class Probe, class... Known>
constexpr bool probe_next(TypeList<Known...>) {
  return requires { T{Only<Known>{}..., Probe{}}; };
}

// --- direct bases ---

/// A base that is also a base of an earlier one is no direct base: it is the first member, which has that type.
template <class T, class Base, class... Before>
constexpr bool can_follow(TypeList<Before...>) {
  return (!std::is_base_of_v<Base, Before> && ...) && std::is_convertible_v<T*, Base*>;
}

template <class T, class Found = TypeList<>>
constexpr auto find_bases() {
  [[maybe_unused]] constexpr bool fits = probe_next<T, BaseProbe<T, Found::size>>(Found{});  // fills the slots
  using Seen = decltype(recorded_types<T, Found::size, BaseProbe<T, Found::size>>());
  if constexpr (Seen::size == 1) {
    using Base = RecordedType<T, Found::size, 0>;
    if constexpr (can_follow<T, Base>(Found{})) {
      return find_bases<T, typename Append<Found, Base>::type>();
    } else {
      return Found{};
    }
  } else {
    return Found{};
  }
}

/// Direct bases of an aggregate, in order.
template <class T>
using DirectBases = decltype(find_bases<T>());

template <class... Base>
constexpr bool all_empty(TypeList<Base...>) {
  return (std::is_empty_v<Base> && ...);
}

// --- members beside bases that have data ---

/// Whether Own is the type of the next field, of those that its initializer was converted to. The field's own type is
/// always among them; others come from constructors that take anything (std::optional's, std::variant's), which ask for
/// what they could hold. So all others that the field accepts become the field's type, and it becomes none of them.
template <class T, class Own, class Known, class... Seen>
constexpr bool is_own_type(Known known, TypeList<Seen...>) {
  constexpr auto yields = []<class Other>(std::type_identity<Other>) {
    return std::is_same_v<Other, Own> || !probe_next<T, Only<Other>>(Known{}) ||
           (std::is_constructible_v<Own, Other> && !std::is_convertible_v<Own, Other>);
  };
  return probe_next<T, Only<Own>>(known) && (yields(std::type_identity<Seen>{}) && ...);
}

/// The field's own type, if it can be told.
template <class T, class Known, class... Seen>
constexpr auto own_type(Known, TypeList<Seen...> seen) {
  if constexpr (sizeof...(Seen) == 1) {
    return seen;
  } else {
    return join_all(
        TypeList<>{},
        std::conditional_t<is_own_type<T, Seen>(Known{}, TypeList<Seen...>{}), TypeList<Seen>, TypeList<>>{}...);
  }
}

/// Types of the members that follow the bases; elements of arrays one by one.
template <class T, class Bases, class Known, std::size_t Member = 0, class Found = TypeList<>>
constexpr auto find_members() {
  if constexpr (Member < 256) {
    [[maybe_unused]] constexpr bool fits = probe_next<T, MemberProbe<T, Member>>(Known{});  // fills the slots
    using Seen = decltype(recorded_types<T, MemberProbe<T, Member>::slot, MemberProbe<T, Member>>());
    using Own = decltype(own_type<T>(Known{}, Seen{}));
    if constexpr (Own::size == 1) {
      using Next = First<Own>;
      return find_members<T, Bases, typename Append<Known, Next>::type, Member + 1,
                          typename Append<Found, Next>::type>();
    } else {
      return Found{};
    }
  } else {
    return Found{};
  }
}

template <class T>
using MembersBesideBases = decltype(find_members<T, DirectBases<T>, DirectBases<T>>());

/// The bases and the first member, as T has them.
template <class Member, class... Base>
struct FirstMember : Base... {
  Member first;
};

struct MemberPlaces {
  std::size_t offsets[256] = {};
  bool complete = false;  ///< every member was found and the size comes out right
};

/// Where the members are: the first where the compiler puts it, each other right behind the one before it, as aligned.
template <class T, class... Base, class... Member>
constexpr MemberPlaces places_of(TypeList<Base...> bases, TypeList<Member...> members) {
  MemberPlaces places;
  if constexpr (sizeof...(Member) != 0) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"  // conditionally supported, and supported by both compilers
    using Start = FirstMember<First<TypeList<Member...>>, Base...>;
    std::size_t place = __builtin_offsetof(Start, first);
#pragma GCC diagnostic pop
    std::size_t number = 0;
    const auto add = [&](std::size_t size, std::size_t alignment) {
      place = (place + alignment - 1) / alignment * alignment;
      places.offsets[number++] = place;
      place += size;
    };
    (add(sizeof(Member), alignof(Member)), ...);
    const std::size_t size = (place + alignof(T) - 1) / alignof(T) * alignof(T);
    const auto all_known = []<class... Field>(TypeList<Field...>) { return requires { T{Only<Field>{}...}; }; };
    const auto one_more = []<class... Field>(TypeList<Field...>) { return requires { T{Only<Field>{}..., {}}; }; };
    using All = TypeList<Base..., Member...>;
    places.complete = size == sizeof(T) && all_known(All{}) && !one_more(All{});
  }
  static_cast<void>(bases);
  static_cast<void>(members);
  return places;
}

template <class T>
inline constexpr MemberPlaces member_places = places_of<T>(DirectBases<T>{}, MembersBesideBases<T>{});

// --- the face ---

enum class AggregateLayout {
  none,        ///< no aggregate
  too_large,   ///< more than max_members
  own,         ///< all data are its own members
  inherited,   ///< all data are in bases
  mixed,       ///< data in bases and of its own
  unreachable  ///< mixed, and the members could not be told apart
};

template <class T>
constexpr AggregateLayout layout_of() {
  if constexpr (!std::is_aggregate_v<T> || !std::is_class_v<T>) {
    return AggregateLayout::none;
  } else if constexpr (field_count<T> > max_members) {
    return AggregateLayout::too_large;
  } else if constexpr (field_count<T> == DirectBases<T>::size) {
    return AggregateLayout::inherited;
  } else if constexpr (all_empty(DirectBases<T>{})) {
    return AggregateLayout::own;
  } else if constexpr (member_places<T>.complete) {
    return AggregateLayout::mixed;
  } else {
    return AggregateLayout::unreachable;
  }
}

template <class T>
inline constexpr AggregateLayout aggregate_layout = layout_of<std::remove_cv_t<T>>();

/// A class with public members only (at most 32, counting bases; arrays count once), all of which can be reached.
template <class T>
concept plain_aggregate =
    aggregate_layout<T> == AggregateLayout::own || aggregate_layout<T> == AggregateLayout::inherited ||
    aggregate_layout<T> == AggregateLayout::mixed;

template <class Object, class Visitor, class... Base>
constexpr void visit_bases(Object& object, Visitor& visitor, TypeList<Base...>) {
  if constexpr (std::is_const_v<Object>) {
    (static_cast<void>(visitor(static_cast<const Base&>(object))), ...);
  } else {
    (static_cast<void>(visitor(static_cast<Base&>(object))), ...);
  }
}

template <class Object, class Visitor, class... Member>
void visit_placed(Object& object, Visitor& visitor, TypeList<Member...>) {
  using Class = std::remove_cv_t<Object>;
  using Byte = std::conditional_t<std::is_const_v<Object>, const std::byte, std::byte>;
  auto* start = reinterpret_cast<Byte*>(std::addressof(object));
  std::size_t number = 0;
  const auto visit = [&]<class M>(std::type_identity<M>) {
    using Placed = std::conditional_t<std::is_const_v<Object>, const M, M>;
    visitor(*std::launder(reinterpret_cast<Placed*>(start + member_places<Class>.offsets[number++])));
  };
  (visit(std::type_identity<Member>{}), ...);
}

/// Calls visitor(member) for every direct base (as an object of its own) and every member, in order of declaration.
/// Elements of arrays are visited one by one where data are mixed with those of bases.
template <class T, class Visitor>
  requires plain_aggregate<T>
constexpr void for_each_member(T& object, Visitor&& visitor) {
  using Class = std::remove_cv_t<T>;
  using Bases = DirectBases<Class>;
  visit_bases(object, visitor, Bases{});
  if constexpr (aggregate_layout<Class> == AggregateLayout::own) {
    with_bindings<field_count<Class> - Bases::size>(
        object, [&](auto&... member) { (static_cast<void>(visitor(member)), ...); });
  } else if constexpr (aggregate_layout<Class> == AggregateLayout::mixed) {
    visit_placed(object, visitor, MembersBesideBases<Class>{});
  }
}

template <class T>
struct OwnMembers {
  static constexpr auto find() {
    if constexpr (aggregate_layout<T> == AggregateLayout::own) {
      using List =
          decltype(with_bindings<field_count<T> - DirectBases<T>::size>(std::declval<T&>(), [](auto&... member) {
            return TypeList<std::remove_reference_t<decltype(member)>...>{};
          }));
      return List{};
    } else if constexpr (aggregate_layout<T> == AggregateLayout::mixed) {
      return MembersBesideBases<T>{};
    } else {
      return TypeList<>{};
    }
  }
};

/// Types of what for_each_member visits: bases, then members.
template <class T>
using FieldTypes = decltype(join_all(DirectBases<T>{}, OwnMembers<T>::find()));

}  // namespace muster::detail
