/// @file
/// The standard library's types in messages. Included by archive.hpp.
#pragma once

#include <muster/detail/archive.hpp>

#include <array>
#include <atomic>
#include <bitset>
#include <chrono>
#include <complex>
#include <deque>
#include <forward_list>
#include <list>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <stack>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

namespace muster::detail {

// --- containers ---

/// Writes how many elements there are, then each.
template <class Container>
void write_elements(OutputArchive& archive, const Container& container, std::size_t count) {
  const Nesting nesting(archive.depth());
  archive.write_count(count);
  for (const auto& element : container) archive.write(element);
}

/// Reads count and elements, and gives each to add.
template <class Element, class Reserve, class Add>
void read_elements(InputArchive& archive, Reserve&& reserve, Add&& add) {
  const Nesting nesting(archive.depth());
  constexpr std::size_t least = least_bytes_of<Element>;
  const std::size_t count = archive.read_count(least);
  reserve(archive.room_for(count));
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t before = archive.left();
    add(archive.make<Element>());
    if constexpr (least == 0) archive.charge(before);
  }
}

inline constexpr auto no_reserve = [](std::size_t) {};

/// Makes a container of elements, in huge pages where it is large. One pass: the library turns it into memmoves, where
/// resize would fill with zeros first.
/// @param arriving where not all of them may be there yet: who tells how many are
template <class Container, class Element>
void assign_elements(Container& container, const Element* first, std::size_t count, Arriving* arriving = nullptr) {
  if (count * sizeof(Element) >= huge_from) {
    container.clear();
    container.reserve(count);
    prefer_huge_pages(container.data(), count * sizeof(Element));
  }
  if (arriving == nullptr) {
    container.assign(first, first + count);
    return;
  }
  container.clear();
  container.reserve(count);
  for (std::size_t done = 0; done != count;) {
    const auto* const end = arriving->await(reinterpret_cast<const std::byte*>(first + done + 1));
    const auto bytes = static_cast<std::size_t>(end - reinterpret_cast<const std::byte*>(first));
    const std::size_t there = bytes / sizeof(Element) < count ? bytes / sizeof(Element) : count;
    container.insert(container.end(), first + done, first + there);
    done = there;
  }
}

/// vector and basic_string of plain elements: one block.
template <class Container, class Element>
struct BlockCodec {
  using Elements = TypeList<Element>;
  static constexpr std::size_t least_bytes = 1;
  static void save(OutputArchive& archive, const Container& container) {
    archive.write_count(container.size());
    archive.write_block(container.data(), container.size() * sizeof(Element));
  }
  static Container make(InputArchive& archive) {
    Container container;
    load(archive, container);
    return container;
  }
  static void load(InputArchive& archive, Container& container) {
    const std::size_t count = archive.read_size();
    const auto [bytes, arriving] = archive.read_arriving_block(count, sizeof(Element));
    if constexpr (std::is_trivial_v<Element>) {
      if constexpr (!find_bools<Element>()) {
        if (reinterpret_cast<std::uintptr_t>(bytes) % alignof(Element) == 0) {
          assign_elements(container, reinterpret_cast<const Element*>(bytes), count, arriving);
          return;
        }
      }
    }
    if (arriving != nullptr) arriving->await(bytes + count * sizeof(Element));
    container.clear();
    container.resize(count);
    if (count != 0) std::memcpy(static_cast<void*>(container.data()), bytes, count * sizeof(Element));
    if constexpr (find_bools<Element>()) {
      for (const Element& element : container) check_bools(archive, element);
    }
  }
};

template <class Container, class Element>
struct SequenceCodec {
  using Elements = TypeList<Element>;
  static constexpr std::size_t least_bytes = 1;
  static void save(OutputArchive& archive, const Container& container) {
    write_elements(archive, container, container.size());
  }
  static void load(InputArchive& archive, Container& container) {
    container.clear();
    read_elements<Element>(
        archive,
        [&](std::size_t room) {
          if constexpr (requires { container.reserve(room); }) container.reserve(room);
        },
        [&](Element&& element) { container.push_back(std::move(element)); });
  }
};

template <class T, class A>
struct Codec<std::vector<T, A>> : SequenceCodec<std::vector<T, A>, T> {};
template <class T, class A>
  requires plain<T>
struct Codec<std::vector<T, A>> : BlockCodec<std::vector<T, A>, T> {};
template <class T, class R, class A>
struct Codec<std::basic_string<T, R, A>> : BlockCodec<std::basic_string<T, R, A>, T> {};
template <class T, class A>
struct Codec<std::deque<T, A>> : SequenceCodec<std::deque<T, A>, T> {};
template <class T, class A>
struct Codec<std::list<T, A>> : SequenceCodec<std::list<T, A>, T> {};

template <class A>
struct Codec<std::vector<bool, A>> {
  using Elements = TypeList<bool>;
  static constexpr std::size_t least_bytes = 1;
  static void save(OutputArchive& archive, const std::vector<bool, A>& bits) {
    archive.write_count(bits.size());
    for (std::size_t i = 0; i < bits.size(); i += 8) {
      unsigned byte = 0;
      for (std::size_t j = i; j < bits.size() && j < i + 8; ++j) byte |= static_cast<unsigned>(bits[j]) << (j - i);
      archive.write_number(static_cast<unsigned char>(byte));
    }
  }
  static void load(InputArchive& archive, std::vector<bool, A>& bits) {
    const std::size_t count = archive.read_size();
    if (count / 8 > archive.left()) archive.throw_invalid("a vector<bool> has more elements than bits are left");
    bits.assign(count, false);
    unsigned char byte = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (i % 8 == 0) archive.read_number(byte);
      bits[i] = ((byte >> (i % 8)) & 1) != 0;
    }
  }
};

template <class T, class A>
struct Codec<std::forward_list<T, A>> {
  using Elements = TypeList<T>;
  static constexpr std::size_t least_bytes = 1;
  static void save(OutputArchive& archive, const std::forward_list<T, A>& list) {
    write_elements(archive, list, static_cast<std::size_t>(std::distance(list.begin(), list.end())));
  }
  static void load(InputArchive& archive, std::forward_list<T, A>& list) {
    list.clear();
    auto last = list.before_begin();
    read_elements<T>(archive, no_reserve, [&](T&& element) { last = list.insert_after(last, std::move(element)); });
  }
};

/// Ordering and hashing are the type's, not the message's: they must be classes, which make themselves.
template <class Set, class Key, class... Function>
struct SetCodec {
  using Elements = std::conditional_t<(std::is_class_v<Function> && ...), TypeList<Key>, TypeList<void>>;
  static constexpr std::size_t least_bytes = 1;
  static void save(OutputArchive& archive, const Set& set) { write_elements(archive, set, set.size()); }
  static void load(InputArchive& archive, Set& set) {
    set.clear();
    read_elements<Key>(archive, no_reserve, [&](Key&& key) { set.emplace_hint(set.end(), std::move(key)); });
  }
};

template <class Map, class Key, class Value, class... Function>
struct MapCodec {
  using Elements = std::conditional_t<(std::is_class_v<Function> && ...), TypeList<Key, Value>, TypeList<void>>;
  static constexpr std::size_t least_bytes = 1;
  static void save(OutputArchive& archive, const Map& map) { write_elements(archive, map, map.size()); }
  static void load(InputArchive& archive, Map& map) {
    map.clear();
    read_elements<std::pair<Key, Value>>(archive, no_reserve, [&](std::pair<Key, Value>&& entry) {
      map.emplace_hint(map.end(), std::move(entry.first), std::move(entry.second));
    });
  }
};

template <class K, class C, class A>
struct Codec<std::set<K, C, A>> : SetCodec<std::set<K, C, A>, K, C> {};
template <class K, class C, class A>
struct Codec<std::multiset<K, C, A>> : SetCodec<std::multiset<K, C, A>, K, C> {};
template <class K, class H, class E, class A>
struct Codec<std::unordered_set<K, H, E, A>> : SetCodec<std::unordered_set<K, H, E, A>, K, H, E> {};
template <class K, class H, class E, class A>
struct Codec<std::unordered_multiset<K, H, E, A>> : SetCodec<std::unordered_multiset<K, H, E, A>, K, H, E> {};
template <class K, class V, class C, class A>
struct Codec<std::map<K, V, C, A>> : MapCodec<std::map<K, V, C, A>, K, V, C> {};
template <class K, class V, class C, class A>
struct Codec<std::multimap<K, V, C, A>> : MapCodec<std::multimap<K, V, C, A>, K, V, C> {};
template <class K, class V, class H, class E, class A>
struct Codec<std::unordered_map<K, V, H, E, A>> : MapCodec<std::unordered_map<K, V, H, E, A>, K, V, H, E> {};
template <class K, class V, class H, class E, class A>
struct Codec<std::unordered_multimap<K, V, H, E, A>> : MapCodec<std::unordered_multimap<K, V, H, E, A>, K, V, H, E> {};

/// Reaches the protected container inside stack, queue and priority_queue.
template <class Adaptor>
struct AdaptorAccess : Adaptor {
  static const typename Adaptor::container_type& container(const Adaptor& adaptor) {
    return adaptor.*(&AdaptorAccess::c);
  }
};

template <class Adaptor>
struct AdaptorCodec {
  using Container = typename Adaptor::container_type;
  using Elements = TypeList<Container>;
  static constexpr std::size_t least_bytes = Codec<Container>::least_bytes;
  static void save(OutputArchive& archive, const Adaptor& adaptor) {
    archive.write(AdaptorAccess<Adaptor>::container(adaptor));
  }
  static void load(InputArchive& archive, Adaptor& adaptor) { adaptor = make(archive); }
  static Adaptor make(InputArchive& archive) {
    if constexpr (requires { typename Adaptor::value_compare; }) {
      return Adaptor(typename Adaptor::value_compare(), archive.make<Container>());  // restores the order of the heap
    } else {
      return Adaptor(archive.make<Container>());
    }
  }
};

template <class T, class C>
struct Codec<std::stack<T, C>> : AdaptorCodec<std::stack<T, C>> {};
template <class T, class C>
struct Codec<std::queue<T, C>> : AdaptorCodec<std::queue<T, C>> {};
template <class T, class C, class L>
  requires std::is_class_v<L>
struct Codec<std::priority_queue<T, C, L>> : AdaptorCodec<std::priority_queue<T, C, L>> {};

template <class T, std::size_t N>
struct Codec<std::array<T, N>> {
  using Elements = TypeList<T>;
  static constexpr std::size_t least_bytes = N * least_bytes_of<T>;
  static void save(OutputArchive& archive, const std::array<T, N>& array) {
    if constexpr (N != 0 && plain<T>) {
      archive.write_block(array.data(), sizeof array);
    } else {
      for (const T& element : array) archive.write(element);
    }
  }
  static void load(InputArchive& archive, std::array<T, N>& array) {
    if constexpr (N != 0 && plain<T>) {
      std::memcpy(static_cast<void*>(array.data()), archive.read_block(N, sizeof(T)), sizeof array);
      check(archive, array);
    } else {
      for (T& element : array) archive.read(element);
    }
  }
  static std::array<T, N> make(InputArchive& archive) {
    if constexpr (N == 0 || (std::is_default_constructible_v<T> && std::is_move_assignable_v<T>)) {
      std::array<T, N> array{};
      load(archive, array);
      return array;
    } else {
      return [&]<std::size_t... I>(std::index_sequence<I...>) {
        return std::array<T, N>{(static_cast<void>(I), archive.make<T>())...};
      }(std::make_index_sequence<N>{});
    }
  }
  static void check(InputArchive& archive, const std::array<T, N>& array) {
    for (const T& element : array) check_bools(archive, element);
  }
};
template <class T, std::size_t N>
inline constexpr bool plain_codec<std::array<T, N>> = N != 0 && find_plain<T>();

// --- alternatives and products ---

template <>
struct Codec<std::monostate> {
  using Elements = TypeList<>;
  static constexpr std::size_t least_bytes = 0;
  static void save(OutputArchive&, std::monostate) {}
  static void load(InputArchive&, std::monostate&) {}
};
template <>
struct Codec<std::nullptr_t> {
  using Elements = TypeList<>;
  static constexpr std::size_t least_bytes = 0;
  static void save(OutputArchive&, std::nullptr_t) {}
  static void load(InputArchive&, std::nullptr_t&) {}
};

template <class T>
struct Codec<std::optional<T>> {
  using Elements = TypeList<T>;
  static constexpr std::size_t least_bytes = 1;
  static void save(OutputArchive& archive, const std::optional<T>& value) {
    archive.write(value.has_value());
    if (value) archive.write(*value);
  }
  static void load(InputArchive& archive, std::optional<T>& value) {
    const bool there = archive.make<bool>();
    value.reset();
    if (there) value.emplace(archive.make<std::remove_cv_t<T>>());
  }
};

template <class... T>
struct Codec<std::variant<T...>> {
  using Elements = TypeList<T...>;
  static constexpr std::size_t least_bytes = 1;
  static void save(OutputArchive& archive, const std::variant<T...>& value) {
    if (value.valueless_by_exception()) throw SerializationError("a variant that lost its value can't be sent");
    archive.write_count(value.index());
    std::visit([&](const auto& alternative) { archive.write(alternative); }, value);
  }
  static void load(InputArchive& archive, std::variant<T...>& value) { value = make(archive); }
  static std::variant<T...> make(InputArchive& archive) { return make_from<0>(archive, archive.read_size()); }

 private:
  template <std::size_t I>
  static std::variant<T...> make_from(InputArchive& archive, std::size_t index) {
    if constexpr (I == sizeof...(T)) {
      archive.throw_invalid("a variant's index is out of range");
    } else {
      if (index != I) return make_from<I + 1>(archive, index);
      return std::variant<T...>(std::in_place_index<I>,
                                archive.make<std::variant_alternative_t<I, std::variant<T...>>>());
    }
  }
};

template <class A, class B>
struct Codec<std::pair<A, B>> {
  using Elements = TypeList<A, B>;
  static constexpr std::size_t least_bytes = least_bytes_of<A> + least_bytes_of<B>;
  static void save(OutputArchive& archive, const std::pair<A, B>& pair) {
    archive.write(pair.first);
    archive.write(pair.second);
  }
  static std::pair<A, B> make(InputArchive& archive) {
    return std::pair<A, B>{archive.make<std::remove_cv_t<A>>(), archive.make<std::remove_cv_t<B>>()};
  }
};

template <class... T>
struct Codec<std::tuple<T...>> {
  using Elements = TypeList<T...>;
  static constexpr std::size_t least_bytes = (std::size_t{0} + ... + least_bytes_of<T>);
  static void save(OutputArchive& archive, const std::tuple<T...>& tuple) {
    std::apply([&](const auto&... element) { (archive.write(element), ...); }, tuple);
  }
  static std::tuple<T...> make(InputArchive& archive) {
    return std::tuple<T...>{archive.make<std::remove_cv_t<T>>()...};  // in braces: from left to right
  }
};

// --- numbers and such ---

template <class T>
struct Codec<std::complex<T>> {
  using Elements = TypeList<T>;
  static constexpr std::size_t least_bytes = sizeof(std::complex<T>);
  static void save(OutputArchive& archive, const std::complex<T>& value) { archive.write_number(value); }
  static void load(InputArchive& archive, std::complex<T>& value) { archive.read_number(value); }
  static void check(InputArchive&, const std::complex<T>&) {}
};
template <class T>
inline constexpr bool plain_codec<std::complex<T>> = std::is_arithmetic_v<T>;

template <class R, class P>
struct Codec<std::chrono::duration<R, P>> {
  using Elements = TypeList<R>;
  static constexpr std::size_t least_bytes = least_bytes_of<R>;
  static void save(OutputArchive& archive, const std::chrono::duration<R, P>& value) { archive.write(value.count()); }
  static std::chrono::duration<R, P> make(InputArchive& archive) {
    return std::chrono::duration<R, P>(archive.make<R>());
  }
  static void check(InputArchive&, const std::chrono::duration<R, P>&) {}
};
template <class R, class P>
inline constexpr bool plain_codec<std::chrono::duration<R, P>> = std::is_arithmetic_v<R>;

template <class C, class D>
struct Codec<std::chrono::time_point<C, D>> {
  using Elements = TypeList<D>;
  static constexpr std::size_t least_bytes = least_bytes_of<D>;
  static void save(OutputArchive& archive, const std::chrono::time_point<C, D>& value) {
    archive.write(value.time_since_epoch());
  }
  static std::chrono::time_point<C, D> make(InputArchive& archive) {
    return std::chrono::time_point<C, D>(archive.make<D>());
  }
  static void check(InputArchive&, const std::chrono::time_point<C, D>&) {}
};
template <class C, class D>
inline constexpr bool plain_codec<std::chrono::time_point<C, D>> = plain_codec<D>;

template <std::size_t N>
struct Codec<std::bitset<N>> {
  using Elements = TypeList<>;
  static constexpr std::size_t least_bytes = (N + 7) / 8;
  static void save(OutputArchive& archive, const std::bitset<N>& bits) {
    for (std::size_t i = 0; i < N; i += 8) {
      unsigned byte = 0;
      for (std::size_t j = i; j < N && j < i + 8; ++j) byte |= static_cast<unsigned>(bits[j]) << (j - i);
      archive.write_number(static_cast<unsigned char>(byte));
    }
  }
  static void load(InputArchive& archive, std::bitset<N>& bits) {
    unsigned char byte = 0;
    for (std::size_t i = 0; i < N; ++i) {
      if (i % 8 == 0) archive.read_number(byte);
      bits[i] = ((byte >> (i % 8)) & 1) != 0;
    }
  }
};

template <class T>
struct Codec<std::atomic<T>> {
  using Elements = TypeList<T>;
  static constexpr std::size_t least_bytes = least_bytes_of<T>;
  static void save(OutputArchive& archive, const std::atomic<T>& value) { archive.write_temporary(value.load()); }
  static void load(InputArchive& archive, std::atomic<T>& value) { value.store(archive.make<T>()); }
  static std::atomic<T> make(InputArchive& archive) { return std::atomic<T>(archive.make<T>()); }
};

/// std::filesystem::path, by its looks: its header is among the slowest.
template <class T>
concept path_like = std::is_class_v<T> && requires(const T& path) {
  typename T::string_type;
  { path.native() } -> std::same_as<const typename T::string_type&>;
  path.lexically_normal();
};

template <path_like T>
struct Codec<T> {
  using Elements = TypeList<typename T::string_type>;
  static constexpr std::size_t least_bytes = 1;
  static void save(OutputArchive& archive, const T& path) { archive.write(path.native()); }
  static T make(InputArchive& archive) { return T(archive.make<typename T::string_type>()); }
};

}  // namespace muster::detail
